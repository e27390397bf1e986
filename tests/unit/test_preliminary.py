"""Grid search: what is planned, what is chosen, and what a wrong grid is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from counterpoise.files import write_json
from counterpoise.plan import Plan, load_plan
from counterpoise.spec.cell import Candidate
from counterpoise.spec.experiment import GridSearch
from counterpoise.training.preliminary import (
    settled,
    value_kept,
    with_best_options,
)
from counterpoise.training.problem import Job

from ..support import ROOT, edit, error_of, small_cell

PAPER = "config/papers/imbalance.yaml"
GRID = "grid: {weights.sum: [0.1, 1.0, 10.0], weights.density: [0.1, 1.0, 10.0]}"
RUN = ("imbalance", "multimnist", "grid_search")


def plan_of(root: Path) -> Plan:
    return load_plan(root, {"tier": "sample", "papers": ["imbalance"], "methods": "all"})


def test_a_grid_is_all_combinations_beside_the_other_options() -> None:
    search = GridSearch(grid={"weights.a": (1, 2), "alpha": (0.5, 0.1)})
    given = {"weights": {"b": 7}, "beta": 1}
    points = search.points(given)
    assert [(p["weights"]["a"], p["alpha"]) for p in points] == [
        (1, 0.5), (1, 0.1), (2, 0.5), (2, 0.1),
    ]  # fmt: skip
    assert all(p["weights"]["b"] == 7 and p["beta"] == 1 for p in points)
    assert given == {"weights": {"b": 7}, "beta": 1}, "the run's own options stay as they are"


def test_a_search_is_planned_as_cells_of_its_own() -> None:
    plan = plan_of(ROOT)
    (key,) = plan.runs[RUN].keys
    cell = plan.trainings[key].cell
    assert [p.key for p in cell.candidates] == list(plan.preliminary)[:9], "its experiment is first"
    assert len({tuple(p.options["weights"].items()) for p in cell.candidates}) == 9
    for point in cell.candidates:
        tried = plan.preliminary[point.key]
        assert tried is plan.training(tried.name, tried.digest)
        assert tried.cell.method.options == point.options
        assert tried.cell.seeds == (0,) and not tried.cell.candidates
        assert not set(plan.cell_files) & {tried.scores}, "the test part has no say"
        assert tried.file("history.parquet") in plan.trainings[key].preliminary


def test_a_tier_may_try_each_point_for_a_shorter_time() -> None:
    plan = load_plan(ROOT, {"tier": "mnist-reduced", "papers": "all", "methods": "all"})
    (key,) = plan.runs["rotograd", "searched", "gradnorm_z"].keys
    cell = plan.trainings[key].cell
    assert (cell.protocol.epochs, len(cell.seeds), len(cell.candidates)) == (20, 3, 12)
    tried = [plan.training(*point.key.split("/")).cell for point in cell.candidates]
    assert {(c.protocol.epochs, c.seeds) for c in tried} == {(4, (0,))}


def test_another_grid_is_another_cell(config_copy: Path) -> None:
    before = plan_of(config_copy).runs[RUN].cells
    edit(config_copy / PAPER, "weights.sum: [0.1, 1.0, 10.0]", "weights.sum: [0.1, 1.0]")
    after = plan_of(config_copy)
    assert after.runs[RUN].cells != before
    (key,) = after.runs[RUN].keys
    assert len(after.trainings[key].cell.candidates) == 6


def test_points_that_are_runs_themselves_are_trained_once() -> None:
    plan = plan_of(ROOT)
    (key,) = plan.runs["imbalance", "chest", "grid_search"].keys
    points = {point.key for point in plan.trainings[key].cell.candidates}
    names = [run for run in plan.runs if run[:2] == ("imbalance", "chest") and run[2][:2] == "w_"]
    assert points == {key for run in names for key in plan.runs[run].keys}
    assert points <= set(plan.trainings), "and scored"


@pytest.mark.parametrize(
    ("grid", "word"),
    [
        ("grid: {wieghts.sum: [1.0]}", "no option 'wieghts'"),
        ("grid: {weights.sum: [-1.0]}", "not valid: weights.sum"),
        ("grid: {weights.summ: [1.0]}", "names no task of this dataset with 'summ'"),
        ("grid: {weights.sum: []}", "at least 1"),
        ("grid: {}", "at least 1"),
        (f"grid: {{weights.sum: {list(range(1, 66))}}}", "65 points, more than 64"),
    ],
)
def test_a_wrong_grid_has_its_line(config_copy: Path, grid: str, word: str) -> None:
    line = edit(config_copy / PAPER, GRID, grid)
    told = error_of(lambda: plan_of(config_copy))
    assert word in str(told) and any(f"imbalance.yaml:{n}" in str(told) for n in (line - 1, line))


def history(*values: float, seed: int = 0) -> pd.DataFrame:
    rows = [(seed, epoch, "selection", "", value) for epoch, value in enumerate(values)]
    rows.append((seed, 0, "learning_rate", "", 1.0))
    return pd.DataFrame(rows, columns=["seed", "epoch", "quantity", "task", "value"])


def record(*epochs: int, status: str = "finished") -> dict[str, Any]:
    """Of seeds whose weights of these epochs were kept."""
    ends = {str(n): {"status": status, "selected_epoch": epoch} for n, epoch in enumerate(epochs)}
    return {"seeds": ends, "seconds": 2.5}


def test_the_value_of_a_candidate_is_the_mean_over_seeds_of_the_weights_kept() -> None:
    two = pd.concat([history(3.0, 1.0, 2.0), history(5.0, 4.0, seed=1)])
    assert value_kept(two, record(1, 1), "selection") == 2.5
    assert value_kept(two, record(2, 0), "selection") == 3.5, "the last epoch, where that is kept"
    assert value_kept(two, record(1, 1, status="diverged"), "selection") is None


def searched(root: Path, *values: float, diverged: tuple[float, ...] = ()) -> Job:
    """A search over candidates with these validation losses."""
    cells = root / "results/demo/cells"
    points = []
    for n, value in enumerate(values, start=1):
        folder = cells / f"point/{n}"
        folder.mkdir(parents=True)
        history(value).to_parquet(folder / "history.parquet")
        status = "diverged" if value in diverged else "finished"
        write_json(folder / "record.json", record(0, status=status))
        points.append(Candidate(key=f"point/{n}", options={"weights": {"sum": float(n)}}))
    cell = small_cell("fixed").model_copy(update={"candidates": tuple(points)})
    own = cells / "searched" / "digest"
    return Job(root, cell, "searched", "digest", root / "split", root / "work", own)


def test_the_lowest_validation_loss_wins_and_the_first_of_equals(tmp_path: Path) -> None:
    job = searched(tmp_path, 2.0, 1.0, 1.0)
    chosen, tried = with_best_options(job)
    assert chosen.cell.method.options == {"weights": {"sum": 2.0}}
    assert replace(chosen, cell=job.cell) == job, "nothing else changes"
    assert [(p["key"], p["loss"], p["seconds"]) for p in tried] == [
        ("point/1", 2.0, 2.5), ("point/2", 1.0, 2.5), ("point/3", 1.0, 2.5),
    ]  # fmt: skip


def test_what_was_tried_says_how_its_seeds_trained(tmp_path: Path) -> None:
    """Side by side, so that the seconds are a share; a record that does not say so: alone."""
    job = searched(tmp_path, 2.0, 1.0)
    folder, told = tmp_path / "results/demo/cells/point/1", record(0, 0)
    pd.concat([history(2.0), history(2.0, seed=1)]).to_parquet(folder / "history.parquet")
    told["seeds"]["0"]["side_by_side"], told["seeds"]["1"]["side_by_side"] = 1, 9
    write_json(folder / "record.json", told)
    _, tried = with_best_options(job)
    assert [point["side_by_side"] for point in tried] == [9, 1]


def test_a_candidate_that_diverged_never_wins(tmp_path: Path) -> None:
    chosen, tried = with_best_options(searched(tmp_path, 1.0, 9.0, diverged=(1.0,)))
    assert chosen.cell.method.options == {"weights": {"sum": 2.0}}
    assert [point["loss"] for point in tried] == [None, 9.0]
    none = searched(tmp_path / "none", 1.0, diverged=(1.0,))
    assert "has diverged" in error_of(lambda: with_best_options(none)).what


def test_a_missing_or_damaged_candidate_is_told(tmp_path: Path) -> None:
    job = searched(tmp_path, 2.0)
    path = tmp_path / "results/demo/cells/point/1/history.parquet"
    path.write_bytes(b"PAR1 and no more")
    assert error_of(lambda: with_best_options(job)).where == str(path)
    path.unlink()
    assert "cannot find" in error_of(lambda: with_best_options(job)).what


def test_a_cell_without_a_search_is_left_alone(tmp_path: Path) -> None:
    job = replace(searched(tmp_path), cell=small_cell("uniform"))
    assert settled(job) == (job, {})


CHEST = ("deepchest", "chest", "deepchest_single_task")


def test_weights_from_single_tasks_wait_for_networks_of_one_task() -> None:
    plan = load_plan(ROOT, {"tier": "demo", "papers": ["deepchest"], "methods": "all"})
    (key,) = plan.runs[CHEST].keys
    cell = plan.trainings[key].cell
    assert tuple(cell.single_task) == cell.tasks
    for task, reference in cell.single_task.items():
        alone = plan.preliminary[reference].cell
        assert alone.tasks == (task,) and alone.method.name == "uniform"
        assert alone.protocol == cell.protocol and alone.seeds == cell.seeds
        assert plan.preliminary[reference].file("record.json") in plan.trainings[key].preliminary


def alone(root: Path, status: str = "finished", **accuracies: float) -> Job:
    """A DeepChest job that waits for single-task networks of these accuracies."""
    cells = root / "results/demo/cells"
    for task, accuracy in accuracies.items():
        folder = cells / f"{task}/1"
        folder.mkdir(parents=True)
        rows = [
            (0, 0, "validation_accuracy", task, 0.1),
            (0, 1, "validation_accuracy", task, accuracy),
        ]
        seen = pd.DataFrame(rows, columns=["seed", "epoch", "quantity", "task", "value"])
        seen.to_parquet(folder / "history.parquet")
        write_json(folder / "record.json", record(1, status=status))
    cell = small_cell("deepchest", options={"initial_weights": "single_task"}).model_copy(
        update={"single_task": {task: f"{task}/1" for task in accuracies}}
    )
    return Job(root, cell, "d", "digest", root / "split", root / "work", cells / "d" / "digest")


def test_first_weights_are_those_of_the_formula(tmp_path: Path) -> None:
    """(3 - 0.9796) / 2 = 1.0102, the first row of the public ResNet file."""
    job, facts = settled(alone(tmp_path, left=0.9796, right=0.5))
    first = job.cell.method.options["initial_weights"]
    assert first == {"left": pytest.approx(1.0102), "right": pytest.approx(1.25)}
    assert facts == {"single_task": {"left": 0.9796, "right": 0.5}}


def test_a_single_task_that_diverged_sets_no_weight(tmp_path: Path) -> None:
    told = error_of(lambda: settled(alone(tmp_path, "diverged", left=0.9)))
    assert "'left' has diverged" in told.what
