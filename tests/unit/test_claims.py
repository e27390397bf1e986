"""Whether a sentence holds: every kind of test, on made-up tables and on the papers' own."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy.stats import spearmanr

from counterpoise.evaluation.comparisons import difference_of
from counterpoise.evaluation.measured import Draws, Measured
from counterpoise.evaluation.ranks import rank_correlation
from counterpoise.evaluation.statistics import t_quantile
from counterpoise.plan import load_plan
from counterpoise.project import Project
from counterpoise.report.claims import reason_of
from counterpoise.reproduction.claims import (
    DEMO,
    FAILED,
    FULL,
    LEAKING,
    NONE,
    PRINTED,
    REDUCED,
    judge_claim,
    judge_trends,
)
from counterpoise.reproduction.evidence import Numbers, in_pairs
from counterpoise.reproduction.ours import CONSTANT
from counterpoise.reproduction.tables import planned_entry
from counterpoise.reproduction.timing import jobs_apart, work_of
from counterpoise.reproduction.verdicts import margin_of
from counterpoise.spec.claim import Claim, ClaimTest
from counterpoise.spec.paper import Paper, parse_printed

from ..support import ROOT, small_cell

Entry = dict[str, Any]


def cell(
    printed: float | None = None,
    ours: list[float] | None = None,
    *,
    better: str | None = "higher",
    margin: float | None = None,
    marks: tuple[str, ...] = (),
    trouble: str | None = None,
) -> Entry:
    """One cell of a table as ``make_tables`` writes it, with what claims read of it."""
    values = None if ours is None else {str(seed): value for seed, value in enumerate(ours)}
    return {
        "printed_value": printed, "better": better, "margin": margin, "marks": list(marks),
        "ours": None if values is None else {"values": values, "trouble": trouble},
        "verdict": "failed" if trouble else None,
    }  # fmt: skip


def judged(
    test: dict[str, Any], shared_by: int = 1, jobs_apart: float = 1.0, **cells: Entry
) -> dict[str, Any]:
    """Judge a test over cells ``t/row/c``, one a row."""
    made = TypeAdapter(ClaimTest).validate_python(test)
    claim = Claim(id="x", sentence="s", place="p", test=made)
    tables = {"t": {name: {"c": entry} for name, entry in cells.items()}}
    return judge_claim(claim, Numbers(tables, shared_by=shared_by, jobs_apart=jobs_apart))


def compare(expect: str, right: Any = "t/b/c", **more: Any) -> dict[str, Any]:
    pair = {"left": "t/a/c", "right": right, "expect": expect}
    return {"kind": "compare", "comparisons": [pair], **more}


def printed_only(expect: str, right: Any = "t/b/c") -> dict[str, Any]:
    return compare(expect, right, settled_by="printed")


@pytest.mark.parametrize(
    ("expect", "better", "left", "right", "word"),
    [
        ("better", "higher", 2.0, 1.0, "holds"), ("better", "higher", 1.0, 2.0, "does not hold"),
        ("better", "lower", 1.0, 2.0, "holds"), ("better", "lower", 2.0, 1.0, "does not hold"),
        ("worse", "higher", 1.0, 2.0, "holds"), ("worse", "lower", 1.0, 2.0, "does not hold"),
        ("higher", "lower", 2.0, 1.0, "holds"), ("lower", "higher", 2.0, 1.0, "does not hold"),
        ("better", "higher", 1.0, 1.0, "does not hold"), ("lower", None, 1.0, 2.0, "holds"),
    ],
)  # fmt: skip
def test_printed_numbers_are_compared(
    expect: str, better: str | None, left: float, right: float, word: str
) -> None:
    found = judged(printed_only(expect), a=cell(left, better=better), b=cell(right, better=better))
    assert (found["word"], found["basis"]) == (word, PRINTED)


@pytest.mark.parametrize(("value", "word"), [(0.51, "holds"), (0.5, "does not hold")])
def test_a_printed_number_is_compared_with_a_constant(value: float, word: str) -> None:
    assert judged(printed_only("higher", 0.5), a=cell(value))["word"] == word


@pytest.mark.parametrize(("margin", "word"), [(1.0, "holds"), (0.9, "does not hold")])
def test_similar_printed_numbers_differ_by_the_margin_at_most(margin: float, word: str) -> None:
    found = judged(printed_only("similar"), a=cell(2.0, margin=margin), b=cell(3.0))
    assert found["word"] == word


@pytest.mark.parametrize("expect", ["similar", "not_worse"])
def test_a_difference_that_is_the_margin_is_within_it(expect: str) -> None:
    """0.93 - 0.92 is a little more than 0.01 in binary digits."""
    low, high = cell(0.92, margin=0.01, better="higher"), cell(0.93, margin=0.01, better="higher")
    assert judged(printed_only(expect), a=low, b=high)["word"] == "holds"
    assert judged(printed_only(expect), a=high, b=low)["word"] == "holds"


def test_all_comparisons_must_come_out() -> None:
    def both(first: float, second: float | None) -> str:
        test = printed_only("better")
        test["comparisons"].append({"left": "t/d/c", "right": "t/b/c", "expect": "better"})
        cells = {"a": cell(first), "b": cell(1.0), "d": cell(second)}
        return str(judged(test, **cells)["word"])

    assert both(2.0, 2.0) == "holds"
    assert both(2.0, 0.5) == both(0.5, 2.0) == "does not hold"
    assert both(2.0, None) == "inconclusive", "a number that is not printed may decide"
    assert both(0.5, None) == "does not hold", "one that comes out wrong decides"


@pytest.mark.parametrize("left", [2.0, 0.5])
def test_numbers_at_second_hand_settle_nothing_alone(left: float) -> None:
    cells = {"a": cell(left), "b": cell(1.0, marks=("second_hand",))}
    found = judged(printed_only("better"), **cells)
    assert (found["word"], found["basis"]) == ("inconclusive", PRINTED)
    assert ("agree" if left > 1 else "contradict") in found["reason"]


def test_without_printed_numbers_what_they_settle_is_not_testable() -> None:
    assert judged(printed_only("better"), a=cell(), b=cell())["word"] == "not testable"


def test_what_is_not_printed_is_named() -> None:
    def missing(left: float | None, right: float | None) -> list[str]:
        return judged(printed_only("better"), a=cell(left), b=cell(right))["printed"]["missing"]

    assert missing(1.0, None) == ["t/b/c"]
    assert missing(None, 1.0) == ["t/a/c"]
    assert missing(None, None) == ["t/a/c", "t/b/c"]


# Our runs ------------------------------------------------------------------------------------

HIGH, LOW, NOISE = [5.0, 5.1, 4.9], [1.0, 1.2, 0.9], [9.0, -7.0, 1.0]


@pytest.mark.parametrize(
    ("expect", "left", "right", "word"),
    [
        ("better", HIGH, LOW, "holds"), ("better", LOW, HIGH, "does not hold"),
        ("worse", LOW, HIGH, "holds"), ("better", NOISE, LOW, "inconclusive"),
        ("similar", HIGH, [5.01, 5.11, 4.92], "holds"), ("similar", HIGH, LOW, "does not hold"),
        ("similar", NOISE, LOW, "inconclusive"),
        ("better", HIGH[:2], LOW[:2], "inconclusive"), ("better", HIGH[:1], LOW, "inconclusive"),
    ],
)  # fmt: skip
def test_full_runs_decide(expect: str, left: list[float], right: list[float], word: str) -> None:
    found = judged(compare(expect), a=cell(None, left, margin=0.5), b=cell(None, right))
    assert (found["word"], found["basis"]) == (word, FULL)


@pytest.mark.parametrize(
    ("left", "better", "word"),
    [
        ([5.0, 5.1, 4.9], "higher", "holds"), ([3.8, 4.0, 3.7], "higher", "holds"),  # within 1
        (LOW, "higher", "does not hold"), (LOW, "lower", "holds"), (NOISE, "higher", "inconclusive"),
    ],
)  # fmt: skip
def test_not_worse_leaves_a_margin_on_one_side(left: list[float], better: str, word: str) -> None:
    right = [4.5, 4.6, 4.4]
    cells = {
        "a": cell(None, left, margin=1.0, better=better), "b": cell(None, right, better=better)
    }  # fmt: skip
    assert judged(compare("not_worse"), **cells)["word"] == word


@pytest.mark.parametrize(("left", "word"), [(0.6, "holds"), (0.4, "does not hold")])
def test_a_printed_number_is_not_worse_within_the_margin(left: float, word: str) -> None:
    found = judged(printed_only("not_worse"), a=cell(left, margin=0.5), b=cell(1.0))
    assert found["word"] == word


def test_similar_is_refuted_by_what_lies_beyond_the_margin_alone() -> None:
    """Clear of zero is not clear of the margin: 1.1 apart, give or take 0.25, with a margin of 1."""
    base = [0.0, 5.0, 9.0]
    apart = [1.0, 6.1, 10.2]
    found = judged(compare("similar"), a=cell(None, apart, margin=1.0), b=cell(None, base))
    assert found["word"] == "inconclusive"
    for margin, word in ((0.8, "does not hold"), (1.4, "holds")):
        sides = {"a": cell(None, apart, margin=margin), "b": cell(None, base)}
        assert judged(compare("similar"), **sides)["word"] == word


def test_what_is_measured_once_may_be_near_but_not_apart() -> None:
    """All seeds are the same, so that nothing has been measured more than once."""
    base, apart = [1.0, 5.0, 9.0], [1.5, 5.5, 9.5]
    for expect in ("similar", "not_worse"):
        for margin, word in ((1.0, "holds"), (0.1, "inconclusive")):
            sides = {"a": cell(None, base, margin=margin), "b": cell(None, apart)}
            assert judged(compare(expect), **sides)["word"] == word
    ones = {"a": cell(None, [1.0] * 3), "b": cell(None, [1.5] * 3)}
    for claimed, word in ((12, "inconclusive"), (50, "holds")):
        assert judged(change(claimed, settled_by="runs"), **ones)["word"] == word


@pytest.mark.parametrize(
    ("factor", "word"), [(1.3, "inconclusive"), (1.6, "holds"), (0.7, "inconclusive"),
                         (0.6, "does not hold")]
)  # fmt: skip
def test_times_of_two_jobs_decide_only_where_they_are_far_apart(factor: float, word: str) -> None:
    """Seeds of one job share the load of its machine: their spread says nothing about it."""
    times = [0.020, 0.0201, 0.0199]
    sides = {"a": cell(None, times), "b": cell(None, [3 * factor * time for time in times[::-1]])}
    test = compare("lower")
    test["comparisons"][0]["times"] = 1 / 3
    plain = judged(test, **sides)
    assert plain["word"] == ("holds" if factor > 1 else "does not hold")
    for side in sides.values():
        side["metric"] = "seconds_per_step"
    assert judged(test, jobs_apart=1.5, **sides)["word"] == word
    alone = judged(compare("lower", 1.0), jobs_apart=1.5, a=sides["a"])
    assert alone["word"] == "inconclusive" and "one job" in alone["reason"]
    moved = judged(change(90, settled_by="runs"), jobs_apart=1.5, **sides)
    assert moved["word"] == "inconclusive" and "one job" in moved["reason"]


def test_what_cells_do_the_same_work() -> None:
    """Those of one task do, whichever it is, and those of fixed weights; not with other seeds."""
    one, other = small_cell(tasks=("left",)), small_cell(tasks=("sum",))
    assert work_of(one) == work_of(other) is not None
    assert work_of(one) != work_of(small_cell(tasks=("left",), seeds=(0, 1)))
    assert work_of(one) != work_of(small_cell(tasks=("left",), batch_size=32))
    fixed = [small_cell("fixed", options={"weights": {"sum": w}}) for w in (1.0, 2.0)]
    assert work_of(fixed[0]) == work_of(fixed[1]) is not None
    assert work_of(small_cell()) is None and work_of(small_cell("rotograd")) is None


def test_times_must_be_further_apart_than_those_of_jobs_of_the_same_work() -> None:
    cells = {
        "one": small_cell(tasks=("left",)), "other": small_cell(tasks=("sum",)),
        "untimed": small_cell(tasks=("density",)), "longer": small_cell("rotograd"),
    }  # fmt: skip
    seconds = {"one": 0.1, "other": 0.1, "untimed": None, "longer": 9.0}

    def cost(key: str, what: str) -> Measured:
        assert what == "seconds_per_step"
        return Measured({} if seconds[key] is None else {"0": seconds[key]})

    trainings = {key: SimpleNamespace(cell=cell) for key, cell in cells.items()}
    scores: Any = SimpleNamespace(plan=SimpleNamespace(trainings=trainings), cost=cost)
    assert jobs_apart(scores, cells) == 1.5
    seconds["other"] = 0.22
    assert jobs_apart(scores, cells) == pytest.approx(2.2)
    assert jobs_apart(scores, ["one", "longer"]) == 1.5


def test_what_papers_time_is_known_as_a_time() -> None:
    found = set()
    for made in load_plan(ROOT, {"tier": "demo"}).papers.values():
        for table in made.paper.tables:
            for row, column in table.cells():
                cost = table.quantity(row, column).cost
                tables = {"t": {"a": {"c": planned_entry(table, row, column, "-", None)}}}
                if cost and Numbers(tables).of_one_job("t/a/c"):
                    found.add(cost)
                else:
                    assert cost in (None, "peak_memory_mib")
    assert found == {"seconds_per_step", "training_seconds"}


def test_seeds_are_compared_in_pairs() -> None:
    """Unpaired, the spread over seeds would hide so small a difference."""
    base = [1.0, 5.0, 9.0, 13.0]
    small = [value + 0.1 + 0.001 * n for n, value in enumerate(base)]
    assert judged(compare("better"), a=cell(None, small), b=cell(None, base))["word"] == "holds"
    turned = judged(compare("better"), a=cell(None, small[::-1]), b=cell(None, base))
    assert turned["word"] == "inconclusive"


def test_our_runs_are_compared_with_a_constant() -> None:
    assert judged(compare("higher", 0.5), a=cell(None, HIGH))["word"] == "holds"
    assert judged(compare("lower", 0.5), a=cell(None, HIGH))["word"] == "does not hold"


@pytest.mark.parametrize(
    ("marks", "basis"),
    [(("demo",), DEMO), (("reduced",), REDUCED), (("demo", "reduced"), DEMO),
     (("leaking",), LEAKING), (("leaking", "reduced"), REDUCED)],
)  # fmt: skip
def test_marked_runs_show_a_tendency_only(marks: tuple[str, ...], basis: str) -> None:
    found = judged(compare("better"), a=cell(2.0, HIGH), b=cell(1.0, LOW, marks=marks))
    assert (found["word"], found["basis"]) == ("inconclusive", basis)
    assert "holds" in found["reason"] and all(mark in found["reason"] for mark in marks)


def test_only_a_tendency_is_called_one() -> None:
    """Marks that do not make one leave full runs their word and their reason."""
    found = judged(compare("better"), a=cell(None, HIGH), b=cell(None, LOW, marks=("stale",)))
    assert (found["word"], found["basis"]) == ("holds", FULL)
    assert "tendency" not in reason_of(found)
    lesser = cell(None, LOW, marks=("leaking", "other_network"))
    found = judged(compare("better"), a=cell(None, HIGH), b=lesser)
    assert reason_of(found) == "Our runs show only a tendency (leaking): holds."


def test_a_claim_on_calibrated_rows_says_so() -> None:
    found = judged(compare("better"), a=cell(None, HIGH), b=cell(None, LOW, marks=("calibrated",)))
    assert found["word"] == "holds" and "calibrated on one of its rows" in found["reason"]


def test_papers_that_contradict_themselves_need_no_runs() -> None:
    found = judged(compare("better"), a=cell(1.0, HIGH), b=cell(2.0, LOW))
    assert (found["word"], found["basis"]) == ("does not hold", PRINTED)
    assert found["runs"]["word"] == "holds", "what our runs say is still shown"


def test_a_tie_of_rounded_numbers_contradicts_no_sentence_about_methods() -> None:
    found = judged(compare("better"), a=cell(0.9, HIGH), b=cell(0.9, LOW))
    assert (found["word"], found["basis"]) == ("holds", FULL)
    assert judged(printed_only("better"), a=cell(0.9), b=cell(0.9))["word"] == "does not hold"
    times = compare("better")
    times["comparisons"][0]["times"] = 3  # three times a tenth is 0.30000000000000004
    assert judged(times, a=cell(0.3, HIGH), b=cell(0.1, LOW))["printed"]["word"] == "inconclusive"
    flat = {name: cell(1.0, row) for name, row in zip("abd", (HIGH, LOW, NOISE), strict=True)}
    assert judged(trend(), **flat)["printed"]["word"] == "inconclusive"


@pytest.mark.parametrize("mark", ["second_hand", "plot_read"])
def test_numbers_that_are_not_the_authors_own_contradict_no_claim_alone(mark: str) -> None:
    marked = cell(1.0, HIGH, marks=(mark,))
    found = judged(compare("better"), a=marked, b=cell(2.0, LOW))
    assert (found["word"], found["basis"]) == ("holds", FULL)
    assert found["printed"]["word"] == "does not hold" and found["printed"]["marks"] == [mark]
    alone = judged(compare("better"), a=cell(1.0, marks=(mark,)), b=cell(2.0))
    assert (alone["word"], alone["basis"]) == ("inconclusive", NONE)
    assert "some second-hand or read off a plot, contradict" in alone["reason"]


def test_first_hand_numbers_contradict_whatever_stands_beside_them() -> None:
    test = compare("better")
    test["comparisons"].append({"left": "t/d/c", "right": "t/e/c", "expect": "better"})
    marked = cell(2.0, marks=("second_hand",))
    found = judged(test, a=cell(1.0), b=cell(2.0), d=marked, e=cell(1.0))
    assert (found["word"], found["basis"]) == ("does not hold", PRINTED)


def test_a_paper_that_prints_a_part_agrees_as_far_as_it_prints() -> None:
    test = compare("better")
    test["comparisons"].append({"left": "t/a/c", "right": "t/d/c", "expect": "better"})
    found = judged(test, a=cell(2.0), b=cell(1.0), d=cell())
    assert found["reason"].endswith("agree with the sentence, as far as they are printed")
    assert found["printed"]["missing"] == ["t/d/c"]


def test_seeds_that_are_equal_to_the_last_digit_are_no_evidence_of_a_direction() -> None:
    found = judged(compare("better"), a=cell(None, [2.0] * 3), b=cell(None, [1.0] * 3))
    assert found["word"] == "inconclusive" and "without any spread" in found["runs"]["steps"][0]


def test_that_a_paper_agrees_with_itself_does_not_make_a_claim_hold() -> None:
    found = judged(compare("better"), a=cell(2.0), b=cell(1.0))
    assert (found["word"], found["basis"]) == ("inconclusive", NONE)
    assert found["printed"]["word"] == "holds"


def test_a_run_with_a_bad_end_is_no_evidence() -> None:
    found = judged(compare("better"), a=cell(2.0, HIGH), b=cell(1.0, LOW, trouble="diverged"))
    assert (found["word"], found["basis"]) == ("inconclusive", FAILED)
    assert found["runs"]["missing"] == ["t/b/c"]
    assert "has failed" in found["reason"] and "not run" not in found["reason"]


def by_seed(entry: Entry, *seeds: str) -> Entry:
    """A cell whose values are of these seeds."""
    values = dict(zip(seeds, entry["ours"]["values"].values(), strict=True))
    return {**entry, "ours": {**entry["ours"], "values": values}}


def test_sides_without_a_seed_in_common_leave_a_claim_open() -> None:
    test = compare("better")
    test["comparisons"].append({"left": "t/a/c", "right": "t/d/c", "expect": "better"})
    apart = by_seed(cell(None, LOW), "7", "8", "9")
    found = judged(test, a=cell(None, HIGH), b=cell(None, LOW), d=apart)
    assert (found["word"], found["basis"]) == ("inconclusive", FULL)
    assert found["runs"]["steps"][1] == "t/a/c minus t/d/c: no seed in common"
    found = judged(change(12, settled_by="runs"), a=cell(None, START), b=apart)
    assert (found["word"], found["basis"]) == ("inconclusive", FULL)
    assert judged(trend(), a=cell(None, HIGH), b=cell(None, LOW), d=apart)["word"] == "inconclusive"


def test_claims_that_answer_one_question_share_their_error() -> None:
    """The same difference, 8.7 standard errors of three seeds, is clear to one but not for six."""
    sides = {"a": cell(None, [1.8, 2.2, 2.1]), "b": cell(None, LOW)}
    assert judged(compare("better"), **sides)["word"] == "holds"
    assert judged(compare("worse"), **sides)["word"] == "does not hold"
    for expect in ("better", "worse"):
        found = judged(compare(expect), shared_by=6, **sides)
        assert found["word"] == "inconclusive"
        assert "an interval at 99.2 %, for 6 comparisons together" in found["reason"]


def test_a_constant_predictor_stands_beside_each_seed() -> None:
    constant = by_seed(cell(None, [2.0]), "constant")
    assert judged(compare("better"), a=cell(None, HIGH), b=constant)["word"] == "holds"
    assert judged(compare("better"), a=constant, b=cell(None, HIGH))["word"] == "does not hold"
    assert judged(compare("better"), a=cell(None, NOISE), b=constant)["word"] == "inconclusive"
    alone = judged(compare("better"), a=constant, b=constant)
    assert alone["word"] == "inconclusive" and "(1 seed)" in alone["reason"]


def test_seeds_alone_do_not_settle_what_is_scored_on_items() -> None:
    """On the same items the difference is clear; on others nobody knows what they add."""
    draws = Draws(np.zeros((1, 3, 500)), (1,), 500, "one")

    def word(items: str) -> str:
        found = {
            "t/a/c": Measured(dict(zip("012", HIGH, strict=True)), draws),
            "t/b/c": Measured(dict(zip("012", LOW, strict=True)), replace(draws, items=items)),
        }
        tables = {"t": {"a": {"c": cell(None, HIGH)}, "b": {"c": cell(None, LOW)}}}
        test = TypeAdapter(ClaimTest).validate_python(compare("better"))
        claim = Claim(id="x", sentence="s", place="p", test=test)
        return str(judge_claim(claim, Numbers(tables, found.get))["word"])

    assert (word("one"), word("other")) == ("holds", "inconclusive")


def test_what_items_add_to_a_constant_accuracy_is_not_known() -> None:
    """It moves with the items, too; an area under the curve of a half does not."""
    draws = Draws(np.random.default_rng(0).normal(size=(1, 3, 500)), (1,), 500)
    network = Measured(dict(zip("012", HIGH, strict=True)), draws)
    difference = difference_of(*in_pairs(network, Measured({CONSTANT: 2.0}, lost=True)))
    assert difference.lacks_items and set(difference.values) == set("012")


def test_beside_a_constant_predictor_the_items_of_a_network_count() -> None:
    draws = Draws(np.random.default_rng(0).normal(size=(1, 3, 500)), (1,), 500)
    network = Measured(dict(zip("012", HIGH, strict=True)), draws)
    one, other = in_pairs(Measured({CONSTANT: 2.0}), network)
    assert other is network and one.values == dict.fromkeys("012", 2.0)
    found = difference_of(one, other)
    assert found.items is not None and network.items is not None
    assert found.items.variance == pytest.approx(network.items.variance)


def test_a_missing_row_keeps_a_claim_open() -> None:
    test = compare("better")
    test["comparisons"].append({"left": "t/a/c", "right": "t/d/c", "expect": "better"})
    cells = {"a": cell(None, HIGH), "b": cell(None, LOW), "d": cell()}
    found = judged(test, **cells)
    assert (found["word"], found["runs"]["missing"]) == ("inconclusive", ["t/d/c"])
    cells["b"] = cell(None, [9.0, 9.1, 9.2])
    assert judged(test, **cells)["word"] == "does not hold", "one that comes out wrong decides"


# Trends --------------------------------------------------------------------------------------


def trend(**more: Any) -> dict[str, Any]:
    return {"kind": "trend", "along": ["t/a/c", "t/b/c", "t/d/c"], "expect": "worse", **more}


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ((3.0, 2.0, 1.0), "holds"), ((3.0, 3.0, 1.0), "holds"), ((3.0, 1.0, 2.0), "does not hold"),
        ((1.0, 2.0, 3.0), "does not hold"), ((2.0, 2.0, 2.0), "does not hold"),
        ((3.0, None, 1.0), "not testable"),
    ],
)  # fmt: skip
def test_a_printed_trend_never_turns(values: tuple[float | None, ...], word: str) -> None:
    cells = dict(zip("abd", map(cell, values), strict=True))
    assert judged(trend(settled_by="printed"), **cells)["word"] == word


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (([5.0, 5.1, 4.9], [3.0, 3.1, 3.0], [1.0, 1.2, 0.9]), "holds"),
        (([5.0, 5.1, 4.9], [5.1, 5.0, 4.9], [1.0, 1.2, 0.9]), "holds"),  # neighbours too close
        (([5.0, 5.1, 4.9], [1.0, 1.2, 0.9], [3.0, 3.1, 3.0]), "does not hold"),  # turns clearly
        (([1.0, 1.2, 0.9], [3.0, 3.1, 3.0], [5.0, 5.1, 4.9]), "does not hold"),
        (([5.0, 5.1, 4.9], NOISE, [5.1, 5.0, 4.95]), "inconclusive"),  # the ends are alike
        (([5.0, 5.1, 4.9], [1.0, 1.6, 0.7], [2.2, 2.0, 2.4]), "inconclusive"),  # turns a little
        (([5.0, 5.1, 4.9], [3.0], [1.0, 1.2, 0.9]), "inconclusive"),  # one seed in the middle
    ],
)  # fmt: skip
def test_a_trend_of_our_runs(rows: tuple[list[float], ...], word: str) -> None:
    cells = dict(zip("abd", (cell(None, row) for row in rows), strict=True))
    assert judged(trend(), **cells)["word"] == word


def test_numbers_on_data_that_are_not_ours_are_left_to_the_paper() -> None:
    """Printed ones can contradict a sentence; ours decide over what can be run here."""
    test = compare("better")
    test["comparisons"].append({"left": "t/d/c", "right": "t/e/c", "expect": "better"})

    def found(printed: float) -> dict[str, Any]:
        foreign = {"d": cell(printed), "e": cell(1.0)}
        cells = {"a": cell(None, HIGH), "b": cell(None, LOW), **foreign}
        for name in foreign:
            cells[name]["measurable"] = False
        return judged(test, **cells)

    assert (found(2.0)["word"], found(2.0)["basis"]) == ("holds", FULL)
    assert found(2.0)["printed"]["word"] == "holds" and found(2.0)["runs"]["missing"] == []
    assert (found(0.5)["word"], found(0.5)["basis"]) == ("does not hold", PRINTED)


# Correlations --------------------------------------------------------------------------------


def correlated(
    across: list[float],
    up: list[float],
    expect: str,
    rival: list[float] | None = None,
    seeds: int = 3,
) -> dict[str, Any]:
    """The word for settings with these means over seeds; rows are named a0, a1, ..., u0, ..."""
    sides = {"across": ("a", across), "up": ("u", up)}
    if rival is not None:
        sides["rival"] = ("r", rival)
    test: dict[str, Any] = {"kind": "correlation", "expect": expect}
    cells = {}
    for side, (letter, values) in sides.items():
        test[side] = [f"t/{letter}{n}/c" for n in range(len(values))]
        for n, value in enumerate(values):
            cells[f"{letter}{n}"] = cell(None, [value + 0.001 * s for s in range(seeds)])
    return judged(test, **cells)


RISING = [float(n) for n in range(12)]
FALLING = RISING[::-1]
# Ranks of no order: Spearman's coefficient with RISING is 0.03.
MIXED = [6.0, 1.0, 10.0, 3.0, 8.0, 5.0, 0.0, 11.0, 2.0, 9.0, 4.0, 7.0]


@pytest.mark.parametrize(
    ("up", "expect", "word"),
    [
        (RISING, "strong", "holds"), (FALLING, "strong", "does not hold"),
        (FALLING, "strong_negative", "holds"), (RISING, "strong_negative", "does not hold"),
        (RISING, "weak", "does not hold"), (FALLING, "weak", "holds"),
        (MIXED, "strong", "inconclusive"),
    ],
)  # fmt: skip
def test_a_rank_correlation_over_settings(up: list[float], expect: str, word: str) -> None:
    found = correlated(RISING, up, expect)
    assert (found["word"], found["basis"]) == (word, FULL)
    assert "12 settings" in found["runs"]["steps"][0]


def test_few_seeds_or_few_settings_leave_a_correlation_open() -> None:
    assert correlated(RISING, RISING, "strong", seeds=2)["word"] == "inconclusive"
    few = correlated([1.0] * 7, RISING[:7], "strong")
    assert few["word"] == "inconclusive" and "too few" in few["runs"]["steps"][0]


def test_a_rival_must_be_the_weaker() -> None:
    assert correlated(RISING, RISING, "strong", MIXED)["word"] == "holds"
    assert correlated(MIXED, RISING, "strong", RISING)["word"] == "does not hold"
    assert correlated(RISING, RISING, "strong", FALLING)["word"] == "inconclusive", "as large"


def test_a_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(2)
    one, two = rng.normal(size=9), rng.integers(0, 4, 9).astype(float)
    found, _ = rank_correlation(list(one), list(two))
    assert found.value == pytest.approx(float(spearmanr(one, two).statistic))
    assert found.interval is not None and found.interval[0] <= found.value <= found.interval[1]


# Changes, limits, arguments ------------------------------------------------------------------


def change(claimed: float, **more: Any) -> dict[str, Any]:
    return {"kind": "change", "start": "t/a/c", "end": "t/b/c", "claimed": claimed, **more}


@pytest.mark.parametrize(
    ("claimed", "better", "start", "end", "more", "word"),
    [
        (28, "higher", 0.500, 0.639, {}, "holds"),  # 27.8 %
        (28.4, "higher", 0.500, 0.639, {}, "does not hold"),
        (28.4, "higher", 0.500, 0.639, {"tolerance": 1}, "holds"),
        (20, "lower", 0.928, 0.7945, {}, "does not hold"),  # 14.4 %
        (14.4, "lower", 0.928, 0.7945, {}, "holds"),
        (-14.4, "higher", 0.928, 0.7945, {}, "holds"),
        (13.9, "higher", 50.0, 63.9, {"reading": "absolute"}, "holds"),
        (27.8, "higher", 50.0, 63.9, {"reading": "absolute"}, "does not hold"),
        (50, "higher", -4.0, -2.0, {}, "holds"),  # half of the way to zero
        (50, "higher", 0.0, 2.0, {}, "not testable"),
        (50, "higher", 1.0, None, {}, "not testable"),
    ],
)
def test_a_change_has_the_claimed_size(
    claimed: float, better: str, start: float, end: float | None, more: dict[str, Any], word: str
) -> None:
    cells = {"a": cell(start, better=better), "b": cell(end, better=better)}
    assert judged(change(claimed, **more), **cells)["word"] == word


START = [0.20, 0.21, 0.19]
EIGHTH = [1.121 * value for value in START[:2]] + [1.119 * START[2]]  # 12 % more, seed by seed


@pytest.mark.parametrize(
    ("end", "more", "word"),
    [
        (EIGHTH, {}, "holds"),
        ([0.30, 0.32, 0.28], {}, "does not hold"),
        ([0.30, 0.32, 0.28], {"tolerance": 60}, "holds"),
        ([0.20, 0.30, 0.10], {}, "inconclusive"),
        (EIGHTH[:2], {}, "inconclusive"),
    ],
)
def test_a_change_that_is_not_printed_is_that_of_our_runs(
    end: list[float], more: dict[str, Any], word: str
) -> None:
    test = change(12, settled_by="runs", **more)
    found = judged(test, a=cell(None, START), b=cell(None, end))
    assert (found["word"], found["basis"]) == (word, FULL)
    found = judged(test, a=cell(None, START), b=cell(None, end, marks=("demo",)))
    assert (found["word"], found["basis"]) == ("inconclusive", DEMO)
    assert judged(test, a=cell(None, START), b=cell())["runs"]["missing"] == ["t/b/c"]
    zero = judged(test, a=cell(None, [0.0, 0.0, 0.0]), b=cell(None, end))
    assert (zero["word"], zero["basis"]) == ("inconclusive", FULL)
    assert zero["reason"] == "t/a/c to t/b/c: no seed yields such a change"


def test_a_relative_change_of_our_runs_is_that_of_their_means() -> None:
    """As a printed one is; the mean of each seed's own change would be 15.1 %."""
    start, end = [0.20, 0.30, 0.25], [0.28, 0.28, 0.28]
    found = judged(change(12, settled_by="runs"), a=cell(None, start), b=cell(None, end))
    assert "relative improvement of 12.0 %" in found["reason"]
    # The quotient's error by the delta method, over pairs: Var(end - q start) / mean(start)^2.
    moved = np.array(end) - 1.12 * np.array(start)
    half = t_quantile(0.95, 2) * moved.std(ddof=1) / np.sqrt(3) / 0.25
    assert f"[{12 - 100 * half:.1f}, {12 + 100 * half:.1f}]" in found["reason"]


