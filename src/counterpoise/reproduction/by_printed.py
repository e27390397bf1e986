"""What a paper's own numbers say of a sentence."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from counterpoise.reproduction.changes import printed_change
from counterpoise.reproduction.evidence import (
    Evidence,
    Numbers,
    gather,
    right_side,
    sides_of,
    wanted,
    within,
)
from counterpoise.spec.claim import (
    ChangeTest,
    ClaimTest,
    CompareTest,
    Comparison,
    LimitTest,
    TrendTest,
    Word,
    references,
)


def evidence_of_printed(test: ClaimTest, numbers: Numbers) -> Evidence:
    """What the printed numbers say; nothing of a test that is of another kind."""
    found = _evidence(test, numbers)
    printed = [ref for ref in references(test) if numbers.printed(ref) is not None]
    origins = {mark for ref in printed for mark in numbers.origins(ref)}
    return replace(found, marks=sorted(origins))


def _evidence(test: ClaimTest, numbers: Numbers) -> Evidence:
    if isinstance(test, CompareTest):
        return _printed_comparisons(test, numbers)
    if isinstance(test, TrendTest):
        return _printed_trend(test, numbers)
    if isinstance(test, ChangeTest):
        return printed_change(test, numbers)
    return _limit(test, numbers) if isinstance(test, LimitTest) else Evidence(None)


def _printed_comparisons(test: CompareTest, numbers: Numbers) -> Evidence:
    tied = _tied(test)
    results = [_printed_comparison(numbers, c, tied) for c in test.comparisons]
    asked = dict.fromkeys(side for c in test.comparisons for side in sides_of(c))
    missing = [side for side in asked if numbers.printed(side) is None]
    if test.settled_by == "printed" or all(word is None for word, _ in results):
        return gather(results, missing)
    # Rows of ours have nothing printed; where both sides are asked, each tells its own.
    told = gather([(word, text) for word, text in results if word is not None], [])
    return replace(told, missing=missing)


def _tied(test: CompareTest | TrendTest) -> Word:
    """The word for equal printed numbers of which one should be ahead.

    What rounding has made equal is no evidence against a sentence about methods; one about the
    printed numbers themselves is refuted by it.
    """
    return "does not hold" if test.settled_by == "printed" else "inconclusive"


def _printed_comparison(
    numbers: Numbers, comparison: Comparison, tied: Word
) -> tuple[Word | None, str]:
    """The word of one comparison; ``tied`` is that of equal numbers if one should be ahead."""
    left = numbers.printed(comparison.left)
    right = (
        numbers.printed(comparison.right)
        if isinstance(comparison.right, str)
        else float(comparison.right)
    )
    if left is None or right is None:
        return None, ""
    right *= comparison.times
    against = right_side(comparison) + (f" {right:g}" if isinstance(comparison.right, str) else "")
    text = f"{comparison.left} {left:g} against {against}"
    if comparison.expect == "similar":
        margin = numbers.margin(comparison.left)
        word: Word = "holds" if within(abs(left - right), margin) else "does not hold"
        return word, f"{text}: difference {left - right:+.3g}, margin {margin:.3g}"
    if comparison.expect == "not_worse":
        behind = (right - left) * numbers.sign(comparison.left)
        enough = within(behind, numbers.margin(comparison.left))
        return ("holds" if enough else "does not hold"), f"{text}, expected not worse"
    ahead = (left - right) * wanted(numbers, comparison)
    equal = math.isclose(left, right)
    word = tied if equal else "holds" if ahead > 0 else "does not hold"
    return word, f"{text}, expected {comparison.expect}"


def _printed_trend(test: TrendTest, numbers: Numbers) -> Evidence:
    """Never the wrong way from step to step, and the right way from end to end."""
    values = [v for v in map(numbers.printed, test.along) if v is not None]
    if len(values) < len(test.along):
        return Evidence(None)
    wanted = numbers.sign(test.along[0]) * (1.0 if test.expect == "better" else -1.0)
    moves = [(after - before) * wanted for before, after in pairwise(values)]
    word: Word = "does not hold" if min(moves) < 0 else "holds" if sum(moves) > 0 else _tied(test)
    shown = ", ".join(f"{value:g}" for value in values)
    return Evidence(word, [f"printed: {shown}; expected to get {test.expect}"])


def _limit(test: LimitTest, numbers: Numbers) -> Evidence:
    values = [numbers.printed(ref) for ref in test.trivial]
    if None in values:
        return Evidence(None)
    room = 100 * math.fsum(v for v in values if v is not None) / len(values)
    word: Word = "does not hold" if test.claimed > room else "inconclusive"
    text = (
        f"the predictor that always says no leaves {room:.2f} points of headroom; "
        f"the claimed gain is {test.claimed:g}"
    )
    return Evidence(word, [text])
