"""What DVC compares between commits: means over seeds and tasks, and curves of the loss."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from counterpoise.layout import RunPlan
from counterpoise.report.dvc import curves, metrics, run_scores


def run_of(name: str, cells: dict[str, str]) -> RunPlan:
    return RunPlan("p", "e", name, cells, None, (), False, False)


def inputs_of(**cells: Any) -> Any:
    """Scores by cell; none where a cell has no result."""
    return SimpleNamespace(
        cells={
            key: SimpleNamespace(scores=None if seeds is None else {"scores": seeds})
            for key, seeds in cells.items()
        }
    )


def scores_of(**tasks: dict[str, float | None]) -> dict[str, Any]:
    """Scores of a seed on the test part, beside others that do not count."""
    return {"test": tasks, "validation": {task: {"accuracy": 0.0} for task in tasks}}


def test_a_score_is_the_mean_over_seeds_and_then_over_tasks() -> None:
    """A mean over all at once would count the task with more defined seeds more than the other."""
    both = {
        "0": scores_of(mass={"accuracy": 0.4, "auroc": None}, age={"accuracy": 0.2, "mse": 3.0}),
        "1": scores_of(mass={"accuracy": 0.8, "auroc": None}, age={"accuracy": None, "mse": 5.0}),
    }
    found = run_scores(run_of("r", {"mass": "c", "age": "c"}), inputs_of(c=both))
    assert found == {"accuracy": pytest.approx((0.6 + 0.2) / 2), "mse": pytest.approx(4.0)}


def test_a_paper_has_its_counts_and_the_runs_that_have_scores() -> None:
    plan: Any = SimpleNamespace(
        papers=["p", "q"],
        runs={name: run_of(name, {"mass": name}) for name in ("done", "missing")},
    )
    inputs = inputs_of(done={"0": scores_of(mass={"accuracy": 0.5})}, missing=None)
    counts = {"p": {"holds": 2}, "q": {"holds": 0}}
    assert metrics(plan, inputs, counts) == {
        "p": {"holds": 2, "runs": {"e/done": {"accuracy": 0.5}}},
        "q": {"holds": 0},
    }
    assert counts["p"] == {"holds": 2}, "those of the report stay as they are"


def test_curves_are_means_over_seeds_of_the_loss_that_selects(tmp_path: Path) -> None:
    """One of a run; none of single-task runs, nor of one whose history is missing."""
    rows = [
        (seed, epoch, quantity, seed + epoch if quantity == "selection" else 9.0)
        for quantity in ("weight", "selection")
        for seed in (0, 1)
        for epoch in (1, 0)
    ]
    names = ["seed", "epoch", "quantity", "value"]
    pd.DataFrame(rows, columns=names).to_parquet(tmp_path / "c-history.parquet")
    runs = {
        "single_task": run_of("single_task", {"mass": "c", "age": "d"}),
        "missing": run_of("missing", {"mass": "d", "age": "d"}),
        "uniform": run_of("uniform", {"mass": "c", "age": "c"}),
    }
    trainings = {key: SimpleNamespace(file=f"{key}-{{}}".format) for key in "cd"}
    plan: Any = SimpleNamespace(runs=runs, trainings=trainings)
    assert curves(tmp_path, plan) == {"p-e.csv": "run,epoch,loss\nuniform,0,0.5\nuniform,1,1.5\n"}