def test_beside_a_printed_change_ours_is_shown_and_has_no_say() -> None:
    found = judged(change(28), a=cell(0.5, START), b=cell(0.639, EIGHTH))
    assert (found["word"], found["basis"]) == ("holds", PRINTED)
    assert "relative improvement of 12.0 %, claimed 28 % [" in found["runs"]["steps"][0]


@pytest.mark.parametrize(
    ("claimed", "word"), [(7, "does not hold"), (15, "inconclusive"), (16, "does not hold")]
)
def test_a_gain_beyond_the_room_above_a_trivial_predictor(claimed: float, word: str) -> None:
    shares = [0.01, 0.03] if claimed == 7 else [0.1, 0.2]  # 2 and 15 points
    test = {"kind": "limit", "claimed": claimed, "trivial": ["t/a/c", "t/b/c"]}
    counted = [cell(share, marks=("second_hand",)) for share in shares]
    found = judged(test, a=counted[0], b=counted[1])
    assert (found["word"], found["basis"]) == (word, "argument")


@pytest.mark.parametrize("word", ["holds", "does not hold", "inconclusive", "not testable"])
def test_an_argument_settles_a_claim_by_itself(word: str) -> None:
    found = judged({"kind": "stated", "word": word, "reason": "because"})
    assert (found["word"], found["basis"], found["reason"]) == (word, "argument", "because")


