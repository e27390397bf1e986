"""How figures look: inherit the page's text colour, stay legible in print and for every eye."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from counterpoise.reproduction.vector import SVG, compact

# Okabe and Ito's palette, told apart with any colour vision, in an order that also differs in
# lightness; lines differ in dash as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1)), "-.")

INK = "#010203"
"""Stands for the page's text colour until the SVG is written."""

_SETTINGS: dict[str, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "axes.titlecolor": INK,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["system-ui", "DejaVu Sans"],
    "font.size": 8.5,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.4,
    "path.simplify": True,
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


def line_style(number: int) -> dict[str, Any]:
    """Colour and dash of a line by its number: no two of the first 36 share both."""
    turn, place = divmod(number, len(COLOURS))
    return {"color": COLOURS[place], "linestyle": DASHES[(place + turn) % len(DASHES)]}


@contextmanager
def house_style(salt: str) -> Iterator[None]:
    """Apply the style; ``salt`` keeps identifiers of several figures on one page apart."""
    import logging

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    settings: Any = {**_SETTINGS, "svg.hashsalt": salt}
    with mpl.rc_context(settings):
        yield


def to_svg(figure: Figure, salt: str, title: str, description: str) -> str:
    """The figure as an SVG element: deterministic, small, titled and described."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, dpi=72)
    root = compact(buffer.getvalue().replace(INK, "currentColor"), salt)
    root.set("role", "img")
    root.set("aria-labelledby", f"{salt}-title {salt}-desc")
    for place, (name, text) in enumerate({"title": title, "desc": description}.items()):
        node = ET.Element(f"{{{SVG}}}{name}", {"id": f"{salt}-{name}"})
        node.text = text
        root.insert(place, node)
    return ET.tostring(root, encoding="unicode").replace(" />", "/>") + "\n"
