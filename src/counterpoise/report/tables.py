"""A paper's tables as the page shows them: printed over ours, with difference and verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from counterpoise.reference import Reference
from counterpoise.report.beside import ReferenceLine, reference_lines, shared_by, without
from counterpoise.report.entries import (
    NOT_RUN,
    WITHOUT_RUN,
    Number,
    count_states,
    number_view,
)
from counterpoise.report.legend import MARKS, NUMBERS, Term, common, mark
from counterpoise.report.numbers import plural
from counterpoise.report.text import anchor, row_name
from counterpoise.spec.paper import Paper, Row, Table

LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Line:
    """One row of the paper's table, which is up to three rows of ours, and one a reference."""

    id: str
    label: str
    group: str
    numbers: tuple[Number, ...]
    marks: tuple[Term, ...]
    seeds: int
    note: str
    has_printed: bool
    has_ours: bool
    has_difference: bool
    references: tuple[ReferenceLine, ...] = ()

    @property
    def height(self) -> int:
        """Rows on the page."""
        own = max(1, self.has_printed + self.has_ours + self.has_difference)
        return own + len(self.references)


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


@dataclass(frozen=True)
class TableView:
    """One table.

    Attributes:
        marks: those that all its numbers of ours share.
        reason: why nothing of it is run, where that has one reason.
        notes: footnotes by letter.
        compact: nothing is run, so that it shows printed numbers only.
        beside: references that say something of it, with the marks that all their lines share.
    """

    id: str
    spec: Table
    lines: tuple[Line, ...]
    column_notes: dict[str, str]
    notes: dict[str, str]
    counts: dict[str, int]
    summary: str
    marks: tuple[Term, ...]
    reason: str
    compact: bool
    stem: str
    """Its file for machines and authors, without the suffix."""
    spread_width: int
    spreads: tuple[bool, ...]
    """Which columns have a spread."""
    intervals: Intervals
    beside: tuple[tuple[str, str, tuple[Term, ...]], ...] = ()


