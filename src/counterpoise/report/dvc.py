"""Small files that DVC compares between commits and experiments: one of metrics, one plot a run.

``dvc metrics diff`` reads ``metrics.json``; ``dvc plots`` reads ``plots/*.csv``. The report's own
numbers are in ``results.json``, which is too long to be compared line by line.
"""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import Any

from counterpoise.errors import UserError
from counterpoise.files import read_parquet, write_json
from counterpoise.layout import RunPlan
from counterpoise.plan import Plan
from counterpoise.report.inputs import Inputs
from counterpoise.report.output import csv_text, write_folder
from counterpoise.reproduction.ours import PART

COLUMNS = ("run", "epoch", "loss")


def metrics(plan: Plan, inputs: Inputs, counts: dict[str, Any]) -> dict[str, Any]:
    """Of each paper how its numbers and claims stand, and mean test scores of its runs.

    A run's score is the mean over seeds, then over the tasks that have the metric.
    """
    found: dict[str, Any] = {paper: dict(counts[paper]) for paper in plan.papers}
    for run in plan.runs.values():
        if scores := run_scores(run, inputs):
            runs = found[run.paper].setdefault("runs", {})
            runs[run.name] = scores
    return found


def run_scores(run: RunPlan, inputs: Inputs) -> dict[str, float]:
    """Metric to its mean on the test part; without those that are undefined."""
    values: dict[str, list[float]] = {}
    for task, key in run.cells.items():
        seeds = (inputs.cells[key].scores or {}).get("scores", {}).values()
        by_metric: dict[str, list[float]] = {}
        for parts in seeds:
            for name, value in parts[PART][task].items():
                if value is not None:
                    by_metric.setdefault(name, []).append(value)
        for name, of_seeds in by_metric.items():
            values.setdefault(name, []).append(fmean(of_seeds))
    return {name: fmean(of_tasks) for name, of_tasks in values.items()}


def curves(root: Path, plan: Plan) -> dict[str, str]:
    """File name to CSV: of each experiment's runs the validation loss that selects, by epoch.

    The mean over seeds of the normalised loss. Single-task runs have several cells and no curve.
    """
    rows: dict[str, list[tuple[str, int, float]]] = {}
    for run in plan.runs.values():
        if len(run.keys) > 1:
            continue
        try:
            path = root / plan.trainings[run.first].file("history.parquet")
            history = read_parquet(path, "history")
        except UserError:
            continue  # the report says that the run is missing
        loss = history[history["quantity"] == "selection"].groupby("epoch")["value"].mean()
        file = rows.setdefault(f"{run.paper}-{run.experiment}.csv", [])
        file += [
            (run.run, *point) for point in zip(loss.index.tolist(), loss.tolist(), strict=True)
        ]
    return {name: csv_text(COLUMNS, lines) for name, lines in rows.items()}


def write_for_dvc(root: Path, plan: Plan, inputs: Inputs, counts: dict[str, Any]) -> None:
    """Write the files, and remove curves of experiments that are gone."""
    write_json(root / plan.metrics, metrics(plan, inputs, counts))
    write_folder(root / plan.plots_folder, curves(root, plan), (".csv",))
