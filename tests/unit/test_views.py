"""Views of trade-offs: what they compute, and that their drawings are small and whole."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.evaluation.comparisons import difference_of
from counterpoise.evaluation.measured import WITHOUT_ITEMS, WITHOUT_SPREAD, Draws, Measured
from counterpoise.evaluation.statistics import summarise
from counterpoise.files import read_json, write_json
from counterpoise.plan import Plan, load_plan
from counterpoise.reproduction.panels import grid
from counterpoise.reproduction.style import INK, house_style, to_svg
from counterpoise.reproduction.views import KINDS
from counterpoise.reproduction.views.facts import (
    Drawn,
    Facts,
    RunFacts,
    read_facts,
)
from counterpoise.reproduction.views.numbering import number_points
from counterpoise.reproduction.views.tradeoff import front, lowest_shown
from counterpoise.tasks import Task

from ..support import TIERS, error_of

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
        0.1 * len(name), 0.2 * len(name), beyond if gains else None,
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
    values = {
        "clear": [5.0, 5.1, 5.2, 5.1],
        # 3.4 standard errors: Student's t with three degrees is 3.2, and 4.9 for one of four.
        "nearly": [1.0, 1.6, 0.2, 1.4],
        "behind": [-2.0, -2.1, -1.9, -2.0],
        "two seeds": [9.0, 9.0],
    }
    runs = [against(n, Measured({str(s): v for s, v in enumerate(of)})) for n, of in values.items()]
    drawn = beside_equal(run("uniform", {}), *runs)
    assert {row["run"]: row["word"] for row in drawn.data} == {
        "two seeds": "open: 2 of 3 seeds", "clear": "better", "nearly": "not told apart",
        "behind": "worse",
    }  # fmt: skip
    assert [row["difference"] for row in drawn.data] == pytest.approx([9.0, 5.1, 1.05, -2.0])
    nearly = next(row for row in drawn.data if row["run"] == "nearly")
    assert nearly["low"] > 0, "its own interval excludes zero, that of four comparisons does not"
    assert "Better: clear." in drawn.note and "Worse: behind." in drawn.note


def against(name: str, beyond: Measured) -> RunFacts:
    return replace(run(name, {"a": 1.0}), beyond_equal=beyond)


def beside_equal(*runs: RunFacts) -> Drawn:
    facts = Facts("E", TASKS, "", "uniform", list(runs), equal="equal", difference="gain, %")
    drawn = KINDS["equal"].draw(facts)
    assert drawn is not None
    return drawn


def test_the_same_in_all_seeds_and_unknown_items_tell_nothing_apart() -> None:
    """As claims have it: the one was not measured more than once, the other says too much."""
    odd = Draws(np.zeros((1, 3, 20)), (1,), 20, "others")
    other = Measured(dict.fromkeys("012", 0.0), odd)
    near = Measured({"0": 5.0, "1": 5.1, "2": 5.2}, replace(odd, items="these"))
    drawn = beside_equal(
        against("same", Measured({"0": 0.3, "1": 0.1 + 0.2, "2": 0.3})),
        against("apart", difference_of(near, other)),
    )
    words = {row["run"]: row["word"] for row in drawn.data}
    assert words == {"same": f"open: {WITHOUT_SPREAD}", "apart": f"open: {WITHOUT_ITEMS}"}
    assert (
        "None is told apart from " in drawn.note and f"Open, {WITHOUT_SPREAD}: same." in drawn.note
    )
    assert "fewer than three seeds, the interval" not in drawn.note


def test_the_frame_holds_intervals_that_are_wider_than_means_are_apart() -> None:
    """Eight runs within a tenth, each known to two: no interval is cut off."""
    wide = [
        against(f"r{n}", Measured({str(s): 0.01 * n + s - 1.0 for s in range(3)})) for n in range(8)
    ]
    drawn = beside_equal(*wide)
    left, right = drawn.canvas.axes[0].get_xlim()
    assert left < min(row["low"] for row in drawn.data)
    assert right > max(row["high"] for row in drawn.data)
    assert "Triangles" not in drawn.note


def test_an_interval_that_is_cut_off_is_counted() -> None:
    narrow = [against(f"r{n}", Measured({str(s): n + 0.1 * s for s in range(3)})) for n in range(5)]
    vague = against("vague", Measured({"0": -400.0, "1": 2.0, "2": 404.0}))
    drawn = beside_equal(*narrow, vague)
    left, _ = drawn.canvas.axes[0].get_xlim()
    assert left > next(row["low"] for row in drawn.data if row["run"] == "vague")
    assert "Triangles: 1 beyond the frame" in drawn.note


def test_two_orders_of_the_same_runs_say_why_they_may_differ(facts: Facts) -> None:
    """The one is relative to equal weights, the other to networks trained alone."""
    for kind in ("equal", "gains"):
        both = KINDS[kind].draw(replace(facts, reference="single task", failed=("Sum",)))
        assert both is not None and both.note.endswith("Failed, and so left out: Sum.")
        assert "Beside uniform and beside single task the order may be another" in both.note
        one = KINDS[kind].draw(facts)
        assert one is not None and "the order may be" not in one.note


def test_weights_that_stay_equal_are_named_and_not_drawn(facts: Facts) -> None:
    drawn = KINDS["weights"].draw(facts)
    assert drawn is not None
    assert {row["run"] for row in drawn.data} == {"one", "other"}
    assert "uniform, third" in drawn.note
    last = [row for row in drawn.data if row["run"] == "one"][-1]
    assert (last["epoch"], last["Task A"], last["Task B"]) == (2, 1.5, 0.5)


def ticks(drawn: Drawn | None) -> list[str]:
    """What stands beside the vertical axis of the first panel."""
    assert drawn is not None
    axis = drawn.canvas.axes[0]
    low, high = axis.get_ylim()
    shown = [tick for tick in axis.get_yticks() if low <= tick <= high]
    return axis.yaxis.get_major_formatter().format_ticks(shown)


def test_weights_that_vanish_do_not_flatten_the_others(facts: Facts) -> None:
    near = {"a": [1.0, 1.02], "b": [1.0, 0.98]}
    facts.runs[1:] = [run(name, {}, weight=near) for name in ("one", "other")]
    drawn = KINDS["weights"].draw(facts)
    assert len(ticks(drawn)) >= 3 and not any("/" in tick for tick in ticks(drawn))
    facts.runs.append(run("gone", {}, weight={"a": [2.0, 1.0], "b": [1e-6, 1.0]}))
    drawn = KINDS["weights"].draw(facts)
    assert drawn is not None and drawn.note.startswith("Each task's")
    assert "beyond the frame (see the data): gone." in drawn.note
    assert drawn.canvas.axes[0].get_ylim()[0] > 0.4 and len(ticks(drawn)) >= 3


def test_weights_far_apart_stand_on_a_scale_of_ratios(facts: Facts) -> None:
    facts.runs.append(run("far", {}, weight={"a": [1.9, 1.99], "b": [0.1, 0.01]}))
    drawn = KINDS["weights"].draw(facts)
    assert {"1", "1/4"} <= {*ticks(drawn)} or {"1/2", "1/8"} <= {*ticks(drawn)}
    assert len(ticks(drawn)) >= 3


def test_conflict_counts_epochs_and_tasks_below_zero(facts: Facts) -> None:
    drawn = KINDS["conflict"].draw(facts)
    assert drawn is not None
    assert "one (25%)" in drawn.note


def imbalanced(*runs: RunFacts) -> Drawn:
    found = KINDS["imbalance"].draw(Facts("E", TASKS, "", "uniform", list(runs)))
    assert found is not None
    return found


def test_a_correlation_is_over_the_runs_that_have_both(facts: Facts) -> None:
    runs = [run("r" * n, {"a": float(n**2), "b": -1.0}) for n in range(1, 7)]
    runs[0] = replace(runs[0], weighted_norm_spread=None)
    note = imbalanced(*runs).note
    assert "gradient norms +1.00 over 6 runs and with" in note
    assert "weighted norms +1.00 over 5 runs," in note
    bare = imbalanced(*(replace(one, weighted_norm_spread=None) for one in runs))
    assert "over 6 runs" in bare.note and "weighted norms" not in bare.note, "an empty panel"
    tied = imbalanced(*(replace(one, norm_spread=1.0, weighted_norm_spread=1.0) for one in runs))
    few = imbalanced(*runs[1:5])
    for drawn in (tied, few):
        assert "Fewer than 5 runs, or none that differ" in drawn.note, "as for claims"


def test_runs_whose_score_falls_as_it_gets_better(facts: Facts) -> None:
    """An error: the cheapest, the one with the least, and what has failed with a large one."""
    errors = {"a": 4.0, "bb": 3.0, "ccc": 3.5, "dddd": 2.0, "eeeee": 900.0}
    runs = [replace(run(name, {}), quality=summarise([v])) for name, v in errors.items()]
    drawn = KINDS["tradeoff"].draw(Facts("E", TASKS, "mean MSE", "a", runs, lower=True))
    assert drawn is not None
    front_of = {row["run"]: row["on the front"] for row in drawn.data}
    assert [name for name in errors if front_of[name].startswith("time")] == ["a", "bb", "dddd"]
    assert "upper edge: 1 far above it" in drawn.note
    axis = drawn.canvas.axes[0]
    assert "lower is better" in axis.get_ylabel() and 4.0 < axis.get_ylim()[1] < 100
    up = KINDS["tradeoff"].draw(Facts("E", TASKS, "mean AUROC", "a", runs))
    assert up is not None and "lower is better" not in up.canvas.axes[0].get_ylabel()


def test_every_point_has_the_number_of_its_row(facts: Facts) -> None:
    drawn = KINDS["tradeoff"].draw(facts)
    assert drawn is not None
    numbers = [str(row["number"]) for row in drawn.data]
    for axis in drawn.canvas.axes:
        assert [text.get_text() for text in axis.texts] == numbers
    (legend,) = drawn.canvas.legends
    names = [text.get_text().split() for text in legend.get_texts()]
    assert names == [[n, row["run"]] for n, row in zip(numbers, drawn.data, strict=True)]


def test_numbers_of_points_that_crowd_keep_clear_of_each_other() -> None:
    _, (axis,) = grid(1, 1, 4.0, 3.1)
    points = {n: (5 + 0.01 * n, 5.0) for n in range(1, 9)}
    axis.set(xlim=(0, 10), ylim=(0, 10))
    number_points(axis, points, [[(0.0, 5.0), (10.0, 5.0)]])
    assert axis.get_xlim() == (0, 10)
    places = np.array([text.xyann for text in axis.texts])
    apart = abs(places[:, None] - places[None]).max(axis=2)
    assert apart[~np.eye(len(points), dtype=bool)].min() >= 4
    assert (abs(places[:, 1]) > 4).all(), "clear of the line, too"


def test_the_axis_says_that_above_zero_is_better(facts: Facts) -> None:
    drawn = KINDS["equal"].draw(facts)
    assert drawn is not None
    assert drawn.canvas.axes[0].get_xlabel() == "better than uniform by\n(mean gain, %)"


def test_an_undefined_field_is_in_the_pages_ink(facts: Facts) -> None:
    """It has no colour behind it, and the page may be dark."""
    facts.runs.append(run("part", {"a": 1.0}))
    with house_style("ink"):
        drawn = KINDS["gains"].draw(facts)
        assert drawn is not None
        colours = {
            text.get_color() for text in drawn.canvas.axes[0].texts if text.get_text() == "-"
        }
    assert colours == {INK}


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


# From files --------------------------------------------------------------------------------------


Given = dict[str, dict[str, list[float | None]]]
"""Run and task to its scores by seed."""


def kept(root: Path, given: Given, ends: dict[str, object] | None = None) -> Plan:
    """Two runs of RotoGrad's five tasks, with what they have kept."""
    (root / "config/tiers.yaml").write_text(TIERS, encoding="utf-8")
    plan = load_plan(root, {"tier": "two", "papers": ["rotograd"]})
    norms: dict[str, dict[str, list[float]]] = {"gradient_norm": {}, "weight": {}}
    for place, task in enumerate(plan.runs["rotograd", "reduced", "uniform"].cells):
        # Of four epochs the last two count.
        norms["gradient_norm"][task] = [9.0, 0.1, 1.0 + place, 1.0 + place]
        norms["weight"][task] = [1.0, 1.0, 1.0, 1.0]
    for name, by_task in given.items():
        run = plan.runs["rotograd", "reduced", name]
        training = plan.trainings[run.cells["left"]]
        seeds = [str(seed) for seed in range(len(by_task["left"]))]
        scores = {
            seed: {
                "test": {
                    task: dict.fromkeys(("accuracy", "mse"), values[int(seed)])
                    for task, values in by_task.items()
                }
            }
            for seed in seeds
        }
        write_json(root / training.scores, {"scores": scores})
        end = {"seconds": 2.0, "steps": 10, "trouble": None, **(ends or {})}
        write_json(root / training.file("record.json"), {"seeds": dict.fromkeys(seeds, end)})
        history(norms).to_parquet(root / training.file("history.parquet"))
    return plan


