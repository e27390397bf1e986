"""Tables put together from the scores that exist, where the job that makes them has not ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.plan import Plan
from counterpoise.report.cell_files import CellFiles, missing_of_run
from counterpoise.report.origin import FoundScores
from counterpoise.reproduction.tables import make_entry
from counterpoise.spec.paper import Column, Paper, Row, Table, parse_printed


def tables_from_scores(
    root: Path, plan: Plan, paper: Paper, cells: dict[str, CellFiles]
) -> dict[str, Any]:
    """All tables of a paper, each number by itself: one that is missing hides no other."""
    older = {k: (files.record, files.scores) for k, files in cells.items() if files.older}
    scores = FoundScores(root, plan, older)

    def entry(table: Table, row: Row, column: Column, text: str) -> dict[str, Any]:
        try:
            found = make_entry(scores, paper, table, row, column, text)
            if found["ours"] is not None and older.keys() & {*found["ours"]["cells"]}:
                found["marks"].append("stale")
            return found
        except (UserError, KeyError, TypeError):
            return missing_entry(plan, paper, table, row, column, text, cells)

    return {
        table.id: {
            row.id: {
                column.id: entry(table, row, column, text)
                for column, text in zip(table.columns, row.printed, strict=True)
            }
            for row in table.rows
        }
        for table in paper.tables
    }


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
    quantity, printed = table.quantity(row, column), parse_printed(text)
    names = (quantity.run, table.baseline)
    runs = [plan.runs.get((paper.id, str(quantity.experiment), str(name))) for name in names]
    logs = [
        f"{notice.what}, see {notice.log}"
        for run in runs
        if run is not None
        for notice in missing_of_run(run, cells)
    ]
    return {
        "printed": text if printed is not None else None,
        "printed_value": float(printed.value) if printed is not None else None,
        "printed_spread": float(printed.spread) if printed and printed.spread else None,
        "ours": None,
        "difference": None,
        "interval": None,
        "margin": None,
        "marks": [row.mark] if row.mark else [],
        "verdict": "missing",
        "rule": "the job that makes our number has failed or has not run",
        "reason": "; ".join(dict.fromkeys(logs)) or "its scores cannot be read",
        "better": quantity.better,
        "metric": quantity.metric,
        "run": f"{quantity.experiment}/{quantity.run}" if runs[0] is not None else None,
        "reductions": list(runs[0].reductions) if runs[0] is not None else [],
    }
