"""Our numbers from histories and records: spread of gradient norms, cost with what a search trained."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from counterpoise.files import write_json
from counterpoise.reproduction.ours import Scores

KEY = "cell/1"


def scores(root: Path) -> Scores:
    """Scores of one cell whose files lie in a folder."""
    training = SimpleNamespace(file=lambda name: str(root / name))
    plan: Any = SimpleNamespace(trainings={KEY: training})
    return Scores(root, plan)


def history(root: Path, norms: dict[str, list[float]], weights: dict[str, list[float]]) -> None:
    rows = [
        (0, epoch, quantity, task, value)
        for quantity, courses in (("gradient_norm", norms), ("weight", weights))
        for task, course in courses.items()
        for epoch, value in enumerate(course)
    ]
    seen = pd.DataFrame(rows, columns=["seed", "epoch", "quantity", "task", "value"])
    seen.to_parquet(root / "history.parquet")


def test_the_spread_of_norms_by_hand(tmp_path: Path) -> None:
    """Of four epochs the last two count: means 1 and e^2, logarithms 0 and 2, deviation sqrt(2).

    With weights e^2 and 1 both are e^2 in the mean, and nothing is left of the spread.
    """
    large = math.e**2
    norms = {"a": [9.0, 9.0, 0.5, 1.5], "b": [0.1, 0.1, large, large]}
    history(tmp_path, norms, {"a": [1.0, 1.0, large, large], "b": [1.0] * 4})
    found = scores(tmp_path)
    assert found.spread(KEY, "ab", weighted=False).values == {"0": pytest.approx(math.sqrt(2))}
    assert found.spread(KEY, "ab", weighted=True).values == {"0": pytest.approx(0.0, abs=1e-12)}
    assert found.spread(KEY, "a", weighted=False).values == {}, "one task has no spread"


def test_a_gradient_that_vanishes_has_no_spread(tmp_path: Path) -> None:
    history(tmp_path, {"a": [1.0, 0.0], "b": [1.0, 1.0]}, {"a": [1.0] * 2, "b": [1.0] * 2})
    assert scores(tmp_path).spread(KEY, "ab", weighted=False).values == {}


def test_a_run_that_kept_no_history_has_no_spread(tmp_path: Path) -> None:
    history(tmp_path, {}, {})
    assert scores(tmp_path).spread(KEY, "ab", weighted=True).values == {}
    history(tmp_path, {}, {"a": [1.0], "b": [1.0]})
    assert scores(tmp_path).spread(KEY, "ab", weighted=False).values == {}


def test_training_seconds_count_what_a_search_trained(tmp_path: Path) -> None:
    """Two points of 10 s come before each seed; a seed that was resumed has no time of its own."""
    seeds = {"0": {"seconds": 3.0}, "1": {"seconds": 4.0}, "2": {"seconds": 1.0, "resumed": True}}
    search = [{"seconds": 10.0}, {"seconds": 10.0}]
    write_json(tmp_path / "record.json", {"seeds": seeds, "search": search})
    assert scores(tmp_path).cost(KEY, "training_seconds").values == {"0": 23.0, "1": 24.0}


@pytest.mark.parametrize("what", ["seconds_per_step", "training_seconds", "peak_memory_mib"])
def test_what_trained_side_by_side_has_no_cost_of_its_own(tmp_path: Path, what: str) -> None:
    """A share of ten seeds' time, or their memory, is not what a method that trains alone takes."""
    for number in (1, 2):
        end = {"seconds": 3.0, "steps": 6, "side_by_side": number}
        record = {"seeds": {"0": end, "1": end}, "peak_memory_mib": 5.0}
        write_json(tmp_path / "record.json", record)
        assert bool(scores(tmp_path).cost(KEY, what).values) == (number == 1)


def test_a_search_side_by_side_leaves_no_time_in_all(tmp_path: Path) -> None:
    """A point's share of its siblings' time is none of its own; a step of the seed still is."""
    seeds = {"0": {"seconds": 3.0, "steps": 6}}
    for number in (1, 2):
        search = [{"seconds": 10.0}, {"seconds": 10.0, "side_by_side": number}]
        write_json(tmp_path / "record.json", {"seeds": seeds, "search": search})
        found = scores(tmp_path)
        assert found.cost(KEY, "training_seconds").values == ({"0": 23.0} if number == 1 else {})
        assert found.cost(KEY, "seconds_per_step").values == {"0": 0.5}


def test_memory_is_that_of_the_device_where_there_is_one(tmp_path: Path) -> None:
    record = {"seeds": {}, "peak_memory_mib": 900.0, "device_peak_memory_mib": 70.0}
    write_json(tmp_path / "record.json", record)
    assert scores(tmp_path).cost(KEY, "peak_memory_mib").values == {"all": 70.0}
    write_json(tmp_path / "record.json", {**record, "device_peak_memory_mib": None})
    assert scores(tmp_path).cost(KEY, "peak_memory_mib").values == {"all": 900.0}


def test_findings_that_joint_scores_leave_out(tmp_path: Path) -> None:
    """Those without a score in every seed, for want of positives; not a seed's own failure."""
    found = scores(tmp_path)
    full, lacking = {"auroc": 0.5, "f1": 0.5}, {"auroc": None, "f1": 0.0}
    seeds = ({"a": full, "b": lacking, "c": lacking}, {"a": full, "b": full, "c": lacking})
    joint = {"f1_macro": 0.3, "auroc_micro": None}
    parts = {str(n): {"test": {**tasks, "all": joint}} for n, tasks in enumerate(seeds)}
    found._files[KEY] = {"scores": parts}
    assert found.without_a_score(KEY, "auroc") == ("c",)
    assert found.without_a_score(KEY, "f1") == ()
