"""A quantity of training over epochs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from counterpoise import registry
from counterpoise.metrics import metric
from counterpoise.reproduction.panels import grid, runs_of
from counterpoise.reproduction.runs import history_of, tasks_of_run
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
    module = registry.find("datasets", paper.experiments[content.experiment].dataset)
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
            epochs = values.index.to_numpy() + 1
            mean = values.mean(axis=1).to_numpy()
            style = line_style(number)
            axis.plot(epochs, mean, label=label, **style)
            if values.shape[1] > 1:
                low, high = values.min(axis=1), values.max(axis=1)
                axis.fill_between(epochs, low, high, color=style["color"], alpha=0.15, lw=0)
            data += [
                {"run": label, "task": task.label, "epoch": int(e), "mean": float(m)}
                for e, m in zip(epochs, mean, strict=True)
                if np.isfinite(m)
            ]
    for task, axis in zip(tasks, axes, strict=True):
        axis.set_title(task.label, loc="left")
        name = AXES.get(content.quantity) or metric(module, task.metrics[0]).label
        axis.set_ylabel(name.lower() if name != "MSE" else name)
        axis.set_xlabel("epoch")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    return figure, data
