"""The bootstrap over test items: how much a score would vary with other patients, or other digits.

Items of one unit are similar (the images of a patient), so whole units are drawn, with replacement,
and the score is computed with each item weighted by how often its unit was drawn (Davison and
Hinkley, Bootstrap Methods and their Application, 1997, sections 2.2 and 5.3).

An item with several units (an image of two digits) moves with each of them: its weight is one plus
the sum, over its units, of the number of times that each was drawn minus one. Two items are then
resampled together as often as they share a unit, but an item with itself once for each of its
units, which is once too often for every unit after the first. So the variance over drawn items,
times that number, is subtracted (inclusion and exclusion, as in Cameron, Gelbach and Miller,
Journal of Business and Economic Statistics 29, 2011).

Units without a known label for a task are drawn with the others but do not enter its score: how
many labels a sample has is also chance, and in this way all tasks and methods are resampled in
pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

RESAMPLES = 1000
CHUNK = 2_000_000
"""Weights held at a time (16 MB): all of a large test part would take gigabytes."""
MOST_UNDEFINED = 0.05
"""Share of the resamples in which a score may be undefined, for want of positives."""


@dataclass(frozen=True)
class Scheme:
    """One way to draw.

    Attributes:
        units: (N, U) number of each unit of each item.
        factor: what its variance counts in the sum over schemes.
        word: names the draws.
    """

    units: np.ndarray
    factor: int
    word: str


def units_of(items: pd.DataFrame, columns: Sequence[str] = ("patient",)) -> np.ndarray:
    """Numbers of each item's units (N, U), counted over all columns; the item itself without any.

    Args:
        items: of one part.
        columns: where the units stand, if they are there.
    """
    found = [items[name].to_numpy() for name in columns if name in items]
    if not found:
        return np.arange(len(items))[:, None]
    numbers: np.ndarray = np.unique(np.stack(found, axis=1), return_inverse=True)[1]
    return numbers.reshape(len(items), len(found))


def schemes_of(units: np.ndarray, word: str) -> list[Scheme]:
    """How items of the given units (N, U) are resampled."""
    found = [Scheme(units, 1, f"bootstrap/{word}")]
    if units.shape[1] > 1:
        alone = np.arange(len(units))[:, None]
        found.append(Scheme(alone, 1 - units.shape[1], f"bootstrap/{word}/items"))
    return found


def item_weights(scheme: Scheme, resamples: int = RESAMPLES) -> Iterator[np.ndarray]:
    """Weight of each item in each resample, in chunks (rows, N) of float64.

    As many units are drawn as there are. The draws depend on the scheme's word and the number of
    units alone, so that seeds and methods that are scored on the same items are resampled in pairs.
    """
    generator = np.random.default_rng(list(scheme.word.encode()))
    count = int(scheme.units.max()) + 1
    rows = max(1, CHUNK // len(scheme.units))
    for start in range(0, resamples, rows):
        drawn = generator.integers(count, size=(min(rows, resamples - start), count))
        times = np.array([np.bincount(row, minlength=count) for row in drawn], np.float64)
        weights = times[:, scheme.units[:, 0]]
        for column in scheme.units.T[1:]:
            weights += times[:, column] - 1.0
        yield weights


def enough(values: np.ndarray) -> bool:
    """Whether so many of the last axis are defined that their spread says something."""
    return bool((np.isfinite(values).mean(axis=-1) >= 1 - MOST_UNDEFINED).all())


def percentile_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Interval that holds the middle share ``level`` of the resampled values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
