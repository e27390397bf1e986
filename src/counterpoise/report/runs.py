"""Run cards: from a number of ours back to the cells, data, code and machine that made it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from counterpoise import registry
from counterpoise.layout import RunPlan
from counterpoise.metrics import metric
from counterpoise.plan import Plan
from counterpoise.report.inputs import CellFiles, Inputs
from counterpoise.report.legend import RUNS, Term, mark
from counterpoise.report.numbers import (
    count,
    duration,
    fixed,
    options_text,
    plural,
    significant,
    value_text,
)
from counterpoise.report.origin import log_of
from counterpoise.report.reference import Reference
from counterpoise.report.text import anchor
from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.spec.paper import SINGLE_TASK, Experiment, Run

PART = "test"


@dataclass(frozen=True)
class CellCard:
    """One cell of a run."""

    name: str
    key: str
    tasks: str
    state: Term
    troubles: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    digests: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    commands: tuple[str, ...]
    logs: tuple[str, ...]


@dataclass(frozen=True)
class RunCard:
    """One run of a paper."""

    id: str
    paper: str
    experiment: str
    run: str
    label: str
    method: str
    method_id: str
    options: str
    protocol: str
    """What the run changes of its experiment's protocol."""
    marks: tuple[Term, ...]
    state: Term
    brief: str
    reductions: tuple[str, ...]
    may_diverge: bool
    cells: tuple[CellCard, ...]


@dataclass(frozen=True)
class Setting:
    """A setting of a protocol: as published and as run."""

    name: str
    published: str
    used: str


@dataclass(frozen=True)
class ExperimentView:
    """An experiment of a paper with what this tier makes of it."""

    spec: Experiment
    name: str
    planned: bool
    stand_in: bool
    settings: tuple[Setting, ...]
    runs: tuple[RunCard, ...]
    left_out: tuple[str, ...]


def experiment_views(plan: Plan, paper: str, inputs: Inputs) -> tuple[ExperimentView, ...]:
    """What ran for a paper."""
    experiments = plan.papers[paper].paper.experiments
    return tuple(_experiment(plan, paper, name, e, inputs) for name, e in experiments.items())


def _experiment(
    plan: Plan, paper: str, name: str, experiment: Experiment, inputs: Inputs
) -> ExperimentView:
    planned = {
        run: plan.runs[paper, name, run]
        for run in experiment.runs
        if (paper, name, run) in plan.runs
    }
    cell = None
    if planned:
        cell = plan.trainings[next(iter(next(iter(planned.values())).cells.values()))].cell
    source = plan.project.datasets[experiment.dataset].sources[cell.source] if cell else None
    return ExperimentView(
        experiment,
        name,
        bool(planned),
        bool(source and source.stand_in),
        _settings(plan, experiment, cell),
        tuple(_run(plan, run, experiment.runs[key], inputs) for key, run in planned.items()),
        tuple(run.label or key for key, run in experiment.runs.items() if key not in planned),
    )


_SELECTION = {"best_validation": "lowest mean validation loss", "last": "the last epoch"}
_NORMALISATION = {"first_batch": "divided by the first batch's", "none": "as they are"}

_SETTINGS: dict[str, Callable[[Protocol], str]] = {
    "epochs": lambda p: count(p.epochs),
    "batch size": lambda p: count(p.batch_size),
    "optimiser": lambda p: p.optimizer,
    "learning rate": lambda p: f"{p.learning_rate:g}",
    "weight decay": lambda p: f"{p.weight_decay:g}",
    "schedule": lambda p: (
        p.schedule.kind
        if p.schedule.kind in ("constant", "cosine")
        else f"{p.schedule.kind}, times {p.schedule.factor:g} every "
        f"{plural(p.schedule.every, 'epoch')}"
    ),
    "augmentation": lambda p: str(p.augment or "none"),
    "losses": lambda p: _NORMALISATION[p.loss_normalisation],
    "loss of binary tasks": lambda p: options_text(p.loss.model_dump()),
    "epoch that is tested": lambda p: _SELECTION[p.selection],
}


