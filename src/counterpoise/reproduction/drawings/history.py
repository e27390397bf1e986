"""A quantity of training over epochs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure as Canvas

from counterpoise.reproduction.panels import band, grid, legend_below, runs_of
from counterpoise.reproduction.runs import history_of, main_metric, tasks_of_run
from counterpoise.reproduction.style import line_style
from counterpoise.reproduction.words import label_of
from counterpoise.spec.figure import HistoryFigure
from counterpoise.spec.paper import Paper

if TYPE_CHECKING:
    from counterpoise.plan import Plan

AXES = {
    "training_loss": "training loss",
    "weight": "task weight ω",
    "gradient_norm": "gradient norm at Z",
    "cosine": "median cosine",
    "learning_rate": "learning rate",
}


def draw(
    root: Path, plan: Plan, paper: Paper, content: HistoryFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """One panel a task: the mean over seeds, with the range of the seeds as a band."""
    runs = runs_of(plan, paper, content.experiment, content.runs)
    tasks = tasks_of_run(plan, runs[0])
    figure, axes = grid(len(tasks), min(3, len(tasks)), 2.7, 2.1)
    data = []
    for number, run in enumerate(runs):
        history = history_of(root, plan, run)
        chosen = history[history["quantity"] == content.quantity]
        label = label_of(paper, content.experiment, run.run)
        for task, axis in zip(tasks, axes, strict=True):
            values = chosen[chosen["task"] == task.name].pivot(
                index="epoch", columns="seed", values="value"
            )
            rows = band(axis, values, label, line_style(number))
            data += [{"run": label, "task": task.label, **row} for row in rows]
    for task, axis in zip(tasks, axes, strict=True):
        axis.set_title(task.label, loc="left")
        name = AXES.get(content.quantity) or main_metric(plan, runs[0], task).label
        axis.set_ylabel(name.lower() if name != "MSE" else name)
        axis.set_xlabel("epoch")
    legend_below(figure, axes[0])
    return figure, data
