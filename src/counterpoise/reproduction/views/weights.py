"""Task weights over time."""

from __future__ import annotations

import math

from counterpoise.reproduction.views.courses import rows_of, small_panels
from counterpoise.reproduction.views.facts import Drawn, Facts

TITLE = "Task weights over time"
STILL = 1e-3
"""Relative weights that never move further than this from one are not drawn."""
FAR = 1 / 1000
"""Below this relative weight the axis counts in tens instead of twos."""


def _ratio(value: float) -> str:
    """A tick: 4, 1/4, or 10 to some power."""
    if value >= FAR:
        return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"
    return f"$10^{{{round(math.log10(value))}}}$"


def draw(facts: Facts) -> Drawn | None:
    """Each task's weight over the mean weight of its epoch, on a scale of ratios."""
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
    least = min(float(course.to_numpy().min()) for course in moving.values())
    axes[0].set_yscale("log", base=2 if least > FAR else 10)
    axes[0].yaxis.set_major_formatter(lambda value, _: _ratio(value))
    note = "Each task's weight relative to the mean of all tasks' weights, averaged over seeds."
    if still:
        note += (
            " Not drawn, because their weights are equal, absent or not all positive: "
            f"{', '.join(still)}."
        )
    return Drawn(canvas, rows_of(moving), note)
