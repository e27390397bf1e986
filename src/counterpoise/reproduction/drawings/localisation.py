"""How often maps find the marked region, beside maps that know nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Canvas

from counterpoise.evaluation.localised import SCORES, Localised, localised
from counterpoise.files import read_parquet
from counterpoise.plan import Plan
from counterpoise.reproduction.drawings._maps import WAYS
from counterpoise.reproduction.panels import grid, label_of
from counterpoise.reproduction.style import COLOURS
from counterpoise.spec.paper import LocalisationFigure, Paper

SHOWN = {"pointing": "pointing game", "energy": "energy inside", "overlap.0.5": "IoU at half"}


def draw(
    root: Path, plan: Plan, paper: Paper, content: LocalisationFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """One panel a score: each way of each network with its 95 % interval over patients."""
    data: list[dict[str, Any]] = []
    found: list[tuple[str, Localised]] = []
    for name in content.explanations:
        if name not in plan.papers[paper.id].explanation_digests:
            continue
        spec = paper.explanations[name]
        scores = read_parquet(root / plan.papers[paper.id].explanation(name), "localisation scores")
        network = label_of(paper, spec.experiment, spec.run)
        for result in localised(scores):
            label = _label(result.way)
            found.append(
                (f"{network}: {label}" if len(content.explanations) > 1 else label, result)
            )
            data += [_row(network, label, "all", score, result) for score in SCORES]
        data += _by_finding(scores, network)
    figure, axes = grid(len(SHOWN), len(SHOWN), 2.9, 0.7 + 0.22 * len(found))
    for axis, (score, title) in zip(axes, SHOWN.items(), strict=True):
        for place, (_, result) in enumerate(found):
            mean, low, high = result.scores[score]
            colour = COLOURS[0] if result.trained else COLOURS[1]
            axis.plot([low, high], [place, place], color=colour, lw=1.2)
            axis.plot(mean, place, "o" if result.trained else "D", color=colour, markersize=4)
        axis.set_title(title, loc="left")
        axis.set_yticks(range(len(found)), [label for label, _ in found])
        axis.invert_yaxis()
        axis.set_xlim(left=0)
        axis.label_outer()
    return figure, data


def _label(way: str) -> str:
    base = WAYS[way.rsplit("/", 1)[-1]]
    return f"{base}, untrained" if "/" in way else base


def _row(network: str, label: str, finding: str, score: str, result: Localised) -> dict[str, Any]:
    mean, low, high = result.scores[score]
    beyond = result.beyond_centre.get(score)
    row = {"network": network, "map": label, "finding": finding, "score": score,
           "mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4)}  # fmt: skip
    if beyond is not None:
        row |= {"above the centre": round(beyond[0], 4),
                "from": round(beyond[1], 4), "to": round(beyond[2], 4)}  # fmt: skip
    return row


def _by_finding(scores: pd.DataFrame, network: str) -> list[dict[str, Any]]:
    """Means of the pointing game by finding; single findings are too few for an interval."""
    trained = scores[~scores["way"].str.contains("/")]
    means = trained.groupby(["way", "task"], sort=False, as_index=False)["pointing"].mean()
    return [
        {"network": network, "map": WAYS[way], "finding": task, "score": "pointing",
         "mean": round(float(value), 4)}
        for way, task, value in means[["way", "task", "pointing"]].to_numpy().tolist()
    ]  # fmt: skip
