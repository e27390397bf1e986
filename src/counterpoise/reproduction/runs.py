"""What drawings and numbers need of a run besides its scores: its tasks and its history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from counterpoise import registry
from counterpoise.files import read_parquet
from counterpoise.layout import RunPlan, Training
from counterpoise.metrics import Metric, metric
from counterpoise.spec.experiment import Run
from counterpoise.tasks import Task

if TYPE_CHECKING:
    from counterpoise.plan import Plan


def tasks_of(dataset: str, options: dict[str, Any]) -> list[Task]:
    """All tasks of a dataset with its options, in its order."""
    module = registry.find("datasets", dataset)
    found: list[Task] = list(module.tasks(module.Options(**options)))
    return found


def tasks_of_run(plan: Plan, run: RunPlan) -> list[Task]:
    """The tasks of a run, in the dataset's order."""
    cell = plan.trainings[run.first].cell
    return [t for t in tasks_of(cell.dataset, cell.dataset_options) if t.name in run.cells]


def main_metric(plan: Plan, run: RunPlan, task: Task) -> Metric:
    """In which a task's runs are compared: the first of those that it has."""
    dataset = plan.trainings[run.cells[task.name]].cell.dataset
    return metric(registry.find("datasets", dataset), task.metrics[0])


def lower_is_better(plan: Plan, run: RunPlan, task: Task) -> bool:
    """Whether the task's main metric falls as it gets better."""
    return main_metric(plan, run, task).better == "lower"


def marks_of(plan: RunPlan | None, run: Run | None) -> list[str]:
    """What every number of a run is marked with, as far as it is planned and declared."""
    marks = plan.marks if plan is not None else []
    if run is not None:
        marks += ["calibrated"] * run.calibrated + ["sensitivity"] * (run.role == "sensitivity")
    return marks


def read_history(root: Path, training: Training) -> pd.DataFrame:
    """History of a cell.

    Raises:
        UserError: it is missing or damaged.
    """
    return read_parquet(root / training.file("history.parquet"), "history")


def history_of(root: Path, plan: Plan, run: RunPlan) -> pd.DataFrame:
    """History of all cells of a run.

    Raises:
        UserError: one is missing or damaged.
    """
    found = [read_history(root, plan.trainings[key]) for key in run.keys]
    return pd.concat(found, ignore_index=True)
