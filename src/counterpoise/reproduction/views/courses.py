"""A quantity of every task over the epochs, one small panel a run."""

from __future__ import annotations

from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from counterpoise.reproduction.panels import legend_below
from counterpoise.reproduction.style import line_style

COLUMNS = 6
ENTRY, LINE = 1.3, 0.17
"""Inches that an entry of the legend needs, across and down."""


def small_panels(
    courses: dict[str, pd.DataFrame], what: str, level: float
) -> tuple[Canvas, list[Axes]]:
    """Panels that share their axes; ``courses`` are label to epochs by tasks.

    ``level`` is where a task is neither favoured nor harmed; a thin line marks it.
    """
    columns = min(COLUMNS, len(courses))
    rows = -(-len(courses) // columns)
    tasks = max(len(course.columns) for course in courses.values())
    wide = max(5.6, 1.4 * columns)
    legend = min(tasks, int(wide / ENTRY))
    high = 1.25 * rows + 0.7 + LINE * -(-tasks // legend)
    canvas = Canvas(figsize=(wide, high), layout="constrained")
    axes: list[Axes] = []
    for place, (label, course) in enumerate(courses.items()):
        first = axes[0] if axes else None
        axis = canvas.add_subplot(rows, columns, place + 1, sharex=first, sharey=first)
        axes.append(axis)
        axis.axhline(level, color="#888888", lw=0.6)
        for number, task in enumerate(course.columns):
            axis.plot(course.index, course[task], lw=1.1, label=task, **line_style(number))
        axis.set_title(fill(label, 21), loc="left", size=7)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        lowest = place + columns >= len(courses)
        axis.tick_params(labelbottom=lowest, labelleft=not place % columns)
        if lowest:
            axis.set_xlabel("epoch", size=7.5)
    canvas.supylabel(what, size=8.5)
    legend_below(canvas, axes[0], legend, size=8)
    return canvas, axes


def rows_of(courses: dict[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """One row a run and epoch, one column a task."""
    return [
        {"run": label, "epoch": int(epoch), **{str(k): float(v) for k, v in row.items()}}
        for label, course in courses.items()
        for epoch, row in zip(course.index, course.to_dict("records"), strict=True)
    ]
