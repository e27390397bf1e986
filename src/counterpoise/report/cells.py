"""One training: what it was made from, on what, at what cost, and how each seed ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise import registry
from counterpoise.layout import RunPlan, Training
from counterpoise.metrics import metric
from counterpoise.plan import Plan
from counterpoise.reference import Reference
from counterpoise.report.cell_files import CellFiles
from counterpoise.report.legend import RUNS, Term
from counterpoise.report.numbers import (
    count,
    duration,
    fixed,
    options_text,
    plural,
    significant,
    value_text,
)
from counterpoise.report.protocols import named, protocol_text
from counterpoise.report.text import anchor
from counterpoise.reproduction.ours import PART, peak_of
from counterpoise.reproduction.runs import tasks_of
from counterpoise.reproduction.words import trouble_text
from counterpoise.spec.cell import Component

STEPS = ("train", "evaluate")


@dataclass(frozen=True)
class CellCard:
    """One cell of a run.

    Attributes:
        key: name and digest, which are also its place under the tier's cells.
        facts: name and text of all that it was made from, by and at what cost.
        columns, rows: one row a seed.
    """

    key: str
    tasks: str
    state: Term
    troubles: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    commands: tuple[str, ...]
    """What makes it once the data are there, in order."""


def cell_card(plan: Plan, run: RunPlan, files: CellFiles) -> CellCard:
    """The card of a cell, from what exists of it."""
    training, record = files.training, files.record
    troubles = []
    if files.missing is not None:
        shown = f"; the older result {files.older} is shown" if files.older else ""
        troubles.append(f"{files.missing.what}{shown}; see {files.missing.log}")
    for seed, end in (record or {"seeds": {}})["seeds"].items():
        if bad := end["trouble"]:
            expected = " (expected by the paper)" if run.may_diverge else ""
            troubles.append(f"{trouble_text(seed, bad)}{expected}")
    word = "stale" if files.older else "missing" if files.missing else "finished"
    if troubles and word == "finished":
        word = "failed"
    columns, rows = _seeds(files)
    return CellCard(
        key=training.key,
        tasks=", ".join(training.cell.tasks),
        state=RUNS[word],
        troubles=tuple(troubles),
        facts=(
            *_identity(plan, files),
            *(_machine(record) if record else ()),
            ("logs", ", ".join(training.log(step) for step in STEPS)),
        ),
        columns=columns,
        rows=rows,
        commands=_commands(plan, training),
    )


def _commands(plan: Plan, training: Training) -> tuple[str, ...]:
    """What makes a cell once the data are there, beginning with what it starts from."""
    before = [plan.every[key] for key in dict.fromkeys(_before(plan, training))]
    weights = dict.fromkeys(cell.weights for cell in (*before, training) if cell.weights)
    sources = [Path(marker).parent.name.rpartition("-")[0] for marker in weights]
    steps = [("train", cell.key) for cell in before] + [(step, training.key) for step in STEPS]
    return (
        *(f"counterpoise download {source}" for source in sources),
        *(f"counterpoise {step} {key} --tier {plan.tier_name}" for step, key in steps),
    )


def _before(plan: Plan, training: Training) -> Iterator[str]:
    """The cells that one takes weights or options from, each after those that it needs itself."""
    cell = training.cell
    points = (point.key for point in cell.candidates)
    for key in filter(None, (cell.pretraining, *cell.single_task.values(), *points)):
        yield from _before(plan, plan.every[key])
        yield key


@dataclass(frozen=True)
class ReferenceCell:
    """A cell of committed results, in one line."""

    id: str
    key: str
    state: Term
    seeds: str
    seconds: float
    memory: str
    machine: str
    commit: str
    weights: str


def _hardware(record: dict[str, Any]) -> str:
    parts = (record.get("device"), record.get("environment", {}).get("processor"))
    return ", ".join(str(part) for part in parts if part)


def reference_cost(reference: Reference) -> str:
    """What committed results took: cells, seeds, time of training and of searches, machines."""
    records = reference.records.values()
    seeds = sum(len(record["seeds"]) for record in records)
    spent = duration(sum(record["seconds"] for record in records))
    said = f"{plural(len(records), 'cell')} with {plural(seeds, 'seed')}, {spent} of training"
    tried = {point["key"]: point["seconds"] for r in records for point in r.get("search", [])}
    points = [seconds for key, seconds in tried.items() if key not in reference.records]
    if points:
        said += f", and {duration(sum(points))} for {plural(len(points), 'search point')}"
    return f"{said}; {'; '.join(sorted({_hardware(record) for record in records}))}"


def reference_cells(reference: Reference) -> list[ReferenceCell]:
    """The cells of committed results: how each was made."""
    found = []
    for key, record in reference.records.items():
        version = record.get("commit", {})
        bad = any(end["trouble"] for end in record["seeds"].values())
        older = key not in reference.standing.current
        word = "stale" if older else "failed" if bad else "finished"
        found.append(
            ReferenceCell(
                anchor("reference", reference.name, *key.split("/")),
                key,
                RUNS[word],
                count(len(record["seeds"])),
                record["seconds"],
                _memory(record),
                _hardware(record),
                (version.get("id") or "none")[:12] + " (changed)" * bool(version.get("dirty")),
                weights_of(record)[:12],
            )
        )
    return found


def _identity(plan: Plan, files: CellFiles) -> tuple[tuple[str, str], ...]:
    training, cell = files.training, files.training.cell
    source = plan.source_of(cell)
    kind = ", stand-in data" if source.stand_in else ""
    facts = [
        ("method", named(_method(files))),
        ("losses weighted by", named(cell.weighting) if cell.weighting else ""),
        ("search", _search((files.record or {}).get("search", []))),
        ("single-task accuracies", _accuracies((files.record or {}).get("single_task", {}))),
        ("network", named(cell.network)),
        ("data", f"{cell.dataset} from {source.title}{kind}"),
        ("data options", options_text(cell.dataset_options)),
        ("protocol", protocol_text(cell.protocol)),
        ("digest of the data", training.data.digest),
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
    return (
        f"{plural(len(tried), 'point')} by validation loss ({'; '.join(points)}), {cost} in total"
    )


def _accuracies(reached: dict[str, float]) -> str:
    """What networks of one task reached on the validation part."""
    return ", ".join(f"{task} {100 * value:.2f} %" for task, value in reached.items())


def weights_of(record: dict[str, Any]) -> str:
    """Digest of the weights that a training has saved."""
    return str(record.get("files", {}).get("weights.safetensors", "unknown"))


def _machine(record: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    made, version = record.get("environment", {}), record.get("commit", {})
    commit = version.get("id") or "not under version control"
    if version.get("dirty"):
        commit += ", with uncommitted changes"
    libraries = [f"{name} {number}" for name, number in sorted(made.get("libraries", {}).items())]
    device, threads = record.get("device"), plural(int(record.get("threads") or 1), "thread")
    machine = [str(device), str(made.get("processor", "")), str(made.get("system", "")), threads]
    return (
        ("commit", commit),
        ("machine", ", ".join(part for part in machine if part)),
        ("split, sha256", record.get("data", {}).get("split", "unknown")),
        ("weights, sha256", weights_of(record)),
        ("software", ", ".join([f"Python {made.get('python', 'unknown')}", *libraries])),
        ("cost", f"{duration(record['seconds'])} of training, peak memory {_memory(record)}"),
    )


def _memory(record: dict[str, Any]) -> str:
    """The largest memory; not known where another cell's job has trained it."""
    peak = peak_of(record)
    return "not measured" if peak is None else f"{fixed(peak, 0)} MiB"


MANY_TASKS = 6
"""Tasks from which on a card shows one score of each."""


def _seeds(files: CellFiles) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """One row a seed: how it ended, and its test scores in their own units."""
    if files.record is None:
        return (), ()
    cell = files.training.cell
    module = registry.find("datasets", cell.dataset)
    known = tasks_of(cell.dataset, cell.dataset_options)
    tasks = [task for task in known if task.name in cell.tasks]
    # Of many tasks the main score only: all others are in results.json, a row of seventy is unread.
    most = None if len(tasks) <= MANY_TASKS else 1
    scored = [(task, name) for task in tasks for name in task.metrics[:most]]
    columns = ["seed", "status", "epoch", "steps", "time"]
    columns += [
        f"{task.label}, {metric(module, name).label}"
        if len(tasks) > 1
        else metric(module, name).label
        for task, name in scored
    ]
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
