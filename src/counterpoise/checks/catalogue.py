"""What all files have in common: references to the catalogue and to each other."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from counterpoise import registry
from counterpoise.errors import UserError, nearest
from counterpoise.spec.cell import Component, Pretrained
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.load import Document, Path_, validation_errors
from counterpoise.spec.paper import SINGLE_TASK, Experiment
from counterpoise.tasks import Task


def unknown(
    what: str,
    name: str,
    choices: Collection[str],
    document: Document,
    at: Path_,
    without_choices: str = "define it first",
) -> list[UserError]:
    """The problem of a name that is none of the choices.

    Args:
        what: begins the message, as in "unknown run", before the name.
        at: where the name stands.
        without_choices: the remedy where there is nothing to choose from.
    """
    if name in choices:
        return []
    remedy = nearest(name, choices) if choices else without_choices
    return [UserError(f"{what} {name!r}", where=document.where(at), remedy=remedy)]


def unique(errors: list[UserError]) -> list[UserError]:
    """Each problem once."""
    return list({str(error): error for error in errors}.values())


def check_options(
    model: type[BaseModel], options: dict[str, Any], document: Document, at: Path_
) -> list[UserError]:
    """Problems of the options of a method, network or dataset."""
    try:
        model.model_validate(options)
    except ValidationError as error:
        return validation_errors(error, model, document, at)
    return []


def check_entry(
    kind: registry.Kind, name: str, options: dict[str, Any], document: Document, at: Path_
) -> list[UserError]:
    """Problems of a reference to the catalogue, and of the options given with it."""
    keys = {"methods": "method", "networks": "name", "datasets": "dataset", "generators": "name"}
    key = keys[kind]
    try:
        if kind == "methods" and name == SINGLE_TASK:
            name = "uniform"
        model = (
            registry.method(name).Options
            if kind == "methods"
            else registry.find(kind, name).Options
        )
    except UserError as error:
        return [UserError(error.what, where=document.where((*at, key)), remedy=error.remedy)]
    if kind == "methods":
        lacking = [a for a in ("label", "signal") if not hasattr(registry.method(name), a)]
        if lacking:
            return [
                UserError(
                    f"method {name!r} has no `{'` and no `'.join(lacking)}`",
                    where=str(registry.find(kind, name).__file__),
                    remedy="set them in the class, as methods/gradnorm.py does",
                )
            ]
    last = "dataset_options" if kind == "datasets" else "options"
    return check_options(model, options, document, (*at, last))


def check_dataset(dataset: Dataset, document: Document) -> list[UserError]:
    """Problems of a dataset: its module, its options and those of its sources."""
    try:
        model = registry.find("datasets", dataset.reader or dataset.id).Options
    except UserError as error:
        key = "id" if dataset.reader is None else "reader"
        return [UserError(error.what, where=document.where((key,)), remedy=error.remedy)]
    errors = check_options(model, dataset.options, document, ("options",))
    for name, source in dataset.sources.items():
        merged = {**dataset.options, **source.options}
        errors += check_options(model, merged, document, ("sources", name, "options"))
        if (maker := source.generator) is not None:
            at = ("sources", name, "generator")
            errors += check_entry("generators", maker.name, maker.options, document, at)
    return errors


def check_pretrained(
    initial: Pretrained,
    dataset: str,
    document: Document,
    at: Path_,
    datasets: dict[str, Dataset],
) -> list[UserError]:
    """Problems of the data that networks are trained on before."""
    chosen = initial.dataset or dataset
    if errors := unknown("unknown dataset", chosen, datasets, document, (*at, "dataset")):
        return errors
    if initial.source is not None:
        what, known = f"{chosen} has no source", datasets[chosen].sources
        if errors := unknown(what, initial.source, known, document, (*at, "source")):
            return errors
    model = registry.find("datasets", chosen).Options
    return check_options(model, initial.dataset_options, document, (*at, "dataset_options"))


def not_stages(network: Component, frozen: Sequence[str]) -> list[tuple[str, str, str]]:
    """Names that are no stages of a network: name, problem and remedy."""
    module = registry.find("networks", network.name)
    stages = module.stages(module.Options(**network.options))
    return [
        (name, f"network {network.name!r} has no stage {name!r}", nearest(name, stages))
        for name in frozen
        if name not in stages
    ]


def no_weights(network: Component, weights: Container[str]) -> str:
    """Why a network cannot start from ImageNet; empty if it can."""
    module = registry.find("networks", network.name)
    if not hasattr(module, "published"):
        return f"network {network.name!r} has no weights from ImageNet"
    name = module.published(module.Options(**network.options))
    return "" if name in weights else f"config/weights.yaml has no weights {name!r}"


def tasks_of(experiment: Experiment) -> tuple[Task, ...]:
    """The tasks that an experiment trains."""
    module = registry.find("datasets", experiment.dataset)
    tasks: tuple[Task, ...] = module.tasks(module.Options(**experiment.dataset_options))
    return tuple(t for t in tasks if experiment.tasks is None or t.name in experiment.tasks)
