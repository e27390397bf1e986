"""Task weights over time."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator

from counterpoise.reproduction.views.courses import rows_of, small_panels
from counterpoise.reproduction.views.facts import Drawn, Facts

TITLE = "Task weights over time"
STILL = 1e-3
"""Relative weights that never move further than this from one are not drawn."""
FAR = 3.0
"""The frame ends at so many times the middle half of the weights' logarithms beyond it, or at
twice and half of its ends if that is further."""
LEAST = 1 / 64
"""Or at this relative weight."""
FAR_APART = 8
"""Ratio of the ends of the axis from which on it is one of ratios, with three powers of two."""


def _ratio(value: float) -> str:
    """A tick: 4 or 1/4."""
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"


def _frame(weights: np.ndarray) -> tuple[float, float]:
    """Ends of the axis, so that weights that all but vanish do not flatten the others."""
    low, high = np.quantile(np.log2(weights), (0.25, 0.75))
    far = max(1.0, FAR * (high - low))
    ends = np.exp2([low - far, high + far])
    return float(max(ends[0], weights.min(), LEAST)), float(min(ends[1], weights.max()))


def draw(facts: Facts) -> Drawn | None:
    """Each task's weight over the mean of its epoch, on a scale of ratios if they are far apart."""
    moving, still = {}, []
    for run in facts.together:
        course = run.course("weight", facts.tasks)
        relative = course.div(course.mean(axis=1), axis=0)
        usable = not relative.empty and bool((relative > 0).to_numpy().all())
        if usable and float((relative - 1).abs().to_numpy().max()) > STILL:
            moving[run.label] = relative
        else:
            still.append(run.label)
    if not moving:
        return None
    canvas, axes = small_panels(moving, "relative weight", 1.0)
    weights = {label: course.to_numpy() for label, course in moving.items()}
    low, high = _frame(np.concatenate([found.ravel() for found in weights.values()]))
    beyond = [label for label, w in weights.items() if w.min() < low or w.max() > high]
    if high < FAR_APART * low:
        axes[0].yaxis.set_major_locator(MaxNLocator(4, min_n_ticks=3))
    else:
        axes[0].set_yscale("log", base=2)
        axes[0].yaxis.set_major_locator(LogLocator(2, numticks=5))
        axes[0].yaxis.set_major_formatter(lambda value, _: _ratio(value))
    note = "Each task's weight relative to the mean of all tasks' weights, averaged over seeds."
    if beyond:
        axes[0].set_ylim(low, high)
        note += f" Some lie beyond the frame (see the data): {', '.join(beyond)}."
    if still:
        note += (
            " Not drawn, because their weights are equal, absent or not all positive: "
            f"{', '.join(still)}."
        )
    return Drawn(canvas, rows_of(moving), note)