# Items, families, figures --------------------------------------------------------------------


def resampled(values: dict[str, list[float]], spread: float) -> Any:
    """Our numbers with resamples that move each row on its own."""

    def find(ref: str) -> Measured | None:
        row = ref.split("/")[1]
        if row not in values:
            return None
        rng = np.random.default_rng(list(row.encode()))
        named = {str(seed): value for seed, value in enumerate(values[row])}
        draws = np.tile(spread * rng.normal(size=500), (1, len(named), 1))
        return Measured(named, Draws(draws, (1,), 500))

    return find


@pytest.mark.parametrize(("spread", "word"), [(0.01, "holds"), (5.0, "inconclusive")])
def test_the_choice_of_items_counts_in_a_difference(spread: float, word: str) -> None:
    claim = Claim(
        id="x", sentence="s", place="p", test=TypeAdapter(ClaimTest).validate_python(compare("better"))
    )  # fmt: skip
    tables = {"t": {"a": {"c": cell(None, HIGH)}, "b": {"c": cell(None, LOW)}}}
    numbers = Numbers(tables, resampled({"a": HIGH, "b": LOW}, spread))
    found = judge_claim(claim, numbers)
    assert found["word"] == word and "seeds and items" in found["runs"]["steps"][0]


@pytest.mark.parametrize(
    ("times", "left", "word"),
    [(0.3333, [1.0, 1.05, 0.95], "holds"), (0.3333, [2.0, 2.1, 1.9], "does not hold"),
     (1.0, [2.0, 2.2, 1.9], "holds")],
)  # fmt: skip
def test_a_threefold_difference_is_against_a_third(
    times: float, left: list[float], word: str
) -> None:
    test = compare("lower")
    test["comparisons"][0]["times"] = times
    cells = {"a": cell(None, left), "b": cell(None, [4.0, 4.1, 3.9])}
    assert judged(test, **cells)["word"] == word
    printed = printed_only("lower")
    printed["comparisons"][0]["times"] = times
    assert judged(printed, a=cell(left[0]), b=cell(4.0))["word"] == word


