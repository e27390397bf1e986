"""What the views show of an experiment's runs: scores, gains, cost and history."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas

from counterpoise import registry
from counterpoise.evaluation.comparisons import difference_of
from counterpoise.evaluation.measured import Measured, gain_of, mean_of
from counterpoise.evaluation.statistics import Sample, relative_gains
from counterpoise.layout import RunPlan
from counterpoise.reproduction.ours import Scores
from counterpoise.reproduction.runs import lower_is_better, main_metric, read_history, tasks_of_run
from counterpoise.reproduction.words import label_of
from counterpoise.spec.names import SINGLE_TASK
from counterpoise.tasks import Task
from counterpoise.wording import plural

if TYPE_CHECKING:
    from counterpoise.plan import Plan

UNIFORM = "uniform"
ByTask = dict[str, Measured]
"""Task to its main score; a score that is undefined has no values."""


@dataclass(frozen=True)
class Drawn:
    """A view: the drawing, the numbers behind it, and how to read it."""

    canvas: Canvas
    data: list[dict[str, Any]]
    note: str


@dataclass(frozen=True)
class RunFacts:
    """One run.

    Attributes:
        alone: one network a task; cost is the sum over them.
        quality: over seeds, as :attr:`Facts.measure` says; None where it is undefined.
        gains: task to its relative gain over the reference in percent, from means over seeds.
        milliseconds: of training a step, validation included; summed over networks. None where one
            of them was not timed from its first step to its last.
        memory: largest memory of a training in MiB, as
            :func:`counterpoise.reproduction.ours.peak_of` says; None where it is unknown.
        history: empty for networks trained alone.
        norm_spread, weighted_norm_spread: how far the tasks' gradient norms are apart, as
            :meth:`counterpoise.reproduction.ours.Scores.spread` says, the mean over seeds; None
            where it is undefined.
        beyond_equal: how much better than with equal weights, in the unit of
            :attr:`Facts.difference`; None for the run with equal weights itself, or without one.
    """

    name: str
    label: str
    alone: bool
    cells: tuple[str, ...]
    quality: Sample | None
    gains: dict[str, float]
    milliseconds: float | None
    memory: float | None
    history: pd.DataFrame
    norm_spread: float | None = None
    weighted_norm_spread: float | None = None
    beyond_equal: Measured | None = None

    def course(self, quantity: str, tasks: list[Task]) -> pd.DataFrame:
        """A quantity's mean over seeds: rows are epochs from 1, columns the tasks' labels."""
        rows = self.history[self.history["quantity"] == quantity]
        table = rows.pivot_table(index="epoch", columns="task", values="value", aggfunc="mean")
        table.index = table.index + 1
        names = {task.name: task.label for task in tasks if task.name in table.columns}
        return table[list(names)].rename(columns=names)


@dataclass(frozen=True)
class Facts:
    """An experiment's runs.

    Attributes:
        title: of the experiment, as the paper's file has it.
        measure: what quality is, in words.
        lower: quality falls as it gets better.
        reference: label of the run that gains are relative to; empty where there is none.
        equal: label of the run with equal weights; empty where there is none.
        difference: what is compared with equal weights, in words with its unit.
        marks: marks of the runs.
        hardware: where the runs were trained.
        ran: network and data that stand in for those of the title; empty where nothing does.
        undefined: tasks, by their labels, that some run, or a seed of one, has no score of.
        failed: labels of runs of which a seed has diverged or could not go on: they have no quality
            and no gains, as they have no verdict.
    """

    title: str
    tasks: list[Task]
    measure: str
    reference: str
    runs: list[RunFacts]
    marks: list[str] = field(default_factory=list)
    hardware: str = ""
    ran: str = ""
    equal: str = ""
    difference: str = ""
    lower: bool = False
    undefined: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()

    @property
    def failures(self) -> str:
        """Which runs have failed, as a sentence; empty where none has."""
        return f"Failed, and so left out: {', '.join(self.failed)}." if self.failed else ""

    @property
    def left_out(self) -> str:
        """What means over tasks are without, as a sentence; empty where it is nothing."""
        tasks = ", ".join(self.undefined)
        return (
            f"Means leave out tasks for which a run or a seed has no score: {tasks}."
            if tasks
            else ""
        )

    @property
    def other_order(self) -> str:
        """Why means beside equal weights may order runs otherwise than gains; empty where none."""
        if not self.equal or self.reference in ("", self.equal):
            return ""
        return (
            f"Beside {self.equal} and beside {self.reference} the order may be another: a relative "
            "gain is divided by the score that it is relative to, so that a task whose score is "
            "small there may outweigh the others."
        )

    @property
    def name(self) -> str:
        """What was run, in words."""
        return f"{self.ran}, standing in for {self.title}" if self.ran else self.title

    @property
    def together(self) -> list[RunFacts]:
        """The multi-task runs."""
        return [run for run in self.runs if not run.alone]


def read_facts(root: Path, plan: Plan, paper: str, experiment: str) -> Facts:
    """Read an experiment's runs.

    Raises:
        UserError: a result is missing or damaged.
    """
    spec, scores = plan.papers[paper].paper, Scores(root, plan)
    chosen = spec.experiments[experiment]
    every = [r for r in plan.runs.values() if (r.paper, r.experiment) == (paper, experiment)]
    planned = [run for run in every if chosen.shows(run.run)]
    methods = {run.run: spec.experiments[experiment].runs[run.run].method for run in planned}
    tasks = tasks_of_run(plan, planned[0])
    failed = {run.run for run in planned if scores.trouble(run.keys)}
    found = {run.run: {} if run.run in failed else _by_task(scores, run, tasks) for run in planned}
    reference = _reference(planned, methods)
    lower = {task.name: lower_is_better(plan, planned[0], task) for task in tasks}
    same = len({task.metrics[0] for task in tasks}) == 1
    base = found[reference] if reference else {}
    equal = _run_of(planned, methods, UNIFORM)

    def spread(run: RunPlan, weighted: bool) -> float | None:
        if methods[run.run] == SINGLE_TASK:
            return None
        norms = scores.spread(run.first, run.cells, weighted)
        return norms.sample.mean if norms.values else None

    def quality(ours: ByTask) -> Sample | None:
        reached = _mean(ours, ours) if same else _gain(ours, base, lower)
        return reached.sample if reached.values else None

    def beyond(run: RunPlan) -> Measured | None:
        if equal is None or run is equal or {run.run, equal.run} & failed:
            return None
        ours, theirs = found[run.run], found[equal.run]
        if not same:
            return _gain(ours, theirs, lower)
        sign = -100.0 if lower[tasks[0].name] else 100.0
        return difference_of(_mean(ours, theirs), _mean(theirs, ours)).scaled(sign)

    runs = [
        RunFacts(
            run.run,
            label_of(spec, experiment, run.run),
            methods[run.run] == SINGLE_TASK,
            tuple(run.keys),
            quality(found[run.run]),
            _gains(found[run.run], base, lower) if reference != run.run else {},
            *_cost(scores, run),
            pd.DataFrame(columns=["epoch", "quantity", "task", "value"])
            if methods[run.run] == SINGLE_TASK
            else _history(scores, run),
            spread(run, weighted=False),
            spread(run, weighted=True),
            beyond(run),
        )
        for run in planned
    ]
    label = label_of(spec, experiment, reference) if reference else ""
    name = main_metric(plan, planned[0], tasks[0]).label
    record = scores.record(planned[0].first)
    machine = [record.get("device"), record.get("environment", {}).get("processor")]
    return Facts(
        spec.experiments[experiment].title,
        tasks,
        f"mean {name} over tasks" if same else f"mean gain over {label}, %",
        label,
        runs,
        sorted({mark for run in planned for mark in run.marks}),
        ", ".join(str(part) for part in machine if part),
        stand_in(plan, planned[0]),
        "" if equal is None else label_of(spec, experiment, equal.run),
        f"mean {name} over tasks, in hundredths" if same else "mean relative gain of the tasks, %",
        same and lower[tasks[0].name],
        tuple(t.label for t in tasks if _partly(one[t.name] for one in found.values() if one)),
        tuple(label_of(spec, experiment, run.run) for run in planned if run.run in failed),
    )


def stand_in(plan: Plan, run: RunPlan) -> str:
    """Network and data of a run in words, with its scale; empty where neither is another's."""
    cell = plan.trainings[run.first].cell
    source = plan.source_of(cell)
    if not (source.stand_in or run.other_network):
        return ""
    usual = registry.find("networks", cell.network.name).Options().model_dump(mode="json")
    own = {k: v for k, v in cell.network.options.items() if v != usual.get(k)}
    options = f" ({', '.join(f'{name} {value}' for name, value in own.items())})" if own else ""
    epochs, seeds = plural(cell.protocol.epochs, "epoch"), plural(len(cell.seeds), "seed")
    return f"{cell.network.name}{options} on {source.title}, {epochs}, {seeds}"


