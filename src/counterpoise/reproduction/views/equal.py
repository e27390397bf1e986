"""Which method is better than equal weights: differences in pairs, with intervals."""

from __future__ import annotations

from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from counterpoise.evaluation.comparisons import Paired, paired
from counterpoise.evaluation.measured import WITHOUT_ITEMS, WITHOUT_SPREAD
from counterpoise.evaluation.statistics import LEVEL
from counterpoise.reproduction.style import COLOURS
from counterpoise.reproduction.verdicts import FEWEST_SEEDS
from counterpoise.reproduction.views.facts import Drawn, Facts

TITLE = "Better or worse than equal weights"
HIGH, SPARE = 0.185, 0.95
"""Inches of a row, and of all else."""
FAR = 3.0
"""The frame ends at so many times the middle half of what it shows, or a usual interval's width."""


def draw(facts: Facts) -> Drawn | None:
    """A row a run, the best first; a filled mark where the strict interval excludes zero."""
    runs = [run for run in facts.runs if run.beyond_equal is not None and run.beyond_equal.values]
    if not runs:
        return None
    strict = 1 - (1 - LEVEL) / len(runs)
    rows: list[dict[str, Any]] = []
    for run in runs:
        assert run.beyond_equal is not None
        found, severe = paired(run.beyond_equal), paired(run.beyond_equal, strict)
        assert found is not None and severe is not None
        low, high = found.interval or (None, None)
        rows.append(
            {
                "run": run.label, "difference": found.difference, "low": low, "high": high,
                "seeds": found.n, "word": _word(severe),
            }
        )  # fmt: skip
    rows.sort(key=lambda row: -row["difference"])
    canvas = Canvas(figsize=(6.2, HIGH * len(rows) + SPARE), layout="constrained")
    axis = canvas.add_subplot()
    axis.axvline(0, color="#888888", lw=0.8)
    left, right = _frame(rows)
    beyond = sum(_draw(axis, place, row, left, right) for place, row in enumerate(rows))
    axis.set_xlim(left - 0.03 * (right - left), right + 0.03 * (right - left))
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_yticks(range(len(rows)), [row["run"] for row in rows])
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel(f"better than {facts.equal} by\n({facts.difference})")
    return Drawn(canvas, rows, _note(facts, rows, beyond))


def _draw(axis: Axes, place: int, row: dict[str, Any], left: float, right: float) -> bool:
    """One row; whether a part of it lies beyond the frame, where a triangle stands at its edge."""
    colour = COLOURS[1] if row["word"] == "worse" else COLOURS[0]
    known = [row[name] for name in ("low", "difference", "high") if row[name] is not None]
    low, high = min(known), max(known)
    ends = [min(right, max(left, end)) for end in (low, high)]
    axis.plot(ends, [place, place], color=colour, lw=1.2)
    for cut, end, mark in ((low < left, left, "<"), (high > right, right, ">")):
        if cut:
            axis.plot(end, place, mark, color=colour, ms=4.5, mfc="none")
    if left <= row["difference"] <= right:
        filled = None if row["word"] in ("better", "worse") else "none"
        axis.plot(row["difference"], place, "o", color=colour, ms=4.5, mfc=filled)
    return bool(low < left or high > right)


def _word(found: Paired) -> str:
    """What the interval, as wide as so many comparisons ask for, says."""
    interval = found.interval
    if found.n < FEWEST_SEEDS or interval is None:
        return f"open: {found.n} of {FEWEST_SEEDS} seeds"
    if found.open:
        return f"open: {found.open}"
    return "better" if interval[0] > 0 else "worse" if interval[1] < 0 else "not told apart"


def _frame(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Ends of the axis, so that a run that has failed does not squeeze the others together."""
    ends = [[row[end] for row in rows if row[end] is not None] for end in ("low", "high")]
    middle = sorted(row["difference"] for row in rows)
    quarter = len(middle) // 4
    widths = [row["high"] - row["low"] for row in rows if row["low"] is not None]
    spread = max(middle[-1 - quarter] - middle[quarter], median(widths or [0.0]), 1e-9)
    low = max(min([0.0, *middle, *ends[0]]), middle[quarter] - FAR * spread)
    high = min(max([0.0, *middle, *ends[1]]), middle[-1 - quarter] + FAR * spread)
    return min(low, 0.0), max(high, 0.0)


def _note(facts: Facts, rows: list[dict[str, Any]], beyond: int) -> str:
    words = [row["word"] for row in rows]
    said = [
        f"Mean difference from {facts.equal} on the same seeds and items, with its 95 % interval "
        "over both; further right is better. Filled: zero lies outside the interval widened for "
        f"{len(rows)} comparisons (Bonferroni), with three seeds or more."
    ]
    for word in ("better", "worse"):
        if word in words:
            runs = ", ".join(row["run"] for row in rows if row["word"] == word)
            said.append(f"{word.capitalize()}: {runs}.")
    if not {"better", "worse"} & {*words}:
        said.append(f"None is told apart from {facts.equal}.")
    if any(row["seeds"] < FEWEST_SEEDS for row in rows):
        said.append(
            "With fewer than three seeds, the interval covers only the test items of these "
            "networks, not other trainings, so nothing is told apart."
        )
    for reason in (WITHOUT_ITEMS, WITHOUT_SPREAD):
        runs = ", ".join(row["run"] for row in rows if row["word"].endswith(reason))
        said += [f"Open, {reason}: {runs}."] * bool(runs)
    said += [part for part in (facts.other_order, facts.left_out, facts.failures) if part]
    if beyond:
        said.append(f"Triangles: {beyond} beyond the frame (see the data).")
    return " ".join(said)
