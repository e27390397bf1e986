"""Our numbers for what a paper prints: read from scores, records and histories of the cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from counterpoise.evaluation.joint import JOINT
from counterpoise.evaluation.localised import Localised, localised
from counterpoise.evaluation.measured import Draws, Measured, gain_of, mean_of
from counterpoise.evaluation.statistics import delta_m, summarise
from counterpoise.files import read_json, read_parquet
from counterpoise.layout import RunPlan
from counterpoise.reproduction.runs import lower_is_better, read_history, tasks_of_run
from counterpoise.reproduction.verdicts import is_share
from counterpoise.reproduction.words import trouble_text
from counterpoise.spec.names import ALL_TASKS, DELTA_M
from counterpoise.spec.paper import SPREADS, Quantity

if TYPE_CHECKING:
    from counterpoise.plan import Plan

PART = "test"

CONSTANT = "constant"
"""In place of a seed: the constant predictor's score is one for all."""

MEANS = {
    "f1_macro": "f1", "f1_macro_best": "f1",
    "sensitivity_90": "auroc", "sensitivity_90_rare": "auroc",
}  # fmt: skip
"""Joint scores that are means over findings, and the score that one lacks where it has no part."""
ONCE = "all"
"""In place of a seed: what was measured once for all of them."""

REFERENCE = "the reference itself"
"""Why the run that Delta_m is relative to has none."""


@dataclass(frozen=True)
class Ours:
    """Our numbers for one cell of a table, in printed units.

    Attributes:
        measured: by seed, with resamples where the score has some.
        from_means: Delta_m from the means over seeds, where the cell is a Delta_m.
        cells: keys of the cells that the numbers come from.
        trouble: what went wrong in which run, if something did.
        undefined: tasks that a mean over tasks leaves out, because they have no score.
        lost: seeds that it leaves out, because they lack the score of a task.
    """

    measured: Measured
    from_means: float | None
    cells: list[str]
    trouble: str | None
    undefined: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


