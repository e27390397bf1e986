"""A quantity of training over epochs, the mean over tasks, of runs of several experiments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from counterpoise.reproduction.drawings.history import AXES
from counterpoise.reproduction.panels import band, grid, legend_below, lines_of
from counterpoise.reproduction.runs import history_of
from counterpoise.reproduction.style import line_style
from counterpoise.spec.figure import CoursesFigure
from counterpoise.spec.paper import Paper

if TYPE_CHECKING:
    from counterpoise.plan import Plan

SHORT = 20
"""Letters of a name up to which several stand beside each other in a legend."""


def draw(
    root: Path, plan: Plan, paper: Paper, content: CoursesFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """One line a run: the mean over seeds, with the range of the seeds as a band."""
    figure, (axis,) = grid(1, 1, 5.5, 3.0)
    data = []
    for number, (label, run) in enumerate(lines_of(plan, paper, content.lines)):
        history = history_of(root, plan, run)
        chosen = history[history["quantity"] == content.quantity]
        values = chosen.groupby(["epoch", "seed"])["value"].mean().unstack()
        data += [{"run": label, **row} for row in band(axis, values, label, line_style(number))]
    axis.set_xlabel("epoch")
    axis.set_ylabel(f"{AXES.get(content.quantity, content.quantity)}, mean over tasks")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _, labels = axis.get_legend_handles_labels()
    beside = max(map(len, labels), default=0) <= SHORT
    legend_below(figure, axis, 3 if beside else 1)
    return figure, data
