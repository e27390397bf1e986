"""Quality against what a step of training costs, with the runs that no other run beats on both."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles

from matplotlib.axes import Axes

from counterpoise.reproduction.panels import grid, ratio_scale
from counterpoise.reproduction.style import COLOURS
from counterpoise.reproduction.views.facts import Drawn, Facts

TITLE = "Quality against cost"


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
        shown = {*best[:1], *best[-1:]}  # the cheapest and the best; the note names all
        shown |= {i for i in there if runs[i].label == facts.reference}
        for i, cost in values.items():
            if goodness[i] < floor:
                mark = "^" if facts.lower else "v"
                axis.plot(cost, edge, mark, color=COLOURS[0], mfc="none", ms=4.5)
                continue
            quality = runs[i].quality
            axis.errorbar(
                cost, qualities[i], yerr=None if quality is None else quality.sd,
                fmt="D" if i in best else "o", ms=4.5,
                color=COLOURS[1] if i in best else COLOURS[0], mfc=None if i in best else "none",
                lw=0.6,
            )  # fmt: skip
        axis.step(
            [values[i] for i in best], [qualities[i] for i in best], where="post",
            color=COLOURS[1], lw=1.0,
        )  # fmt: skip
        ratio_scale(axis, "x", list(values.values()))
        if worse:
            end = edge - sign * 0.03 * (max(goodness) - floor)
            axis.set_ylim(*((None, end) if facts.lower else (end, None)))
        axis.set_xlabel(name)
        axis.set_ylabel(f"{facts.measure}{' (lower is better)' * facts.lower}")
        _name(axis, [(values[i], qualities[i], runs[i].label) for i in shown])
    data = [
        {
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
        "Diamonds on the line: no other run is as cheap and also better. Bars: one standard "
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


def _name(axis: Axes, points: list[tuple[float, float, str]]) -> None:
    """Names beside points, pushed up so that none covers another."""
    low, high = axis.get_ylim()
    left, right = axis.get_xlim()
    last = float("-inf")
    for x, y, label in sorted(points, key=lambda point: point[1]):
        across, up = axis.transAxes.inverted().transform(axis.transData.transform((x, y)))
        last = max(float(up) + 0.04, last + 0.06)
        beyond = across > 0.6
        axis.annotate(
            label, (x, y), (across + (-0.02 if beyond else 0.02), last),
            textcoords="axes fraction", ha="right" if beyond else "left", va="center", size=7.5,
        )  # fmt: skip
    axis.set_ylim(low, high)
    axis.set_xlim(left, right)
