"""Paths of the outputs over the landscape of each toy loss."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from counterpoise.reproduction.panels import grid, legend_below, runs_of
from counterpoise.reproduction.runs import history_of
from counterpoise.reproduction.style import COLOURS, DASHES
from counterpoise.reproduction.words import label_of
from counterpoise.spec.figure import TrajectoriesFigure
from counterpoise.spec.paper import Paper

if TYPE_CHECKING:
    from counterpoise.plan import Plan


def draw(
    root: Path, plan: Plan, paper: Paper, content: TrajectoriesFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """Paths of the output over each task's landscape, one a seed; a star marks its optimum."""
    from counterpoise.datasets import toy

    runs = runs_of(plan, paper, content.experiment, content.runs)
    figure, axes = grid(len(toy.SHIFTS), 2, 3.3, 3.2)
    axis_values = np.linspace(-toy.EXTENT, toy.EXTENT, 121)
    plane = np.stack(np.meshgrid(axis_values, axis_values), axis=-1)
    data = []
    for axis, (task, shift) in zip(axes, toy.SHIFTS.items(), strict=True):
        height = toy.landscape(plane, shift, np.sin, np.abs)
        axis.contour(axis_values, axis_values, height, levels=9, colors="#888888",
                     linewidths=0.4, alpha=0.7)  # fmt: skip
        axis.plot(-shift, -shift, marker="*", markersize=13, color="#E69F00", linestyle="none",
                  label="optimum", zorder=5)  # fmt: skip
        for number, run in enumerate(runs):
            history = history_of(root, plan, run)
            outputs = history[history["quantity"] == "output"]
            label = label_of(paper, content.experiment, run.run)
            style = {"color": COLOURS[1 - number % 2], "linestyle": DASHES[1 - number % 2]}
            for seed, rows in outputs.groupby("seed"):
                path = rows.pivot(index="epoch", columns="task", values="value")
                x, y = path[f"{task}/0"].to_numpy(), path[f"{task}/1"].to_numpy()
                axis.plot(x, y, label=label if seed == 0 else None, lw=1.1, **style)
                axis.plot(x[-1], y[-1], marker="o", color=style["color"], markersize=4)
                end = toy.landscape(np.array([x[-1], y[-1]]), shift, np.sin, np.abs)
                data.append(
                    {
                        "run": label,
                        "task": f"optimum at ({-shift:g}, {-shift:g})",
                        "seed": int(str(seed)),
                        "start": f"({x[0]:.2f}, {y[0]:.2f})",
                        "end": f"({x[-1]:.2f}, {y[-1]:.2f})",
                        "loss at end": round(float(end), 3),
                    }
                )
        axis.set_title(f"task with its optimum at ({-shift:g}, {-shift:g})", loc="left")
        axis.set_xlabel("$z_1$")
        axis.set_ylabel("$z_2$")
        axis.set_aspect("equal")
    legend_below(figure, axes[0], 1 + len(runs))
    return figure, data
