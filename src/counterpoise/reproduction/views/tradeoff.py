"""Quality against what a step of training costs, with the runs that no other run beats on both."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import quantiles

from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from counterpoise.reproduction.panels import grid, ratio_scale
from counterpoise.reproduction.style import COLOURS
from counterpoise.reproduction.views.facts import Drawn, Facts
from counterpoise.reproduction.views.numbering import SIZE, Point, number_points

TITLE = "Quality against cost"
COLUMNS, LINE = 3, 0.135
"""Of the names below the panels: how many stand beside each other, and the inches of a line."""


def front(costs: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """Places of the points that none beats: no other is as cheap and as good, and better in one.

    Sorted by cost. Of equal points the first counts.
    """
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -qualities[i], i))
    kept: list[int] = []
    for i in order:
        if not kept or qualities[i] > qualities[kept[-1]]:
            kept.append(i)
    return kept


def lowest_shown(qualities: Sequence[float]) -> float:
    """Where the frame ends, so that a run that has failed does not squeeze the others together."""
    low, middle, high = quantiles(qualities, n=4, method="inclusive")
    return max(min(qualities), middle - 4 * (high - low))


def draw(facts: Facts) -> Drawn | None:
    """Two panels: against time a step and against memory."""
    runs = [run for run in facts.runs if run.quality is not None]
    if len(runs) < 2:
        return None
    qualities = [run.quality.mean for run in runs if run.quality is not None]
    sign = -1.0 if facts.lower else 1.0
    goodness = [sign * quality for quality in qualities]
    canvas, axes = grid(2, 2, 4.0, 3.1)
    costs = {
        "ms per step": [run.milliseconds for run in runs],
        "peak memory, MiB": [run.memory for run in runs],
    }
    on_front: list[set[int]] = []
    floor = lowest_shown(goodness)
    edge, worse = sign * floor, sum(good < floor for good in goodness)
    for axis, (name, costs_of_runs) in zip(axes, costs.items(), strict=True):
        values = {i: cost for i, cost in enumerate(costs_of_runs) if cost is not None}
        there = list(values)
        best = [there[k] for k in front(list(values.values()), [goodness[i] for i in there])]
        on_front.append(set(best))
        lines = []
        for i, cost in values.items():
            if goodness[i] < floor:
                mark = "^" if facts.lower else "v"
                axis.plot(cost, edge, mark, color=COLOURS[0], mfc="none", ms=4.5)
                continue
            quality = runs[i].quality
            sd = None if quality is None else quality.sd
            lines.append([(cost, qualities[i] + end) for end in (-(sd or 0.0), sd or 0.0)])
            axis.errorbar(
                cost, qualities[i], yerr=sd,
                fmt="D" if i in best else "o", ms=4.5,
                color=COLOURS[1] if i in best else COLOURS[0], mfc=None if i in best else "none",
                lw=0.6,
            )  # fmt: skip
        line = _steps([(values[i], qualities[i]) for i in best])
        axis.plot([x for x, _ in line], [y for _, y in line], color=COLOURS[1], lw=1.0)
        ratio_scale(axis, "x", list(values.values()))
        if worse:
            end = edge - sign * 0.03 * (max(goodness) - floor)
            axis.set_ylim(*((None, end) if facts.lower else (end, None)))
        axis.set_xlabel(name)
        axis.set_ylabel(f"{facts.measure}{' (lower is better)' * facts.lower}")
        drawn = {i + 1: (cost, sign * max(goodness[i], floor)) for i, cost in values.items()}
        number_points(axis, drawn, [line, *lines])
    _name_below(canvas, [run.label for run in runs])
    data = [
        {
            "number": i + 1,
            "run": run.label,
            facts.measure: run.quality.mean if run.quality else None,
            "sd": run.quality.sd if run.quality else None,
            "seeds": run.quality.n if run.quality else 0,
            "ms per step": run.milliseconds,
            "peak memory, MiB": run.memory,
            "on the front": ", ".join(
                word for word, chosen in zip(("time", "memory"), on_front, strict=True)
                if i in chosen
            ) or "no",
        }
        for i, run in enumerate(runs)
    ]  # fmt: skip
    told = [
        f"{name}: {', '.join(runs[i].label for i in range(len(runs)) if i in chosen)}"
        for name, chosen in zip(costs, on_front, strict=True)
        if chosen
    ]
    alone = next((run for run in runs if run.alone), None)
    note = (
        "Numbers are those of the names below. Diamonds on the line: no other run is as cheap and "
        "also better. Bars: one standard "
        "deviation over seeds. Time is that of training, validation included, on "
        f"{facts.hardware}, where other jobs may have run at the same time; memory is that of the "
        "whole process, libraries included, or on a GPU that of its tensors"
    )
    if worse:
        place = ("upper edge", "above") if facts.lower else ("lower edge", "below")
        note += f". Triangles at the {place[0]}: {worse} far {place[1]} it (see the data)"
    untimed = [run.label for run in runs if run.milliseconds is None]
    if untimed:
        note += f"; not timed alone from the first step to the last: {', '.join(untimed)}"
    if alone is not None:
        note += f"; {alone.label} needs {len(alone.cells)} networks, whose times are added"
    said = [note, *([f"On the line: {'; '.join(told)}"] * bool(told))]
    more = " ".join(part for part in (facts.left_out, facts.failures) if part)
    return Drawn(canvas, data, f"{'. '.join(said)}. {more}".strip())


def _steps(front: Sequence[Point]) -> list[Point]:
    """Corners of the line through the points that none beats: across, then up."""
    turns = [corner for one, other in pairwise(front) for corner in (one, (other[0], one[1]))]
    return [*turns, *front[-1:]]


def _name_below(canvas: Canvas, labels: Sequence[str]) -> None:
    """The runs that the numbers stand for, below the panels."""
    names = [f"{number}  {label}" for number, label in enumerate(labels, 1)]
    blank = [Line2D([], [], lw=0) for _ in names]
    canvas.set_figheight(canvas.get_figheight() + LINE * -(-len(names) // COLUMNS))
    canvas.legend(
        blank, names, loc="outside lower center", ncols=COLUMNS, fontsize=SIZE, handlelength=0,
        handletextpad=0, labelspacing=0.25,
    )  # fmt: skip
