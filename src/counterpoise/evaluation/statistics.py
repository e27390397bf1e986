"""Means, spreads and intervals over seeds. The seed is the unit of replication.

Every interval is for a mean whose variance is a sum of parts, each estimated with its own degrees
of freedom. Its quantile is given by :func:`quantile_of_sum` for a score; for a difference, which is
to be told from zero, perhaps among many, by :func:`tail_of_sum`; against a printed number it is
that of Welch's test, Student's t with Satterthwaite's degrees of freedom (Biometrics Bulletin 2,
1946).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit, stdtr, stdtrit

LEVEL = 0.95
ROUNDING = 1e-12
"""What the last digits of a score may differ by, as a share of it."""
MOST_DEGREES = 1e6
"""Beyond this Student's t is the normal distribution to all printed digits."""


@dataclass(frozen=True)
class Sample:
    """Mean, sample standard deviation (None below two values) and size."""

    mean: float
    sd: float | None
    n: int

    @property
    def alike(self) -> bool:
        """Whether several values are the same up to rounding."""
        return self.sd is not None and self.sd <= ROUNDING * abs(self.mean)

    @property
    def part(self) -> Part | None:
        """What the seeds add to the variance of the mean; None below two values."""
        return None if self.sd is None else Part(self.sd**2 / self.n, self.n - 1)


@dataclass(frozen=True)
class Part:
    """A part of a variance: its estimate, and the degrees of freedom behind it."""

    variance: float
    degrees: float


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


def degrees_of_sum(parts: Sequence[Part]) -> float:
    """Satterthwaite's degrees of freedom of a sum of variances."""
    total = math.fsum(part.variance for part in parts)
    below = math.fsum(part.variance**2 / part.degrees for part in parts)
    return min(total**2 / below, MOST_DEGREES) if below > 0 else MOST_DEGREES


def quantile_of_sum(parts: Sequence[Part], level: float) -> float:
    """Two-sided quantile of a mean's distance from the truth, in units of its standard error.

    t^2 = z^2 + sum_i w_i^2 (t_i^2 - z^2), with w_i the share of part i in the variance, t_i the
    quantile of its own degrees and z the normal one: Student's where one part is all, and to first
    order in 1 / degrees the quantile that Welch derived (Biometrika 34, 1947). Satterthwaite's
    degrees agree to that order, too, but with three seeds they are too many: their 95 % intervals
    then miss the truth in up to 7.8 % of the cases, those of this quantile in at most 5.9 %, and
    99.75 % intervals in 2.1 % against 0.7 % (benchmarks/intervals.py, quantiles).
    """
    total = math.fsum(part.variance for part in parts)
    normal = t_quantile(level, MOST_DEGREES) ** 2
    beyond = (
        (part.variance / total) ** 2 * (t_quantile(level, part.degrees) ** 2 - normal)
        for part in parts
    )
    return math.sqrt(normal + math.fsum(beyond))


def interval_of(
    centre: float, parts: Sequence[Part], level: float = LEVEL, largest: float | None = None
) -> tuple[float, float] | None:
    """Interval around a mean whose variance is the sum of ``parts``; None without any.

    Args:
        centre: the mean.
        parts: of its variance.
        level: of confidence.
        largest: of a share, its largest value. The interval is then symmetric on the logit scale,
            so that it stays within the bounds; near them the sampling distribution is skewed, and
            intervals symmetric on the share itself miss the truth too often (Pepe, The statistical
            evaluation of medical tests, 2003, section 5.2, on the area under a curve).
    """
    if not parts:
        return None
    error = math.sqrt(math.fsum(part.variance for part in parts))
    half = quantile_of_sum(parts, level) * error if error > 0 else 0.0
    if largest is None or not 0 < centre < largest:
        return centre - half, centre + half
    share = centre / largest
    reach = half / largest / (share * (1 - share))
    low, high = (float(expit(logit(share) + way * reach)) for way in (-1, 1))
    return largest * low, largest * high


def tail_of_sum(t: float, parts: Sequence[Part]) -> float:
    """How often a mean is further than ``t`` standard errors from the truth, on either side.

    Far out in the tails, where a correction for many comparisons looks, Satterthwaite's degrees are
    too many, and :func:`quantile_of_sum` is too short: of intervals for one of seven comparisons,
    with three seeds, up to 3.1 and 1.35 % miss in place of 0.71 (benchmarks/intervals.py,
    quantiles). So the tail is that of each part's own t,
    weighted with its variance, as Cochran (Biometrics 20, 1964) weights critical values. Of one
    part it is Student's t.
    """
    total = math.fsum(part.variance for part in parts)
    return 2 * math.fsum(p.variance / total * float(stdtr(p.degrees, -t)) for p in parts)


