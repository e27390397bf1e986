"""Rank correlation over a handful of settings, with an interval over the settings.

The unit is the setting (weights, a method), each with its mean over seeds, since the question is
whether one number orders the settings as another does. Settings are drawn with replacement; the
interval is a percentile interval. With few settings it is wide, as it should be, and its ends can
be no finer than the few possible orders allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from counterpoise.evaluation.resampling import percentile_interval
from counterpoise.evaluation.statistics import LEVEL

RESAMPLES = 2000
FEWEST_SETTINGS = 5
"""Below these a rank correlation says nothing."""


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's coefficient, and its percentile interval; None where it is undefined."""

    value: float | None
    interval: tuple[float, float] | None


def _spearman(across: np.ndarray, up: np.ndarray) -> np.ndarray:
    """(R,) coefficients of rows (R, n); NaN where a row does not vary."""
    ranks = [rankdata(values, axis=1) for values in (across, up)]
    centred = [r - r.mean(axis=1, keepdims=True) for r in ranks]
    lengths = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    products = (centred[0] * centred[1]).sum(axis=1)
    empty = np.full(len(products), np.nan)
    found: np.ndarray = np.divide(products, lengths, out=empty, where=lengths > 0)
    return found


def _interval(values: np.ndarray) -> tuple[float, float] | None:
    known = values[np.isfinite(values)]
    return None if len(known) < len(values) / 2 else percentile_interval(known, LEVEL)


def rank_correlation(
    across: Sequence[float], up: Sequence[float], rival: Sequence[float] | None = None
) -> tuple[RankCorrelation, RankCorrelation | None]:
    """Correlation of two numbers over n settings.

    Args:
        across: (n,) one number of each setting.
        up: (n,) the other.
        rival: (n,) a third, whose correlation with ``up`` is compared.

    Returns:
        The correlation; and, of a rival, by how much its absolute value is larger than the
        rival's, over the same resamples.
    """
    one, two = (np.asarray(values, np.float64)[None] for values in (across, up))
    count = one.shape[1]
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, count, (RESAMPLES, count))
    here, there = float(_spearman(one, two)[0]), _spearman(one[0][drawn], two[0][drawn])
    if count < FEWEST_SETTINGS or not np.isfinite(here):
        return RankCorrelation(None, None), None
    found = RankCorrelation(here, _interval(there))
    if rival is None:
        return found, None
    three = np.asarray(rival, np.float64)[None]
    other, others = float(_spearman(three, two)[0]), _spearman(three[0][drawn], two[0][drawn])
    if not np.isfinite(other):
        return found, RankCorrelation(None, None)
    ahead = np.abs(there) - np.abs(others)
    return found, RankCorrelation(abs(here) - abs(other), _interval(ahead))
