"""Whether our number agrees with a printed one: one pure function.

With D = ours - printed, its 95 % Welch interval CI, and a margin m declared before the runs:

- *agrees*: CI lies inside [-m, +m];
- *differs*: CI excludes zero and |D| > m;
- *inconclusive*: everything else, always below three seeds, and where our runs are all the same and
  their spread would stand in for the paper's;
- *failed*: a run diverged or could not go on;
- *undefined*: we have a run, but it lacks this score;
- *not run*: we have no number.

CI covers the seeds, ours and the paper's. Where the paper's test items are not ours, it also covers
both samples of items, taking theirs to be as large as ours. A marked number (stand-in data, reduced
protocol, calibrated, a sensitivity reading, a printed number that is not the paper's own
measurement) gets no verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from counterpoise.evaluation.statistics import Part, Sample, borrowed_interval, welch_interval
from counterpoise.spec.paper import Printed
from counterpoise.wording import plural

Verdict = Literal["agrees", "differs", "inconclusive", "failed", "undefined", "not run"]

NO_VERDICT = "no verdict: "
"""Begins the rule of a marked number; its marks follow, separated by ``", "``."""

FEWEST_SEEDS = 3
SHARES = {"accuracy", "auroc", "auprc", "f1", "sensitivity"}
"""Metrics between 0 and 1. Their margin is 0.01 where no spread is printed."""


def is_share(metric: str | None) -> bool:
    """Whether a metric is a share, or an average of some: ``f1_macro``, ``sensitivity_90``."""
    return metric is not None and metric.partition("_")[0] in SHARES


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


def margin_of(
    printed: Printed,
    metric: str | None,
    percent: bool,
    declared: float | None,
    repeats: int | None = None,
) -> float:
    """The margin: declared, else two printed standard deviations, else 0.01 of a share.

    Never below half a unit of the last printed digit, which is what rounding hides.
    """
    rounding = printed.last_digit / 2
    if declared is not None:
        return max(declared, rounding)
    if printed.spread is not None and _spread_over_runs(printed, repeats):
        return max(2 * float(printed.spread), rounding)
    if is_share(metric):
        return max(1.0 if percent else 0.01, rounding)
    return rounding


def judge(
    printed: Printed | None,
    repeats: int | None,
    ours: Sample | None,
    *,
    margin: float | None,
    marks: Sequence[str] = (),
    failed: str = "",
    other_items: bool = False,
    items: Part | None = None,
    undefined: bool = False,
) -> Judgement:
    """Compare our seeds with a printed number.

    Args:
        printed: the printed number, if there is one.
        repeats: runs behind the printed number, if the paper says so.
        ours: our mean and spread in printed units.
        margin: m; None where nothing is printed and none is declared.
        marks: why no verdict may be given.
        failed: what went wrong in a run behind ours.
        other_items: the printed number was measured on other test items than ours.
        items: what the items add to the variance of our mean, if it is known.
        undefined: there is a run, but it has no such score.
    """
    if failed:
        return Judgement("failed", None, None, margin, failed)
    if ours is None:
        if undefined:
            return Judgement("undefined", None, None, margin, "our run has no such score")
        return Judgement("not run", None, None, margin, "there is no run of ours")
    if printed is None:
        return Judgement(None, None, None, margin, "no printed number to compare with")
    difference = ours.mean - float(printed.value)
    runs = repeats or ours.n
    borrowed = not _spread_over_runs(printed, repeats)
    both = [items, items] if other_items and items is not None else []
    if borrowed:
        interval = borrowed_interval(ours, float(printed.value), runs, items=both)
    else:
        reference = Sample(float(printed.value), float(printed.spread or 0), runs)
        interval = welch_interval(ours, reference, items=both)
    verdict: Verdict | None
    unknown = borrowed and ours.n >= FEWEST_SEEDS and ours.alike
    if unknown:
        verdict = "inconclusive"
        rule = "our runs are all the same, so that their spread tells nothing about the paper's"
    else:
        verdict, rule = _rule(difference, interval, margin, ours.n, other_items and not both)
    if marks:
        verdict, rule = None, f"{NO_VERDICT}{', '.join(marks)}"
    elif ours.n >= FEWEST_SEEDS and not unknown:
        rule += _assumed(printed, repeats, other_items, ours.n)
    return Judgement(verdict, difference, interval, margin, rule)


def _spread_over_runs(printed: Printed, repeats: int | None) -> bool:
    """Whether a spread is printed, and not of a single run, where it is that of its items."""
    return printed.spread is not None and repeats != 1


def _rule(
    difference: float,
    interval: tuple[float, float] | None,
    margin: float | None,
    seeds: int,
    lacks_items: bool,
) -> tuple[Verdict, str]:
    if seeds < FEWEST_SEEDS:
        return "inconclusive", f"{plural(seeds, 'seed')}, fewer than {FEWEST_SEEDS}"
    if interval is None or margin is None:
        return "inconclusive", "no interval can be given"
    if lacks_items:
        what = "measured on other items, and what they add to the uncertainty is not known"
        return "inconclusive", what
    low, high = interval
    if -margin <= low and high <= margin:
        return "agrees", f"interval inside the margin of ±{margin:.3g}"
    clear = low > 0 or high < 0
    if clear and abs(difference) > margin:
        return "differs", f"interval excludes zero, difference beyond the margin of ±{margin:.3g}"
    if clear:
        what = (
            "interval excludes zero, but the difference is within the margin "
            "and the interval is not"
        )
    elif abs(difference) > margin:
        what = "difference beyond the margin, but the interval includes zero"
    else:
        what = "interval reaches beyond the margin and includes zero"
    return "inconclusive", f"{what} (±{margin:.3g})"


def _assumed(printed: Printed, repeats: int | None, other_items: bool, seeds: int) -> str:
    """What the interval takes for granted, in words."""
    taken = []
    if not _spread_over_runs(printed, repeats):
        taken.append("our spread stands in for the paper's")
    if repeats is None:
        taken.append(f"the paper's number of runs is not stated, taken to be {seeds}")
    if other_items:
        taken.append("the paper's test items are different ones, taken to be as many as ours")
    return f" ({'; '.join(taken)})" if taken else ""
