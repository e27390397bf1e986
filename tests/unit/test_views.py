"""Views of trade-offs: what they compute, and that their drawings are small and whole."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.evaluation.measured import Measured
from counterpoise.evaluation.statistics import summarise
from counterpoise.reproduction.style import house_style, to_svg
from counterpoise.reproduction.views import KINDS
from counterpoise.reproduction.views.facts import Facts, RunFacts, _gains, _gains_by_seed
from counterpoise.reproduction.views.imbalance import norm_spread
from counterpoise.reproduction.views.tradeoff import front, lowest_shown
from counterpoise.tasks import Task

TASKS = [
    Task("a", "Task A", 1, "mse", ("mse",)),
    Task("b", "Task B", 1, "bce", ("accuracy",), 2),
]
points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


def test_the_front_of_a_worked_example() -> None:
    assert front([3, 1, 2, 2, 4], [5, 1, 3, 2, 4]) == [1, 2, 0]


@given(points)
def test_nothing_beats_the_front_and_all_else_is_beaten(found: list[tuple[int, int]]) -> None:
    costs, qualities = [c for c, _ in found], [q for _, q in found]
    kept = front(costs, qualities)

    def beaten(i: int) -> bool:
        return any(
            costs[j] <= costs[i] and qualities[j] >= qualities[i] and found[j] != found[i]
            for j in range(len(found))
        )

    assert not any(beaten(i) for i in kept)
    assert {found[i] for i in range(len(found)) if not beaten(i)} == {found[i] for i in kept}


def history(values: dict[str, dict[str, list[float]]]) -> pd.DataFrame:
    """Quantity to task to values by epoch, twice: two seeds."""
    rows = [
        (seed, epoch, quantity, task, value)
        for seed in (0, 1)
        for quantity, tasks in values.items()
        for task, course in tasks.items()
        for epoch, value in enumerate(course)
    ]
    return pd.DataFrame(rows, columns=["seed", "epoch", "quantity", "task", "value"])


def run(name: str, gains: dict[str, float], **courses: dict[str, list[float]]) -> RunFacts:
    quality = summarise(list(gains.values())) if gains else summarise([0.0, 0.0])
    given = {
        "weight": {"a": [1.0, 1.0], "b": [1.0, 1.0]},
        "cosine": {"a": [0.5, -0.5], "b": [0.5, 0.9]},
        "gradient_norm": {"a": [1.0, 3.0], "b": [4.0, 4.0]},
        **courses,
    }
    beyond = Measured({str(k): v + 0.1 * k for k in range(3) for v in gains.values()})
    return RunFacts(
        name, name, False, (f"{name}/0",), quality, gains, 10.0 + len(name), 800.0, history(given),
        beyond if gains else None,
    )  # fmt: skip


@pytest.fixture
def facts() -> Facts:
    runs = [
        run("uniform", {}),
        run("one", {"a": 10.0, "b": -5.0}, weight={"a": [1.0, 1.5], "b": [1.0, 0.5]}),
        run("other", {"a": -3.0, "b": 2.0}, weight={"a": [0.2, 0.2], "b": [1.8, 1.8]}),
        run("third", {"a": 1.0, "b": 2.0}),
    ]
    return Facts(
        "An <experiment>", TASKS, "mean gain over uniform, %", "uniform", runs, equal="uniform",
        difference="mean gain, %",
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_view_is_small_valid_and_tells_how_to_read_it(kind: str, facts: Facts) -> None:
    with house_style(kind):
        drawn = KINDS[kind].draw(facts)
        assert drawn is not None
        svg = to_svg(drawn.canvas, kind, KINDS[kind].TITLE, drawn.note)
    root = ET.fromstring(svg)
    assert root.get("role") == "img" and len(svg) < 40_000
    ids = [node.get("id") for node in root.iter() if node.get("id")]
    assert len(ids) == len(set(ids))
    links = [node.get("href", "#")[1:] for node in root.iter() if node.get("href")]
    assert set(links) <= set(ids)
    assert drawn.data and drawn.note.endswith(".")
    with house_style(kind):
        again = KINDS[kind].draw(facts)
        assert again is not None
        assert to_svg(again.canvas, kind, KINDS[kind].TITLE, again.note) == svg


def test_only_what_enough_seeds_show_clearly_is_told_apart_from_equal_weights() -> None:
    def against(name: str, values: list[float]) -> RunFacts:
        by_seed = {str(seed): value for seed, value in enumerate(values)}
        return replace(run(name, {"a": 1.0}), beyond_equal=Measured(by_seed))

    runs = [
        run("uniform", {}),
        against("clear", [5.0, 5.1, 5.2, 5.1]),
        # 3.4 standard errors: Student's t with three degrees is 3.2, and 4.9 for one of four.
        against("nearly", [1.0, 1.6, 0.2, 1.4]),
        against("behind", [-2.0, -2.1, -1.9, -2.0]),
        against("two seeds", [9.0, 9.0]),
    ]
    facts = Facts("E", TASKS, "", "uniform", runs, equal="equal weights", difference="gain, %")
    drawn = KINDS["equal"].draw(facts)
    assert drawn is not None
    assert {row["run"]: row["word"] for row in drawn.data} == {
        "two seeds": "open: 2 of 3 seeds", "clear": "better", "nearly": "not told apart",
        "behind": "worse",
    }  # fmt: skip
    assert [row["difference"] for row in drawn.data] == pytest.approx([9.0, 5.1, 1.05, -2.0])
    nearly = next(row for row in drawn.data if row["run"] == "nearly")
    assert nearly["low"] > 0, "its own interval excludes zero, that of four comparisons does not"
    assert "Better: clear." in drawn.note and "Worse: behind." in drawn.note


def test_weights_that_stay_equal_are_named_and_not_drawn(facts: Facts) -> None:
    drawn = KINDS["weights"].draw(facts)
    assert drawn is not None
    assert {row["run"] for row in drawn.data} == {"one", "other"}
    assert "uniform, third" in drawn.note
    last = [row for row in drawn.data if row["run"] == "one"][-1]
    assert (last["epoch"], last["Task A"], last["Task B"]) == (2, 1.5, 0.5)


def test_conflict_counts_epochs_and_tasks_below_zero(facts: Facts) -> None:
    drawn = KINDS["conflict"].draw(facts)
    assert drawn is not None
    assert "one (25%)" in drawn.note


def test_the_spread_of_norms_is_that_of_their_logarithms(facts: Facts) -> None:
    bare = norm_spread(facts.runs[1], facts, weighted=False)
    assert bare == pytest.approx(math.log(2) / math.sqrt(2))  # means 2 and 4
    weighted = norm_spread(facts.runs[1], facts, weighted=True)
    assert weighted == pytest.approx(abs(math.log(2.75 / 3)) / math.sqrt(2))


def test_gains_turn_the_sign_where_lower_is_better() -> None:
    ours = {"0": {"a": 2.0, "b": 0.9}, "1": {"a": 4.0, "b": 0.7}}
    base = {"0": {"a": 4.0, "b": 0.5}, "1": {"a": 4.0, "b": 0.5}}
    lower = {"a": True, "b": False}
    assert _gains(ours, base, TASKS, lower) == pytest.approx({"a": 25.0, "b": 60.0})
    assert _gains_by_seed(ours, base, TASKS, lower) == pytest.approx([65.0, 20.0])


def test_undefined_scores_are_left_out_on_both_sides() -> None:
    ours, base = {"0": {"a": 2.0, "b": 0.9}}, {"0": {"a": 4.0}}
    assert _gains(ours, base, TASKS, {"a": True, "b": False}) == {"a": 50.0}
    assert _gains(ours, {}, TASKS, {"a": True, "b": False}) == {}


def test_one_failed_run_does_not_set_the_frame() -> None:
    qualities = [1.0, 2.0, 3.0, 4.0, -900.0]
    assert -900 < lowest_shown(qualities) < 1
    assert lowest_shown([1.0, 2.0]) == 1.0


def test_nothing_to_show_gives_no_view() -> None:
    alone = Facts("Empty", TASKS, "", "", [])
    for view in KINDS.values():
        assert view.draw(alone) is None


def test_text_in_a_drawing_is_escaped(facts: Facts) -> None:
    with house_style("x"):
        drawn = KINDS["gains"].draw(facts)
        assert drawn is not None
        svg = to_svg(drawn.canvas, "x", "<script>alert(1)</script>", "a & b")
    assert "<script>" not in svg and "a &amp; b" in svg
    assert np.isfinite(len(svg))