class Scores:
    """Scores, records and histories of all cells of a plan, read once."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan = root, plan
        self._files: dict[str, Any] = {}
        self._records: dict[str, Any] = {}
        self._histories: dict[str, pd.DataFrame | None] = {}
        self._localised: dict[tuple[str, str, str], Localised] = {}
        self._draws: dict[tuple[str, str, str], dict[str, np.ndarray]] = {}
        self.found: dict[tuple[str, Quantity, str | None], tuple[Ours | None, str]] = {}
        """What :func:`ours_of` has found before: tables, comparisons and claims ask alike."""

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
        """The history of a cell; None where none was kept."""
        if key not in self._histories:
            training = self.plan.trainings[key]
            kept = (self.root / training.file("history.parquet")).is_file()
            self._histories[key] = read_history(self.root, training) if kept else None
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
        largest = 1.0 if is_share(name) else None
        if not found or not found.keys() <= draws.keys():
            return Measured(found, largest=largest)
        told = self.file(key)["resamples"][PART]
        values = np.stack([draws[seed] for seed in found], axis=1)
        units = told["tasks"][task]["units"][name]
        return Measured(found, Draws(values, tuple(told["factors"]), units, told["items"]), largest)

    def without_a_score(self, key: str, name: str) -> tuple[str, ...]:
        """Tasks of a cell that lack a score in every seed, for want of positives or negatives."""
        every = [parts[PART] for parts in self.file(key)["scores"].values()]
        tasks = [task for task in every[0] if task != ALL_TASKS]
        return tuple(t for t in tasks if all(one[t].get(name, 0) is None for one in every))

    def constant(self, key: str, task: str, name: str) -> Measured:
        """The constant predictor's score, which is one for all seeds.

        Its AUROC is a half on any items; what they add to another score is not kept.
        """
        value = self.file(key)["constant"][PART][task][name]
        return Measured({} if value is None else {CONSTANT: value}, lost=name != "auroc")

    def during(self, key: str, task: str, quantity: str, epoch: str | None = None) -> Measured:
        """A quantity of training at an epoch, or the mean over the second half of the epochs."""
        history = self.history(key)
        if history is None or history.empty:
            return Measured({})
        last = int(history["epoch"].max())
        middle = (last + 1) // 2
        at = {None: (middle, last), "first": (0, 0), "last": (last, last),
              "half": (max(0, middle - 1),) * 2}[epoch]  # fmt: skip
        there = (history["quantity"] == quantity) & (history["task"] == task)
        rows = history[there & history["epoch"].between(*at)]
        means = rows.groupby("seed")["value"].mean().dropna()
        return Measured({str(seed): float(value) for seed, value in means.items()})

    def spread(self, key: str, tasks: Iterable[str], weighted: bool) -> Measured:
        """Standard deviation over tasks of the logarithm of the mean gradient norm, by seed.

        Means are over the second half of the epochs.

        Args:
            weighted: of the norm times the task's weight, epoch by epoch.
        """
        history, names = self.history(key), list(tasks)
        if history is None or history.empty or len(names) < 2:
            return Measured({})
        middle = (int(history["epoch"].max()) + 1) // 2
        later: pd.DataFrame = history[history["epoch"] >= middle]

        def courses(quantity: str) -> pd.DataFrame:
            rows = later[later["quantity"] == quantity]
            found = rows.pivot_table(index=["seed", "epoch"], columns="task", values="value")
            return found.reindex(columns=names)

        norms = courses("gradient_norm")
        if weighted:
            norms = norms * courses("weight")
        means = norms.groupby(level="seed").mean()
        means = means[(means > 0).all(axis=1)]
        spreads = np.log(means).std(axis=1, ddof=1)
        return Measured({str(seed): float(value) for seed, value in spreads.items()})

    def cost(self, key: str, what: str) -> Measured:
        """Seconds of training by seed, of a step or in all, or the peak memory.

        Memory is that of a GPU's tensors, else that of the process. Seeds that trained side by side
        have no cost of their own, and a resumed one was not timed whole. Where points of the cell's
        search trained side by side, no seed has its seconds in all, which count theirs.
        """
        record = self.record(key)
        alone = {
            seed: state
            for seed, state in record["seeds"].items()
            if state.get("side_by_side", 1) == 1
        }
        if what == "peak_memory_mib":
            peak = peak_of(record) if len(alone) == len(record["seeds"]) else None
            return Measured({} if peak is None else {ONCE: float(peak)})
        timed = {
            seed: state
            for seed, state in alone.items()
            if state.get("seconds") and not state.get("resumed")
        }
        if what == "training_seconds":
            search = record.get("search", [])
            if any(point.get("side_by_side", 1) > 1 for point in search):
                return Measured({})
            before = sum(point["seconds"] for point in search)
            found = {seed: before + state["seconds"] for seed, state in timed.items()}
        else:
            timed = {seed: state for seed, state in timed.items() if state.get("steps")}
            found = {seed: state["seconds"] / state["steps"] for seed, state in timed.items()}
        return Measured(found)

    def localised(self, paper: str, name: str, task: str = ALL_TASKS) -> Localised:
        """Localisation scores of one of a paper's explanations, of all findings or of one.

        Empty where no test picture has a box of the finding.
        """
        place = (paper, name, task)
        if place not in self._localised:
            path = self.root / self.plan.papers[paper].explanation(name)
            scores = read_parquet(path, "localisation scores")
            if task != ALL_TASKS:
                scores = scores[scores["task"] == task]
            self._localised[place] = localised(scores, "/".join(place)) if len(scores) else {}
        return self._localised[place]

    def trouble(self, keys: Iterable[str]) -> str | None:
        """The first bad end among some cells."""
        for key in dict.fromkeys(keys):
            for seed, state in self.record(key)["seeds"].items():
                if state["trouble"]:
                    return trouble_text(seed, state["trouble"])
        return None


def peak_of(record: dict[str, Any]) -> float | None:
    """Peak memory in MiB of what trained a cell: a GPU's tensors, else the process."""
    device: float | None = record.get("device_peak_memory_mib")
    return record.get("peak_memory_mib") if device is None else device


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
    cells = list(dict.fromkeys([*run.keys, *baseline.keys]))
    from_means = None if from_means is None else scale * from_means
    return Ours(gain, from_means, cells, scores.trouble(cells))


def _of_task(scores: Scores, run: RunPlan, quantity: Quantity, task: str) -> Measured:
    key = run.cells[task]
    if quantity.history is not None:
        return scores.during(key, task, quantity.history, quantity.epoch)
    assert quantity.metric is not None
    if quantity.predictor == "constant":
        return scores.constant(key, task, quantity.metric)
    return scores.measured(key, task, quantity.metric)


