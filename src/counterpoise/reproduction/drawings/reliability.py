"""Reliability diagrams: how often a finding is there that a network calls so probable."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from counterpoise.evaluation.measured import rounded
from counterpoise.evaluation.statistics import LEVEL
from counterpoise.layout import RunPlan
from counterpoise.metrics import CALIBRATION_BINS
from counterpoise.reproduction.ours import Scores
from counterpoise.reproduction.panels import grid, lines_of
from counterpoise.reproduction.style import COLOURS
from counterpoise.spec.figure import ReliabilityFigure
from counterpoise.spec.names import ALL_TASKS
from counterpoise.spec.paper import Paper

if TYPE_CHECKING:
    from counterpoise.plan import Plan

LARGEST = 60.0
"""Area in square points of the disc of a bin that holds all labels."""


def draw(
    root: Path, plan: Plan, paper: Paper, content: ReliabilityFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """One panel a run: a disc for each bin, as large as it has labels, with its 95 % interval."""
    scores = Scores(root, plan)
    lines = lines_of(plan, paper, content.lines)
    canvas, axes = grid(len(lines), min(4, len(lines)), 2.0, 2.45)
    errors, bins = [], []
    for (label, run), axis in zip(lines, axes, strict=True):
        key = run.first
        diagrams = scores.file(key)["reliability"]
        pooled = pool([rows for seed in diagrams.values() for rows in seed.values()])
        table = with_intervals(pooled, max(1, len(diagrams)))
        _panel(axis, table, label)
        errors.append({"run": label, "finding": "mean of all", **_calibration(scores, key)})
        errors += [
            {"run": label, "finding": finding, "ECE": round(error, 4)}
            for finding, error in _by_finding(diagrams, run).items()
        ]
        bins += [
            {"run": label, "finding": "all", "labels": int(count), "mean probability": mean,
             "share of positives": share, "low": low, "high": high}
            for count, mean, share, low, high in table.round(4).tolist()
        ]  # fmt: skip
    canvas.supxlabel("predicted probability", size=8.5)
    canvas.supylabel("share of positives", size=8.5)
    return canvas, [*errors, *bins]


def pool(diagrams: list[list[list[float]]]) -> np.ndarray:
    """(bins, 3) of labels, their mean probability and share of positives, over several diagrams.

    Args:
        diagrams: each with a row ``[labels, mean probability, share]`` a bin that has labels, of
            :data:`CALIBRATION_BINS` equal ones.
    """
    rows = np.array([row for diagram in diagrams for row in diagram], float).reshape(-1, 3)
    place = np.minimum((rows[:, 1] * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    counts, means, shares = (
        np.bincount(place, each, CALIBRATION_BINS)
        for each in (rows[:, 0], rows[:, 0] * rows[:, 1], rows[:, 0] * rows[:, 2])
    )
    there = counts > 0
    count = counts[there]
    return np.column_stack([count, means[there] / count, shares[there] / count])


def with_intervals(bins: np.ndarray, seeds: int) -> np.ndarray:
    """(bins, 5): beside them Wilson's interval of each share, of the labels of one seed.

    It takes labels for independent, which those of one patient are not quite.
    """
    from scipy.stats import binomtest

    ends = []
    for count, _, share in bins:
        trials = max(1, round(count / seeds))
        found = binomtest(round(share * trials), trials).proportion_ci(LEVEL, "wilson")
        ends.append((min(found.low, share), max(found.high, share)))
    return np.column_stack([bins, np.array(ends).reshape(-1, 2)])


def _panel(axis: Axes, table: np.ndarray, label: str) -> None:
    counts, means, shares, low, high = table.T
    axis.plot([0, 1], [0, 1], color="#888888", lw=0.6, linestyle=":")
    axis.vlines(means, low, high, color=COLOURS[0], lw=1.0)
    sizes = np.maximum(6.0, LARGEST * counts / max(1.0, counts.sum()))
    axis.scatter(means, shares, s=sizes, color=COLOURS[0], lw=0)
    axis.set_title(label, loc="left")
    axis.set_aspect("equal")
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
    axis.label_outer()


def _calibration(scores: Scores, key: str) -> dict[str, float | None]:
    """Mean over findings of the calibration error, its interval over seeds and patients."""
    found = rounded(scores.measured(key, ALL_TASKS, "ece"), ("ECE", "low", "high"))
    return {name: value for name, value in found.items() if name == "ECE" or value is not None}


def _by_finding(diagrams: dict[str, Any], run: RunPlan) -> dict[str, float]:
    """The calibration error of each finding, the mean over seeds."""
    found = {}
    for task in run.cells:
        each = [np.array(seed[task], float) for seed in diagrams.values() if seed.get(task)]
        if each:
            gaps = [np.average(np.abs(d[:, 1] - d[:, 2]), weights=d[:, 0]) for d in each]
            found[task] = float(np.mean(gaps))
    return found