def _settings(plan: Plan, experiment: Experiment, cell: Cell | None) -> tuple[Setting, ...]:
    dataset = plan.project.datasets[experiment.dataset]
    options = options_text(experiment.dataset_options)
    data = f"{dataset.title} ({options})" if options else dataset.title
    used_data = used_network = ""
    if cell:
        resolved = {key: cell.dataset_options[key] for key in experiment.dataset_options}
        shown = options_text(resolved)
        used_data = dataset.sources[cell.source].title + (f" ({shown})" if shown else "")
        if cell.network.name != experiment.network.name or any(
            cell.network.options[key] != value for key, value in experiment.network.options.items()
        ):
            used_network = _named(cell.network)
    seeds = count(len(cell.seeds)) if cell else ""
    reduced = seeds != count(experiment.repeats)
    settings = [
        Setting("data", data, used_data),
        Setting("network", _named(experiment.network), used_network),
        Setting("seeds", count(experiment.repeats), seeds if reduced else ""),
    ]
    for name, text in _SETTINGS.items():
        published = text(experiment.protocol)
        used = text(cell.protocol) if cell else ""
        settings.append(Setting(name, published, used if used != published else ""))
    return tuple(settings)


def _run(plan: Plan, run: RunPlan, spec: Run, inputs: Inputs) -> RunCard:
    keys = list(dict.fromkeys(run.cells.values()))
    cards = tuple(_cell(plan, run, inputs.cells[key]) for key in keys)
    words = {card.state.key for card in cards}
    state = RUNS[next(word for word in ("missing", "stale", "failed", "finished") if word in words)]
    records = [record for key in keys if (record := inputs.cells[key].record) is not None]
    cell = plan.trainings[keys[0]].cell
    brief = [plural(len(cell.seeds), "seed")]
    if len(cards) > 1:
        brief.insert(0, plural(len(cards), "cell"))
    if len(records) == len(keys):
        brief.append(duration(sum(record["seconds"] for record in records)))
    names = run.marks
    names += ["pulled"] * any(inputs.cells[key].pulled for key in keys)
    names += ["calibrated"] * spec.calibrated + ["sensitivity"] * (spec.role == "sensitivity")
    alone = spec.method == SINGLE_TASK
    return RunCard(
        anchor("run", run.paper, run.experiment, run.run),
        run.paper,
        run.experiment,
        run.run,
        spec.label or run.run.replace("_", " "),
        "Single task" if alone else registry.method(spec.method).label,
        anchor("method", spec.method),
        options_text(spec.options),
        options_text(spec.protocol.model_dump(exclude_unset=True)),
        tuple(mark(name) for name in names),
        state,
        ", ".join(brief),
        run.reductions,
        spec.may_diverge,
        cards,
    )


def _cell(plan: Plan, run: RunPlan, files: CellFiles) -> CellCard:
    training, record = files.training, files.record
    cell, tier = training.cell, plan.tier_name
    troubles, logs = [], [log_of(training, step) for step in ("train", "evaluate")]
    if files.missing is not None:
        shown = f"; shown is the older result {files.older}" if files.older else ""
        troubles.append(f"{files.missing.what}{shown}; see {files.missing.log}")
    for seed, end in (record or {"seeds": {}})["seeds"].items():
        if bad := end["trouble"]:
            where = f" in task {bad['task']}" if bad.get("task") else ""
            expected = " (expected by the paper)" if run.may_diverge else ""
            troubles.append(f"seed {seed}: {bad['what']}{where} at step {bad['step']}{expected}")
    word = "stale" if files.older else "missing" if files.missing else "finished"
    if troubles and word == "finished":
        word = "failed"
    columns, rows = _seeds(files)
    return CellCard(
        training.name,
        training.key,
        ", ".join(task for task in cell.tasks),
        RUNS[word],
        tuple(troubles),
        (*_identity(plan, files), *(_machine(record) if record else ())),
        _digests(files),
        columns,
        rows,
        tuple(f"counterpoise {step} {training.key} --tier {tier}"
              for step in ("train", "evaluate")),
        tuple(logs),
    )  # fmt: skip


@dataclass(frozen=True)
class ReferenceCell:
    """A cell of committed results, in one line."""

    id: str
    key: str
    state: Term
    seeds: str
    time: str
    memory: str
    machine: str
    commit: str
    weights: str


def reference_cells(reference: Reference) -> list[ReferenceCell]:
    """The cells of committed results: how each was made."""
    found = []
    for key, record in reference.records.items():
        made, version = record.get("environment", {}), record.get("commit", {})
        bad = any(end["trouble"] for end in record["seeds"].values())
        word = "stale" if key not in reference.current else "failed" if bad else "finished"
        machine = (record.get("device"), made.get("processor"))
        found.append(
            ReferenceCell(
                anchor("reference", reference.name, *key.split("/")),
                key,
                RUNS[word],
                ", ".join(record["seeds"]),
                duration(record["seconds"]),
                f"{fixed(record.get('peak_memory_mib') or 0, 0)} MiB",
                ", ".join(str(part) for part in machine if part),
                f"{str(version.get('id'))[:12]}{' (changed)' if version.get('dirty') else ''}",
                str(record.get("weights"))[:12],
            )
        )
    return found


