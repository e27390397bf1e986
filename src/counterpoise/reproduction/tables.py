"""A paper's tables, every printed number beside ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from counterpoise import registry
from counterpoise.evaluation.statistics import Sample, delta_m, error_interval, summarise
from counterpoise.files import read_json, write_sealed
from counterpoise.layout import RunPlan
from counterpoise.metrics import metric
from counterpoise.plan import Plan
from counterpoise.reproduction.verdicts import judge, margin_of
from counterpoise.spec.paper import (
    ALL_TASKS,
    DELTA_M,
    Column,
    Paper,
    Quantity,
    Row,
    Run,
    Table,
    parse_printed,
)
from counterpoise.tasks import Task

PART = "test"


@dataclass(frozen=True)
class Ours:
    """Our numbers for one cell of a table, in printed units.

    Attributes:
        values: seed to value.
        from_means: Delta_m from the means over seeds, where the cell is a Delta_m.
        cells: keys of the cells that the numbers come from.
        trouble: what went wrong in which run, if something did.
        undefined: tasks that a mean over tasks leaves out, because they have no score.
        error: standard error over resampled items of the mean over seeds, where it is known.
    """

    values: dict[str, float]
    from_means: float | None
    cells: list[str]
    trouble: str | None
    undefined: tuple[str, ...] = ()
    error: float | None = None


class Scores:
    """Scores and records of all cells of a plan, read once."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan = root, plan
        self._files: dict[str, Any] = {}
        self._records: dict[str, Any] = {}

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

    def values(
        self, run: RunPlan, task: str, name: str, predictor: str | None = None
    ) -> dict[str, float | None]:
        """Seed to score of one task; the constant predictor has one score for all seeds."""
        content = self.file(run.cells[task])
        if predictor == "constant":
            return {"constant": content["constant"][PART][task][name]}
        return {seed: parts[PART][task][name] for seed, parts in content["scores"].items()}

    def error(self, run: RunPlan, task: str, name: str) -> float | None:
        """Standard error over resampled items of the score's mean over seeds."""
        errors = self.file(run.cells[task]).get("errors", {}).get(PART, {})
        value: float | None = errors.get(task, {}).get(name)
        return value

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


def _delta(scores: Scores, run: RunPlan, baseline: RunPlan, scale: float) -> Ours:
    tasks = tasks_of_run(scores.plan, run)
    cell = scores.plan.trainings[next(iter(run.cells.values()))].cell
    module = registry.find("datasets", cell.dataset)
    names = [task.metrics[0] for task in tasks]
    lower = [metric(module, name).better == "lower" for name in names]
    pairs = [
        (scores.values(run, t.name, n), scores.values(baseline, t.name, n))
        for t, n in zip(tasks, names, strict=True)
    ]
    seeds = [s for s in pairs[0][0] if all(s in a and s in b for a, b in pairs)]
    values, kept = {}, []
    for seed in seeds:
        ours, reference = [a[seed] for a, _ in pairs], [b[seed] for _, b in pairs]
        if None not in (*ours, *reference):
            value = delta_m(ours, reference, lower)  # type: ignore[arg-type]
            if value is not None:
                values[seed] = scale * value
                kept.append(seed)
    from_means = None
    if kept:
        means = [
            [summarise([side[s] for s in kept]).mean for side in pair]  # type: ignore[misc]
            for pair in pairs
        ]
        from_means = delta_m([m[0] for m in means], [m[1] for m in means], lower)
    cells = list(dict.fromkeys([*run.cells.values(), *baseline.cells.values()]))
    from_means = None if from_means is None else scale * from_means
    return Ours(values, from_means, cells, scores.trouble(cells))


