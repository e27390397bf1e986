"""Predicted classes of a toy classifier over its plane of inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from counterpoise.files import read_parquet
from counterpoise.reproduction.panels import grid, legend_below, runs_of
from counterpoise.reproduction.words import label_of
from counterpoise.spec.figure import DecisionFigure
from counterpoise.spec.paper import Paper

if TYPE_CHECKING:
    from counterpoise.plan import Plan

SEED = 0
"""The seed that is shown; what a claim says is of all."""


def draw(
    root: Path, plan: Plan, paper: Paper, content: DecisionFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """What one seed predicts of a label and of its negation over the plane of inputs."""
    from counterpoise.datasets import toy

    runs = runs_of(plan, paper, content.experiment, content.runs)
    tasks = ("label", "negated")
    figure, axes = grid(len(runs) * len(tasks), len(tasks), 3.0, 2.6)
    data, image = [], None
    for row, run in enumerate(runs):
        training = plan.trainings[run.first]
        predictions = read_parquet(root / training.file("predictions.parquet"), "predictions")
        label = label_of(paper, content.experiment, run.run)
        seen = predictions[predictions["seed"] == SEED]
        plane, held = seen[seen["part"] == "test"], seen[seen["part"] == "validation"]
        points = read_parquet(root / training.data.folder / "points.parquet", "points")
        points = points.iloc[held["point"].to_numpy()]
        for column, task in enumerate(tasks):
            axis = axes[row * len(tasks) + column]
            logits = plane[f"output.{task}.0"].to_numpy().reshape(toy.GRID, toy.GRID)
            image = axis.imshow(
                1 / (1 + np.exp(-logits)), origin="lower", cmap="cividis", vmin=0, vmax=1,
                extent=(-toy.EXTENT, toy.EXTENT, -toy.EXTENT, toy.EXTENT),
            )  # fmt: skip
            targets = held[f"target.{task}"].to_numpy()
            accuracy = float(np.mean((held[f"output.{task}.0"] > 0) == (targets == 1)))
            for target, marker in enumerate("oX"):
                chosen = points[targets == target][::4]
                # Light with a dark edge: seen on every ground.
                axis.plot(
                    chosen["x"], chosen["y"], marker, color="#ffffff", markeredgecolor="#000000",
                    markersize=4, markeredgewidth=0.6, label=f"points whose target is {target}",
                )  # fmt: skip
            what = "label" if task == "label" else "negation"
            axis.set_title(f"{label}: {what}\nseed {SEED}, accuracy {accuracy:.2f}", loc="left")
            data.append({"run": label, "task": what, "seed": SEED, "validation accuracy": accuracy})
    if image is not None:
        figure.colorbar(image, ax=axes, label="predicted probability of 1", shrink=0.7)
        legend_below(figure, axes[0])
    return figure, data