def _named(component: Component) -> str:
    options = options_text(component.options)
    return f"{component.name}: {options}" if options else component.name


def _identity(plan: Plan, files: CellFiles) -> tuple[tuple[str, str], ...]:
    training, cell = files.training, files.training.cell
    protocol = "; ".join(f"{name} {text(cell.protocol)}" for name, text in _SETTINGS.items())
    source = plan.project.datasets[cell.dataset].sources[cell.source]
    kind = ", stand-in data" if source.stand_in else ""
    facts = [
        ("method", _named(_method(files))),
        ("search", _search((files.record or {}).get("search", []))),
        ("single-task accuracies", _accuracies((files.record or {}).get("single_task", {}))),
        ("network", _named(cell.network)),
        ("data", f"{cell.dataset} from {source.title}{kind}"),
        ("data options", options_text(cell.dataset_options)),
        ("protocol", protocol),
        ("files", training.folder),
    ]
    return tuple((name, text) for name, text in facts if text)


def _method(files: CellFiles) -> Component:
    """The method as it was trained: with the options that cells before it have settled."""
    record = files.record or {}
    return Component(**record["method"]) if "method" in record else files.training.cell.method


def _search(tried: list[dict[str, Any]]) -> str:
    """What a grid search tried, and what that cost."""
    if not tried:
        return ""
    points = [
        f"{options_text(point['options'])}: "
        + ("diverged" if point["loss"] is None else significant(point["loss"]))
        for point in tried
    ]
    cost = duration(sum(point["seconds"] for point in tried))
    return f"{plural(len(tried), 'point')} by validation loss ({'; '.join(points)}), {cost} in all"


def _accuracies(reached: dict[str, float]) -> str:
    """What networks of one task reached on the validation part."""
    return ", ".join(f"{task} {100 * value:.2f} %" for task, value in reached.items())


def _machine(record: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    made, version = record.get("environment", {}), record.get("commit", {})
    commit = version.get("id") or "not under version control"
    if version.get("dirty"):
        commit += ", with changes that are not committed"
    libraries = [f"{name} {number}" for name, number in sorted(made.get("libraries", {}).items())]
    device, threads = record.get("device"), plural(int(record.get("threads") or 1), "thread")
    machine = [str(device), str(made.get("processor", "")), str(made.get("system", "")), threads]
    return (
        ("commit", commit),
        ("machine", ", ".join(part for part in machine if part)),
        ("software", ", ".join([f"Python {made.get('python', 'unknown')}", *libraries])),
        ("cost", f"{duration(record['seconds'])} of training, "
                 f"{fixed(record.get('peak_memory_mib') or 0, 0)} MiB of memory at most"),
    )  # fmt: skip


def _digests(files: CellFiles) -> tuple[tuple[str, str], ...]:
    found = [("cell", files.training.digest), ("data", files.training.data.digest)]
    if files.record is not None:
        found.append(("split, sha256", files.record.get("data", {}).get("split", "unknown")))
        found.append(("weights, sha256", files.record.get("weights", "unknown")))
    return tuple(found)


MANY_TASKS = 6
"""Tasks from which on a card shows one score of each."""


def _seeds(files: CellFiles) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """One row a seed: how it ended, and its test scores in their own units."""
    if files.record is None:
        return (), ()
    cell = files.training.cell
    module = registry.find("datasets", cell.dataset)
    known = module.tasks(module.Options(**cell.dataset_options))
    tasks = [task for task in known if task.name in cell.tasks]
    # Of many tasks the main score only: all others are in results.json, a row of seventy is unread.
    most = None if len(tasks) <= MANY_TASKS else 1
    scored = [(task, name) for task in tasks for name in task.metrics[:most]]
    columns = ["seed", "status", "epoch", "steps", "time"]
    columns += [f"{task.label}, {metric(module, name).label}" for task, name in scored]
    rows = []
    for seed, end in files.record["seeds"].items():
        parts = (files.scores or {}).get("scores", {}).get(seed, {}).get(PART, {})
        epoch = end.get("selected_epoch")
        rows.append(
            (
                seed,
                str(end["status"]) + (", resumed" if end.get("resumed") else ""),
                "\N{EN DASH}" if epoch is None else count(epoch + 1),
                value_text(end.get("steps")),
                duration(end.get("seconds") or 0.0),
                *(_score(parts, task.name, name) for task, name in scored),
            )
        )
    return tuple(columns), tuple(rows)


def _score(parts: dict[str, Any], task: str, name: str) -> str:
    if task not in parts:
        return "missing"
    return significant(parts[task].get(name))
