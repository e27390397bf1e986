"""Cards of the catalogue: methods, networks and datasets, read from the code and configuration."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from counterpoise import registry
from counterpoise.methods._base import Method, Shape
from counterpoise.plan import Plan
from counterpoise.report.inputs import Inputs
from counterpoise.report.numbers import count, options_text, plural, value_text
from counterpoise.report.splits import SplitView, split_view
from counterpoise.report.text import Block, anchor, blocks
from counterpoise.spec.dataset import Dataset, DataSource
from counterpoise.spec.paper import SINGLE_TASK

SIGNALS = {
    "losses": "the losses only; costs no more than equal weights",
    "features": "each task's gradient at the shared representation Z; costs one pass of each head",
    "last_layer": "each task's gradient at the last shared layer",
    "gramian": "inner products of the tasks' gradients; costs a backward pass of the trunk a task",
    "jacobian": "the tasks' gradients; costs a backward pass of the trunk a task",
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


def _papers(plan: Plan, runs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    chosen = list(runs)
    return tuple(
        (paper.paper.short, plural(sum(1 for name, _ in chosen if name == key), "run"))
        for key, paper in plan.papers.items()
        if any(name == key for name, _ in chosen)
    )


def _signals(method: type[Method]) -> list[str]:
    """What a method sees by its defaults, then what it sees by other options."""
    shape = Shape(2, 4, (4,), ("task0", "task1"))
    given: list[dict[str, Any]] = [{}, *method.variants]
    return list(dict.fromkeys(str(method(method.Options(**o), shape).signal) for o in given))


def method_cards(plan: Plan) -> list[Card]:
    """Every method of the catalogue, and the plan of single-task trainings."""
    used = {
        key: plan.papers[key[0]].paper.experiments[key[1]].runs[key[2]].method for key in plan.runs
    }

    def runs(method: str) -> tuple[tuple[str, str], ...]:
        return _papers(plan, ((key[0], key[2]) for key, name in used.items() if name == method))

    cards = [
        Card(
            anchor("method", SINGLE_TASK),
            SINGLE_TASK,
            "Single task",
            "Not a method but a plan of trainings",
            blocks(
                "One network per task, each trained alone with the same data order, protocol and "
                "seeds as the multi-task runs. It is the reference of Δ_m."
            ),
            (),
            runs(SINGLE_TASK),
        )
    ]
    for name in registry.names("methods"):
        method = registry.method(name)
        seen = " or ".join(SIGNALS.get(signal, signal) for signal in _signals(method))
        alone = f". One replicate at a time: {method.sequential}" if method.sequential else ""
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
            )
        )
    return cards


def network_cards(plan: Plan) -> list[Card]:
    """Every network of the catalogue."""
    cards = []
    for name in registry.names("networks"):
        module = registry.find("networks", name)
        runs = [
            (key[0], key[2])
            for key, run in plan.runs.items()
            if plan.trainings[next(iter(run.cells.values()))].cell.network.name == name
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


def _source(plan: Plan, inputs: Inputs, dataset: str, name: str, source: DataSource) -> SourceCard:
    published = plan.project.datasets[dataset].counts
    used = {
        training.data.folder: training.data
        for training in plan.trainings.values()
        if (training.data.dataset, training.data.source) == (dataset, name)
    }
    sizes = [file.bytes for file in source.files if file.bytes is not None]
    least = "at least " * (len(sizes) < len(source.files))
    return SourceCard(
        name,
        source,
        f"{plural(len(source.files), 'file')}, {least}{count(sum(sizes))} bytes"
        if source.files
        else "",
        tuple(
            split_view(data, options_text(data.options), inputs.summaries.get(folder), published)
            for folder, data in sorted(used.items())
        ),
    )
