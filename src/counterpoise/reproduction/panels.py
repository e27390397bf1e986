"""What all figures of runs need: which runs there are, and panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from counterpoise.layout import RunPlan
from counterpoise.reproduction.words import label_of
from counterpoise.spec.figure import Line
from counterpoise.spec.paper import Paper

if TYPE_CHECKING:
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


FAR_APART = 4
"""Ratio of an axis's values from which on it is logarithmic."""


def ratio_scale(axes: Axes, which: Literal["x", "y"], values: Sequence[float]) -> None:
    """A logarithmic axis with plain numbers where positive values are far apart."""
    if values and min(values) > 0 and max(values) > FAR_APART * min(values):
        axes.set(**{f"{which}scale": "log"})
        axis = axes.xaxis if which == "x" else axes.yaxis
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:g}"[0] in "25" else "")
