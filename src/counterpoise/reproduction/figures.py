"""Figures from our runs, as SVG with the numbers behind them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterpoise.errors import UserError, nearest
from counterpoise.files import atomic, sha256_file, write_sealed
from counterpoise.reproduction import drawings
from counterpoise.reproduction.panels import columns_of
from counterpoise.reproduction.style import house_style, to_svg
from counterpoise.spec.figure import Figure
from counterpoise.wording import plural

if TYPE_CHECKING:
    from counterpoise.plan import Plan


def _describe(figure: Figure, data: list[dict[str, Any]]) -> str:
    shown = "How to read it" if figure.place == "ours" else "The paper shows"
    trend = f" {shown}: {figure.trend}" if figure.trend else ""
    rows = plural(len(data), "row")
    return f"Its {rows} of data, or the first of them, are in the table below it.{trend}"


def make_figure(root: Path, plan: Plan, paper_name: str, name: str) -> None:
    """Write one figure as SVG and the numbers behind it as JSON."""
    paper_plan = plan.paper(paper_name)
    if name not in paper_plan.figure_digests:
        raise UserError(
            f"{paper_name} has no figure {name!r} that can be drawn in this tier",
            remedy=nearest(name, paper_plan.figure_digests),
        )
    figure = paper_plan.paper.figure(name)
    salt = f"{paper_name}-{name}"
    with house_style(salt):
        drawing = importlib.import_module(f"{drawings.__name__}.{figure.content.kind}")
        canvas, data = drawing.draw(root, plan, paper_plan.paper, figure.content)
        svg = to_svg(canvas, salt, figure.title, _describe(figure, data))
    path = root / paper_plan.figure(name)
    cells = plan.cells_of_figure(paper_name, name)
    keys = [training.key for training in cells]
    # Bars have no cells and no marks of their own: the report takes those of their table.
    marks = {
        mark
        for run in plan.runs.values()
        if run.paper == paper_name and {*keys} & {*run.keys}
        for mark in run.marks
    }
    with atomic(path) as temporary:
        temporary.write_text(svg, encoding="utf-8", newline="\n")
        # The picture comes last: it alone is asked for, so that a kill must not leave it alone.
        behind = {
            "svg": sha256_file(temporary),
            "columns": columns_of(data),
            "data": data,
            "cells": keys,
            "marks": sorted(marks),
        }
        write_sealed(path.with_suffix(".json"), behind)