def _run_of(planned: list[RunPlan], methods: dict[str, str], method: str) -> RunPlan | None:
    return next((run for run in planned if methods[run.run] == method), None)


def _reference(planned: list[RunPlan], methods: dict[str, str]) -> str:
    """Networks trained alone if they are run, else equal weights."""
    found = _run_of(planned, methods, SINGLE_TASK) or _run_of(planned, methods, UNIFORM)
    return "" if found is None else found.run


def _by_task(scores: Scores, run: RunPlan, tasks: list[Task]) -> ByTask:
    return {t.name: scores.measured(run.cells[t.name], t.name, t.metrics[0]) for t in tasks}


def _history(scores: Scores, run: RunPlan) -> pd.DataFrame:
    """Of the one network of all tasks; tables do without one that is missing, views do not."""
    key = run.first
    found = scores.history(key)
    return read_history(scores.root, scores.plan.trainings[key]) if found is None else found


def _partly(scores: Iterable[Measured]) -> bool:
    """Whether a task lacks a score in some run, or one of its seeds."""
    seeds = [one.values.keys() for one in scores]
    return not all(seeds) or any(one != seeds[0] for one in seeds)


def _both(one: ByTask, other: ByTask) -> list[str]:
    """The tasks that both sides have a score of."""
    return [name for name in one if one[name].values and name in other and other[name].values]


