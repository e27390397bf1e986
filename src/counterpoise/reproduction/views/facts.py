"""What the views show of an experiment's runs: scores, gains, cost and history."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Canvas

from counterpoise import registry
from counterpoise.evaluation.comparisons import difference_of
from counterpoise.evaluation.measured import Measured, gain_of, mean_of
from counterpoise.evaluation.statistics import Sample, delta_m, summarise
from counterpoise.layout import RunPlan
from counterpoise.metrics import metric
from counterpoise.plan import Plan
from counterpoise.reproduction.ours import Scores, tasks_of_run
from counterpoise.reproduction.panels import history_of, label_of
from counterpoise.reproduction.words import plural
from counterpoise.spec.paper import SINGLE_TASK
from counterpoise.tasks import Task

UNIFORM = "uniform"
Values = dict[str, dict[str, float]]
"""Seed to task to score, without those that are undefined."""


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
        milliseconds: of training a step, validation included; summed over networks.
        memory: largest resident memory of a training process in MiB.
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
    milliseconds: float
    memory: float
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
    values = {run.run: _values(scores, run, tasks) for run in planned}
    reference = _reference(planned, methods)
    lower = {task.name: _metric(plan, planned[0], task).better == "lower" for task in tasks}
    shared = {task.metrics[0] for task in tasks}
    same = len(shared) == 1
    base = values[reference] if reference else {}

    equal = _run_of(planned, methods, UNIFORM)
    others = {} if equal is None else _beyond(scores, planned, equal, tasks, lower, same)

    def spread(run: RunPlan, weighted: bool) -> float | None:
        if methods[run.run] == SINGLE_TASK:
            return None
        found = scores.spread(next(iter(run.cells.values())), run.cells, weighted)
        return found.sample.mean if found.values else None

    def quality(name: str) -> Sample | None:
        if same:
            found = [_mean(by_task.values()) for by_task in values[name].values() if by_task]
        else:
            found = _gains_by_seed(values[name], base, tasks, lower)
        return summarise(found) if found else None

    runs = [
        RunFacts(
            run.run,
            label_of(spec, experiment, run.run),
            methods[run.run] == SINGLE_TASK,
            tuple(dict.fromkeys(run.cells.values())),
            quality(run.run),
            _gains(values[run.run], base, tasks, lower) if reference != run.run else {},
            *_cost(scores, run),
            pd.DataFrame(columns=["epoch", "quantity", "task", "value"])
            if methods[run.run] == SINGLE_TASK
            else history_of(root, plan, run),
            spread(run, weighted=False),
            spread(run, weighted=True),
            others.get(run.run),
        )
        for run in planned
    ]
    label = label_of(spec, experiment, reference) if reference else ""
    name = _metric(plan, planned[0], tasks[0]).label
    record = scores.record(next(iter(planned[0].cells.values())))
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
    )


def stand_in(plan: Plan, run: RunPlan) -> str:
    """Network and data of a run in words, with its scale; empty where neither is another's."""
    cell = plan.trainings[next(iter(run.cells.values()))].cell
    source = plan.project.datasets[cell.dataset].sources[cell.source]
    if not (source.stand_in or run.other_network):
        return ""
    usual = registry.find("networks", cell.network.name).Options().model_dump(mode="json")
    own = {k: v for k, v in cell.network.options.items() if v != usual.get(k)}
    options = f" ({', '.join(f'{name} {value}' for name, value in own.items())})" if own else ""
    epochs, seeds = plural(cell.protocol.epochs, "epoch"), plural(len(cell.seeds), "seed")
    return f"{cell.network.name}{options} on {source.title}, {epochs}, {seeds}"


def _metric(plan: Plan, run: RunPlan, task: Task) -> Any:
    cell = plan.trainings[run.cells[task.name]].cell
    return metric(registry.find("datasets", cell.dataset), task.metrics[0])


def _run_of(planned: list[RunPlan], methods: dict[str, str], method: str) -> RunPlan | None:
    return next((run for run in planned if methods[run.run] == method), None)


def _reference(planned: list[RunPlan], methods: dict[str, str]) -> str:
    """Networks trained alone if they are run, else equal weights."""
    found = _run_of(planned, methods, SINGLE_TASK) or _run_of(planned, methods, UNIFORM)
    return "" if found is None else found.run


def _beyond(
    scores: Scores,
    planned: list[RunPlan],
    equal: RunPlan,
    tasks: list[Task],
    lower: dict[str, bool],
    same: bool,
) -> dict[str, Measured]:
    """How much better each run is than the one with equal weights, by seed and resample.

    Differences of the mean score where all tasks have the same, else Delta_m; in hundredths.
    """

    def measured(run: RunPlan) -> list[Measured]:
        return [scores.measured(run.cells[t.name], t.name, t.metrics[0]) for t in tasks]

    turned = [lower[task.name] for task in tasks]
    theirs = measured(equal)
    found = {}
    for run in planned:
        if run is equal:
            continue
        ours = measured(run)
        if same:
            sign = -100.0 if turned[0] else 100.0
            found[run.run] = difference_of(mean_of(ours), mean_of(theirs)).scaled(sign)
        else:
            found[run.run] = gain_of(ours, theirs, turned).scaled(100.0)
    return found


def _values(scores: Scores, run: RunPlan, tasks: list[Task]) -> Values:
    found: Values = {}
    for task in tasks:
        for seed, value in scores.values(run, task.name, task.metrics[0]).items():
            if value is not None:
                found.setdefault(seed, {})[task.name] = value
    return found


def _mean(values: Any) -> float:
    return summarise(list(values)).mean


def _means(values: Values, task: str) -> float | None:
    found = [by_task[task] for by_task in values.values() if task in by_task]
    return _mean(found) if found else None


def _gains_by_seed(
    ours: Values, base: Values, tasks: list[Task], lower: dict[str, bool]
) -> list[float]:
    """Delta_m of each seed in percent, over the tasks that have a score on both sides."""
    found = []
    for seed in (s for s in ours if s in base):
        names = [t.name for t in tasks if t.name in ours[seed] and t.name in base[seed]]
        if names:
            scores, references = ([side[seed][name] for name in names] for side in (ours, base))
            gain = delta_m(scores, references, [lower[name] for name in names])
            found += [] if gain is None else [100 * gain]
    return found


def _gains(
    ours: Values, base: Values, tasks: list[Task], lower: dict[str, bool]
) -> dict[str, float]:
    found = {}
    for task in tasks:
        score, reference = _means(ours, task.name), _means(base, task.name)
        if score is not None and reference is not None:
            gain = delta_m([score], [reference], [lower[task.name]])
            if gain is not None:
                found[task.name] = 100 * gain
    return found


def _cost(scores: Scores, run: RunPlan) -> tuple[float, float]:
    """Milliseconds a step, summed over the run's cells, and the largest memory of one."""
    total, memory = 0.0, 0.0
    for key in dict.fromkeys(run.cells.values()):
        record = scores.record(key)
        seconds = sum(seed["seconds"] for seed in record["seeds"].values())
        steps = sum(seed["steps"] for seed in record["seeds"].values())
        total += 1000 * seconds / max(1, steps)
        memory = max(memory, record.get("peak_memory_mib") or 0.0)
    return total, memory
