"""A table as bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Canvas

from counterpoise.files import read_json
from counterpoise.plan import Plan, find_table
from counterpoise.reproduction.panels import grid
from counterpoise.reproduction.style import COLOURS
from counterpoise.spec.paper import BarsFigure, Paper


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
    tall = max(1.2, 0.24 * len(table.rows) + 0.7)
    figure, axes = grid(len(shown), min(3, len(shown)), 2.7 if len(shown) > 1 else 5.5, tall)
    data = []
    for column, axis in zip(shown, axes, strict=True):
        names = [row.label for row in table.rows]
        positions = np.arange(len(names))
        printed = [entries[row.id][column.id]["printed_value"] for row in table.rows]
        ours = [(entries[row.id][column.id]["ours"] or {}).get("mean") for row in table.rows]
        both = any(value is not None for value in ours)
        size = 0.38 if both else 0.7
        axis.barh(positions - (size / 2 if both else 0), [v or 0 for v in printed], size,
                  color=COLOURS[0], label="printed")  # fmt: skip
        if both:
            axis.barh(positions + size / 2, [v or 0 for v in ours], size, color=COLOURS[1],
                      label="ours", hatch="////", edgecolor="#ffffff", linewidth=0)  # fmt: skip
        axis.set_yticks(positions, names)
        axis.invert_yaxis()
        axis.set_title(column.label, loc="left")
        data += [
            {"row": name, "column": column.label, "printed": p, "ours": o}
            for name, p, o in zip(names, printed, ours, strict=True)
        ]
    return figure, data
