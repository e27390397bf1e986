"""Methods against methods: paired differences, over the same seeds and the same items."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from counterpoise.evaluation.measured import Measured, combined
from counterpoise.evaluation.statistics import LEVEL, difference_interval, p_value

FEWEST_FOR_P = 5
"""Seeds below which no p-value is given: with fewer, its size is that of the normal assumption."""
FEWEST_FOR_EFFECT = 3
FEWEST_DATASETS = 5
"""Below this Friedman's test and the critical difference are too coarse to mean anything."""


@dataclass(frozen=True)
class Paired:
    """One paired difference.

    Attributes:
        difference: mean over seeds.
        interval: 95 %, over seeds and items; over the one of them that is known otherwise.
        effect: Hedges' g of the differences: their mean in units of their spread over seeds.
        p: two-sided, None below five seeds.
        items: whether the interval covers the choice of items.
        open: why it cannot be told from zero, whatever its interval; empty where it may be.
    """

    difference: float
    sd: float | None
    n: int
    interval: tuple[float, float] | None
    effect: float | None
    p: float | None
    items: bool
    open: str


def difference_of(one: Measured, other: Measured, factor: float = 1.0) -> Measured:
    """``one - factor * other`` by seed and resample."""
    return combined([one, other], lambda values: values[0] - factor * values[1])


def paired(difference: Measured, level: float = LEVEL) -> Paired | None:
    """Mean, interval, effect and p-value of a difference; None where no seed has both."""
    if not difference.values:
        return None
    sample, parts = difference.sample, difference.parts
    testable = sample.n >= FEWEST_FOR_P and parts and not difference.undecided
    return Paired(
        sample.mean,
        sample.sd,
        sample.n,
        difference_interval(sample.mean, parts, level),
        None if difference.undecided else hedges_g(difference),
        p_value(sample.mean, parts) if testable else None,
        difference.items is not None,
        difference.undecided,
    )


def hedges_g(difference: Measured) -> float | None:
    """Mean of paired differences over their deviation, corrected for few seeds (Hedges, 1981).

    None below three seeds, and where all differences are the same up to rounding.
    """
    sample = difference.sample
    if sample.sd is None or sample.n < FEWEST_FOR_EFFECT or difference.alike:
        return None
    degrees = sample.n - 1
    correction = math.exp(math.lgamma(degrees / 2) - math.lgamma((degrees - 1) / 2)) / math.sqrt(
        degrees / 2
    )
    return correction * sample.mean / sample.sd


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values of one family; None stays None and does not count.

    The smallest of m is multiplied by m, the next by m - 1 and so on, and none is below the one
    before (Scandinavian Journal of Statistics 6, 1979). statsmodels has the same, but collects
    garbage at every call, which takes longer than all else here; a test holds ours to it.
    """
    ordered = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p))
        adjusted[place] = largest
    return adjusted


def ranks(scores: np.ndarray, lower_is_better: Sequence[bool]) -> np.ndarray:
    """Ranks (methods, K) of the scores (methods, K), 1 the best; ties share their mean."""
    turned = np.where(lower_is_better, scores, -scores)
    ranked: np.ndarray = stats.rankdata(turned, axis=0)
    return ranked


def profile(gains: np.ndarray, thresholds: Sequence[float]) -> list[float]:
    """Share of the gains, over tasks and seeds, that reach each threshold.

    The performance profile of Agarwal et al. (Deep RL at the edge of the statistical precipice,
    NeurIPS 2021) with the relative gain over single-task training in place of a game's score.
    """
    return [float((gains >= threshold).mean()) for threshold in thresholds]


@dataclass(frozen=True)
class Ranking:
    """Methods ranked over datasets.

    Attributes:
        mean_ranks: of each method.
        p: of Friedman's test that all methods are alike.
        critical: the smallest difference of mean ranks that Nemenyi's test tells apart at 5 %.
    """

    mean_ranks: tuple[float, ...]
    p: float
    critical: float


def ranking(scores: np.ndarray, lower_is_better: Sequence[bool]) -> Ranking | None:
    """Friedman's test and Nemenyi's critical difference (Demsar, JMLR 7, 2006).

    Args:
        scores: (methods, datasets). Datasets are the unit here; tasks of one data set, which
            share its pictures, are not.
        lower_is_better: of each dataset's score.

    Returns:
        None below five datasets or three methods.
    """
    methods, datasets = scores.shape
    if datasets < FEWEST_DATASETS or methods < 3:
        return None
    ranked = ranks(scores, lower_is_better)
    p = float(stats.friedmanchisquare(*ranked).pvalue)
    quantile = float(stats.studentized_range.ppf(LEVEL, methods, np.inf)) / math.sqrt(2)
    critical = quantile * math.sqrt(methods * (methods + 1) / (6 * datasets))
    return Ranking(tuple(float(rank) for rank in ranked.mean(axis=1)), p, critical)