def _together(
    scores: Scores, run: RunPlan, quantity: Quantity, scale: float
) -> tuple[Ours | None, str]:
    """A score of all findings together, which one network must have answered."""
    cells = run.keys
    if len(cells) > 1:
        return None, "several networks, each with its own thresholds"
    assert quantity.metric is not None
    if quantity.predictor == "constant":
        measured, trouble = scores.constant(cells[0], ALL_TASKS, quantity.metric), None
    else:
        measured = scores.measured(cells[0], ALL_TASKS, quantity.metric)
        trouble = scores.trouble(cells)
    behind = MEANS.get(quantity.metric)
    undefined = scores.without_a_score(cells[0], behind) if behind else ()
    return Ours(measured.scaled(scale), None, cells, trouble, undefined), ""


def _of_maps(scores: Scores, paper: str, quantity: Quantity) -> tuple[Ours | None, str]:
    """How well maps find the region."""
    assert quantity.explanation and quantity.maps and quantity.localisation
    if quantity.explanation not in scores.plan.papers[paper].explanation_digests:
        return None, f"not part of tier {scores.plan.tier_name} with this configuration"
    key = scores.plan.explained(paper, quantity.explanation).key
    found_of = scores.localised(paper, quantity.explanation, quantity.task or ALL_TASKS)
    if not found_of:
        return None, "no test picture in this tier has a box for the finding"
    found = found_of[quantity.maps][quantity.localisation]
    scale = 100.0 if quantity.percent else 1.0
    return Ours(found.scaled(scale), None, [key], scores.trouble([key])), ""


def ours_of(
    scores: Scores, paper: str, quantity: Quantity, baseline: str | None
) -> tuple[Ours | None, str]:
    """Our numbers for a quantity, or None and the reason."""
    place = (paper, quantity, baseline)
    if place not in scores.found:
        scores.found[place] = _ours_of(scores, paper, quantity, baseline)
    return scores.found[place]


def _ours_of(
    scores: Scores, paper: str, quantity: Quantity, baseline: str | None
) -> tuple[Ours | None, str]:
    if quantity.unavailable:
        return None, quantity.unavailable
    if quantity.explanation is not None:
        return _of_maps(scores, paper, quantity)
    if not (quantity.experiment and quantity.run and quantity.measured):
        return None, "the paper's file names no run for it"
    run = scores.plan.runs.get((paper, quantity.experiment, quantity.run))
    if run is None:
        return None, f"not part of tier {scores.plan.tier_name} with this configuration"
    scale = 100.0 if quantity.percent else 1.0
    if quantity.metric == DELTA_M:
        if quantity.run == baseline:
            return None, REFERENCE
        reference = scores.plan.runs.get((paper, quantity.experiment, str(baseline)))
        if reference is None:
            return None, "its single-task reference is not run"
        return _delta(scores, run, reference, scale), ""
    if quantity.cost is not None:
        cells = run.keys
        if len(cells) > 1:
            return None, "several networks, each with its own cost"
        return Ours(scores.cost(cells[0], quantity.cost), None, cells, scores.trouble(cells)), ""
    assert quantity.task is not None
    if quantity.history in SPREADS:
        cells = run.keys
        if len(cells) > 1:
            return None, "several networks, which share no gradients"
        weighted = quantity.history == "weighted_norm_spread"
        found = scores.spread(cells[0], run.cells, weighted)
        return Ours(found.scaled(scale), None, cells, scores.trouble(cells)), ""
    if quantity.task == ALL_TASKS and quantity.metric in JOINT:
        return _together(scores, run, quantity, scale)
    tasks = list(run.cells) if quantity.task == ALL_TASKS else [quantity.task]
    by_task = {task: _of_task(scores, run, quantity, task) for task in tasks}
    defined = [one for one in by_task.values() if one.values]
    seeds = {seed for one in defined for seed in one.values}
    undefined = tuple(task for task, one in by_task.items() if not one.values)
    lost = sorted(s for s in seeds if any(s not in one.values for one in defined))
    cells = list(dict.fromkeys(run.cells[task] for task in tasks))
    # The constant predictor is what it is, whatever becomes of the network.
    trouble = None if quantity.predictor == "constant" else scores.trouble(cells)
    measured = mean_of(defined) if defined else Measured({})
    return Ours(measured.scaled(scale), None, cells, trouble, undefined, tuple(lost)), ""
