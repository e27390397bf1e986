"""Claims of a change of a stated size: by the paper's numbers, and by our runs."""

from __future__ import annotations

import math

import numpy as np

from counterpoise.evaluation.measured import WITHOUT_ITEMS, Measured, combined
from counterpoise.evaluation.statistics import interval_of
from counterpoise.reproduction.evidence import Evidence, Numbers, in_pairs, within
from counterpoise.reproduction.verdicts import FEWEST_SEEDS
from counterpoise.reproduction.words import plural
from counterpoise.spec.claim import ChangeTest, Word


def _improvement(test: ChangeTest, sign: float, values: np.ndarray) -> np.ndarray:
    """The change of (end, start, ...) in the unit of what is claimed; NaN where there is none."""
    end, start = values
    change: np.ndarray = np.asarray(sign * (end - start), float)
    if test.reading == "relative":
        undefined = np.full(change.shape, np.nan)
        change = 100 * np.divide(change, np.abs(start), out=undefined, where=start != 0)
    return change


def _told(test: ChangeTest, what: str, change: float) -> str:
    unit = " %" if test.reading == "relative" else ""
    claimed = f"claimed {test.claimed:g}{unit}"
    return f"{what}: {test.reading} improvement of {change:.1f}{unit}, {claimed}"


def printed_change(test: ChangeTest, numbers: Numbers) -> Evidence:
    """What the printed numbers say of the change."""
    start, end = numbers.printed(test.start), numbers.printed(test.end)
    if start is None or end is None:
        return Evidence(None)
    change = float(_improvement(test, numbers.sign(test.end), np.array([end, start])))
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
    sample, interval = found.sample, interval_of(found.sample.mean, found.parts)
    text = _told(test, f"{test.start} to {test.end}", sample.mean)
    if interval is None or sample.n < FEWEST_SEEDS:
        return "inconclusive", f"{text} ({plural(sample.n, 'seed')})"
    if found.lacks_items:
        return "inconclusive", f"{text} ({WITHOUT_ITEMS})"
    text += f" [{interval[0]:.1f}, {interval[1]:.1f}] over {sample.n} paired seeds"
    low, high = (end - test.claimed for end in interval)
    if -test.tolerance <= low and high <= test.tolerance:
        return "holds", text
    far = (low > 0 or high < 0) and abs(sample.mean - test.claimed) > test.tolerance
    return ("does not hold" if far else "inconclusive"), text
