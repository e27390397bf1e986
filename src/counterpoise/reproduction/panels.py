"""What all figures of runs need: which runs there are, panels, lines and legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from counterpoise.layout import RunPlan
from counterpoise.reproduction.words import label_of
from counterpoise.spec.figure import Line
from counterpoise.spec.paper import Paper

if TYPE_CHECKING:
    import pandas as pd

    from counterpoise.plan import Plan


def lines_of(plan: Plan, paper: Paper, lines: Sequence[Line]) -> list[tuple[str, RunPlan]]:
    """Name and plan of those of the runs that the tier plans."""
    found = [
        (line.label or label_of(paper, line.experiment, line.run),
         plan.runs.get((paper.id, line.experiment, line.run)))
        for line in lines
    ]  # fmt: skip
    return [(label, run) for label, run in found if run is not None]


def runs_of(plan: Plan, paper: Paper, experiment: str, names: tuple[str, ...]) -> list[RunPlan]:
    """Those of the named runs that the tier plans."""
    found = [plan.runs.get((paper.id, experiment, name)) for name in names]
    return [run for run in found if run is not None]


def grid(panels: int, columns: int, width: float, height: float) -> tuple[Canvas, list[Axes]]:
    """A canvas of panels, each of a width and height in inches."""
    rows = -(-panels // columns)
    figure = Canvas(figsize=(width * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(panels)]
    return figure, axes


def band(
    axis: Axes, values: pd.DataFrame, label: str, style: dict[str, Any]
) -> list[dict[str, float]]:
    """A line of the mean over seeds, with the range of the seeds as a band around it.

    Args:
        axis: where it is drawn.
        values: rows are epochs from 0, columns are seeds.
        label: its name in the legend.
        style: of the line.

    Returns:
        Epochs from 1 with their means, without those that are not numbers.
    """
    epochs, mean = values.index.to_numpy() + 1, values.mean(axis=1).to_numpy()
    axis.plot(epochs, mean, label=label, **style)
    if values.shape[1] > 1:
        low, high = values.min(axis=1), values.max(axis=1)
        axis.fill_between(epochs, low, high, color=style["color"], alpha=0.15, lw=0)
    known = np.isfinite(mean)
    return [
        {"epoch": int(e), "mean": float(m)} for e, m in zip(epochs[known], mean[known], strict=True)
    ]


def columns_of(data: list[dict[str, Any]]) -> list[str]:
    """Names of the columns of a figure's data, in an order that JSON does not keep."""
    return list(dict.fromkeys(name for row in data for name in row))


def legend_below(canvas: Canvas, axis: Axes, most: int = 3, size: float | None = None) -> None:
    """A legend of what one panel shows, below all panels, with so many names in a row at most."""
    handles, labels = axis.get_legend_handles_labels()
    canvas.legend(handles, labels, loc="outside lower center", ncols=most, fontsize=size)


FAR_APART = 4
"""Ratio of an axis's values from which on it is logarithmic."""


def ratio_scale(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers where positive values are far apart."""
    if values and min(values) > 0 and max(values) > FAR_APART * min(values):
        axes.set(**{f"{which}scale": "log"})
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "25" else "")
