"""What the saved predictions of a cell hold: each task's outputs and labels, units, findings."""

from __future__ import annotations

import numpy as np
import pandas as pd

from counterpoise import registry
from counterpoise.evaluation.joint import Findings, best_thresholds, findings
from counterpoise.evaluation.resampling import units_of
from counterpoise.metrics import Metric, metric
from counterpoise.spec.cell import Cell
from counterpoise.tasks import Task


def tasks_of(cell: Cell) -> list[tuple[Task, dict[str, Metric]]]:
    """The cell's tasks with their metrics by name, in the dataset's order."""
    module = registry.find("datasets", cell.dataset)
    return [
        (task, {name: metric(module, name) for name in task.metrics})
        for task in module.tasks(module.Options(**cell.dataset_options))
        if task.name in cell.tasks
    ]


def findings_of(cell: Cell) -> list[Task]:
    """The cell's findings, tasks of one logit and two classes, if it has several."""
    tasks = [task for task, _ in tasks_of(cell) if task.classes == 2 and task.outputs == 1]
    return tasks if len(tasks) > 1 else []


def units_in(frame: pd.DataFrame, cell: Cell) -> np.ndarray:
    """Units (N, U) by which the items of the cell's dataset are resampled."""
    module = registry.find("datasets", cell.dataset)
    return units_of(frame, getattr(module, "UNITS", ("patient",)))


def known_items(frame: pd.DataFrame, task: Task) -> np.ndarray:
    """(N,) whether the label of each item is known: no negative class, no NaN."""
    targets = frame[f"target.{task.name}"].to_numpy()
    known: np.ndarray = targets >= 0 if targets.dtype.kind in "iub" else ~np.isnan(targets)
    return known


def targets_of(frame: pd.DataFrame, task: Task) -> np.ndarray:
    """Targets (n,) of a task, of the items whose label is known."""
    targets: np.ndarray = frame[f"target.{task.name}"].to_numpy()[known_items(frame, task)]
    return targets


def arrays_of(frame: pd.DataFrame, task: Task) -> tuple[np.ndarray, np.ndarray] | None:
    """Outputs (n, outputs) and targets (n,) of a task, of the items whose label is known.

    None if one of these outputs is not a number: then there are no scores.
    """
    names = [f"output.{task.name}.{j}" for j in range(task.outputs)]
    outputs = frame[names].to_numpy()[known_items(frame, task)]
    return (outputs, targets_of(frame, task)) if np.isfinite(outputs).all() else None


def matrix(frame: pd.DataFrame, tasks: list[Task], what: str, end: str = "") -> np.ndarray:
    """(N, T) of several tasks' columns ``<what>.<task><end>``."""
    return frame[[f"{what}.{task.name}{end}" for task in tasks]].to_numpy()


def _findings(frame: pd.DataFrame, validation: pd.DataFrame, tasks: list[Task]) -> Findings | None:
    """A seed's findings with thresholds from its validation part; None if not all are numbers."""
    logits, before = (matrix(part, tasks, "output", ".0") for part in (frame, validation))
    if not (np.isfinite(logits).all() and np.isfinite(before).all()):
        return None
    thresholds = best_thresholds(before, matrix(validation, tasks, "target"))
    return findings(logits, matrix(frame, tasks, "target"), thresholds)


def all_findings(predictions: pd.DataFrame, cell: Cell) -> dict[tuple[str, str], Findings]:
    """By seed and part, where all outputs are numbers; empty without several findings."""
    tasks = findings_of(cell)
    found: dict[tuple[str, str], Findings] = {}
    for seed, frame in predictions.groupby("seed", sort=True) if tasks else ():
        parts = {str(part): rows for part, rows in frame.groupby("part")}
        for part, rows in parts.items():
            data = _findings(rows, parts.get("validation", rows.iloc[:0]), tasks)
            if data is not None:
                found[str(seed), part] = data
    return found
