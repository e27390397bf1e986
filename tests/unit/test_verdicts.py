"""Verdicts: every branch, and how often they err."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from counterpoise.evaluation.statistics import Part, Sample, summarise, welch_interval
from counterpoise.reproduction.verdicts import Judgement, judge, margin_of
from counterpoise.spec.paper import parse_printed


def judged(printed: str, ours: Sample | None, **options: Any) -> Judgement:
    options = {"repeats": 10, "margin": 1.0, **options}
    return judge(parse_printed(printed), options.pop("repeats"), ours, **options)


def ours(mean: float, sd: float | None = 0.1, n: int = 5) -> Sample:
    return Sample(mean, sd, n)


# Margins -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "metric", "percent", "declared", "expected"),
    [
        ("89.46 ±0.57", "accuracy", True, None, 1.14),  # two printed deviations
        ("0.26 ±0.06", "mse", False, None, 0.12),
        ("89.46", "accuracy", True, None, 1.0),  # 0.01 of a share, in percent
        ("0.8946", "accuracy", False, None, 0.01),
        ("0.500", "auroc", False, None, 0.01),
        ("0.15", "f1", False, None, 0.01),
        ("0.15", "f1_macro", False, None, 0.01),  # averages over findings are shares, too
        ("0.15", "auroc_micro", False, None, 0.01),
        ("0.15", "sensitivity_90", False, None, 0.01),
        ("133.97", "mse", False, None, 0.005),  # no share: half a unit of the last digit
        ("134", "mse", False, None, 0.5),
        ("89.46 ±0.57", "accuracy", True, 0.3, 0.3),  # declared before the runs
        ("89 ±0.57", "accuracy", True, 0.3, 0.5),  # but rounding hides half a unit
        ("0.3 ±0.01", "mse", False, None, 0.05),
        ("0.5 ±0.00", "mse", False, None, 0.05),
        ("0.9", "auroc", False, None, 0.05),
    ],
)
def test_margin(
    printed: str, metric: str, percent: bool, declared: float | None, expected: float
) -> None:
    number = parse_printed(printed)
    assert number is not None
    assert margin_of(number, metric, percent, declared) == pytest.approx(expected)


# Branches ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "sd", "margin", "verdict"),
    [
        # Printed 10.0 +- 0.1 over 10 runs, ours over 5: with sd 0.1 the half width is about 0.12.
        (10.0, 0.1, 1.0, "agrees"),
        (10.8, 0.1, 1.0, "agrees"),  # a clear difference, but inside the margin
        (9.2, 0.1, 1.0, "agrees"),
        (12.0, 0.1, 1.0, "differs"),
        (8.0, 0.1, 1.0, "differs"),
        (10.95, 0.1, 1.0, "inconclusive"),  # interval over the edge, difference inside
        (11.05, 0.1, 1.0, "differs"),  # interval clear of zero, difference beyond
        (12.0, 5.0, 1.0, "inconclusive"),  # too wide to say anything
        (10.0, 5.0, 1.0, "inconclusive"),
        (10.05, 0.1, 0.01, "inconclusive"),  # beyond the margin, but not clear of zero
    ],
)
def test_verdict(mean: float, sd: float, margin: float, verdict: str) -> None:
    found = judged("10.0 ±0.1", ours(mean, sd), margin=margin)
    assert found.verdict == verdict
    assert found.difference == pytest.approx(mean - 10.0)
    assert found.margin == margin and found.rule


def test_the_interval_is_welchs_of_ours_against_the_printed_spread_and_runs() -> None:
    found = judged("10.0 ±0.3", ours(10.4, 0.2, 4), repeats=7)
    assert found.interval == welch_interval(Sample(10.4, 0.2, 4), Sample(10.0, 0.3, 7))


def test_below_three_seeds_nothing_is_concluded() -> None:
    for n, sd in ((1, None), (2, 0.001)):
        for mean in (10.0, 99.0):
            found = judged("10.0 ±0.1", ours(mean, sd, n))
            assert found.verdict == "inconclusive"
            assert found.rule.endswith(", fewer than 3") and "1 seeds" not in found.rule
    assert judged("10.0 ±0.1", ours(10.0, 0.1, 3)).verdict == "agrees"


def test_a_bad_end_comes_before_everything() -> None:
    for marks in ((), ("demo",)):
        assert (
            judged("10.0", ours(10.0), failed="seed 1: non-finite loss", marks=marks).verdict
            == "failed"
        )
    assert judged("10.0", None, failed="seed 1: non-finite loss").verdict == "failed"


def test_the_bad_end_is_the_rule() -> None:
    assert judged("10.0", ours(10.0), failed="seed 1: at chance").rule == "seed 1: at chance"


def test_a_run_without_the_score_is_not_a_missing_run() -> None:
    assert judged("10.0", None, undefined=True).verdict == "undefined"
    assert judge(None, None, None, margin=None, undefined=True).verdict == "undefined"


@pytest.mark.parametrize(
    ("items", "verdict"), [(0.0, "agrees"), (0.2, "agrees"), (1.0, "inconclusive")]
)
def test_other_test_items_widen_the_interval(items: float, verdict: str) -> None:
    """Both samples of items count, since neither the paper's nor ours is the other's."""
    part = Part(items**2, 500)
    found = judged("10.0 ±0.1", ours(10.2), other_items=True, items=part)
    assert found.verdict == verdict
    assert found.interval == welch_interval(
        Sample(10.2, 0.1, 5), Sample(10.0, 0.1, 10), items=[part, part]
    )
    same = judged("10.0 ±0.1", ours(10.2), items=part)
    assert same.verdict == "agrees" and "items" not in same.rule, "the same items cancel out"


def test_other_items_of_unknown_weight_leave_it_open() -> None:
    found = judged("10.0 ±0.1", ours(10.0), other_items=True)
    assert found.verdict == "inconclusive" and "items" in found.rule


@pytest.mark.parametrize(
    ("mean", "sd", "words"),
    [
        (10.0, 0.1, "inside the margin of ±1"), (12.0, 0.1, "beyond the margin of ±1"),
        (10.95, 0.1, "excludes zero, but the difference is within"),
        (12.0, 5.0, "includes zero"), (10.0, 5.0, "includes zero"),
    ],
)  # fmt: skip
def test_the_deciding_rule_is_told(mean: float, sd: float, words: str) -> None:
    assert words in judged("10.0 ±0.1", ours(mean, sd)).rule


def test_what_the_interval_takes_for_granted_is_told() -> None:
    found = judged("10.0", ours(10.0), repeats=None, other_items=True, items=Part(0.0, 9))
    for words in (
        "our spread stands in",
        "number of runs is not stated",
        "test items are different",
    ):
        assert words in found.rule
    assert "(" not in judged("10.0 ±0.1", ours(10.0)).rule


def test_without_a_run_of_ours() -> None:
    assert judged("10.0", None).verdict == "not run"
    assert judge(None, None, None, margin=None).verdict == "not run"


def test_without_a_printed_number() -> None:
    found = judge(None, None, ours(1.0), margin=None)
    assert (found.verdict, found.difference, found.interval) == (None, None, None)


def test_a_declared_margin_stays_where_nothing_is_printed() -> None:
    assert judge(None, None, ours(1.0), margin=0.3).margin == 0.3


def test_a_spread_of_one_run_is_not_one_over_runs() -> None:
    """Of a single run what is printed after ± is no spread over seeds, and ours stands in."""
    found = judged("10.0 ±0.1", ours(10.0), repeats=1)
    assert "our spread stands in" in found.rule
    assert found.interval == judged("10.0", ours(10.0), repeats=1).interval
    spread = parse_printed("89.46 ±0.57")
    assert spread is not None and margin_of(spread, "accuracy", True, None, repeats=1) == 1.0


@pytest.mark.parametrize("mark", ["demo", "reduced", "calibrated", "sensitivity", "second_hand"])
def test_a_marked_number_gets_no_verdict_but_a_difference(mark: str) -> None:
    for mean in (10.0, 99.0):
        found = judged("10.0 ±0.1", ours(mean), marks=[mark])
        assert found.verdict is None and mark in found.rule
        assert found.difference == pytest.approx(mean - 10.0) and found.interval is not None


def test_our_spread_stands_in_where_none_is_printed_and_it_is_said() -> None:
    found = judged("10.0", ours(10.0), repeats=10)
    assert found.verdict == "agrees" and "our spread stands in" in found.rule
    assert "stands in" not in judged("10.0 ±0.1", ours(10.0)).rule


@pytest.mark.parametrize("printed", ["1.6", "0.501"])
def test_runs_that_are_all_the_same_have_no_spread_to_stand_in(printed: str) -> None:
    """As networks that always say no; neither far nor near is then known to be so by chance."""
    found = judged(printed, ours(0.5, 0.0))
    assert found.verdict == "inconclusive" and "all the same" in found.rule
    assert "stands in" not in found.rule
    spread = judged(f"{printed} ±0.001", ours(0.5, 0.0))
    assert spread.verdict == ("differs" if printed == "1.6" else "agrees")


def test_enough_seeds_are_not_told_to_be_too_few() -> None:
    """Also where the paper has one run and no spread, so that little can be said."""
    found = judged("10.0", ours(10.0, n=5), repeats=1)
    assert "fewer than" not in found.rule


# How often they err --------------------------------------------------------------------------

DRAWS = 3000


def share(verdict: str, *, seed: int, n: int, shift: float = 0.0, **how: Any) -> float:
    """Share of a verdict when a paper with ``repeats`` runs and we with ``n`` draw from normals.

    The paper's mean is ``shift`` deviations below ours, and it prints ten decimals.
    """
    rng = np.random.default_rng(seed)
    repeats, spread, margin = how["repeats"], how.get("spread", True), how["margin"]
    count = 0
    for _ in range(DRAWS):
        theirs, mine = rng.normal(0.0, 1.0, repeats), rng.normal(shift, 1.0, n)
        text = f"{theirs.mean():.10f}"
        if spread:
            text += f" ±{theirs.std(ddof=1):.10f}"
        count += (
            judged(text, summarise(mine.tolist()), repeats=repeats, margin=margin).verdict
            == verdict
        )
    return count / DRAWS


def at_most(rate: float) -> float:
    """The rate and four standard errors of its estimate: wrong once in 30,000 seeds."""
    return rate + 4 * math.sqrt(rate * (1 - rate) / DRAWS)


# Welch's interval is approximate: with three against ten it misses in 6.5 % (10^6 draws, numpy).
@pytest.mark.parametrize(("n", "repeats", "rate"), [(3, 10, 0.065), (10, 10, 0.05), (5, 3, 0.05)])
def test_equal_truth_differs_in_about_one_of_twenty(n: int, repeats: int, rate: float) -> None:
    """A margin of nearly nothing leaves the interval alone to decide."""
    found = share("differs", seed=n, n=n, repeats=repeats, margin=1e-9)
    assert 0.02 < found <= at_most(rate)


@pytest.mark.parametrize("n", [3, 10])
def test_also_where_our_spread_stands_in_for_the_papers(n: int) -> None:
    """The one spread has n - 1 degrees of freedom, however often it is used."""
    found = share("differs", seed=n, n=n, repeats=n, spread=False, margin=1e-9)
    assert found <= at_most(0.05)


def test_with_the_usual_margin_equal_truth_hardly_ever_differs_and_mostly_agrees() -> None:
    # |D| > 2 with both means over ten runs is 4.5 standard errors.
    assert share("differs", seed=1, n=10, repeats=10, margin=2.0) <= at_most(0.001)
    assert share("agrees", seed=2, n=10, repeats=10, margin=2.0) > 0.95


@pytest.mark.parametrize(("n", "least"), [(3, 0.9), (10, 0.999)])
def test_far_truth_differs_and_never_agrees(n: int, least: float) -> None:
    """Eight deviations apart with a margin of two."""
    how: dict[str, Any] = {"seed": n, "n": n, "shift": 8.0, "repeats": 10, "margin": 2.0}
    assert share("differs", **how) > least
    assert share("agrees", **how) == 0.0


def test_a_difference_of_the_margin_is_not_called_agreement() -> None:
    """At the edge itself the interval lies inside in no more than one of forty."""
    found = share("agrees", seed=4, n=10, shift=2.0, repeats=10, margin=2.0)
    assert found <= at_most(0.025)
