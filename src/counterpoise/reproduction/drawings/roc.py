"""Receiver operating characteristics of binary tasks, with the area under each and its interval."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from counterpoise.evaluation.measured import rounded
from counterpoise.files import read_parquet
from counterpoise.layout import RunPlan
from counterpoise.reproduction.ours import PART, Scores
from counterpoise.reproduction.panels import grid, runs_of
from counterpoise.reproduction.runs import tasks_of_run
from counterpoise.reproduction.style import line_style
from counterpoise.reproduction.words import label_of
from counterpoise.spec.figure import RocFigure
from counterpoise.spec.paper import Paper
from counterpoise.tasks import Task

if TYPE_CHECKING:
    from counterpoise.plan import Plan

FALSE_POSITIVES = np.linspace(0, 1, 51)


def draw(
    root: Path, plan: Plan, paper: Paper, content: RocFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """One panel a task: the mean curve over seeds, on the test part."""
    scores = Scores(root, plan)
    runs = runs_of(plan, paper, content.experiment, content.runs)
    tasks = tasks_of_run(plan, runs[0])
    canvas, axes = grid(len(tasks), min(4, len(tasks)), 1.9, 1.95)
    data = []
    for number, run in enumerate(runs):
        label = label_of(paper, content.experiment, run.run)
        style = {**line_style(number), "lw": 1.2}
        read: dict[str, pd.DataFrame] = {}
        for task, axis in zip(tasks, axes, strict=True):
            key = run.cells[task.name]
            if key not in read:
                path = root / plan.trainings[key].file("predictions.parquet")
                read[key] = read_parquet(path, "predictions")
            curve = mean_curve(read[key], task)
            if curve is not None:
                axis.plot(FALSE_POSITIVES, curve, label=label, **style)
            data.append({"run": label, **_area(scores, run, task)})
    for task, axis in zip(tasks, axes, strict=True):
        axis.plot([0, 1], [0, 1], color="#888888", lw=0.6, linestyle=":")
        axis.set_title(task.label, loc="left")
        axis.set_aspect("equal")
        axis.set_xticks([0, 0.5, 1])
        axis.set_yticks([0, 0.5, 1])
        axis.label_outer()
    handles, labels = next(
        (found for axis in axes if (found := axis.get_legend_handles_labels())[1]), ([], [])
    )
    canvas.supxlabel("false positive rate", size=8.5)
    canvas.supylabel("true positive rate", size=8.5)
    canvas.legend(handles, labels, loc="outside upper center", ncols=3)
    return canvas, data


def mean_curve(predictions: pd.DataFrame, task: Task) -> np.ndarray | None:
    """True positive rates at :data:`FALSE_POSITIVES`, the mean over seeds; None if undefined.

    Of the items whose label is known, and of the seeds whose outputs are all numbers.
    """
    from sklearn.metrics import roc_curve

    curves = []
    known = predictions[(predictions["part"] == PART) & (predictions[f"target.{task.name}"] >= 0)]
    for _, rows in known.groupby("seed"):
        target, output = rows[f"target.{task.name}"], rows[f"output.{task.name}.0"]
        if target.nunique() == 2 and np.isfinite(output).all():
            false, true, _ = roc_curve(target, output)
            curves.append(np.interp(FALSE_POSITIVES, false, true))
    return np.mean(curves, axis=0) if curves else None


def _area(scores: Scores, run: RunPlan, task: Task) -> dict[str, Any]:
    """AUROC of one task with its 95 % interval over seeds and resampled patients."""
    found = scores.measured(run.cells[task.name], task.name, "auroc")
    return {"finding": task.label, **rounded(found, ("AUROC", "low", "high"))}
