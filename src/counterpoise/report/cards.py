"""Cards of the catalogue: methods, networks and datasets, read from the code and configuration."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from counterpoise import registry
from counterpoise.layout import Data
from counterpoise.methods._catalogue import promises, signals
from counterpoise.plan import Plan
from counterpoise.report.inputs import Inputs
from counterpoise.report.legend import common
from counterpoise.report.numbers import count, options_text, plural, value_text
from counterpoise.report.splits import SplitView, split_view
from counterpoise.report.text import Block, anchor, blocks
from counterpoise.spec.dataset import Dataset, DataSource
from counterpoise.spec.names import SINGLE_TASK

LABEL_FILE = "label_file"
"""Option of a dataset that chooses among its files of labels."""
EVIDENCE = Path(__file__).parent / "assets" / "methods.json"
SIGNALS = {
    "losses": "only the losses; costs no more than equal weights",
    "features": "each task's gradient at the shared representation Z; costs one pass through each "
    "head",
    "last_layer": "each task's gradient at the last shared layer",
    "gramian": "inner products of the tasks' gradients; costs one backward pass through the trunk "
    "per task",
    "jacobian": "the tasks' gradients; costs one backward pass through the trunk per task",
}

_LIMITS = {
    "exclusiveMinimum": "above {}",
    "minimum": "at least {}",
    "exclusiveMaximum": "below {}",
    "maximum": "at most {}",
}


@dataclass(frozen=True)
class Option:
    """A hyper-parameter."""

    name: str
    default: str
    allowed: str
    what: str


@dataclass(frozen=True)
class Card:
    """A method or a network."""

    id: str
    name: str
    label: str
    note: str
    text: list[Block]
    options: tuple[Option, ...]
    runs: tuple[tuple[str, str], ...]
    """Papers that use it in this tier, with how many runs."""
    facts: tuple[tuple[str, list[str]], ...] = ()
    """What else is known of it, by title."""


@dataclass(frozen=True)
class SourceCard:
    """A source of a dataset; ``used`` says what this tier makes of it."""

    name: str
    spec: DataSource
    size: str
    used: tuple[SplitView, ...]


@dataclass(frozen=True)
class DatasetCard:
    """A dataset."""

    id: str
    spec: Dataset
    text: list[Block]
    options: tuple[Option, ...]
    sources: tuple[SourceCard, ...]


def options_of(model: type[BaseModel]) -> tuple[Option, ...]:
    """The fields of an options model in words."""
    fields = model.model_json_schema().get("properties", {})
    return tuple(
        Option(
            name,
            value_text(model.model_fields[name].default),
            _allowed(field),
            " ".join(str(field.get("description", "")).split()),
        )
        for name, field in fields.items()
    )


def _allowed(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(value_text(choice) for choice in field["enum"])
    limits = [text.format(f"{field[key]:g}") for key, text in _LIMITS.items() if key in field]
    kind = {"integer": "whole number", "number": "number", "boolean": "yes or no"}
    return ", ".join([kind.get(field.get("type", ""), str(field.get("type", "any"))), *limits])


def _papers(plan: Plan, papers: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Papers with how many runs each has, from the paper of every run."""
    runs = Counter(papers)
    return tuple(
        (made.paper.short, plural(runs[key], "run"))
        for key, made in plan.papers.items()
        if runs[key]
    )


def _evidence() -> dict[str, Any]:
    """What the tests have written of methods: the paper, and what each is held to, how exactly."""
    found: dict[str, Any] = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    return found


def _facts(name: str, evidence: dict[str, Any]) -> tuple[tuple[str, list[str]], ...]:
    """A method's paper, its promises and what it is held to; somebody's own has the promises."""
    told, kept = evidence.get(name, {}), promises(registry.method(name))
    held = [
        what if error == "-" else f"{what}: largest relative error {error}"
        for what, error in told.get("oracles", [])
    ]
    rows = (
        ("Paper", [told.get("paper", "")]),
        ("Promises", [", ".join(kept)]),
        ("Tested against", held),
    )
    return tuple((title, values) for title, values in rows if any(values))


