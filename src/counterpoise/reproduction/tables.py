"""A paper's tables, every printed number beside ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.evaluation.measured import Measured
from counterpoise.files import write_sealed
from counterpoise.layout import RunPlan
from counterpoise.reproduction.comparisons import compare_methods, describe_runs, rank_printed
from counterpoise.reproduction.ours import REFERENCE, Ours, Scores, ours_of
from counterpoise.reproduction.runs import marks_of
from counterpoise.reproduction.verdicts import judge, margin_of
from counterpoise.spec.names import DELTA_M
from counterpoise.spec.paper import Column, Paper, Printed, Quantity, Row, Table, parse_printed

if TYPE_CHECKING:
    from counterpoise.plan import Plan


def declared_margin(
    printed: Printed | None, quantity: Quantity, repeats: int | None
) -> float | None:
    """The margin of a number, whether or not there is one of ours."""
    if printed is None:
        return quantity.margin
    return margin_of(printed, quantity.metric, bool(quantity.percent), quantity.margin, repeats)


def _why_undefined(quantity: Quantity) -> str:
    """What leaves a run without a number."""
    if quantity.cost:
        return (
            "undefined: no seed was timed alone from its first step to its last "
            "(set COUNTERPOISE_REPLICATES=alone for that)"
        )
    if quantity.history:
        return "undefined: the run did not record this quantity"
    if quantity.metric == DELTA_M:
        return "undefined: no seed has all scores on both sides and a nonzero reference"
    return "undefined: the test items lack positives or negatives, or outputs are not numbers"


def _left_out(ours: Ours) -> str:
    """What a mean over tasks is without."""
    parts = []
    if ours.undefined:
        parts.append(f"{', '.join(ours.undefined)}, whose score is undefined on these items")
    if ours.lost:
        several = len(ours.lost) > 1
        words = ("seeds", "lack") if several else ("seed", "lacks")
        parts.append(f"{words[0]} {', '.join(ours.lost)}, which {words[1]} a task's score")
    return f"mean without {'; without '.join(parts)}"


def planned_entry(
    table: Table, row: Row, column: Column, text: str, run: RunPlan | None
) -> dict[str, Any]:
    """What is known of a cell of a table without a number of ours."""
    quantity, printed = table.quantity(row, column), parse_printed(text)
    spread = printed.spread if printed is not None else None
    return {
        "printed": text if printed is not None else None,
        "printed_value": float(printed.value) if printed is not None else None,
        "printed_spread": float(spread) if spread is not None else None,
        "ours": None,
        "difference": None,
        "interval": None,
        "margin": declared_margin(printed, quantity, table.repeats),
        "marks": [row.mark] if row.mark else [],
        "better": quantity.better,
        "metric": quantity.measured,
        "run": run.name if run is not None else None,
        "measurable": not quantity.unavailable,
        "reductions": list(run.reductions) if run is not None else [],
    }


def make_entry(
    scores: Scores, paper: Paper, table: Table, row: Row, column: Column, text: str
) -> dict[str, Any]:
    """One cell of a table: printed, ours, difference, marks, verdict, and where it comes from."""
    quantity = table.quantity(row, column)
    ours, reason = ours_of(scores, paper.id, quantity, table.baseline)
    experiment, name = paper.run_of(quantity)
    run = scores.plan.runs.get((paper.id, experiment, name)) if ours is not None else None
    declared = paper.experiments.get(experiment)
    spec = declared.runs.get(name) if declared is not None else None
    entry = planned_entry(table, row, column, text, run)
    marks = [*marks_of(run, spec), *entry["marks"]]
    marks += ["partial"] * (ours is not None and bool(ours.undefined or ours.lost))
    measured = ours.measured if ours is not None else Measured({})
    if ours is not None and (ours.undefined or ours.lost) and measured.values:
        reason = _left_out(ours)
    elif ours is not None and not measured.values:
        reason = _why_undefined(quantity)
    printed = parse_printed(text)
    judgement = judge(
        printed,
        table.repeats,
        measured.sample if measured.values else None,
        margin=entry["margin"],
        marks=marks,
        failed=(ours.trouble or "") if ours is not None else "",
        other_items=quantity.test_items == "other",
        items=measured.items,
        undefined=ours is not None,
    )
    verdict = judgement.verdict
    if verdict == "not run" and printed is None and reason == REFERENCE:
        verdict = None
    return entry | {
        "marks": marks,
        "ours": _shown(ours) if ours is not None and measured.values else None,
        "difference": judgement.difference,
        "interval": judgement.interval,
        "verdict": verdict,
        "rule": judgement.rule,
        "reason": reason,
    }


def _shown(ours: Ours) -> dict[str, Any]:
    """Our numbers as the report reads them.

    ``error`` is what the items add to the standard error, ``interval`` covers seeds and items.
    """
    measured = ours.measured
    items = measured.items
    return asdict(measured.sample) | {
        "values": measured.values,
        "from_means": ours.from_means,
        "cells": ours.cells,
        "trouble": ours.trouble,
        "undefined": ours.undefined,
        "error": None if items is None else items.variance**0.5,
        "interval": measured.interval(),
    }


def tables_of(
    paper: Paper, make: Callable[[Table, Row, Column, str], dict[str, Any]]
) -> dict[str, Any]:
    """All tables of a paper: table, row and column to what ``make`` gives for the cell."""
    return {
        table.id: {
            row.id: {
                column.id: make(table, row, column, text)
                for column, text in zip(table.columns, row.printed, strict=True)
            }
            for row in table.rows
        }
        for table in paper.tables
    }


def make_tables(root: Path, plan: Plan, paper_name: str) -> None:
    """Write all tables of a paper, with the comparisons between its methods."""
    paper, scores = plan.paper(paper_name).paper, Scores(root, plan)
    tables = tables_of(paper, partial(make_entry, scores, paper))
    write_sealed(
        root / plan.papers[paper_name].tables,
        {
            "paper": paper_name,
            "tables": tables,
            "comparisons": {t.id: compare_methods(scores, paper, t) for t in paper.tables},
            "rankings": [rank_printed(paper, ranked) for ranked in paper.rankings],
            "descriptions": {t.id: describe_runs(scores, paper, t) for t in paper.tables},
        },
    )
