"""Imbalance of outcomes against the spread of the tasks' gradient norms."""

from __future__ import annotations

from typing import Any

from counterpoise.evaluation.ranks import FEWEST_SETTINGS, rank_correlation
from counterpoise.evaluation.statistics import summarise
from counterpoise.reproduction.panels import grid, ratio_scale
from counterpoise.reproduction.style import COLOURS
from counterpoise.reproduction.views.facts import Drawn, Facts

TITLE = "Imbalance against the spread of gradient norms"
MOST_NAMED = 4
"""Runs up to which each has its name beside its point, and not only the first and the last."""


def draw(facts: Facts) -> Drawn | None:
    """Two panels: unweighted and weighted norms. One point a run."""
    points: list[dict[str, Any]] = []
    for run in facts.together:
        outcome = summarise(list(run.gains.values())).sd if len(run.gains) > 1 else None
        if outcome is not None and run.norm_spread is not None:
            points.append(
                {
                    "run": run.label,
                    "spread of gradient norms": run.norm_spread,
                    "spread of weighted norms": run.weighted_norm_spread,
                    "imbalance, %": outcome,
                    "mean gain, %": summarise(list(run.gains.values())).mean,
                }
            )
    if len(points) < 2:
        return None
    canvas, axes = grid(2, 2, 3.6, 2.8)
    told = []
    for axis, name in zip(axes, ("spread of gradient norms", "spread of weighted norms"),
                          strict=True):  # fmt: skip
        shown = [p for p in points if p[name] is not None]
        axis.plot([p[name] for p in shown], [p["imbalance, %"] for p in shown], "o", ms=4.5,
                  mfc="none", color=COLOURS[0])  # fmt: skip
        axis.set_xlabel(name)
        axis.set_ylabel("imbalance of outcomes, %")
        ratio_scale(axis, "y", [p["imbalance, %"] for p in shown])
        ordered = sorted(shown, key=lambda p: p["imbalance, %"])
        for place, point in {p["run"]: (i, p) for i, p in enumerate(ordered)}.values():
            if place in (0, len(ordered) - 1) or len(ordered) <= MOST_NAMED:
                axis.annotate(point["run"], (point[name], point["imbalance, %"]), (5, 3),
                              textcoords="offset points", size=7.5)  # fmt: skip
        told += [f"{name} {rho:+.2f} over {len(shown)} runs" for rho in _ranks(shown, name)]
    note = (
        "Horizontal: standard deviation over tasks of the logarithm of the mean gradient norm at "
        "the shared representation in the second half of the epochs, averaged over seeds. "
        f"Vertical: standard deviation over tasks of the gain over {facts.reference}. "
    )
    if told:
        note += (
            f"Rank correlation (Spearman) of imbalance with {' and with '.join(told)}, which share "
            "their data; it describes these runs and is not a test."
        )
    else:
        note += f"Fewer than {FEWEST_SETTINGS} runs, or none that differ: no correlation is given."
    return Drawn(canvas, points, note)


def _ranks(points: list[dict[str, Any]], name: str) -> list[float]:
    """Spearman's coefficient, if there are enough points that differ."""
    if not points:
        return []
    across, up = [p[name] for p in points], [p["imbalance, %"] for p in points]
    found, _ = rank_correlation(across, up)
    return [] if found.value is None else [found.value]
