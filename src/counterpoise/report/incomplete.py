"""Tables put together from the scores that exist, where the job that makes them has not ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.errors import UserError
from counterpoise.evaluation.measured import Measured
from counterpoise.files import read_json, read_parquet
from counterpoise.plan import Plan
from counterpoise.report.cell_files import CellFiles, missing_of_run
from counterpoise.reproduction.claims import sharing
from counterpoise.reproduction.evidence import Numbers, resamples_of
from counterpoise.reproduction.ours import Scores
from counterpoise.reproduction.tables import make_entry, planned_entry, tables_of
from counterpoise.reproduction.timing import jobs_apart
from counterpoise.spec.names import DELTA_M
from counterpoise.spec.paper import Column, Paper, Row, Table

if TYPE_CHECKING:
    import pandas as pd

UNREADABLE = (UserError, KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What files of another shape end in."""


class FoundScores(Scores):
    """Scores of a plan, as far as its cells can be read: older ones where theirs are missing."""

    def __init__(self, root: Path, plan: Plan, cells: dict[str, CellFiles]) -> None:
        super().__init__(root, plan)
        self._cells = cells

    def file(self, key: str) -> Any:
        """The scores of a cell, with their resamples, which the report does not keep."""
        if key not in self._files:
            files = self._cells[key]
            _there(files, files.scores)
            self._files[key] = read_json(files.scored)
        return self._files[key]

    def record(self, key: str) -> Any:
        """The training record of a cell."""
        return _there(self._cells[key], self._cells[key].record)

    def history(self, key: str) -> pd.DataFrame | None:
        """The history that lies beside the record."""
        if key not in self._histories:
            path = self._cells[key].scored.with_name("history.parquet")
            self._histories[key] = read_parquet(path, "history") if path.is_file() else None
        return self._histories[key]


def numbers_found(
    root: Path, plan: Plan, paper: Paper, cells: dict[str, CellFiles], tables: dict[str, Any]
) -> Numbers:
    """What claims are held against where they are judged from what exists.

    A number whose resamples cannot be read decides nothing: over seeds alone it would say too much.
    """
    scores, numbers = FoundScores(root, plan, cells), Numbers(tables)
    find = resamples_of(scores, paper)

    def found(ref: str) -> Measured:
        try:
            known = find(ref)
        except UNREADABLE:
            known = None
        values = numbers.entry(ref)["ours"]["values"]
        if known is None or known.values.keys() != values.keys():
            return Measured(values, lost=True)
        return known

    timed = [one.key for one in plan.cells_of(paper.id) if cells[one.key].record is not None]
    apart = jobs_apart(scores, timed)
    return Numbers(tables, found, shared_by=sharing(plan, paper), jobs_apart=apart)


def _there(files: CellFiles, found: dict[str, Any] | None) -> dict[str, Any]:
    if found is None:
        raise UserError(files.missing.what if files.missing else f"{files.training.key} is missing")
    return found


def tables_from_scores(
    root: Path, plan: Plan, paper: Paper, cells: dict[str, CellFiles]
) -> dict[str, Any]:
    """All tables of a paper, each number by itself: one that is missing hides no other."""
    older = {key for key, files in cells.items() if files.older}
    scores = FoundScores(root, plan, cells)

    def entry(table: Table, row: Row, column: Column, text: str) -> dict[str, Any]:
        try:
            found = make_entry(scores, paper, table, row, column, text)
            if found["ours"] is not None and older & {*found["ours"]["cells"]}:
                found["marks"].append("stale")
            return found
        except UNREADABLE:
            return missing_entry(plan, paper, table, row, column, text, cells)

    return tables_of(paper, entry)


def missing_entry(
    plan: Plan,
    paper: Paper,
    table: Table,
    row: Row,
    column: Column,
    text: str,
    cells: dict[str, CellFiles],
) -> dict[str, Any]:
    """An entry of a table whose number should exist and does not, in the form of the others."""
    quantity = table.quantity(row, column)
    experiment, name = paper.run_of(quantity)
    behind = [name, *([str(table.baseline)] if quantity.metric == DELTA_M else [])]
    runs = [plan.runs.get((paper.id, experiment, run)) for run in behind]
    logs = [
        f"{notice.what}, see {notice.log}"
        for run in runs
        if run is not None
        for notice in missing_of_run(run, cells)
    ]
    return planned_entry(table, row, column, text, runs[0]) | {
        "verdict": "missing",
        "rule": "the job that makes our number has failed or has not run",
        "reason": "; ".join(dict.fromkeys(logs)) or "its scores cannot be read",
    }