def _mean(ours: ByTask, theirs: ByTask) -> Measured:
    """Mean over the tasks that both sides have."""
    names = _both(ours, theirs)
    return mean_of([ours[name] for name in names]) if names else Measured({})


def _gain(ours: ByTask, base: ByTask, lower: dict[str, bool]) -> Measured:
    """Delta_m in percent, over the tasks that both sides have."""
    names = _both(ours, base)
    if not names:
        return Measured({})
    scores, references = ([side[name] for name in names] for side in (ours, base))
    return gain_of(scores, references, [lower[name] for name in names]).scaled(100.0)


def _gains(ours: ByTask, base: ByTask, lower: dict[str, bool]) -> dict[str, float]:
    """Each task's relative gain in percent, from means over seeds."""
    names = _both(ours, base)
    means, references = (
        np.array([side[name].sample.mean for name in names]) for side in (ours, base)
    )
    gains = 100 * relative_gains(means, references, [lower[name] for name in names])
    return {name: float(g) for name, g in zip(names, gains, strict=True) if np.isfinite(g)}


def _cost(scores: Scores, run: RunPlan) -> tuple[float | None, float | None]:
    """Milliseconds a step, summed over the run's cells, and the largest memory of one."""
    times, peaks = (
        [scores.cost(key, what) for key in run.keys]
        for what in ("seconds_per_step", "peak_memory_mib")
    )
    return (
        1000 * sum(time.sample.mean for time in times) if all(t.values for t in times) else None,
        max(peak.sample.mean for peak in peaks) if all(p.values for p in peaks) else None,
    )
