"""Whether our number agrees with a printed one: one pure function.

With D = ours - printed, its 95 % Welch interval CI and a margin m that is declared before the runs:

- *agrees*: CI lies inside [-m, +m];
- *differs*: CI excludes zero and |D| > m;
- *inconclusive*: everything else, and always below three seeds;
- *failed*: a run has come to a bad end;
- *undefined*: a run of ours exists, but not this score of it;
- *not run*: there is no number of ours.

A marked number (stand-in data, reduced protocol, calibrated, a sensitivity reading, a printed
number that is not the paper's own measurement) gets no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from counterpoise.evaluation.statistics import Sample, borrowed_interval, welch_interval
from counterpoise.spec.paper import Printed

Verdict = Literal["agrees", "differs", "inconclusive", "failed", "undefined", "not run"]

FEWEST_SEEDS = 3
SHARES = {"accuracy", "auroc", "auprc", "f1"}
"""Metrics between 0 and 1 whose margin is 0.01 where no spread is printed."""


@dataclass(frozen=True)
class Judgement:
    """A verdict with the rule that decided it.

    Attributes:
        verdict: None for a marked number.
        difference, interval, margin: D, CI and m in printed units, where they exist.
        rule: the deciding rule in words.
    """

    verdict: Verdict | None
    difference: float | None
    interval: tuple[float, float] | None
    margin: float | None
    rule: str


def margin_of(printed: Printed, metric: str | None, percent: bool, declared: float | None) -> float:
    """The margin: declared, else two printed standard deviations, else 0.01 of a share.

    Never below half a unit of the last printed digit, which is what rounding hides.
    """
    rounding = printed.last_digit / 2
    if declared is not None:
        return max(declared, rounding)
    if printed.spread is not None:
        return max(2 * float(printed.spread), rounding)
    if metric in SHARES:
        return max(1.0 if percent else 0.01, rounding)
    return rounding


def judge(
    printed: Printed | None,
    repeats: int | None,
    ours: Sample | None,
    *,
    margin: float | None,
    marks: Sequence[str] = (),
    failed: bool = False,
) -> Judgement:
    """Compare our seeds with a printed number.

    Args:
        printed: the printed number, if there is one.
        repeats: runs behind the printed number, if the paper says so.
        ours: our mean and spread in printed units.
        margin: m; None where nothing is printed.
        marks: why no verdict may be given.
        failed: a run behind ours has come to a bad end.
    """
    if failed:
        return Judgement("failed", None, None, margin, "a run has come to a bad end")
    if ours is None:
        return Judgement("not run", None, None, margin, "there is no run of ours")
    if printed is None:
        return Judgement(None, None, None, None, "nothing is printed to compare with")
    difference = ours.mean - float(printed.value)
    runs = repeats or ours.n
    if printed.spread is None:
        interval = borrowed_interval(ours, float(printed.value), runs)
    else:
        reference = Sample(float(printed.value), float(printed.spread), runs)
        interval = welch_interval(ours, reference)
    if marks:
        rule = f"no verdict: {', '.join(marks)}"
        return Judgement(None, difference, interval, margin, rule)
    stands_in = "" if printed.spread is not None else " (our spread stands in for the paper's)"
    if ours.n < FEWEST_SEEDS or interval is None or margin is None:
        few = f"{ours.n} seeds are fewer than {FEWEST_SEEDS}"
        rule = few if ours.n < FEWEST_SEEDS else "no interval can be given"
        return Judgement("inconclusive", difference, interval, margin, rule)
    low, high = interval
    if -margin <= low and high <= margin:
        return Judgement(
            "agrees", difference, interval, margin, f"interval inside the margin{stands_in}"
        )
    if (low > 0 or high < 0) and abs(difference) > margin:
        rule = f"interval excludes zero, difference beyond the margin{stands_in}"
        return Judgement("differs", difference, interval, margin, rule)
    rule = f"interval neither inside the margin nor clear of zero beyond it{stands_in}"
    return Judgement("inconclusive", difference, interval, margin, rule)
