"""How much of committed results would be made in the same way now; the rest is stale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from counterpoise.code import code_digests
from counterpoise.files import digest_of
from counterpoise.plan import Plan
from counterpoise.planning.exhibits import CLAIMS, EXPLAIN, TABLES
from counterpoise.planning.identity import DISPLAY
from counterpoise.spec.paper import Paper, Table


@dataclass(frozen=True)
class Standing:
    """What of committed results is current, and what is not.

    Attributes:
        current: cells that the tier would train and score in the same way now.
        stale: its other cells.
        older: tables and claims, by :func:`table_name` and :func:`claim_name`, that it would make
            in another way.
    """

    current: frozenset[str] = frozenset()
    stale: frozenset[str] = frozenset()
    older: frozenset[str] = frozenset()


def table_name(paper: str, table: str) -> str:
    """A table among all tables and claims."""
    return f"{paper}/tables/{table}"


def claim_name(paper: str, claim: str) -> str:
    """A claim among all tables and claims."""
    return f"{paper}/claims/{claim}"


def standing_of(
    cells: Mapping[str, str | None], exhibits: Mapping[str, str], plan: Plan | None
) -> Standing:
    """How committed results stand to a plan of their tier.

    Args:
        cells: to the digest of the code of their scores; None where that is not known.
        exhibits: what :func:`exhibits_of` gave when they were made.
        plan: None if there is no such tier any more.
    """
    planned = plan.trainings if plan is not None else {}
    current = {
        key
        for key, scoring in cells.items()
        if key in planned and scoring in (None, planned[key].scoring)
    }
    now = exhibits_of(plan) if plan is not None and exhibits else {}
    older = (name for name, digest in exhibits.items() if now.get(name) != digest)
    return Standing(frozenset(current), frozenset(cells.keys() - current), frozenset(older))


def exhibits_of(plan: Plan) -> dict[str, str]:
    """Each table and claim of a plan's papers to a digest of how it is made.

    Unlike those in the names of files, these digests are not of the cells whose scores are shown: a
    cell that is made anew makes its own numbers stale, and no others.
    """
    tables, claims = (digest_of(code_digests([entry], DISPLAY)) for entry in (TABLES, CLAIMS))
    found = {}
    for paper in (made.paper for made in plan.papers.values()):
        for table in paper.tables:
            found[table_name(paper.id, table.id)] = digest_of([_table(plan, paper, table), tables])
        for claim in paper.claims:
            test = claim.test.model_dump(mode="json")
            found[claim_name(paper.id, claim.id)] = digest_of([test, claims])
    return found


_WORDS: Any = {
    **dict.fromkeys(("title", "place", "note"), True),
    "rows": {"__all__": {"label", "group", "note", "origin"}},
    "columns": {"__all__": {"label"}},
}
"""What a table says to people, which the report takes from the paper's file as it is now."""


def _table(plan: Plan, paper: Paper, table: Table) -> Any:
    """What decides a table's numbers besides code and cells: with it, marks of runs, and maps."""
    shown = [table.quantity(row, column) for row in table.rows for column in table.columns]
    marks = {}
    for experiment, run_name in {paper.run_of(quantity) for quantity in shown}:
        if (run := plan.runs.get((paper.id, experiment, run_name))) is not None:
            spec = paper.experiments[experiment].runs[run_name]
            marks[f"{experiment}/{run_name}"] = [run.marks, spec.role, spec.calibrated]
    explained = {q.explanation for q in shown if q.explanation is not None}
    maps = {
        name: [
            paper.explanations[name].model_dump(mode="json", exclude={"label"}),
            code_digests([EXPLAIN], DISPLAY),
        ]
        for name in explained
    }
    return [table.model_dump(mode="json", exclude=_WORDS), marks, maps]