class _Notes:
    """Footnotes, each text once."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def letter(self, text: str) -> str:
        """The letter of a text; empty for an empty one."""
        if not text:
            return ""
        number = len(self._letters)
        again = number // len(LETTERS)
        new = LETTERS[number % len(LETTERS)] * (again + 1)
        return self._letters.setdefault(text, new)

    @property
    def texts(self) -> dict[str, str]:
        """Letter to text."""
        return {letter: text for text, letter in self._letters.items()}


def table_view(
    paper: Paper, table: Table, entries: dict[str, Any], references: Sequence[Reference] = ()
) -> TableView:
    """The view of one table."""
    notes = _Notes()
    reasons = {
        (row.id, column.id): _reason(entries[row.id][column.id]) for row, column in table.cells()
    }
    told = {reason for reason in reasons.values() if reason}
    nothing = all(entry["ours"] is None for row in entries.values() for entry in row.values())
    shared = told.pop() if nothing and len(told) == 1 else ""
    if shared:
        reasons = dict.fromkeys(reasons, "")
    column_notes = {}
    for column in table.columns:
        column_reasons = {reasons[row.id, column.id] for row in table.rows}
        if len(column_reasons) == 1 and len(table.rows) > 1:
            column_notes[column.id] = notes.letter(column_reasons.pop())
            for row in table.rows:
                reasons[row.id, column.id] = ""
    lines = tuple(_line(paper, table, row, entries[row.id], reasons, notes) for row in table.rows)
    lines = tuple(
        replace(line, references=reference_lines(paper, table, row, references))
        for line, row in zip(lines, table.rows, strict=True)
    )
    beside = shared_by(reference for line in lines for reference in line.references)
    lines = tuple(replace(line, references=without(line.references, beside)) for line in lines)
    compact = nothing and not beside
    counts = count_states(entries)
    # Of every line, or of every line with a number of ours.
    shared_marks = common(line.marks for line in [s for s in lines if s.has_ours] or lines)
    lines = tuple(
        replace(line, marks=tuple(term for term in line.marks if term not in shared_marks))
        for line in lines
    )
    widths = [
        max((len(t) for line in lines for t in _spreads(line, place)), default=0)
        for place in range(len(table.columns))
    ]
    return TableView(
        id=anchor("table", paper.id, table.id),
        spec=table,
        lines=lines,
        column_notes=column_notes,
        notes=notes.texts,
        counts=counts,
        summary=_summary(counts),
        marks=shared_marks,
        reason=shared.removeprefix(f"{NOT_RUN}: "),  # the summary says so much
        compact=compact,
        stem=f"tables/{paper.id}-{table.id}",
        spread_width=max(widths, default=0),
        spreads=tuple(width > 0 for width in widths),
        intervals=_intervals(
            [column.label for column in table.columns],
            [(row_name(line.group, line.label), line.numbers) for line in lines],
        ),
        beside=tuple((name, tier, marks) for (name, tier), marks in beside.items()),
    )


def _intervals(columns: Sequence[str], lines: Sequence[tuple[str, Sequence[Number]]]) -> Intervals:
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


def _spreads(line: Line, place: int) -> list[str]:
    number = line.numbers[place]
    others = [found.ours_spread for r in line.references if (found := r.numbers[place]) is not None]
    return [number.printed_spread, number.ours_spread, *others]


def _summary(counts: dict[str, int]) -> str:
    parts = [f"{n} {NUMBERS[key].word}" for key, n in counts.items() if n]
    total = sum(counts.values())
    if len(parts) < 2:
        return f"{plural(total, 'printed number')}, {NUMBERS[_only(counts)].word}" if total else ""
    return f"{plural(total, 'printed number')}: {', '.join(parts)}"


def _only(counts: dict[str, int]) -> str:
    return next(key for key, number in counts.items() if number)


def _reason(entry: dict[str, Any]) -> str:
    if entry["verdict"] == "failed":
        return f"{NUMBERS['failed'].word}: {entry['rule']}"
    if entry["ours"] is not None or entry["verdict"] == "undefined":
        return str(entry["reason"])
    if entry["verdict"] in WITHOUT_RUN:
        return f"{entry['verdict']}: {entry['reason']}"
    return ""


def _line(
    paper: Paper,
    table: Table,
    row: Row,
    entries: dict[str, Any],
    reasons: dict[tuple[str, str], str],
    notes: _Notes,
) -> Line:
    own = [reasons[row.id, column.id] for column in table.columns if reasons[row.id, column.id]]
    printed = sum(1 for entry in entries.values() if entry["printed"])
    said_once = len(set(own)) == 1 and len(own) >= printed
    told = [own[0]] if said_once else []
    told += [text for text in (row.note, row.origin and f"printed numbers: {row.origin}") if text]
    letters = [notes.letter(text) for text in dict.fromkeys(told)]
    numbers = tuple(
        number_view(
            paper,
            entries[column.id],
            "" if said_once else notes.letter(reasons[row.id, column.id]),
        )
        for column in table.columns
    )
    seeds = {number.seeds for number in numbers if number.ours}
    names = {name for entry in entries.values() for name in entry["marks"]}
    marks = [mark(name) for name in [*MARKS, *sorted(names - set(MARKS))] if name in names]
    missing = NUMBERS["missing"]
    shown = [number for number in numbers if number.printed]
    if shown and all(number.verdict is missing for number in shown):
        # The whole row is missing: one word beside its name says so.
        marks.append(missing)
        numbers = tuple(replace(number, verdict=None) for number in numbers)
    return Line(
        id=anchor("row", paper.id, table.id, row.id),
        label=row.label,
        group=row.group,
        numbers=numbers,
        marks=tuple(marks),
        seeds=seeds.pop() if len(seeds) == 1 else 0,
        note=", ".join(letters),
        has_printed=any(number.printed for number in numbers),
        has_ours=any(number.ours for number in numbers),
        has_difference=any(n.difference or (n.ours and n.verdict) for n in numbers),
    )
