"""Whether a paper's sentences hold: against its own numbers, and against our runs.

Each claim ends with one word (holds, does not hold, inconclusive, not testable) and its basis.
The paper's own numbers settle a claim that speaks of them, and any claim that they contradict;
that they agree with a claim about methods does not make it hold. Otherwise our runs decide, over
differences in pairs (the same seeds and items) with a 95 % interval. A sentence holds where all its
comparisons come out; it does not where one clearly comes out the other way, with intervals so wide
(Bonferroni) that of many comparisons none does so by chance more often than one in twenty times.
Runs on stand-in data or with a reduced protocol show a tendency and leave the claim inconclusive.

The trend that a paper states of a figure is judged in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from counterpoise.evaluation.comparisons import difference_of
from counterpoise.evaluation.measured import Measured, combined
from counterpoise.evaluation.statistics import LEVEL, interval_of
from counterpoise.files import read_json, write_sealed
from counterpoise.plan import Plan
from counterpoise.reproduction.ours import Scores, ours_of
from counterpoise.reproduction.verdicts import FEWEST_SEEDS
from counterpoise.spec.paper import (
    ChangeTest,
    Claim,
    ClaimTest,
    CompareTest,
    Comparison,
    LimitTest,
    Paper,
    StatedTest,
    TrendTest,
    Word,
)

PRINTED, FULL, REDUCED, DEMO, NONE = (
    "the paper's own numbers",
    "our full runs",
    "our reduced runs",
    "our runs on stand-in data",
    "no runs yet",
)


@dataclass(frozen=True)
class Evidence:
    """What one source of numbers says.

    Attributes:
        word: None where it says nothing.
        steps: each comparison in words.
        marks: marks of the runs behind it.
        missing: table cells that it lacks.
    """

    word: Word | None
    steps: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


class Numbers:
    """Printed numbers and ours, by reference ``table/row/column``.

    ``resamples`` gives ours with what the items add to their uncertainty; without it, differences
    are judged over seeds alone.
    """

    def __init__(
        self, tables: dict[str, Any], resamples: Callable[[str], Measured | None] | None = None
    ) -> None:
        self._tables, self._resamples = tables, resamples

    def entry(self, ref: str) -> dict[str, Any]:
        """One cell of a table."""
        table, row, column = ref.split("/")
        found: dict[str, Any] = self._tables[table][row][column]
        return found

    def printed(self, ref: str) -> float | None:
        """The printed value."""
        value = self.entry(ref)["printed_value"]
        return None if value is None else float(value)

    def sign(self, ref: str) -> float:
        """+1 where higher is better, -1 where lower is."""
        return -1.0 if self.entry(ref)["better"] == "lower" else 1.0

    def ours(self, ref: str) -> Measured | None:
        """Our number; None where there is none that came to a good end."""
        ours = self.entry(ref)["ours"]
        if ours is None or ours["trouble"]:
            return None
        found = self._resamples(ref) if self._resamples is not None else None
        return Measured(ours["values"]) if found is None else found


def resamples_of(scores: Scores, paper: Paper) -> Callable[[str], Measured | None]:
    """Where :class:`Numbers` finds our numbers with their resamples."""
    tables = {table.id: table for table in paper.tables}

    def find(ref: str) -> Measured | None:
        name, row_id, column_id = ref.split("/")
        table = tables[name]
        row = next(row for row in table.rows if row.id == row_id)
        column = next(column for column in table.columns if column.id == column_id)
        ours, _ = ours_of(scores, paper.id, table.quantity(row, column), table.baseline)
        return None if ours is None else ours.measured

    return find


def _wanted(numbers: Numbers, comparison: Comparison) -> float:
    """+1 where left must be above right, -1 where below."""
    sign = {"higher": 1.0, "lower": -1.0}
    if comparison.expect in sign:
        return sign[comparison.expect]
    return numbers.sign(comparison.left) * (1.0 if comparison.expect == "better" else -1.0)


def _combine(words: list[Word]) -> Word:
    if "does not hold" in words:
        return "does not hold"
    return "holds" if all(word == "holds" for word in words) else "inconclusive"


def _printed_comparison(numbers: Numbers, comparison: Comparison) -> tuple[Word | None, str]:
    left = numbers.printed(comparison.left)
    right = (
        numbers.printed(comparison.right)
        if isinstance(comparison.right, str)
        else float(comparison.right)
    )
    if left is None or right is None:
        return None, f"{comparison.left}: not printed"
    right *= comparison.times
    text = f"{comparison.left} {left:g} against {_right(comparison)} {right:g}"
    if comparison.expect == "similar":
        margin = numbers.entry(comparison.left)["margin"] or 0.0
        word: Word = "holds" if abs(left - right) <= margin else "does not hold"
        return word, f"{text}: difference {left - right:+.3g}, margin {margin:.3g}"
    holds = (left - right) * _wanted(numbers, comparison) > 0
    return ("holds" if holds else "does not hold"), f"{text}, expected {comparison.expect}"


def _right(comparison: Comparison) -> str:
    """The right side in words."""
    times = "" if comparison.times == 1 else f"{comparison.times:.3g} times "
    return f"{times}{comparison.right}"


def _our_comparison(
    numbers: Numbers, comparison: Comparison, family: int
) -> tuple[Word | None, str]:
    """The word of one comparison out of ``family``, and what it rests on."""
    left = numbers.ours(comparison.left)
    if left is None:
        return None, ""
    if isinstance(comparison.right, str):
        right = numbers.ours(comparison.right)
        if right is None:
            return None, ""
        difference = difference_of(left, right, comparison.times)
    else:
        constant = comparison.times * comparison.right
        difference = combined([left], lambda values: values[0] - constant)
    if not difference.values:
        return None, ""
    sample, parts = difference.sample, difference.parts
    text = f"{comparison.left} minus {_right(comparison)}: {sample.mean:+.3g}"
    interval = interval_of(sample.mean, parts)
    strict = interval_of(sample.mean, parts, 1 - (1 - LEVEL) / family)
    if interval is None or strict is None or sample.n < FEWEST_SEEDS:
        return "inconclusive", f"{text} ({sample.n} seeds)"
    over = "paired seeds and items" if difference.items is not None else "paired seeds"
    text += f" [{interval[0]:.3g}, {interval[1]:.3g}] over {sample.n} {over}"
    text += f", expected {comparison.expect}"
    if comparison.expect == "similar":
        margin = numbers.entry(comparison.left)["margin"] or 0.0
        if -margin <= interval[0] and interval[1] <= margin:
            return "holds", text
        clear = (strict[0] > 0 or strict[1] < 0) and abs(sample.mean) > margin
        return ("does not hold" if clear else "inconclusive"), text
    wanted = _wanted(numbers, comparison)
    low, _ = sorted(wanted * bound for bound in interval)
    _, high = sorted(wanted * bound for bound in strict)
    return ("holds" if low > 0 else "does not hold" if high < 0 else "inconclusive"), text


def _gather(results: list[tuple[Word | None, str]], missing: list[str]) -> Evidence:
    words = [word for word, _ in results if word is not None]
    steps = [text for _, text in results if text]
    if not words:
        return Evidence(None, steps, missing=missing)
    word = _combine(words)
    if missing and word == "holds":
        word = "inconclusive"
    return Evidence(word, steps, missing=missing)


def _steps(test: TrendTest) -> list[Comparison]:
    """Each row of the trend against the row before."""
    return [
        Comparison(left=after, right=before, expect=test.expect)
        for before, after in pairwise(test.along)
    ]


def _printed_trend(test: TrendTest, numbers: Numbers) -> Evidence:
    """Never the wrong way from step to step, and the right way from end to end."""
    values = [v for v in map(numbers.printed, test.along) if v is not None]
    if len(values) < len(test.along):
        return Evidence(None)
    wanted = numbers.sign(test.along[0]) * (1.0 if test.expect == "better" else -1.0)
    moves = [(after - before) * wanted for before, after in pairwise(values)]
    word: Word = "holds" if min(moves) >= 0 and sum(moves) > 0 else "does not hold"
    shown = ", ".join(f"{value:g}" for value in values)
    return Evidence(word, [f"printed: {shown}; expected to get {test.expect}"])


def evidence_of_runs(test: CompareTest | TrendTest, numbers: Numbers) -> Evidence:
    """What our runs say."""
    if isinstance(test, TrendTest):
        # Neighbouring rows may be too close to tell apart; the ends must differ clearly, and no
        # step may clearly go the wrong way.
        comparisons = _steps(test)
        ends = Comparison(left=test.along[-1], right=test.along[0], expect=test.expect)
        family = len(comparisons) + 1
        results = [_our_comparison(numbers, ends, family)]
        for comparison in comparisons:
            word, text = _our_comparison(numbers, comparison, family)
            results.append(("does not hold", text) if word == "does not hold" else (None, text))
        refs = list(test.along)
    else:
        family = len(test.comparisons)
        results = [_our_comparison(numbers, c, family) for c in test.comparisons]
        refs = [
            side for c in test.comparisons for side in (c.left, c.right) if isinstance(side, str)
        ]
    refs = list(dict.fromkeys(refs))
    missing = [ref for ref in refs if numbers.ours(ref) is None]
    found = _gather(results, missing)
    present = [ref for ref in refs if ref not in missing]
    marks = {mark for ref in present for mark in numbers.entry(ref)["marks"]}
    return Evidence(found.word, found.steps, sorted(marks), missing)


def _change(test: ChangeTest, numbers: Numbers) -> Evidence:
    start, end = numbers.printed(test.start), numbers.printed(test.end)
    if start is None or end is None or (test.reading == "relative" and start == 0):
        return Evidence(None)
    change = (end - start) * numbers.sign(test.end)
    unit = ""
    if test.reading == "relative":
        change, unit = 100 * change / abs(start), " %"
    word: Word = "holds" if abs(change - test.claimed) <= test.tolerance else "does not hold"
    text = (
        f"{test.start} {start:g} to {test.end} {end:g}: {test.reading} improvement of "
        f"{change:.1f}{unit}, claimed {test.claimed:g}{unit}"
    )
    return Evidence(word, [text])


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


def judge_claim(claim: Claim, numbers: Numbers) -> dict[str, Any]:
    """The word for a claim, its basis, and what each source of numbers says."""
    return {"id": claim.id, **judge_test(claim.test, numbers)}


def judge_test(test: ClaimTest, numbers: Numbers) -> dict[str, Any]:
    """The same for a test, of a claim or of a figure's trend."""
    runs = Evidence(None)
    if isinstance(test, StatedTest):
        return _result(test.word, "argument", test.reason, Evidence(None), runs)
    if isinstance(test, CompareTest):
        results = [_printed_comparison(numbers, c) for c in test.comparisons]
        printed = _gather(results, [text for word, text in results if word is None])
    elif isinstance(test, TrendTest):
        printed = _printed_trend(test, numbers)
    elif isinstance(test, ChangeTest):
        printed = _change(test, numbers)
    else:
        printed = _limit(test, numbers)
    needs_runs = isinstance(test, CompareTest | TrendTest) and test.settled_by == "runs"
    if not needs_runs:
        return _result(printed.word or "not testable", PRINTED, _reason(printed), printed, runs)
    assert isinstance(test, CompareTest | TrendTest)
    runs = evidence_of_runs(test, numbers)
    if printed.word == "does not hold":
        reason = "the paper's own numbers contradict the sentence"
        return _result("does not hold", PRINTED, reason, printed, runs)
    if runs.word is None:
        reason = "the rows that it needs are not run"
        if printed.word == "holds":
            reason += "; the paper's own numbers agree with the sentence"
        return _result("inconclusive", NONE, reason, printed, runs)
    lesser = [mark for mark in runs.marks if mark in ("demo", "reduced", "leaking")]
    if lesser:
        basis = DEMO if "demo" in lesser else REDUCED
        reason = f"tendency only ({', '.join(lesser)}): {runs.word}"
        return _result("inconclusive", basis, reason, printed, runs)
    return _result(runs.word, FULL, _reason(runs), printed, runs)


def _reason(evidence: Evidence) -> str:
    return evidence.steps[0] if len(evidence.steps) == 1 else ""


def _result(
    word: Word, basis: str, reason: str, printed: Evidence, runs: Evidence
) -> dict[str, Any]:
    return {
        "word": word,
        "basis": basis,
        "reason": reason,
        "printed": asdict(printed),
        "runs": asdict(runs),
    }


def judge_trends(paper: Paper, numbers: Numbers) -> dict[str, dict[str, Any]]:
    """The words for the trends of a paper's figures, by figure."""
    return {
        figure.id: judge_test(figure.test, numbers)
        for figure in paper.figures
        if figure.test is not None
    }


def make_claims(root: Path, plan: Plan, paper_name: str) -> None:
    """Write the words for all claims of a paper, and for the trends of its figures."""
    made = plan.paper(paper_name)
    tables = read_json(root / made.tables)["tables"]
    numbers = Numbers(tables, resamples_of(Scores(root, plan), made.paper))
    claims = [judge_claim(claim, numbers) for claim in made.paper.claims]
    trends = judge_trends(made.paper, numbers)
    write_sealed(root / made.claims, {"paper": paper_name, "claims": claims, "figures": trends})
