"""Claims of a change of a stated size: by the paper's numbers, and by our runs."""

from __future__ import annotations

import math

import numpy as np

from counterpoise.evaluation.measured import Measured, combined
from counterpoise.evaluation.statistics import difference_interval
from counterpoise.reproduction.evidence import (
    Evidence,
    Numbers,
    in_pairs,
    near,
    undecidable,
    within,
)
from counterpoise.spec.claim import ChangeTest, Word


def _improvement(test: ChangeTest, sign: float, values: np.ndarray) -> np.ndarray:
    """The change in the unit of what is claimed, by seed; NaN where there is none.

    Relative changes are those of the means over seeds, as printed numbers are means. A seed's share
    in that quotient is its linear part there, so that the shares have the quotient as their mean
    and its error as theirs (the infinitesimal jackknife).

    Args:
        values: (2, seeds) or (2, schemes, seeds, R), the end's before the start's.
    """
    end, start = values
    change: np.ndarray = sign * (end - start)
    if test.reading == "absolute":
        return change
    seeds = start.ndim // 2
    base = start.mean(axis=seeds, keepdims=True)
    base = np.where(base == 0, np.nan, base)
    whole = change.mean(axis=seeds, keepdims=True) / np.abs(base)
    found: np.ndarray = 100 * (change / np.abs(base) - whole * (start / base - 1))
    return found


def _told(test: ChangeTest, what: str, change: float) -> str:
    unit = " %" if test.reading == "relative" else ""
    claimed = f"claimed {test.claimed:g}{unit}"
    return f"{what}: {test.reading} improvement of {change:.1f}{unit}, {claimed}"


def printed_change(test: ChangeTest, numbers: Numbers) -> Evidence:
    """What the printed numbers say of the change."""
    start, end = numbers.printed(test.start), numbers.printed(test.end)
    if start is None or end is None:
        return Evidence(None)
    change = float(_improvement(test, numbers.sign(test.end), np.array([[end], [start]]))[0])
    if math.isnan(change):
        return Evidence(None)
    word: Word = "holds" if within(abs(change - test.claimed), test.tolerance) else "does not hold"
    return Evidence(word, [_told(test, f"{test.start} {start:g} to {test.end} {end:g}", change)])


def our_change(
    test: ChangeTest, numbers: Numbers, start: Measured, end: Measured
) -> tuple[Word, str]:
    """The word of our runs for the change, and what it rests on."""
    sign = numbers.sign(test.end)
    found = combined(in_pairs(end, start), lambda values: _improvement(test, sign, values))
    if not found.values:
        return "inconclusive", f"{test.start} to {test.end}: no seed yields such a change"
    mean = found.sample.mean
    text = _told(test, f"{test.start} to {test.end}", mean)
    if why := undecidable(found):
        return "inconclusive", f"{text} ({why})"
    interval = difference_interval(mean, found.parts)
    assert interval is not None, "several seeds have a spread"
    text += f" [{interval[0]:.1f}, {interval[1]:.1f}] over {len(found.values)} paired seeds"
    off = interval[0] - test.claimed, interval[1] - test.claimed
    word = near(off, off, test.tolerance)
    # Measured once, a change may be near enough to what is claimed, but not too far from it.
    once = found.undecided if word != "holds" else ""
    if why := numbers.of_one_job(test.end) or once:
        return "inconclusive", f"{text}, {why}"
    return word, text