TASK_NAMES = ("left", "right", "sum", "product", "density")
ALIKE: dict[str, list[float | None]] = {task: [0.5, 0.5] for task in TASK_NAMES}


def test_facts_are_read_from_what_the_runs_have_kept(config_copy: Path) -> None:
    """The spread of norms is that of the tables; a damaged history is named as such."""
    plan = kept(config_copy, {"uniform": ALIKE, "rotograd": ALIKE})
    facts = read_facts(config_copy, plan, "rotograd", "reduced")
    wanted = summarise([math.log(n) for n in (1, 2, 3, 4, 5)]).sd
    assert [run.name for run in facts.runs] == ["uniform", "rotograd"]
    for found in facts.runs:
        assert found.norm_spread == pytest.approx(wanted)
        assert found.weighted_norm_spread == pytest.approx(wanted)
        assert found.milliseconds == 200.0 and found.memory is None
    assert facts.marks == ["demo"] and not facts.lower and not facts.left_out
    key = plan.runs["rotograd", "reduced", "rotograd"].cells["left"]
    (config_copy / plan.trainings[key].file("history.parquet")).write_text("no table")
    error = error_of(lambda: read_facts(config_copy, plan, "rotograd", "reduced"))
    assert "cannot read the history" in error.what


def test_gains_turn_the_sign_where_lower_is_better(config_copy: Path) -> None:
    """A tenth up in accuracy is a gain, half the error, too; Delta_m is of each seed."""
    better = {**ALIKE, "left": [0.55, 0.65], "sum": [0.25, 0.25]}
    plan = kept(config_copy, {"uniform": ALIKE, "rotograd": better})
    equal, found = read_facts(config_copy, plan, "rotograd", "reduced").runs
    assert found.gains == pytest.approx(
        {"left": 20.0, "right": 0.0, "sum": 50.0, "product": 0.0, "density": 0.0}
    )
    assert found.beyond_equal is not None
    assert found.beyond_equal.values == pytest.approx({"0": 12.0, "1": 16.0})
    assert found.quality == found.beyond_equal.sample, "its reference is the run of equal weights"
    assert equal.gains == {} and equal.beyond_equal is None
    assert equal.quality is not None and equal.quality.mean == 0.0


