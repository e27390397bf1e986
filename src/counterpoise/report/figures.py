"""Figures as the page shows them: the drawing, what the paper says of it, and its numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from markupsafe import Markup

from counterpoise.layout import PaperPlan
from counterpoise.report.inputs import FigureFiles, PaperFiles
from counterpoise.report.legend import Term, mark
from counterpoise.report.numbers import count, significant, signs
from counterpoise.report.text import NOTHING, anchor
from counterpoise.spec.figure import BarsFigure, Figure, SchematicFigure, UnavailableFigure

MOST_ROWS = 60
SCALE = 1.45  # pixels a point: text of 8.5 points becomes about as large as the page's small text


@dataclass(frozen=True)
class FigureView:
    """One figure of a paper, or one of ours.

    Attributes:
        place: where it stands in the paper; "ours" where the paper lacks it.
        told: what the paper says that it shows, or how to read one of ours.
        svg: the drawing; empty where there is none, then ``reason`` says why.
        width: largest width on the page, in pixels.
        rows: the first rows of the numbers behind it, as text.
    """

    id: str
    name: str
    place: str
    title: str
    told: str
    svg: Markup = NOTHING
    width: int = 0
    reason: str = ""
    log: str = ""
    marks: tuple[Term, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    total: int = 0
    lacks: str = ""


def figure_views(made: PaperPlan, files: PaperFiles) -> tuple[FigureView, ...]:
    """All figures of a paper."""
    return tuple(_view(made, figure, files) for figure in made.paper.figures)


def _view(made: PaperPlan, figure: Figure, files: PaperFiles) -> FigureView:
    view = FigureView(
        id=anchor("figure", made.paper.id, figure.id),
        name=figure.id,
        place=figure.place,
        title=figure.title,
        told=figure.trend,
    )
    drawn = files.figures.get(figure.id)
    if drawn is None:
        reason, log = _why_not(made, figure)
        return replace(view, reason=reason, log=log)
    shown = with_drawing(view, drawn, _marks(figure, drawn, files))
    return replace(shown, lacks=_lacks(drawn) if isinstance(figure.content, BarsFigure) else "")


def _lacks(drawn: FigureFiles) -> str:
    """What bars are without, in words; empty where they have numbers of ours."""
    printed, ours = (
        any(row.get(kind) is not None for row in drawn.data) for kind in ("printed", "ours")
    )
    if ours:
        return ""
    return "Printed numbers only; none of it is run here." if printed else "None of it is run here."


def with_drawing(view: FigureView, drawn: FigureFiles, marks: list[str]) -> FigureView:
    """A figure with its drawing and the numbers behind it."""
    return replace(
        view,
        # Ours, read from the plan's own path and checked to hold nothing but a drawing.
        svg=Markup(drawn.svg.strip()),
        width=_width(drawn.svg),
        marks=tuple(mark(key) for key in marks),
        columns=tuple(drawn.columns),
        rows=tuple(
            tuple(_cell(row.get(key)) for key in drawn.columns) for row in drawn.data[:MOST_ROWS]
        ),
        total=len(drawn.data),
    )


def _marks(figure: Figure, drawn: FigureFiles, files: PaperFiles) -> list[str]:
    """Marks of what is shown; bars have those of their table's numbers of ours."""
    if not isinstance(figure.content, BarsFigure):
        return drawn.marks
    rows = files.tables.get(figure.content.table, {}).values()
    entries = [entry for row in rows for entry in row.values()]
    return sorted({name for entry in entries for name in entry["marks"]})


def _why_not(made: PaperPlan, figure: Figure) -> tuple[str, str]:
    content = figure.content
    if isinstance(content, SchematicFigure):
        return "A drawing without data: there is nothing to rebuild.", ""
    if isinstance(content, UnavailableFigure):
        reason = content.reason.rstrip(".")
        return f"Not rebuilt. {reason[0].upper()}{reason[1:]}.", ""
    if figure.id not in made.figure_digests:
        return f"Its runs are not part of tier {made.tier} with this configuration.", ""
    told = "Missing: the job that draws it has failed or has not run."
    return told, made.log("figures", figure.id)


def _width(svg: str) -> int:
    box = re.search(r'viewBox="\S+ \S+ (\d+(?:\.\d+)?) ', svg)
    return round(SCALE * float(box[1])) if box else 720


def _cell(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, float):
        return significant(value)
    return count(value) if isinstance(value, int) else signs(str(value))