def ours_of(
    scores: Scores, paper: str, quantity: Quantity, baseline: str | None
) -> tuple[Ours | None, str]:
    """Our numbers for a quantity, or None and the reason."""
    if quantity.unavailable:
        return None, quantity.unavailable
    if not (quantity.experiment and quantity.run and quantity.metric):
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
    assert quantity.task is not None
    tasks = list(run.cells) if quantity.task == ALL_TASKS else [quantity.task]
    found = {t: scores.values(run, t, quantity.metric, quantity.predictor) for t in tasks}
    values = {}
    for seed in found[tasks[0]]:
        defined = [v for by_seed in found.values() if (v := by_seed.get(seed)) is not None]
        if defined:
            values[seed] = scale * summarise(defined).mean
    undefined = tuple(task for task, by_seed in found.items() if None in by_seed.values())
    cells = list(dict.fromkeys(run.cells[task] for task in tasks))
    # The constant predictor is what it is, whatever becomes of the network.
    constant = quantity.predictor == "constant"
    error = None
    if not constant and quantity.task != ALL_TASKS:
        error = scores.error(run, quantity.task, quantity.metric)
    return Ours(
        values, None, cells, None if constant else scores.trouble(cells), undefined,
        None if error is None else scale * error,
    ), ""  # fmt: skip


def _marks(plan: RunPlan | None, run: Run | None, row: Row) -> list[str]:
    marks: list[str] = []
    if plan is not None and plan.mark is not None:
        marks.append(plan.mark)
    if plan is not None and plan.other_network:
        marks.append("other_network")
    if run is not None and run.calibrated:
        marks.append("calibrated")
    if run is not None and run.role == "sensitivity":
        marks.append("sensitivity")
    if row.mark is not None:
        marks.append(row.mark)
    return marks


def make_entry(
    scores: Scores, paper: Paper, table: Table, row: Row, column: Column, text: str
) -> dict[str, Any]:
    """One cell of a table: printed, ours, difference, marks, verdict, and where it comes from."""
    quantity = table.quantity(row, column)
    printed = parse_printed(text)
    ours, reason = ours_of(scores, paper.id, quantity, table.baseline)
    names = (paper.id, str(quantity.experiment), str(quantity.run))
    run = scores.plan.runs.get(names) if ours is not None else None
    experiment = paper.experiments.get(names[1])
    spec = experiment.runs.get(names[2]) if experiment is not None else None
    sample: Sample | None = None
    if ours is not None and ours.values:
        sample = summarise(list(ours.values.values()))
        if ours.undefined:
            left = ", ".join(ours.undefined)
            reason = f"mean without {left}, whose score is undefined on these items"
    elif ours is not None:
        reason = "undefined: the test items lack positives or negatives"
    marks = _marks(run, spec, row)
    if ours is not None and ours.undefined:
        marks.append("partial")
    margin = (
        margin_of(printed, quantity.metric, bool(quantity.percent), quantity.margin)
        if printed is not None
        else None
    )
    judgement = judge(
        printed,
        table.repeats,
        sample,
        margin=margin,
        marks=marks,
        failed=bool(ours is not None and ours.trouble),
    )
    verdict = judgement.verdict
    if verdict == "not run" and ours is not None:
        verdict = "undefined"
    if verdict == "not run" and printed is None and reason == "the reference itself":
        verdict = None
    return {
        "printed": text if printed is not None else None,
        "printed_value": float(printed.value) if printed is not None else None,
        "printed_spread": float(printed.spread)
        if printed is not None and printed.spread is not None
        else None,
        "ours": asdict(sample) | asdict(ours) | {"interval": error_interval(sample, ours.error)}
        if sample and ours
        else None,
        "difference": judgement.difference,
        "interval": judgement.interval,
        "margin": judgement.margin,
        "marks": marks,
        "verdict": verdict,
        "rule": (ours.trouble if ours and ours.trouble else "") or judgement.rule,
        "reason": reason,
        "better": quantity.better,
        "metric": quantity.metric,
        "run": "/".join(names[1:]) if run is not None else None,
        "reductions": list(run.reductions) if run is not None else [],
    }


def make_tables(root: Path, plan: Plan, paper_name: str) -> None:
    """Write all tables of a paper."""
    paper, scores = plan.paper(paper_name).paper, Scores(root, plan)
    tables = {
        table.id: {
            row.id: {
                column.id: make_entry(scores, paper, table, row, column, text)
                for column, text in zip(table.columns, row.printed, strict=True)
            }
            for row in table.rows
        }
        for table in paper.tables
    }
    write_sealed(root / plan.papers[paper_name].tables, {"paper": paper_name, "tables": tables})
