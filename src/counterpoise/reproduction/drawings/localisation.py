"""How often maps find the marked region, beside maps that know nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from counterpoise.evaluation.localised import SCORES, Localised, above_centre, localised
from counterpoise.evaluation.measured import estimate, rounded
from counterpoise.files import read_parquet
from counterpoise.reproduction.drawings._maps import WAYS
from counterpoise.reproduction.panels import grid, legend_below
from counterpoise.reproduction.style import COLOURS
from counterpoise.reproduction.words import label_of
from counterpoise.spec.explanation import CENTRE, RANDOM, UNTRAINED
from counterpoise.spec.figure import LocalisationFigure
from counterpoise.spec.paper import Paper

if TYPE_CHECKING:
    from counterpoise.plan import Plan

SHOWN = {"pointing": "pointing game", "energy": "energy inside", "overlap.0.5": "IoU at half"}

Look = tuple[str, str, str, float]
"""Name, colour, marker, and how far below its row it is drawn."""
TRAINED: Look = ("the trained network", COLOURS[0], "o", -0.14)
ANEW: Look = ("newly drawn weights", COLOURS[1], "D", 0.14)
GUESS: Look = ("without any network", "#888888", "s", 0.0)

Line = tuple[str, list[tuple[str, Look]]]
"""A row of the figure: its label, and the maps in it."""


def draw(
    root: Path, plan: Plan, paper: Paper, content: LocalisationFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """One panel a score, one block a network: each map's mean with its 95 % interval."""
    data: list[dict[str, Any]] = []
    blocks: list[tuple[str, Localised, list[Line]]] = []
    for name in content.explanations:
        if name not in plan.papers[paper.id].explanation_digests:
            continue
        spec = paper.explanations[name]
        scores = read_parquet(root / plan.papers[paper.id].explanation(name), "localisation scores")
        network = spec.label or label_of(paper, spec.experiment, spec.run)
        found = localised(scores)
        blocks.append((network, found, _lines(spec.ways)))
        data += [_row(network, found, maps, score) for maps in spec.maps for score in SCORES]
        data += _by_finding(scores, network)
    height = sum(len(lines) + 1.4 for _, _, lines in blocks)
    figure, axes = grid(len(SHOWN), len(SHOWN), 2.5, 0.9 + 0.2 * height)
    for axis, (score, title) in zip(axes, SHOWN.items(), strict=True):
        _panel(axis, blocks, score, title)
    legend_below(figure, axes[0])
    return figure, data


def _lines(ways: tuple[str, ...]) -> list[Line]:
    """A way of the trained network and of untrained ones share a row."""
    lines: list[Line] = [(WAYS[way], [(way, TRAINED), (f"{UNTRAINED}{way}", ANEW)]) for way in ways]
    return [*lines, *((WAYS[maps], [(maps, GUESS)]) for maps in (CENTRE, RANDOM))]


def _panel(
    axis: Axes, blocks: list[tuple[str, Localised, list[Line]]], score: str, title: str
) -> None:
    place, ticks = 0.0, {}
    named: set[str] = set()
    for network, found, lines in blocks:
        # The network's name stands in a row of its own, beside the names of its maps.
        ticks[place] = network
        for row, shown in lines:
            place += 1
            ticks[place] = row
            for maps, (name, colour, marker, below) in shown:
                mean, low, high = estimate(found[maps][score])
                at = place + below
                if low is not None and high is not None:
                    axis.plot([low, high], [at, at], color=colour, lw=1.2)
                label = None if name in named else name
                axis.plot(mean, at, marker, color=colour, markersize=4, lw=0, label=label)
                named.add(name)
        place += 1.4
    axis.set_title(title, loc="left")
    axis.set_yticks(list(ticks), list(ticks.values()))
    headings = {network for network, _, _ in blocks}
    for tick, text in zip(axis.yaxis.get_major_ticks(), axis.get_yticklabels(), strict=True):
        if text.get_text() in headings:
            text.set_fontweight("bold")
            tick.tick1line.set_visible(False)
    axis.set_ylim(place - 0.8, -0.6)
    axis.set_xlim(left=0)
    axis.grid(axis="x", color="#888888", alpha=0.25, lw=0.5)
    axis.label_outer()


def _name(maps: str) -> str:
    untrained = maps.startswith(UNTRAINED)
    base = WAYS[maps.removeprefix(UNTRAINED)]
    return f"{base}, untrained" if untrained else base


def _row(network: str, found: Localised, maps: str, score: str) -> dict[str, Any]:
    told = rounded(found[maps][score], ("mean", "low", "high"))
    row = {"network": network, "map": _name(maps), "finding": "all", "score": score, **told}
    if maps != CENTRE:
        beyond = above_centre(found, maps, score)
        row |= rounded(beyond, ("above the centre", "from", "to"))
    return row


def _by_finding(scores: pd.DataFrame, network: str) -> list[dict[str, Any]]:
    """Means of the pointing game by finding; single findings are too few for an interval."""
    shown = scores[~scores["way"].str.startswith(UNTRAINED)]
    means = shown.groupby(["way", "task"], sort=False, as_index=False)["pointing"].mean()
    return [
        {"network": network, "map": _name(maps), "finding": task, "score": "pointing",
         "mean": round(float(value), 4)}
        for maps, task, value in means[["way", "task", "pointing"]].to_numpy().tolist()
    ]  # fmt: skip
