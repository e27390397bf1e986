"""Committed results of larger runs as lines of a table, beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from counterpoise.reference import Reference
from counterpoise.report.entries import Number, number_view
from counterpoise.report.legend import MARKS, Term, common, mark
from counterpoise.report.text import anchor
from counterpoise.spec.paper import Paper, Row, Table


@dataclass(frozen=True)
class ReferenceLine:
    """A row's numbers in committed results of a larger run; empty where it has none.

    Attributes:
        marks: those of all its numbers.
    """

    name: str
    tier: str
    numbers: tuple[Number | None, ...]
    marks: tuple[Term, ...]
    seeds: int


def reference_lines(
    paper: Paper, table: Table, row: Row, references: Sequence[Reference]
) -> tuple[ReferenceLine, ...]:
    """What each reference says of a row; those that say nothing of it are left out."""
    found = []
    for reference in references:
        entries = [reference.entry(paper.id, table.id, row.id, c.id) for c in table.columns]
        views = tuple(
            None
            if entry is None
            else replace(
                number_view(paper, entry, ""),
                run=anchor("reference", reference.name, *entry["ours"]["cells"][0].split("/")),
            )
            for entry in entries
        )
        if not any(views):
            continue
        there = [entry for entry in entries if entry is not None]
        names = {name for entry in there for name in entry["marks"]}
        seeds = {view.seeds for view in views if view is not None}
        found.append(
            ReferenceLine(
                reference.name,
                reference.card.tier,
                views,
                tuple(mark(name) for name in MARKS if name in names),
                seeds.pop() if len(seeds) == 1 else 0,
            )
        )
    return tuple(found)


Shared = dict[tuple[str, str], tuple[Term, ...]]
"""References and their tiers, with the marks that all of their lines have."""


def shared_by(lines: Iterable[ReferenceLine]) -> Shared:
    """What the lines of each reference have in common."""
    found: dict[tuple[str, str], list[tuple[Term, ...]]] = {}
    for reference in lines:
        found.setdefault((reference.name, reference.tier), []).append(reference.marks)
    return {name: common(marks) for name, marks in found.items()}


def without(lines: Iterable[ReferenceLine], said: Shared) -> tuple[ReferenceLine, ...]:
    """Lines that do not repeat what is said of the whole table."""
    return tuple(
        replace(r, marks=tuple(t for t in r.marks if t not in said[r.name, r.tier])) for r in lines
    )
