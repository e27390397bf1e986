"""A score from several seeds on the same items, and what each adds to its uncertainty.

A score varies with the seed, with the items, and with the two together: which items a seed gets
wrong is also chance. Over n seeds on one set of items

    Var(mean) = (A + C) / n + B,

with A from the seed, B from the items and C from both together. The variance s^2 between seeds
estimates A + C. The bootstrap variance of the mean over seeds estimates B + C / n, so that adding
it to s^2 / n, as is often done, counts C / n twice; the covariance of two different seeds' scores
over resamples estimates B alone. That is what is added here (docs/statistics.md shows what
difference it makes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from counterpoise.evaluation.resampling import enough
from counterpoise.evaluation.statistics import (
    LEVEL,
    ROUNDING,
    Part,
    Sample,
    interval_of,
    relative_gains,
    summarise,
)

WITHOUT_ITEMS = "what the test items add is not known"
"""Of scores on different items, or undefined on many resamples: seeds alone say too much."""
WITHOUT_SPREAD = "without any spread"
"""Of what is the same in all seeds: nothing has been measured more than once."""


@dataclass(frozen=True)
class Draws:
    """Scores of each seed on resamples of the items.

    Attributes:
        values: (schemes, seeds, R), NaN where undefined.
        factors: what each scheme's variance counts.
        units: units of the rarer class, or of all items, that the items' variance rests on.
        items: names the items, so that only what was scored on the same ones is combined.
    """

    values: np.ndarray
    factors: tuple[int, ...]
    units: float
    items: str = ""


@dataclass(frozen=True)
class Measured:
    """A quantity by seed, with its resamples where it can be resampled.

    Attributes:
        largest: of a share (an accuracy, an area under a curve), its largest value.
        lost: made of scores with resamples that could not be combined.
        rounding: what the last digits of the scores that it is made of may come to in it.
    """

    values: dict[str, float]
    draws: Draws | None = None
    largest: float | None = None
    lost: bool = False
    rounding: float = field(default=0.0, compare=False)

    @cached_property
    def sample(self) -> Sample:
        """Mean and spread over seeds."""
        return summarise(list(self.values.values()))

    @cached_property
    def items(self) -> Part | None:
        """What the items add to the variance of the mean over seeds; None where it is unknown.

        Of one seed, whose own chance cannot be told from that of the items, it holds both.
        """
        if self.draws is None or not self.values or not enough(self.draws.values):
            return None
        found = [
            factor * _between_seeds(values)
            for values, factor in zip(self.draws.values, self.draws.factors, strict=True)
        ]
        # Never below what the items alone add, drawn as if they shared nothing.
        least = max(0.0, found[-1] / self.draws.factors[-1]) if len(found) > 1 else 0.0
        degrees = max(1.0, self.draws.units - 1)
        # Drawing from a sample of u units has (u - 1) / u of the variance of sampling them.
        return Part(max(math.fsum(found), least) * (degrees + 1) / degrees, degrees)

    @property
    def parts(self) -> list[Part]:
        """Seeds and items, as far as each is known."""
        return [part for part in (self.sample.part, self.items) if part is not None]

    @property
    def lacks_items(self) -> bool:
        """Whether it is of scores on items, and what these add to its uncertainty is unknown."""
        return self.lost or (self.draws is not None and self.items is None)

    @property
    def undecided(self) -> str:
        """Why no interval may tell it from zero, in words; empty where one may."""
        if self.lacks_items:
            return WITHOUT_ITEMS
        error = math.sqrt(math.fsum(part.variance for part in self.parts))
        return WITHOUT_SPREAD if self.parts and error <= self._last_digits else ""

    @property
    def _last_digits(self) -> float:
        return max(self.rounding, ROUNDING * abs(self.sample.mean))

    @property
    def alike(self) -> bool:
        """Whether several seeds yield the same up to rounding."""
        return self.sample.sd is not None and self.sample.sd <= self._last_digits

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Interval of the score over seeds and items; None where the items' part is unknown.

        One seed has no spread of its own, so that then only its items are covered.
        """
        if self.items is None:
            return None
        return interval_of(self.sample.mean, self.parts, level, self.largest)

    def scaled(self, factor: float) -> Measured:
        """In another unit."""
        found = combined([self], lambda values: factor * values[0])
        return replace(found, largest=None if self.largest is None else factor * self.largest)


