"""Means, spreads and intervals over seeds. The seed is the unit of replication."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit


@dataclass(frozen=True)
class Sample:
    """Mean, sample standard deviation (None below two values) and size."""

    mean: float
    sd: float | None
    n: int


def summarise(values: Sequence[float]) -> Sample:
    """Mean and sample standard deviation.

    Raises:
        ValueError: there are no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("no values")
    mean = math.fsum(values) / n
    if n < 2:
        return Sample(mean, None, n)
    return Sample(mean, math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1)), n)


def t_quantile(level: float, degrees: float) -> float:
    """Two-sided quantile of Student's t at a confidence level."""
    return float(stdtrit(degrees, 0.5 + level / 2))


def mean_interval(sample: Sample, level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of a mean; None below two values."""
    if sample.sd is None:
        return None
    half = t_quantile(level, sample.n - 1) * sample.sd / math.sqrt(sample.n)
    return sample.mean - half, sample.mean + half


def error_interval(
    sample: Sample, error: float | None, level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of a score over seeds and items: s^2 / n plus the items' squared standard error.

    Degrees of freedom after Satterthwaite, the items' part counting as known. None without an
    error; one seed has no spread of its own, so that then only the items' part is covered.
    """
    if error is None:
        return None
    seeds = 0.0 if sample.sd is None else sample.sd**2 / sample.n
    total = seeds + error**2
    degrees = (sample.n - 1) * (total / seeds) ** 2 if seeds else math.inf
    half = t_quantile(level, min(degrees, 1e6)) * math.sqrt(total)
    return sample.mean - half, sample.mean + half


def welch_interval(a: Sample, b: Sample, level: float = 0.95) -> tuple[float, float] | None:
    """Welch's interval of mean(a) - mean(b), degrees of freedom after Satterthwaite."""
    if a.sd is None or b.sd is None or min(a.n, b.n) < 2:
        return None
    va, vb = a.sd**2 / a.n, b.sd**2 / b.n
    difference = a.mean - b.mean
    if va + vb == 0:
        return difference, difference
    degrees = (va + vb) ** 2 / (va**2 / (a.n - 1) + vb**2 / (b.n - 1))
    half = t_quantile(level, degrees) * math.sqrt(va + vb)
    return difference - half, difference + half


def borrowed_interval(
    ours: Sample, printed: float, repeats: int, level: float = 0.95
) -> tuple[float, float] | None:
    """Interval of our mean minus a printed one whose spread is taken to be ours.

    One variance is estimated, from n - 1 degrees of freedom, and serves both means.
    """
    if ours.sd is None:
        return None
    half = t_quantile(level, ours.n - 1) * ours.sd * math.sqrt(1 / ours.n + 1 / repeats)
    difference = ours.mean - printed
    return difference - half, difference + half


def delta_m(
    scores: Sequence[float], references: Sequence[float], lower_is_better: Sequence[bool]
) -> float | None:
    """Average relative gain over the single-task reference (RotoGrad submission, Eq. 9).

    Delta_m = (1/K) sum_k (-1)^{l_k} (M_{m,k} - M_{s,k}) / M_{s,k}, l_k = 1 where lower is better.
    A fraction; None where a reference is zero.
    """
    terms = []
    for score, reference, lower in zip(scores, references, lower_is_better, strict=True):
        if reference == 0:
            return None
        terms.append((-1.0 if lower else 1.0) * (score - reference) / reference)
    return math.fsum(terms) / len(terms)
