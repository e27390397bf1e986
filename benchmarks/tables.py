"""Tables of what was measured: for people as markdown, for programs as plain data."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.ratios import Spent, ratio

NONE = "-"
"""A cell that has no number."""


@dataclass
class Table:
    """One table.

    Attributes:
        title: what was done.
        columns: their names.
        rows: a cell for each column.
        spent: what the rows are made of, by arm.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    spent: dict[str, Spent] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether an arm has failed by a fault."""
        return any(one.failed for one in self.spent.values())

    def markdown(self) -> str:
        """Title and table."""
        head, *lines = (f"| {' | '.join(line)} |" for line in (self.columns, *self.rows))
        return "\n".join([self.title, "", head, "|---" * len(self.columns) + "|", *lines])

    def plain(self) -> dict[str, Any]:
        """For a JSON file; seconds by block, memory in bytes."""
        return dataclasses.asdict(self)


def read(told: dict[str, Any]) -> Table:
    """A table from :meth:`Table.plain`."""
    spent = {name: Spent(**one) for name, one in told["spent"].items()}
    rows = [tuple(row) for row in told["rows"]]
    return Table(told["title"], tuple(told["columns"]), rows, spent)


def milliseconds(one: Spent) -> str:
    """The median, or why there is none."""
    return one.failure or f"{statistics.median(one.seconds) * 1e3:.1f}"


def compared(one: Spent, other: Spent) -> tuple[str, str]:
    """The ratio of two arms and its interval, where both have times."""
    if one.failure or other.failure:
        return NONE, NONE
    value, low, high = ratio(one.seconds, other.seconds)
    return f"{value:.3f}", f"{low:.3f} to {high:.3f}"


def ratios(title: str, spent: dict[str, Spent], reference: str) -> Table:
    """Every arm's time relative to one of them."""
    rows = [
        (name, milliseconds(one), *compared(one, spent[reference])) for name, one in spent.items()
    ]
    return Table(title, ("step", "ms", f"ratio to {reference}", "95 %"), rows, spent)


def memory(title: str, peaks: dict[str, int | str], reference: str | None = None) -> Table:
    """Peak memory of every arm.

    Args:
        peaks: bytes, or why there are none.
        reference: the arm that the others are relative to, if there is to be such a column.
    """

    def mebibytes(value: int | str) -> str:
        return value if isinstance(value, str) else f"{value / 2**20:.0f}"

    rows = [(name, mebibytes(value)) for name, value in peaks.items()]
    if reference is None:
        return Table(title, ("step", "peak memory, MiB"), rows)
    least = peaks[reference]
    rows = [(*row, share(peaks[row[0]], least)) for row in rows]
    return Table(title, ("step", "peak memory, MiB", f"ratio to {reference}"), rows)


def share(one: int | str, other: int | str) -> str:
    """The ratio of two peaks of memory, where both are known."""
    if isinstance(one, str) or isinstance(other, str) or not other:
        return NONE
    return f"{one / other:.2f}"


def medians(spent: dict[str, Spent], names: Sequence[str]) -> list[float]:
    """Median seconds of some arms that have times."""
    return [statistics.median(spent[name].seconds) for name in names if not spent[name].failure]
