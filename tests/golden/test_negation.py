"""A label and its negation from one output (Figure 3c): only with a rotation can both be learned."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from counterpoise import prepared, registry
from counterpoise.plan import Plan
from counterpoise.training.engine import Replicate
from counterpoise.training.job import tasks_of
from counterpoise.training.problem import Problem

TASKS = ("label", "negated")


@pytest.fixture(scope="module")
def split_file(demo_plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    toy, folder = registry.find("datasets", "toy"), tmp_path_factory.mktemp("negation")
    options = {"problem": "negation"}
    toy.prepare(folder, folder, toy.Options(**options))
    prepared.split("toy", options, 0, folder / "split.parquet")
    return folder / "split.parquet"


def final_row(plan: Plan, run: str, split: Path, folder: Path, seed: int) -> dict[str, float]:
    """The last epoch of the paper file's run."""
    (key,) = plan.runs["rotograd", "toy_negation", run].keys
    cell = plan.trainings[key].cell
    parts = {name: prepared.load_part("toy", cell.dataset_options, split, name)
             for name in ("train", "validation")}  # fmt: skip
    made = Replicate(Problem(cell, tasks_of(cell), parts), seed, folder / "seed.state", 1e9)
    made.run(lambda _: None, lambda: False)
    assert made.trouble is None
    return made.history[-1]


SEEDS = pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])


@SEEDS
def test_rotograd_learns_both(demo_plan: Plan, split_file: Path, tmp_path: Path, seed: int) -> None:
    row = final_row(demo_plan, "rotograd", split_file, tmp_path, seed)
    for task in TASKS:
        assert row[f"validation_metric/{task}"] > 0.95


@SEEDS
def test_uniform_learns_neither(
    demo_plan: Plan, split_file: Path, tmp_path: Path, seed: int
) -> None:
    """One logit s: right for one task, wrong for the other, and the two cross-entropies sum to
    log(1 + e^-s) + log(1 + e^s) >= 2 log 2 at every point."""
    row = final_row(demo_plan, "uniform", split_file, tmp_path, seed)
    assert sum(row[f"validation_metric/{task}"] for task in TASKS) == pytest.approx(1.0)
    assert sum(row[f"validation_loss/{task}"] for task in TASKS) >= 2 * math.log(2) * (1 - 1e-6)
