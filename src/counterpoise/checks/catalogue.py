"""What all files have in common: references to the catalogue and to each other."""

from __future__ import annotations

from collections.abc import Collection, Container, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from counterpoise import registry
from counterpoise.errors import UserError, nearest
from counterpoise.spec.base import Name
from counterpoise.spec.cell import Component, Pretrained
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.experiment import Experiment
from counterpoise.spec.load import Document, Path_, validation_errors
from counterpoise.spec.names import ALL_TASKS, SINGLE_TASK
from counterpoise.tasks import Task

_MODULE_DICT = """
    add_module apply bfloat16 buffers call_super_init children clear compile cpu cuda double
    dump_patches eval extra_repr float forward get_buffer get_extra_state get_parameter
    get_submodule half ipu items keys load_state_dict modules mtia named_buffers named_children
    named_modules named_parameters parameters pop register_backward_hook register_buffer
    register_forward_hook register_forward_pre_hook register_full_backward_hook
    register_full_backward_pre_hook register_load_state_dict_post_hook
    register_load_state_dict_pre_hook register_module register_parameter
    register_state_dict_post_hook register_state_dict_pre_hook requires_grad_ set_extra_state
    set_submodule share_memory state_dict to to_empty train training type update values xpu
    zero_grad
"""
NO_TASKS = frozenset({ALL_TASKS, *_MODULE_DICT.split()})
"""Names that no task can have: that of all tasks together, and those which torch's ``ModuleDict``,
which holds the heads, keeps for itself."""

RENAME = "choose another name; for a label, rename its column"

_NAME: TypeAdapter[str] = TypeAdapter(Name)


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
        module = registry.find("datasets", dataset.reader or dataset.id)
    except UserError as error:
        key = "id" if dataset.reader is None else "reader"
        return [UserError(error.what, where=document.where((key,)), remedy=error.remedy)]
    model = module.Options
    own = check_options(model, dataset.options, document, ("options",))
    errors = [*own]
    for name, source in dataset.sources.items():
        if not own:
            at_options = ("sources", name, "options") if source.options else ("options",)
            merged = {**dataset.options, **source.options}
            errors += check_options(model, merged, document, at_options) or check_task_names(
                module.tasks(model(**merged)), document, at_options
            )
        if (maker := source.generator) is not None:
            at = ("sources", name, "generator")
            errors += check_entry("generators", maker.name, maker.options, document, at)
    return unique(errors)


def misnamed(task: Task) -> str:
    """Why a task cannot be called so, as one of a column of labels may not; empty if it can."""
    try:
        _NAME.validate_python(task.name)
    except ValidationError:
        long = len(task.name) > 64
        why = "is longer than 64 characters" if long else "may only have a-z, 0-9 and, later, _ . -"
    else:
        if task.name not in NO_TASKS:
            return ""
        why = "is reserved"
    return f"the name {task.name!r} of task {task.label!r} {why}"


def check_task_names(tasks: Sequence[Task], document: Document, at: Path_) -> list[UserError]:
    """Tasks whose names cannot be used."""
    where = document.where(at)
    return [UserError(what, where=where, remedy=RENAME) for what in map(misnamed, tasks) if what]


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
        return f"network {network.name!r} has no ImageNet weights"
    name = module.published(module.Options(**network.options))
    return "" if name in weights else f"config/weights.yaml has no weights {name!r}"


def tasks_of(experiment: Experiment) -> tuple[Task, ...]:
    """The tasks that an experiment trains."""
    module = registry.find("datasets", experiment.dataset)
    tasks: tuple[Task, ...] = module.tasks(module.Options(**experiment.dataset_options))
    return tuple(t for t in tasks if experiment.tasks is None or t.name in experiment.tasks)
