"""The same results for machines and authors: one JSON file, and each table in three formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterpoise.plan import Plan
from counterpoise.reference import Reference
from counterpoise.report.authors import render_table
from counterpoise.report.entries import state_of
from counterpoise.report.inputs import Inputs
from counterpoise.report.output import csv_text, write_folder
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
        "references": {
            reference.name: reference.card.model_dump(mode="json")
            for reference in inputs.references
        },
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
            "references": {
                reference.name: found
                for reference in inputs.references
                if (found := reference.entry(name, table.id, row.id, column.id)) is not None
            },
        }
        for table in paper.tables
        for row, column in table.cells()
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
    drawn = {name: files.data for name, files in inputs.papers[view.spec.id].figures.items()}
    drawn |= {f"{v.experiment}-{v.kind}": v.drawn.data for v in inputs.papers[view.spec.id].views}
    return [
        {
            "paper": view.spec.id,
            "id": figure.name,
            "title": figure.title,
            "place": figure.place,
            "trend": figure.told,
            "verdict": inputs.papers[view.spec.id].trends.get(figure.name),
            "link": figure.id,
            "drawn": figure.name in drawn,
            "reason": figure.reason,
            "marks": [term.key for term in figure.marks],
            "data": drawn.get(figure.name, []),
        }
        for figure in (*view.figures, *(view.figure for view in view.views))
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
        "weighting": spec.weighting.model_dump(mode="json") if spec.weighting else None,
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
        "scores": (files.scores or {}).get("scores"),
        "older": files.older,
        "pulled": files.pulled,
        "missing": {"what": missing.what, "log": missing.log} if missing else None,
    }


REFERENCE_COLUMNS = ("mean", "sd", "n", "state", "marks")


def _other(entry: dict[str, Any] | None) -> list[Any]:
    """The columns of a reference's number."""
    if entry is None:
        return [None] * len(REFERENCE_COLUMNS)
    ours = entry["ours"]
    return [ours["mean"], ours["sd"], ours["n"], state_of(entry), " ".join(entry["marks"])]


def table_csv(
    paper: str, table: Table, entries: dict[str, Any], references: Sequence[Reference] = ()
) -> str:
    """One line a number, in full precision; each reference has columns of its own."""
    others = [f"{reference.name}_{what}" for reference in references for what in REFERENCE_COLUMNS]
    rows = []
    for row, column in table.cells():
        entry = entries[row.id][column.id]
        ours, interval = entry["ours"] or {}, entry["interval"] or (None, None)
        rows.append(
            [
                row.group, row.label, column.label, entry["printed"], entry["printed_value"],
                entry["printed_spread"], ours.get("mean"), ours.get("sd"), ours.get("n"),
                ours.get("from_means"), entry["difference"], *interval, entry["margin"],
                state_of(entry), " ".join(entry["marks"]), entry["metric"], entry["better"],
                entry["run"], entry["reason"],
                *(
                    value
                    for reference in references
                    for value in _other(reference.entry(paper, table.id, row.id, column.id))
                ),
            ]
        )  # fmt: skip
    return csv_text([*COLUMNS, *others], rows)


CLAIM_COLUMNS = ("paper", "id", "word", "basis", "reason", "place", "sentence", "link")


def claims_csv(claims: list[dict[str, Any]]) -> str:
    """One line a claim."""
    return csv_text(CLAIM_COLUMNS, ([claim[name] for name in CLAIM_COLUMNS] for claim in claims))


def write_tables(
    root: Path, plan: Plan, papers: tuple[PaperView, ...], inputs: Inputs, claims: list[Any]
) -> None:
    """Write every table as CSV, LaTeX and Markdown, the claims as CSV, the papers as BibTeX.

    What is left of tables that are gone is removed.
    """
    files = {"claims.csv": claims_csv(claims)}
    files["papers.bib"] = "\n".join(f"{view.spec.bibtex.strip()}\n" for view in papers)
    for view in papers:
        name = view.spec.id
        for table in view.tables:
            stem = Path(table.stem).name
            entries = inputs.papers[name].tables[table.spec.id]
            files[f"{stem}.csv"] = table_csv(name, table.spec, entries, inputs.references)
            for suffix in ("tex", "md"):
                files[f"{stem}.{suffix}"] = render_table(view.spec, table, plan.tier_name, suffix)
    write_folder(root / plan.csv_folder, files, (".csv", ".tex", ".md", ".bib"))