def method_cards(plan: Plan) -> list[Card]:
    """Every method of the catalogue, and the plan of single-task trainings."""
    used = {
        key: plan.papers[key[0]].paper.experiments[key[1]].runs[key[2]].method for key in plan.runs
    }

    def runs(method: str) -> tuple[tuple[str, str], ...]:
        return _papers(plan, (paper for (paper, _, _), name in used.items() if name == method))

    cards = [
        Card(
            anchor("method", SINGLE_TASK),
            SINGLE_TASK,
            "Single task",
            "Not a method but a training plan",
            blocks(
                "One network per task, each trained alone with the same data order, protocol and "
                "seeds as the multi-task runs. It is the reference for Δ_m."
            ),
            (),
            runs(SINGLE_TASK),
        )
    ]
    evidence = _evidence()
    for name in registry.names("methods"):
        method = registry.method(name)
        seen = " or ".join(SIGNALS.get(signal, signal) for signal in signals(method))
        alone = (
            f". Trained one replicate at a time: {method.sequential}" if method.sequential else ""
        )
        alone += f". The order of the tasks matters: {method.ordered}" if method.ordered else ""
        cards.append(
            Card(
                anchor("method", name),
                name,
                method.label,
                f"Sees {seen}{alone}",
                blocks(registry.find("methods", name).__doc__),
                options_of(method.Options),
                runs(name),
                _facts(name, evidence),
            )
        )
    return cards


def network_cards(plan: Plan) -> list[Card]:
    """Every network of the catalogue."""
    cards = []
    for name in registry.names("networks"):
        module = registry.find("networks", name)
        runs = [
            run.paper
            for run in plan.runs.values()
            if plan.trainings[run.first].cell.network.name == name
        ]
        cards.append(
            Card(
                anchor("network", name),
                name,
                name,
                "",
                blocks(module.__doc__),
                options_of(module.Options),
                _papers(plan, runs),
            )
        )
    return cards


def dataset_cards(plan: Plan, inputs: Inputs) -> list[DatasetCard]:
    """Every dataset that is configured."""
    cards = []
    for name, dataset in plan.project.datasets.items():
        module = registry.find("datasets", name)
        sources = tuple(_source(plan, inputs, name, key, s) for key, s in dataset.sources.items())
        cards.append(
            DatasetCard(
                anchor("data", name),
                dataset,
                blocks(module.__doc__),
                options_of(module.Options),
                sources,
            )
        )
    return cards


def _size(source: DataSource) -> str:
    """How much there is to download; empty where nothing is."""
    if not source.files:
        return ""
    sizes = [file.bytes for file in source.files if file.bytes is not None]
    files = plural(len(source.files), "file")
    if not sizes:
        return f"{files} of unpublished size"
    least = "at least " * (len(sizes) < len(source.files))
    return f"{files}, {least}{count(sum(sizes))} bytes"


def _published(counts: dict[str, int], data: Data) -> dict[str, int]:
    """Published counts that hold for these data: those of labels for the file they were counted in.

    Where a dataset has several files of labels (option ``label_file``), that is its default one.
    """
    field = registry.find("datasets", data.dataset).Options.model_fields.get(LABEL_FILE)
    if field is None or data.options.get(LABEL_FILE, field.default) == field.default:
        return counts
    return {name: number for name, number in counts.items() if name in ("images", "patients")}


def _source(plan: Plan, inputs: Inputs, dataset: str, name: str, source: DataSource) -> SourceCard:
    published = plan.project.datasets[dataset].counts
    used = {
        training.data.folder: training.data
        for training in plan.every.values()
        if (training.data.dataset, training.data.source) == (dataset, name)
    }
    shared = common([*data.options.items()] for data in used.values())

    def split(folder: str, data: Data) -> SplitView:
        summary, options = inputs.summaries.get(folder), data.options.items()
        view = split_view(data, options_text(data.options), summary, _published(published, data))
        return replace(view, own=options_text(dict(o for o in options if o not in shared)))

    splits = tuple(split(folder, data) for folder, data in sorted(used.items()))
    return SourceCard(name, source, _size(source), splits)