Estimate = tuple[float, float | None, float | None]
"""A mean with the ends of its 95 % interval; None where that is unknown."""


def estimate(measured: Measured) -> Estimate:
    """The mean over seeds with its interval over seeds and items."""
    return measured.sample.mean, *(measured.interval() or (None, None))


def rounded(measured: Measured, names: tuple[str, str, str]) -> dict[str, float | None]:
    """The mean and the ends of its interval by these names, with four digits, for a figure's data.

    None where it is undefined.
    """
    found = estimate(measured) if measured.values else (None, None, None)
    return {
        name: None if value is None else round(value, 4)
        for name, value in zip(names, found, strict=True)
    }


def _between_seeds(draws: np.ndarray) -> float:
    """Mean covariance of two different seeds' draws (seeds, R); of one seed its variance."""
    known = draws[:, np.isfinite(draws).all(axis=0)]
    each = known.var(axis=1, ddof=1)
    n = len(known)
    if n == 1:
        return float(each[0])
    # Var(mean) holds each seed's variance once and each ordered pair's covariance once, over n^2.
    return float((n**2 * known.mean(axis=0).var(ddof=1) - each.sum()) / (n * (n - 1)))


def combined(parts: Sequence[Measured], function: Callable[[np.ndarray], np.ndarray]) -> Measured:
    """A function of several scores of the same seeds and items: a mean, a difference, Delta_m.

    Args:
        parts: the scores; seeds that one of them lacks are left out.
        function: (parts, ...) to (...), NaN where undefined. It sees the scores of all seeds, then
            those on resamples, so that their dependence is kept.
    """
    seeds = [seed for seed in parts[0].values if all(seed in part.values for part in parts)]
    if not seeds:
        return Measured({})
    given = np.array([[part.values[seed] for seed in seeds] for part in parts], np.float64)
    values, rounding = function(given), _rounding(parts, given, function)
    kept = np.isfinite(values)
    named = {seed: float(v) for seed, v, ok in zip(seeds, values, kept, strict=True) if ok}
    draws = [part.draws for part in parts]
    first = draws[0]
    known = [d for d in draws if d is not None and first is not None and d.items == first.items]
    if first is None or len(known) < len(parts):
        lost = any(d is not None for d in draws) or any(part.lost for part in parts)
        return Measured(named, lost=lost, rounding=rounding)
    rows = [
        d.values[:, [list(part.values).index(seed) for seed in named]]
        for part, d in zip(parts, known, strict=True)
    ]
    units = len(known) / math.fsum(1 / max(1.0, d.units) for d in known)
    together = replace(first, values=function(np.stack(rows)), units=units)
    return Measured(named, together, rounding=rounding)


def _rounding(
    parts: Sequence[Measured], given: np.ndarray, function: Callable[[np.ndarray], np.ndarray]
) -> float:
    """How far a function of scores (parts, seeds) moves at most with their last digits."""
    total, here = 0.0, function(given)
    for k, part in enumerate(parts):
        moved = given.copy()
        moved[k] += max(part.rounding, ROUNDING * float(np.abs(given[k]).max()))
        total += float(np.nan_to_num(np.abs(function(moved) - here)).max())
    return total


def mean_of(parts: Sequence[Measured]) -> Measured:
    """Mean over tasks, of those that are defined on the items at hand."""

    def mean(values: np.ndarray) -> np.ndarray:
        known = np.isfinite(values)
        total: np.ndarray = np.where(known, values, 0.0).sum(axis=0)
        empty = np.full(total.shape, np.nan)
        found: np.ndarray = np.divide(total, known.sum(axis=0), out=empty, where=known.any(axis=0))
        return found

    bounds = {part.largest for part in parts}
    return replace(combined(parts, mean), largest=bounds.pop() if len(bounds) == 1 else None)


def gain_of(
    scores: Sequence[Measured], references: Sequence[Measured], lower_is_better: Sequence[bool]
) -> Measured:
    """Delta_m of each seed, as :func:`counterpoise.evaluation.statistics.delta_m` defines it."""
    count = len(scores)

    def gain(values: np.ndarray) -> np.ndarray:
        found: np.ndarray = relative_gains(values[:count], values[count:], lower_is_better).mean(0)
        return found

    return combined([*scores, *references], gain)
