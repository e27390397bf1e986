"""Our numbers for what a paper prints: read from scores, records and histories of the cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from counterpoise import registry
from counterpoise.evaluation.joint import JOINT
from counterpoise.evaluation.measured import Draws, Measured, gain_of, mean_of
from counterpoise.evaluation.statistics import delta_m, summarise
from counterpoise.files import read_json, read_parquet
from counterpoise.layout import RunPlan
from counterpoise.metrics import metric
from counterpoise.plan import Plan
from counterpoise.spec.paper import ALL_TASKS, DELTA_M, Quantity
from counterpoise.tasks import Task

PART = "test"


@dataclass(frozen=True)
class Ours:
    """Our numbers for one cell of a table, in printed units.

    Attributes:
        measured: by seed, with resamples where the score has some.
        from_means: Delta_m from the means over seeds, where the cell is a Delta_m.
        cells: keys of the cells that the numbers come from.
        trouble: what went wrong in which run, if something did.
        undefined: tasks that a mean over tasks leaves out, because they have no score.
    """

    measured: Measured
    from_means: float | None
    cells: list[str]
    trouble: str | None
    undefined: tuple[str, ...] = ()


class Scores:
    """Scores, records and histories of all cells of a plan, read once."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan = root, plan
        self._files: dict[str, Any] = {}
        self._records: dict[str, Any] = {}
        self._histories: dict[str, pd.DataFrame | None] = {}
        self._draws: dict[tuple[str, str, str], dict[str, np.ndarray]] = {}

    def file(self, key: str) -> Any:
        """The scores of a cell as :mod:`counterpoise.evaluation.evaluate` writes them."""
        if key not in self._files:
            self._files[key] = read_json(self.root / self.plan.trainings[key].scores)
        return self._files[key]

    def record(self, key: str) -> Any:
        """The training record of a cell."""
        if key not in self._records:
            path = self.root / self.plan.trainings[key].file("record.json")
            self._records[key] = read_json(path)
        return self._records[key]

    def history(self, key: str) -> pd.DataFrame | None:
        """The second half of a cell's epochs; None where no history was kept."""
        if key not in self._histories:
            path = self.root / self.plan.trainings[key].file("history.parquet")
            history = read_parquet(path, "history") if path.is_file() else None
            if history is not None:
                history = history[history["epoch"] >= (history["epoch"].max() + 1) // 2]
            self._histories[key] = history
        return self._histories[key]

    def _resamples(self, key: str, task: str, name: str) -> dict[str, np.ndarray]:
        """Scores (schemes, R) on resamples of the items, by seed."""
        place = (key, task, name)
        if place not in self._draws:
            tasks = self.file(key).get("resamples", {}).get(PART, {}).get("tasks", {})
            lines = tasks.get(task, {}).get("draws", {}).get(name, {})
            self._draws[place] = {
                seed: np.array([line.split() for line in schemes], np.float64)
                for seed, schemes in lines.items()
            }
        return self._draws[place]

    def values(self, run: RunPlan, task: str, name: str) -> dict[str, float]:
        """Seed to score of one task, of the seeds that have one."""
        return self.measured(run.cells[task], task, name).values

    def measured(self, key: str, task: str, name: str) -> Measured:
        """One score of one cell."""
        found = {
            seed: value
            for seed, parts in self.file(key)["scores"].items()
            if (value := parts[PART][task][name]) is not None
        }
        draws = self._resamples(key, task, name)
        if not found or not found.keys() <= draws.keys():
            return Measured(found)
        told = self.file(key)["resamples"][PART]
        values = np.stack([draws[seed] for seed in found], axis=1)
        items = f"{self.plan.trainings[key].data.folder}/{PART}"
        units = told["tasks"][task]["units"]
        return Measured(found, Draws(values, tuple(told["factors"]), units, items))

    def constant(self, key: str, task: str, name: str) -> Measured:
        """The constant predictor's score, which is one for all seeds."""
        value = self.file(key)["constant"][PART][task][name]
        return Measured({} if value is None else {"constant": value})

    def during(self, key: str, task: str, quantity: str) -> Measured:
        """A quantity of training, the mean over the second half of the epochs."""
        history = self.history(key)
        if history is None:
            return Measured({})
        rows = history[(history["quantity"] == quantity) & (history["task"] == task)]
        means = rows.groupby("seed")["value"].mean().dropna()
        return Measured({str(seed): float(value) for seed, value in means.items()})

    def cost(self, key: str, what: str) -> Measured:
        """Seconds of training a step by seed, or the peak memory of the process."""
        record = self.record(key)
        if what == "peak_memory_mib":
            peak = record.get("peak_memory_mib")
            return Measured({} if peak is None else {"all": float(peak)})
        return Measured(
            {
                seed: state["seconds"] / state["steps"]
                for seed, state in record["seeds"].items()
                if state.get("steps") and state.get("seconds") and not state.get("resumed")
            }
        )

    def trouble(self, keys: Iterable[str]) -> str | None:
        """The first bad end among some cells."""
        for key in dict.fromkeys(keys):
            for seed, state in self.record(key)["seeds"].items():
                if state["trouble"]:
                    bad = state["trouble"]
                    task = f" in task {bad['task']}" if bad["task"] else ""
                    return f"seed {seed}: {bad['what']}{task} at step {bad['step']}"
        return None


def tasks_of_run(plan: Plan, run: RunPlan) -> list[Task]:
    """The tasks of a run, in the dataset's order."""
    cell = plan.trainings[next(iter(run.cells.values()))].cell
    module = registry.find("datasets", cell.dataset)
    return [t for t in module.tasks(module.Options(**cell.dataset_options)) if t.name in run.cells]


def lower_is_better(plan: Plan, run: RunPlan, task: Task) -> bool:
    """Whether the task's main metric falls as it gets better."""
    dataset = plan.trainings[run.cells[task.name]].cell.dataset
    return metric(registry.find("datasets", dataset), task.metrics[0]).better == "lower"


def _delta(scores: Scores, run: RunPlan, baseline: RunPlan, scale: float) -> Ours:
    tasks = tasks_of_run(scores.plan, run)
    lower = [lower_is_better(scores.plan, run, task) for task in tasks]
    ours, theirs = (
        [scores.measured(side.cells[task.name], task.name, task.metrics[0]) for task in tasks]
        for side in (run, baseline)
    )
    gain = gain_of(ours, theirs, lower).scaled(scale)
    from_means = None
    if gain.values:
        own, single = (
            [summarise([one.values[seed] for seed in gain.values]).mean for one in side]
            for side in (ours, theirs)
        )
        from_means = delta_m(own, single, lower)
    cells = list(dict.fromkeys([*run.cells.values(), *baseline.cells.values()]))
    from_means = None if from_means is None else scale * from_means
    return Ours(gain, from_means, cells, scores.trouble(cells))


def _of_task(scores: Scores, run: RunPlan, quantity: Quantity, task: str) -> Measured:
    key = run.cells[task]
    if quantity.history is not None:
        return scores.during(key, task, quantity.history)
    assert quantity.metric is not None
    if quantity.predictor == "constant":
        return scores.constant(key, task, quantity.metric)
    return scores.measured(key, task, quantity.metric)


def _together(
    scores: Scores, run: RunPlan, quantity: Quantity, scale: float
) -> tuple[Ours | None, str]:
    """A score of all findings together, which one network must have answered."""
    cells = list(dict.fromkeys(run.cells.values()))
    if len(cells) > 1:
        return None, "several networks, each with thresholds of its own"
    assert quantity.metric is not None
    if quantity.predictor == "constant":
        measured, trouble = scores.constant(cells[0], ALL_TASKS, quantity.metric), None
    else:
        measured = scores.measured(cells[0], ALL_TASKS, quantity.metric)
        trouble = scores.trouble(cells)
    return Ours(measured.scaled(scale), None, cells, trouble), ""


def ours_of(
    scores: Scores, paper: str, quantity: Quantity, baseline: str | None
) -> tuple[Ours | None, str]:
    """Our numbers for a quantity, or None and the reason."""
    if quantity.unavailable:
        return None, quantity.unavailable
    if not (quantity.experiment and quantity.run and quantity.measured):
        return None, "the paper's file names no run for it"
    run = scores.plan.runs.get((paper, quantity.experiment, quantity.run))
    if run is None:
        return None, f"not part of tier {scores.plan.tier_name} with this configuration"
    scale = 100.0 if quantity.percent else 1.0
    if quantity.metric == DELTA_M:
        if quantity.run == baseline:
            return None, "the reference itself"
        reference = scores.plan.runs.get((paper, quantity.experiment, str(baseline)))
        if reference is None:
            return None, "its single-task reference is not run"
        return _delta(scores, run, reference, scale), ""
    if quantity.cost is not None:
        cells = list(dict.fromkeys(run.cells.values()))
        if len(cells) > 1:
            return None, "several networks, each with a cost of its own"
        return Ours(scores.cost(cells[0], quantity.cost), None, cells, scores.trouble(cells)), ""
    assert quantity.task is not None
    if quantity.task == ALL_TASKS and quantity.metric in JOINT:
        return _together(scores, run, quantity, scale)
    tasks = list(run.cells) if quantity.task == ALL_TASKS else [quantity.task]
    found = {task: _of_task(scores, run, quantity, task) for task in tasks}
    defined = [one for one in found.values() if one.values]
    seeds = {seed for one in defined for seed in one.values}
    undefined = tuple(task for task, one in found.items() if one.values.keys() != seeds)
    cells = list(dict.fromkeys(run.cells[task] for task in tasks))
    # The constant predictor is what it is, whatever becomes of the network.
    trouble = None if quantity.predictor == "constant" else scores.trouble(cells)
    measured = mean_of(defined) if defined else Measured({})
    return Ours(measured.scaled(scale), None, cells, trouble, undefined), ""
