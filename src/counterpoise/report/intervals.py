"""Behind a table: the interval of each number of ours, and the rule that decided on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.report.entries import Number


@dataclass(frozen=True)
class Intervals:
    """Numbers of ours with their row and column.

    Attributes:
        compared: some have a difference from a printed number.
        means: some are Δ_m, which can be computed from the means over seeds, too.
        rule: what decided all of them, where that is one rule; the rows do not repeat it.
    """

    rows: tuple[tuple[str, str, Number], ...]
    compared: bool
    means: bool
    rule: str


def intervals_of(
    columns: Sequence[str], lines: Sequence[tuple[str, Sequence[Number]]]
) -> Intervals:
    """Of the lines of a table, each a label with a number a column."""
    rows = tuple(
        (label, column, number)
        for label, numbers in lines
        for column, number in zip(columns, numbers, strict=True)
        if number.ours
    )
    rules = {number.rule for _, _, number in rows}
    return Intervals(
        rows,
        any(number.difference for _, _, number in rows),
        any(number.from_means for _, _, number in rows),
        rules.pop() if len(rules) == 1 else "",
    )
