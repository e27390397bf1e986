"""A table as bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from counterpoise.files import read_json
from counterpoise.plan import Plan, find_table
from counterpoise.reproduction.panels import grid
from counterpoise.reproduction.style import COLOURS
from counterpoise.spec.paper import BarsFigure, Column, Paper, Table

MOST_LABELLED = 6
"""Rows up to which each bar's number stands beside it."""

WIDTH = 8.4
"""Inches of a row of panels."""

Numbers = list[float | None]


def draw(
    root: Path, plan: Plan, paper: Paper, content: BarsFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """A table as bars, one panel a column: printed, and ours where it is run."""
    table = find_table(paper, content.table)
    entries = read_json(root / plan.papers[paper.id].tables)["tables"][table.id]
    shown = [
        column
        for column in table.columns
        if any(entries[row.id][column.id]["printed_value"] is not None for row in table.rows)
    ]
    names = [row.label for row in table.rows]
    numbers = {column.id: _numbers(entries, table, column) for column in shown}
    both = any(value is not None for _, ours in numbers.values() for value in ours)
    tall = max(1.2, 0.24 * len(names) + 0.7) + (0.25 if both else 0)
    across = min(4, len(shown))
    figure, axes = grid(len(shown), across, min(5.5, WIDTH / across), tall)
    data = []
    for column, axis in zip(shown, axes, strict=True):
        printed, ours = numbers[column.id]
        _panel(axis, names, printed, ours if both else None)
        axis.set_title(column.label, loc="left")
        data += [
            {"row": name, "column": column.label, "printed": p, "ours": o}
            for name, p, o in zip(names, printed, ours, strict=True)
        ]
    if both:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure, data


def _numbers(entries: dict[str, Any], table: Table, column: Column) -> tuple[Numbers, Numbers]:
    """Printed numbers and ours of a column, by row."""
    cells = [entries[row.id][column.id] for row in table.rows]
    return (
        [cell["printed_value"] for cell in cells],
        [(cell["ours"] or {}).get("mean") for cell in cells],
    )


def _number(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")


def _panel(axis: Axes, names: list[str], printed: Numbers, ours: Numbers | None) -> None:
    positions = np.arange(len(names))
    size = 0.7 if ours is None else 0.38
    above = 0.0 if ours is None else size / 2
    bars: list[tuple[Numbers, float, dict[str, Any]]] = [
        (printed, -above, {"color": COLOURS[0], "label": "printed"})
    ]
    if ours is not None:
        bars.append((ours, above, {"color": COLOURS[1], "label": "ours", "hatch": "////",
                                   "edgecolor": "#ffffff", "linewidth": 0}))  # fmt: skip
    for values, moved, look in bars:
        drawn = axis.barh(positions + moved, [v or 0 for v in values], size, **look)
        if len(names) <= MOST_LABELLED:
            told = ["" if v is None else _number(v) for v in values]
            axis.bar_label(drawn, told, padding=2, fontsize=7)
    if len(names) <= MOST_LABELLED:
        axis.margins(x=0.3)
    axis.set_yticks(positions, names)
    axis.invert_yaxis()
    axis.label_outer()