def test_of_many_comparisons_one_must_be_clearer_to_contradict() -> None:
    """-1.0 with a half width of 0.85 excludes zero alone, and not as one of ten."""
    wrong, right = [1.0, 2.0, 3.0, 1.5, 2.5], [2.0, 3.8, 3.9, 1.9, 3.4]
    alone = compare("better")
    assert judged(alone, a=cell(None, wrong), b=cell(None, right))["word"] == "does not hold"
    many = compare("better")
    many["comparisons"] += [{"left": "t/d/c", "right": "t/b/c", "expect": "better"}] * 9
    cells = {
        "a": cell(None, wrong),
        "b": cell(None, right),
        "d": cell(None, [9.0, 9.5, 9.1, 9.2, 9.4]),
    }
    assert judged(many, **cells)["word"] == "inconclusive"
    cells["a"] = cell(None, [-9.0, -9.1, -9.2, -9.3, -9.0])
    assert judged(many, **cells)["word"] == "does not hold"


def test_equal_methods_seldom_contradict_a_claim_of_many_comparisons() -> None:
    """Twenty comparisons of equals: the sentence may stay open, and fails in at most 5 percent."""
    rng = np.random.default_rng(0)
    rows = [f"r{n}" for n in range(20)]
    test = compare("better")
    test["comparisons"] = [
        {"left": f"t/{row}/c", "right": "t/b/c", "expect": "better"} for row in rows
    ]
    count, sets = 0, 200
    for _ in range(sets):
        cells = {row: cell(None, rng.normal(size=5).tolist()) for row in [*rows, "b"]}
        count += judged(test, **cells)["word"] == "does not hold"
    # Four standard errors; without the correction it would be about a third.
    assert count / sets <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / sets)


