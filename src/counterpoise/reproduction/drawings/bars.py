"""A table as bars."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from counterpoise.files import read_json
from counterpoise.reproduction.panels import grid, legend_below
from counterpoise.reproduction.style import COLOURS
from counterpoise.spec.figure import BarsFigure
from counterpoise.spec.paper import Column, Paper, Table

if TYPE_CHECKING:
    from counterpoise.plan import Plan

MOST_LABELLED = 6
"""Rows up to which each bar's number stands beside it."""

WIDTH = 8.4
"""Inches of a row of panels."""

Numbers = list[float | None]

LOOKS: dict[str, dict[str, Any]] = {
    "printed": {"color": COLOURS[0]},
    "ours": {"color": COLOURS[1], "hatch": "////", "edgecolor": "#ffffff", "linewidth": 0},
}


def draw(
    root: Path, plan: Plan, paper: Paper, content: BarsFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """A table as bars, one panel a column: printed, and ours where it is run."""
    table = paper.table(content.table)
    entries = read_json(root / plan.papers[paper.id].tables)["tables"][table.id]
    names = [row.label for row in table.rows]
    numbers = {column.id: _numbers(entries, table, column) for column in table.columns}
    # A tier that runs nothing of a table with nothing printed still has its rows and columns.
    shown = [c for c in table.columns if any(map(_any, numbers[c.id].values()))] or table.columns
    kinds = [kind for kind in LOOKS if any(_any(found[kind]) for found in numbers.values())]
    both = len(kinds) > 1
    tall = max(1.2, 0.24 * len(names) + 0.7) + (0.25 if both else 0)
    across = min(4, len(shown))
    figure, axes = grid(len(shown), across, min(5.5, WIDTH / across), tall)
    data = []
    for column, axis in zip(shown, axes, strict=True):
        found = numbers[column.id]
        _panel(axis, names, {kind: found[kind] for kind in kinds})
        axis.set_title(column.label, loc="left")
        data += [
            {"row": name, "column": column.label, "printed": p, "ours": o}
            for name, p, o in zip(names, found["printed"], found["ours"], strict=True)
        ]
    if both:
        legend_below(figure, axes[0])
    return figure, data


def _numbers(entries: dict[str, Any], table: Table, column: Column) -> dict[str, Numbers]:
    """Printed numbers and ours of a column, by row."""
    cells = [entries[row.id][column.id] for row in table.rows]
    return {
        "printed": [cell["printed_value"] for cell in cells],
        "ours": [(cell["ours"] or {}).get("mean") for cell in cells],
    }


def _any(values: Numbers) -> bool:
    return any(value is not None for value in values)


def _number(value: float) -> str:
    """Three digits, or all before the point, with a true minus."""
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "\N{MINUS SIGN}")


def _panel(axis: Axes, names: list[str], bars: dict[str, Numbers]) -> None:
    """Bars of each kind of number, the first above the others."""
    positions = np.arange(len(names))
    size = 0.7 if len(bars) < 2 else 0.38
    for number, (kind, values) in enumerate(bars.items()):
        moved = size * (number - (len(bars) - 1) / 2)
        drawn = axis.barh(
            positions + moved, [v or 0 for v in values], size, label=kind, **LOOKS[kind]
        )
        if len(names) <= MOST_LABELLED:
            told = ["" if v is None else _number(v) for v in values]
            axis.bar_label(drawn, told, padding=2, fontsize=7)
    if len(names) <= MOST_LABELLED:
        axis.margins(x=0.3)
    axis.set_yticks(positions, names)
    axis.invert_yaxis()
    axis.label_outer()
