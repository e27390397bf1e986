"""What is asked when a sentence is held against numbers: table cells, sides, and words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np

from counterpoise.evaluation.measured import WITHOUT_ITEMS, Measured
from counterpoise.reproduction.ours import CONSTANT, Scores, ours_of
from counterpoise.reproduction.verdicts import FEWEST_SEEDS
from counterpoise.spec.claim import Comparison, Word
from counterpoise.spec.paper import Mark, Paper
from counterpoise.wording import plural

TIMES = ("seconds_per_step", "training_seconds")
"""Costs that are times."""


@dataclass(frozen=True)
class Evidence:
    """What one source of numbers says.

    Attributes:
        word: None where it says nothing.
        steps: each comparison in words.
        marks: marks of the runs, or of the printed numbers, behind it.
        missing: table cells that it lacks.
    """

    word: Word | None
    steps: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Numbers:
    """Printed numbers and ours, by reference ``table/row/column``.

    ``resamples`` gives ours with what the items add to their uncertainty; without it, differences
    are judged over seeds alone. ``shared_by`` is how many comparisons share one error in twenty,
    and ``jobs_apart`` by what factor two times must be apart to decide anything.
    """

    def __init__(
        self,
        tables: dict[str, Any],
        resamples: Callable[[str], Measured | None] | None = None,
        *,
        first_hand: bool = False,
        shared_by: int = 1,
        jobs_apart: float = 1.0,
    ) -> None:
        self._tables, self._resamples, self._first_hand = tables, resamples, first_hand
        self.shared_by, self.jobs_apart = shared_by, jobs_apart

    @property
    def first_hand(self) -> Numbers:
        """The same, but printed numbers only that are the authors' own, as they print them."""
        return Numbers(self._tables, self._resamples, first_hand=True)

    def entry(self, ref: str) -> dict[str, Any]:
        """One cell of a table."""
        table, row, column = ref.split("/")
        found: dict[str, Any] = self._tables[table][row][column]
        return found

    def printed(self, ref: str) -> float | None:
        """The printed value."""
        value = self.entry(ref)["printed_value"]
        if value is None or (self._first_hand and self.origins(ref)):
            return None
        return float(value)

    def margin(self, ref: str) -> float:
        """The margin; :func:`counterpoise.checks.check_paper` sees to it that there is one."""
        return float(self.entry(ref)["margin"])

    def sign(self, ref: str) -> float:
        """+1 where higher is better, -1 where lower is."""
        return -1.0 if self.entry(ref)["better"] == "lower" else 1.0

    def ours(self, ref: str) -> Measured | None:
        """Our number; None where there is none that came to a good end."""
        ours = self.entry(ref)["ours"]
        if ours is None or ours["trouble"]:
            return None
        found = self._resamples(ref) if self._resamples is not None else None
        return Measured(ours["values"]) if found is None else found

    def origins(self, ref: str) -> set[str]:
        """Marks of the printed number, where it is not the authors' own measurement."""
        return {*self.entry(ref)["marks"]} & {*get_args(Mark)}

    def marks(self, refs: Iterable[str]) -> list[str]:
        """Marks of our numbers, without those that are of the printed ones beside them."""
        found = {mark for ref in refs for mark in self.entry(ref)["marks"]}
        return sorted(found - {*get_args(Mark)})

    def failed(self, ref: str) -> bool:
        """Whether a run behind our number has come to a bad end."""
        return str(self.entry(ref)["verdict"]) == "failed"

    def of_one_job(self, ref: str) -> str:
        """Why a time is worth little, in words; empty of all else."""
        timed = self.entry(ref).get("metric") in TIMES
        return "with all seeds timed in one job" if timed else ""

    def measurable(self, ref: str) -> bool:
        """Whether this project could have a number of its own there."""
        return bool(self.entry(ref).get("measurable", True))


def resamples_of(scores: Scores, paper: Paper) -> Callable[[str], Measured | None]:
    """Where :class:`Numbers` finds our numbers with their resamples."""

    def find(ref: str) -> Measured | None:
        table, row, column = paper.at(ref)
        ours, _ = ours_of(scores, paper.id, table.quantity(row, column), table.baseline)
        return None if ours is None else ours.measured

    return find


def within(difference: float, margin: float) -> bool:
    """Whether a difference of decimals is at most a margin, whatever their last binary digits."""
    return difference <= margin * (1 + 1e-9)


def in_pairs(one: Measured, other: Measured) -> tuple[Measured, Measured]:
    """Both by the same seeds: a constant predictor's score stands beside each of the other's.

    On resamples of the items it is what it is on all of them, or it has lost them.
    """

    def beside(this: Measured, that: Measured) -> Measured:
        if CONSTANT not in this.values:
            return this
        value, draws = this.values[CONSTANT], that.draws
        seeds = dict.fromkeys(that.values, value)
        if draws is None or this.lost:
            return Measured(seeds, lost=this.lost)
        return Measured(seeds, replace(draws, values=np.full_like(draws.values, value)))

    return beside(one, other), beside(other, one)


def wanted(numbers: Numbers, comparison: Comparison) -> float:
    """+1 where left must be above right, or may not be far below it, -1 the other way round."""
    sign = {"higher": 1.0, "lower": -1.0}
    if comparison.expect in sign:
        return sign[comparison.expect]
    return numbers.sign(comparison.left) * (-1.0 if comparison.expect == "worse" else 1.0)


def undecidable(found: Measured) -> str:
    """Why our runs may decide nothing by a number, in words; empty where they may."""
    if len(found.values) < FEWEST_SEEDS:
        return plural(len(found.values), "seed")
    return WITHOUT_ITEMS if found.lacks_items else ""


def beyond(low: float, high: float, bound: float = 0.0) -> Word:
    """Whether a number is above a bound.

    ``low`` is the lower end of its interval and ``high`` the upper one, which may be of a stricter
    interval.
    """
    return "holds" if low > bound else "does not hold" if high < bound else "inconclusive"


def near(interval: tuple[float, float], strict: tuple[float, float], margin: float) -> Word:
    """Whether a difference is within a margin.

    It is if its interval is; it is not if all of the strict interval lies beyond the margin.
    """
    if -margin <= interval[0] and interval[1] <= margin:
        return "holds"
    return "does not hold" if strict[0] > margin or strict[1] < -margin else "inconclusive"


def combine(words: list[Word]) -> Word:
    """The word for a sentence whose parts have these words."""
    if "does not hold" in words:
        return "does not hold"
    return "holds" if all(word == "holds" for word in words) else "inconclusive"


def sides_of(comparison: Comparison) -> list[str]:
    """The table cells of a comparison."""
    return [side for side in (comparison.left, comparison.right) if isinstance(side, str)]


def right_side(comparison: Comparison) -> str:
    """The right side in words."""
    times = "" if comparison.times == 1 else f"{comparison.times:.3g} times "
    return f"{times}{comparison.right}"


def gather(results: list[tuple[Word | None, str]], missing: list[str]) -> Evidence:
    """Evidence of several comparisons; with some cells missing nothing holds."""
    words = [word for word, _ in results if word is not None]
    steps = [text for _, text in results if text]
    if not words:
        return Evidence(None, steps, missing=missing)
    word = combine(words)
    if missing and word == "holds":
        word = "inconclusive"
    return Evidence(word, steps, missing=missing)