def test_the_trends_of_figures_are_judged_as_claims_are(project: Project) -> None:
    paper = project.papers["db-mtl"]
    found = judge_trends(paper, numbers_of(paper))
    words = {name: result["word"] for name, result in found.items()}
    assert {*words.values()} == {"inconclusive"}, "read off plots, or of ours and not run here"
    for name in ("figure-5", "figure-7", "alpha-plot", "log-plot"):
        assert found[name]["printed"]["word"] == "holds"
        assert found[name]["reason"].endswith("read off a plot, agree with the sentence")
    assert "2.3 times" in found["figure-7"]["printed"]["steps"][0]


# The papers' own numbers ---------------------------------------------------------------------


def numbers_of(paper: Paper) -> Numbers:
    """All printed numbers of a paper, as if nothing had been run."""
    tables: dict[str, Any] = {}
    for table in paper.tables:
        for row in table.rows:
            for column, text in zip(table.columns, row.printed, strict=True):
                quantity, number = table.quantity(row, column), parse_printed(text)
                tables.setdefault(table.id, {}).setdefault(row.id, {})[column.id] = cell(
                    float(number.value) if number else None,
                    better=quantity.better,
                    margin=margin_of(
                        number, quantity.metric, bool(quantity.percent), quantity.margin
                    )
                    if number
                    else None,
                    marks=(row.mark,) if row.mark else (),
                )
    return Numbers(tables)