def p_value(centre: float, parts: Sequence[Part]) -> float:
    """Two-sided p-value for a true mean of zero, by :func:`tail_of_sum`."""
    error = math.sqrt(math.fsum(part.variance for part in parts))
    if error == 0:
        return 1.0 if centre == 0 else 0.0
    return tail_of_sum(abs(centre) / error, parts)


def quantile_of_difference(parts: Sequence[Part], level: float) -> float:
    """The number of standard errors that :func:`tail_of_sum` exceeds at a level of confidence."""
    ends = [t_quantile(level, part.degrees) for part in parts if part.variance > 0]
    low, high = 0.999 * min(ends), 1.001 * max(ends)  # so that rounding leaves it between them
    return float(brentq(lambda t: tail_of_sum(t, parts) - (1 - level), low, high))


def difference_interval(
    centre: float, parts: Sequence[Part], level: float = LEVEL
) -> tuple[float, float] | None:
    """Interval around a difference, of all that :func:`p_value` does not tell from it.

    None without any part of a variance.
    """
    if not parts:
        return None
    error = math.sqrt(math.fsum(part.variance for part in parts))
    half = quantile_of_difference(parts, level) * error if error > 0 else 0.0
    return centre - half, centre + half


def _welch(centre: float, parts: Sequence[Part]) -> tuple[float, float]:
    """The 95 % interval of Welch's test: Student's t with Satterthwaite's degrees."""
    error = math.sqrt(math.fsum(part.variance for part in parts))
    half = t_quantile(LEVEL, degrees_of_sum(parts)) * error if error > 0 else 0.0
    return centre - half, centre + half


def welch_interval(a: Sample, b: Sample, items: Sequence[Part] = ()) -> tuple[float, float] | None:
    """Welch's interval of mean(a) - mean(b); None where a spread is unknown.

    Args:
        a: one sample.
        b: the other.
        items: what the items add where the two were not scored on the same ones.
    """
    if a.part is None or b.part is None:
        return None
    return _welch(a.mean - b.mean, [a.part, b.part, *items])


def borrowed_interval(
    ours: Sample, printed: float, repeats: int, items: Sequence[Part] = ()
) -> tuple[float, float] | None:
    """Interval of our mean minus a printed one whose spread is taken to be ours.

    One variance is estimated, from n - 1 degrees of freedom, and serves both means.
    """
    if ours.sd is None:
        return None
    part = Part(ours.sd**2 * (1 / ours.n + 1 / repeats), ours.n - 1)
    return _welch(ours.mean - printed, [part, *items])


def relative_gains(
    scores: np.ndarray, references: np.ndarray, lower_is_better: Sequence[bool]
) -> np.ndarray:
    """Gains (K, ...) of scores over references, as fractions; NaN where a reference is zero.

    Those of task k are (-1)^{l_k} (M_{m,k} - M_{s,k}) / |M_{s,k}|, l_k = 1 where lower is better:
    as in the paper, whose references are positive, and above zero for what is better in any case.

    Args:
        scores: (K, ...), a row a task.
        references: of the same shape.
        lower_is_better: of each task.
    """
    undefined = np.full(scores.shape, np.nan)
    gains = np.divide(scores - references, np.abs(references), out=undefined, where=references != 0)
    turned: np.ndarray = np.where(np.asarray(lower_is_better, bool), -1.0, 1.0)
    found: np.ndarray = gains * turned.reshape(-1, *[1] * (scores.ndim - 1))
    return found


def delta_m(
    scores: Sequence[float], references: Sequence[float], lower_is_better: Sequence[bool]
) -> float | None:
    """Average relative gain over the single-task reference (RotoGrad submission, Eq. 9).

    The mean of :func:`relative_gains` over tasks: a fraction; None where a reference is zero.

    Raises:
        ValueError: the three are of different tasks.
    """
    if not len(scores) == len(references) == len(lower_is_better):
        raise ValueError("scores, references and directions are of different tasks")
    ours, theirs = np.array([scores, references], np.float64)
    gain = float(relative_gains(ours, theirs, lower_is_better).mean())
    return None if math.isnan(gain) else gain
