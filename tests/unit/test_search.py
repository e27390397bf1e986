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
from counterpoise.spec.paper import GridSearch
from counterpoise.training.problem import Job
from counterpoise.training.search import validation_loss, with_best_options

from ..support import ROOT, edit, error_of, small_cell

PAPER = "config/papers/imbalance.yaml"
GRID = "grid: {weights.sum: [0.1, 1.0, 10.0], weights.density: [0.1, 1.0, 10.0]}"
RUN = ("imbalance", "multimnist", "grid_search")


def plan_of(root: Path) -> Plan:
    return load_plan(root, {"tier": "demo", "papers": ["imbalance"], "methods": "all"})


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
    (key,) = set(plan.runs[RUN].cells.values())
    cell = plan.trainings[key].cell
    assert [p.key for p in cell.candidates] == list(plan.candidates)
    assert len({tuple(p.options["weights"].items()) for p in cell.candidates}) == 9
    for point in cell.candidates:
        tried = plan.candidates[point.key]
        assert tried is plan.training(tried.name, tried.digest)
        assert tried.cell.method.options == point.options
        assert tried.cell.seeds == (0,) and not tried.cell.candidates
        assert not set(plan.cell_files) & {tried.scores}, "the test part has no say"
        assert plan.trainings[key].candidate(point.key, "history.parquet") == tried.file(
            "history.parquet"
        )


def test_another_grid_is_another_cell(config_copy: Path) -> None:
    before = plan_of(config_copy).runs[RUN].cells
    edit(config_copy / PAPER, "weights.sum: [0.1, 1.0, 10.0]", "weights.sum: [0.1, 1.0]")
    after = plan_of(config_copy)
    assert after.runs[RUN].cells != before and len(after.candidates) == 6


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
    assert validation_loss(two, record(1, 1)) == 2.5
    assert validation_loss(two, record(2, 0)) == 3.5, "the last epoch, where that is kept"
    assert validation_loss(two, record(1, 1, status="diverged")) == float("inf")


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
    assert "cannot read" in error_of(lambda: with_best_options(job)).what


def test_a_cell_without_a_search_is_left_alone(tmp_path: Path) -> None:
    job = replace(searched(tmp_path), cell=small_cell("uniform"))
    assert with_best_options(job) == (job, [])
