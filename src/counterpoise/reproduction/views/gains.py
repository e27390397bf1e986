"""Who pays for whom: each task's gain or loss against the reference."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure as Canvas

from counterpoise.evaluation.statistics import summarise
from counterpoise.reproduction.style import INK
from counterpoise.reproduction.views.facts import Drawn, Facts

TITLE = "Gains and losses of each task"
READABLE = 0.2
"""Relative luminance below which white text on a colour is the easier to read."""


def _signed(value: float) -> str:
    if np.isnan(value):
        return "-"
    text = f"{value:+.0f}"
    return "0" if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")


def _luminance(colour: tuple[float, float, float, float]) -> float:
    """Relative luminance of a colour, after WCAG 2."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour[:3]
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _readable(colour: tuple[float, float, float, float]) -> str:
    """The colour of text that is easy to read on another."""
    return "#ffffff" if _luminance(colour) < READABLE else "#111111"


def draw(facts: Facts) -> Drawn | None:
    """A map of runs by tasks, the best mean first; every field holds its number."""
    runs = [run for run in facts.runs if run.gains]
    if not runs:
        return None
    runs.sort(key=lambda run: -summarise(list(run.gains.values())).mean)
    shares = np.array([[run.gains.get(t.name, np.nan) for t in facts.tasks] for run in runs])
    limit = max(1.0, float(np.nanpercentile(np.abs(shares), 85)))
    wide, high = 0.52 * len(facts.tasks) + 2.4, 0.2 * len(runs) + 1.25
    canvas = Canvas(figsize=(wide, high), layout="constrained")
    axis = canvas.add_subplot()
    norm, colours = TwoSlopeNorm(0, -limit, limit), mpl.colormaps["PuOr_r"]
    axis.pcolormesh(
        np.ma.masked_invalid(shares), cmap=colours, norm=norm, edgecolors="#ffffff", linewidth=0.6
    )
    for row, values in enumerate(shares):
        for column, value in enumerate(values):
            colour = INK if np.isnan(value) else _readable(colours(norm(value)))
            axis.text(
                column + 0.5, row + 0.52, _signed(value), ha="center", va="center", size=7,
                color=colour,
            )  # fmt: skip
    axis.set_xticks(
        np.arange(len(facts.tasks)) + 0.5, [t.label for t in facts.tasks],
        rotation=40, ha="left",
    )  # fmt: skip
    axis.xaxis.tick_top()
    axis.tick_params(axis="x", length=0)
    axis.set_yticks(np.arange(len(runs)) + 0.5, [run.label for run in runs])
    axis.tick_params(axis="y", length=0)
    axis.invert_yaxis()
    for spine in axis.spines.values():
        spine.set_visible(False)
    data = [
        {"run": run.label, **{t.label: run.gains.get(t.name) for t in facts.tasks}} for run in runs
    ]
    losing = [sum(v < 0 for v in run.gains.values()) for run in runs]
    note = (
        f"Percentage by which each task is better (orange) or worse (violet) than with "
        f"{facts.reference}, from means over seeds; the best mean is at the top. "
        f"In {sum(n == 0 for n in losing)} of {len(runs)} runs no task loses, "
        f"in {sum(n == len(facts.tasks) for n in losing)} every task does."
    )
    said = [part for part in (note, facts.other_order, facts.failures) if part]
    return Drawn(canvas, data, " ".join(said))