def words(paper: Paper) -> dict[str, str]:
    numbers = numbers_of(paper)
    return {claim.id: judge_claim(claim, numbers)["word"] for claim in paper.claims}


def test_the_thoracic_papers_claims(project: Project) -> None:
    """background/rotograd.md, section 4.2: arithmetic on the two printed tables."""
    found = words(project.papers["thoracic"])
    expected = {
        "inception-auc-28": "holds",  # 27.8 % relative
        "inception-f1-15": "does not hold",  # fell by 45.6 %
        "resnet-bce-20": "does not hold",  # 14.4 %
        "alexnet-sensitivity-12": "inconclusive",  # no sensitivity is printed; runs decide
        "all-metrics-improved": "does not hold",  # F1 fell for all three
        "baseline-better-than-random": "does not hold",  # 0.469, 0.498, 0.500
    }
    assert {name: found[name] for name in expected} == expected


def test_the_seven_points_of_deepchest_hold_only_on_a_condition(project: Project) -> None:
    """background/methods.md, 1.4: always answering no is right in 94.83 %."""
    paper = project.papers["deepchest"]
    claim = next(claim for claim in paper.claims if claim.id == "seven-percent")
    found = judge_claim(claim, numbers_of(paper))
    assert found["word"] == "does not hold"
    assert "5.17 points" in found["reason"]
    assert "ChestX-ray14" in claim.condition and "mean of the 14" in claim.condition


