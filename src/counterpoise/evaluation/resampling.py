"""The bootstrap over patients: how far a score would move with other patients.

Images of one patient are alike, so that whole patients are drawn, with replacement, and the score
is computed with each item weighted by how often its patient was drawn (Davison and Hinkley,
Bootstrap Methods and their Application, 1997, sections 2.2 and 5.3).

Patients without a known label of a task are drawn with the others and have no part in its score:
how many labels a sample has is chance, too, and so all tasks and methods are resampled in pairs.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

RESAMPLES = 1000
CHUNK = 2_000_000
"""Weights held at a time (16 MB): all of a large test part would take gigabytes."""


def units_of(items: pd.DataFrame) -> np.ndarray:
    """Number of each item's resampling unit (N,): its patient, or itself where none is given."""
    if "patient" in items:
        units: np.ndarray = np.unique(items["patient"].to_numpy(), return_inverse=True)[1]
        return units
    return np.arange(len(items))


def patient_weights(
    units: np.ndarray, word: str, resamples: int = RESAMPLES
) -> Iterator[np.ndarray]:
    """How often each item is drawn in each resample, in chunks (rows, N) of float64.

    As many units are drawn as there are. The draws depend on ``word`` and the number of units
    alone, so that seeds and methods that are scored on the same items are resampled in pairs.
    """
    generator = np.random.default_rng(list(word.encode()))
    count = int(units.max()) + 1
    rows = max(1, CHUNK // len(units))
    for start in range(0, resamples, rows):
        drawn = generator.integers(count, size=(min(rows, resamples - start), count))
        times = np.array([np.bincount(row, minlength=count) for row in drawn], np.float64)
        yield times[:, units]


def standard_error(values: np.ndarray) -> float | None:
    """Standard deviation over resamples; None where more than one in twenty is undefined (NaN)."""
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if len(known) >= 0.95 * len(values) else None


def percentile_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Interval that holds the middle share ``level`` of the resampled values."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
