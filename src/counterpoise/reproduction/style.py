"""How figures look: inherit the page's text colour, stay legible in print and for every eye."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with any colour vision, in an order that also differs in
# lightness; lines differ in dash as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)), (0, (3, 1)), "-.")

_INK = "#010203"  # stands for the page's text colour until the SVG is written
_SETTINGS: dict[str, Any] = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9,
    "axes.titlecolor": _INK,
    "axes.labelsize": 8.5,
    "axes.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["system-ui", "DejaVu Sans"],
    "font.size": 8.5,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "lines.linewidth": 1.4,
    "path.simplify": True,
    "svg.fonttype": "none",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


@contextmanager
def house_style(salt: str) -> Iterator[None]:
    """Apply the style; ``salt`` keeps identifiers of several figures on one page apart."""
    import logging

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    settings: Any = {**_SETTINGS, "svg.hashsalt": salt}
    with mpl.rc_context(settings):
        yield


def to_svg(figure: Figure, salt: str, title: str, description: str) -> str:
    """The figure as an SVG element: deterministic, titled, with coordinates cut to 0.01."""
    from html import escape

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None}, dpi=72)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace(_INK, "currentColor")
    svg = re.sub(r"(\d+\.\d{2})\d+", r"\1", svg)
    svg = re.sub(r'\bid="', f'id="{salt}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{salt}-", svg)
    head, _, rest = svg.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    label = f'role="img" aria-labelledby="{salt}-title {salt}-desc"'
    return (
        f'{head} {label}><title id="{salt}-title">{escape(title)}</title>'
        f'<desc id="{salt}-desc">{escape(description)}</desc>{rest}\n'
    )