@pytest.mark.parametrize("name", ["rotograd", "thoracic", "deepchest", "imbalance", "db-mtl"])
def test_every_claim_ends_with_a_word_and_what_it_rests_on(project: Project, name: str) -> None:
    paper, numbers = project.papers[name], numbers_of(project.papers[name])
    for claim in paper.claims:
        found = judge_claim(claim, numbers)
        assert found["word"] in {"holds", "does not hold", "inconclusive", "not testable"}
        assert found["basis"] and (found["reason"] or found["printed"]["steps"]), claim.id


def test_no_claim_of_rotograd_about_methods_holds_without_runs(project: Project) -> None:
    paper = project.papers["rotograd"]
    found = words(paper)
    about_methods = [c.id for c in paper.claims if c.test.kind in {"compare", "trend"}]
    assert len(about_methods) > 5
    assert [name for name in about_methods if found[name] == "holds"] == []
    # Printed: 89.01 against 90.15 and 84.62 against 86.65, with spreads of 0.4 to 1.2.
    assert found["same-accuracy"] != "holds"


def test_the_readme_counts_the_claims_as_they_end_without_runs(project: Project) -> None:
    """Those within another do not count."""
    results = [
        judge_claim(claim, numbers_of(paper))
        for name, paper in project.papers.items()
        if name not in project.studies
        for claim in paper.claims
        if claim.part_of is None
    ]
    words = Counter(result["word"] for result in results)
    numerals = {8: "eight", 9: "nine"}
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    settled = words["holds"] + words["does not hold"]
    assert (
        f"Of {len(results)} claims their own numbers, texts and code settle {settled}: "
        f"{numerals[words['holds']]} hold, {numerals[words['does not hold']]} do not"
    ) in readme
    assert f"{numerals[words['not testable']]} cannot be tested here" in readme
