"""The same results for machines: one JSON file, and one CSV file a table."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from counterpoise.files import write_text
from counterpoise.plan import Plan
from counterpoise.report.entries import state_of
from counterpoise.report.inputs import Inputs
from counterpoise.report.overview import PaperView
from counterpoise.report.text import anchor
from counterpoise.spec.paper import Table

FORMAT = 1

COLUMNS = (
    "group", "row", "column", "printed", "printed_value", "printed_spread", "ours_mean", "ours_sd",
    "ours_n", "ours_from_means", "difference", "interval_low", "interval_high", "margin", "state",
    "marks", "metric", "better", "run", "reason",
)  # fmt: skip


def results(plan: Plan, papers: tuple[PaperView, ...], inputs: Inputs) -> dict[str, Any]:
    """Everything that the page shows, for machines."""
    return {
        "format": FORMAT,
        "tier": {
            "name": plan.tier_name,
            "title": plan.tier.title,
            "description": plan.tier.description,
        },
        "commit": inputs.commit,
        "counts": {
            view.spec.id: {
                "numbers": {share.term.key: share.number for share in view.numbers_bar.shares},
                "claims": {share.term.key: share.number for share in view.claims_bar.shares},
            }
            for view in papers
        },
        "numbers": [n for name in plan.papers for n in _numbers(plan, name, inputs)],
        "claims": [c for name in plan.papers for c in _claims(plan, name, inputs)],
        "comparisons": _of_tables(plan, inputs, "comparisons"),
        "rankings": [
            {"paper": name, **entry}
            for name in plan.papers
            for entry in inputs.papers[name].rankings
        ],
        "descriptions": _of_tables(plan, inputs, "descriptions"),
        "figures": [f for view in papers for f in _figures(view, inputs)],
        "runs": [_run(plan, key) for key in plan.runs],
        "cells": {key: _cell(key, inputs) for key in sorted(plan.trainings)},
        "papers": {
            name: {
                "title": made.paper.title,
                "short": made.paper.short,
                "year": made.paper.year,
                "source": made.paper.source.model_dump(mode="json"),
                "bibtex": made.paper.bibtex,
                "missing": [{"what": n.what, "log": n.log} for n in inputs.papers[name].notices],
            }
            for name, made in plan.papers.items()
        },
    }


def _numbers(plan: Plan, name: str, inputs: Inputs) -> list[dict[str, Any]]:
    paper = plan.papers[name].paper
    return [
        {
            "paper": name,
            "table": table.id,
            "place": table.place,
            "row": row.id,
            "row_label": row.label,
            "group": row.group,
            "column": column.id,
            "column_label": column.label,
            "link": anchor("row", name, table.id, row.id),
            **(entry := inputs.papers[name].tables[table.id][row.id][column.id]),
            "state": state_of(entry),
        }
        for table in paper.tables
        for row in table.rows
        for column in table.columns
    ]


def _of_tables(plan: Plan, inputs: Inputs, what: str) -> list[dict[str, Any]]:
    """Comparisons or descriptions of the methods of each table."""
    return [
        {"paper": name, "table": table.id, **entry}
        for name, made in plan.papers.items()
        for table in made.paper.tables
        for entry in getattr(inputs.papers[name], what).get(table.id, [])
    ]


def _claims(plan: Plan, name: str, inputs: Inputs) -> list[dict[str, Any]]:
    found = inputs.papers[name].claims
    missing = {"word": "missing", "basis": "", "reason": "", "printed": None, "runs": None}
    return [
        {
            "paper": name,
            "link": anchor("claim", name, claim.id),
            **claim.model_dump(mode="json"),
            **(found.get(claim.id) or missing),
        }
        for claim in plan.papers[name].paper.claims
    ]


def _figures(view: PaperView, inputs: Inputs) -> list[dict[str, Any]]:
    drawn = inputs.papers[view.spec.id].figures
    return [
        {
            "paper": view.spec.id,
            "id": figure.spec.id,
            "title": figure.spec.title,
            "place": figure.spec.place,
            "trend": figure.spec.trend,
            "verdict": inputs.papers[view.spec.id].trends.get(figure.spec.id),
            "link": figure.id,
            "drawn": figure.spec.id in drawn,
            "reason": figure.reason,
            "marks": [term.key for term in figure.marks],
            "data": drawn[figure.spec.id].data if figure.spec.id in drawn else [],
        }
        for figure in view.figures
    ]


def _run(plan: Plan, key: tuple[str, str, str]) -> dict[str, Any]:
    run = plan.runs[key]
    spec = plan.papers[run.paper].paper.experiments[run.experiment].runs[run.run]
    return {
        "paper": run.paper,
        "experiment": run.experiment,
        "run": run.run,
        "link": anchor("run", *key),
        "method": spec.method,
        "options": spec.options,
        "role": spec.role,
        "calibrated": spec.calibrated,
        "mark": run.mark,
        "reductions": list(run.reductions),
        "cells": run.cells,
    }


def _cell(key: str, inputs: Inputs) -> dict[str, Any]:
    files = inputs.cells[key]
    missing = files.missing
    return {
        "cell": files.training.cell.model_dump(mode="json"),
        "data": files.training.data.digest,
        "record": files.record,
        "scores": files.scores,
        "missing": {"what": missing.what, "log": missing.log} if missing else None,
    }


def table_csv(table: Table, entries: dict[str, Any]) -> str:
    """One line a number, in full precision."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in table.rows:
        for column in table.columns:
            entry = entries[row.id][column.id]
            ours, interval = entry["ours"] or {}, entry["interval"] or (None, None)
            writer.writerow(
                [
                    row.group, row.label, column.label, entry["printed"], entry["printed_value"],
                    entry["printed_spread"], ours.get("mean"), ours.get("sd"), ours.get("n"),
                    ours.get("from_means"), entry["difference"], *interval, entry["margin"],
                    state_of(entry), " ".join(entry["marks"]), entry["metric"], entry["better"],
                    entry["run"], entry["reason"],
                ]
            )  # fmt: skip
    return buffer.getvalue()


def write_tables(root: Path, plan: Plan, inputs: Inputs) -> None:
    """Write every table as CSV beside the report, and remove those of tables that are gone."""
    folder = root / plan.csv_folder
    kept = set()
    for name, made in plan.papers.items():
        for table in made.paper.tables:
            path = folder / f"{name}-{table.id}.csv"
            kept.add(path)
            write_text(path, table_csv(table, inputs.papers[name].tables[table.id]))
    for path in set(folder.glob("*.csv")) - kept:
        path.unlink()