@pytest.mark.parametrize("lacking", ["uniform", "rotograd"])
def test_a_task_without_a_score_leaves_the_others(config_copy: Path, lacking: str) -> None:
    """As in the tables: a finding without a positive among the test items empties no view."""
    given: Given = {"uniform": ALIKE, "rotograd": {**ALIKE, "left": [0.55, 0.65]}}
    given[lacking] = {**given[lacking], "density": [None, None]}
    facts = read_facts(config_copy, kept(config_copy, given), "rotograd", "reduced")
    found = facts.runs[1]
    assert found.beyond_equal is not None and len(found.gains) == 4
    assert found.beyond_equal.values == pytest.approx({"0": 2.5, "1": 7.5})
    assert facts.undefined == ("Density",)
    for kind in ("equal", "tradeoff"):
        drawn = KINDS[kind].draw(facts)
        assert drawn is not None
        assert drawn.note.endswith(
            "Means leave out tasks for which a run or a seed has no score: Density."
        )


def test_a_run_that_has_failed_is_named_and_not_compared(config_copy: Path, facts: Facts) -> None:
    """As in the tables, where it has no verdict: its last weights are no result."""
    plan = kept(config_copy, {"uniform": ALIKE, "rotograd": {t: [0.9, 0.9] for t in TASK_NAMES}})
    run = plan.runs["rotograd", "reduced", "rotograd"]
    path = config_copy / plan.trainings[run.cells["left"]].file("record.json")
    record = read_json(path)
    record["seeds"]["1"]["trouble"] = {"what": "loss", "task": "left", "step": 3}
    write_json(path, record)
    found = read_facts(config_copy, plan, "rotograd", "reduced")
    equal, other = found.runs
    assert other.quality is None and other.beyond_equal is None and not other.gains
    assert equal.quality is not None and len(found.failed) == 1
    for kind in ("equal", "tradeoff", "gains"):
        drawn = KINDS[kind].draw(replace(facts, failed=("Sum", "Other")))
        assert drawn is not None and drawn.note.endswith("Failed, and so left out: Sum, Other.")


def test_time_is_that_of_the_tables(config_copy: Path) -> None:
    """A resumed seed was not timed whole: neither has a number of it."""
    plan = kept(config_copy, {"uniform": ALIKE, "rotograd": ALIKE}, {"resumed": True})
    facts = read_facts(config_copy, plan, "rotograd", "reduced")
    assert [run.milliseconds for run in facts.runs] == [None, None]
    drawn = KINDS["tradeoff"].draw(facts)
    assert drawn is not None
    assert "not timed alone from the first step to the last: " in drawn.note
    assert all(row["ms per step"] is None for row in drawn.data)
    assert "On the line" not in drawn.note, "no run is known to be cheap"
