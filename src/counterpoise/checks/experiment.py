"""One experiment: its data, network, tasks and runs."""

from __future__ import annotations

from collections.abc import Container

from pydantic import ValidationError

from counterpoise import registry
from counterpoise.checks.catalogue import (
    check_entry,
    check_pretrained,
    check_task_names,
    no_weights,
    not_stages,
    tasks_of,
    unknown,
)
from counterpoise.errors import UserError
from counterpoise.spec.cell import ImageNet, Pretrained, Protocol, Variation
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.experiment import Experiment, Run
from counterpoise.spec.load import Document, Path_
from counterpoise.spec.names import SINGLE_TASK


def check_experiment(
    experiment: Experiment,
    document: Document,
    at: Path_,
    datasets: dict[str, Dataset],
    weights: Container[str],
) -> list[UserError]:
    """Problems of what an experiment refers to."""
    dataset = experiment.dataset
    if wrong := unknown("unknown dataset", dataset, datasets, document, (*at, "dataset")):
        return wrong
    if wrong := check_entry("datasets", dataset, experiment.dataset_options, document, at):
        return wrong  # its tasks follow from them
    if experiment.dataset_options:
        at_options = (*at, "dataset_options")
        if wrong := check_task_names(tasks_of(experiment), document, at_options):
            return wrong
    network = experiment.network
    own = check_entry("networks", network.name, network.options, document, (*at, "network"))
    errors = [*own]
    for n, name in enumerate(experiment.views or ()):
        errors += unknown("unknown run", name, experiment.runs, document, (*at, "views", n))
    wrong_tasks = _check_tasks(experiment, document, at)
    errors += wrong_tasks
    if wrong_tasks:
        return errors
    if not own:
        errors += _check_starts(experiment, document, at, datasets, weights)
    for name, run in experiment.runs.items():
        errors += _check_run(experiment, run, document, (*at, "runs", name))
    return errors


def _check_tasks(experiment: Experiment, document: Document, at: Path_) -> list[UserError]:
    """Tasks that the dataset does not have."""
    known = [task.name for task in tasks_of(experiment.model_copy(update={"tasks": None}))]
    return [
        error
        for n, name in enumerate(experiment.tasks or ())
        for error in unknown("unknown task", name, known, document, (*at, "tasks", n))
    ]


def _check_starts(
    experiment: Experiment,
    document: Document,
    at: Path_,
    datasets: dict[str, Dataset],
    weights: Container[str],
) -> list[UserError]:
    """Problems of where an experiment's networks start and of what is frozen."""
    errors: list[UserError] = []
    places: list[tuple[Path_, Variation | Protocol]] = [((*at, "protocol"), experiment.protocol)]
    places += [((*at, "runs", n, "protocol"), run.protocol) for n, run in experiment.runs.items()]
    for place, given in places:
        for stage, problem, remedy in not_stages(experiment.network, given.frozen or ()):
            index = (given.frozen or ()).index(stage)
            where = document.where((*place, "frozen", index))
            errors.append(UserError(problem, where=where, remedy=remedy))
        here = (*place, "initial")
        if isinstance(given.initial, ImageNet):
            problem = no_weights(experiment.network, weights)
            if problem:
                remedy = "name a network of config/weights.yaml, or leave `initial` out"
                errors.append(UserError(problem, where=document.where(here), remedy=remedy))
        if isinstance(given.initial, Pretrained):
            errors += check_pretrained(given.initial, experiment.dataset, document, here, datasets)
    return errors


def _check_run(experiment: Experiment, run: Run, document: Document, at: Path_) -> list[UserError]:
    """Problems of a run's method, of its options and of those that are searched."""
    if wrong := check_entry("methods", run.method, run.options, document, at):
        return wrong
    errors = _misfits(experiment, run, document, (*at, "options"))
    if run.weighting is not None:
        errors += _check_weighting(experiment, run, document, (*at, "weighting"))
    if run.search is not None:
        errors += _check_search(experiment, run, document, (*at, "search", "grid"))
    return errors


def _misfits(experiment: Experiment, run: Run, document: Document, at: Path_) -> list[UserError]:
    """Options of a method that do not fit the experiment's tasks."""
    if run.method == SINGLE_TASK:
        return []
    method = registry.method(run.method)
    problems = method.problems(method.Options(**run.options), tasks_of(experiment))
    return [UserError(problem, where=document.where(at)) for problem in problems]


def _check_weighting(
    experiment: Experiment, run: Run, document: Document, at: Path_
) -> list[UserError]:
    """Problems of weights that losses have before a run's method sees them."""
    assert run.weighting is not None
    name, options = run.weighting.name, run.weighting.options
    if wrong := check_entry("methods", name, options, document, at):
        return wrong
    kind = registry.method(name)
    given = kind.Options(**options)
    why = ""
    if name == SINGLE_TASK or kind.signal != "losses":
        why = f"{name!r} does not derive its weights from losses alone"
    elif kind.trained or kind.looks_back:
        why = f"{name!r} trains its weights or looks at losses again; only a run's method may do so"
    elif kind.needs_single_task(given):
        why = "its options wait for single-task networks; only a run's method may do so"
    elif run.method == SINGLE_TASK or registry.method(run.method).second_order:
        why = f"{run.method!r} cannot be given weighted losses"
    problems = [why] if why else kind.problems(given, tasks_of(experiment))
    return [UserError(problem, where=document.where(at)) for problem in problems]


def _check_search(
    experiment: Experiment, run: Run, document: Document, at: Path_
) -> list[UserError]:
    """Problems of a grid: each option must be the method's, each point must be valid for it."""
    assert run.search is not None
    if run.method == SINGLE_TASK:
        what, remedy = "single_task has nothing to search", "leave `search` out"
        return [UserError(what, where=document.where(at), remedy=remedy)]
    method = registry.method(run.method)
    for name in run.search.grid:
        option, known = name.partition(".")[0], method.Options.model_fields
        what, without = f"method {run.method!r} has no option", "it has no options at all"
        if wrong := unknown(what, option, known, document, (*at, name), without):
            return wrong
    for options in run.search.points(run.options):
        try:
            chosen = method.Options(**options)
        except ValidationError as error:
            return [
                UserError(
                    f"a point of the grid is not valid: {'.'.join(map(str, first['loc']))}: "
                    f"{first['msg']}",
                    where=document.where(at),
                    remedy="fix that value",
                )
                for first in error.errors()[:1]
            ]
        if problems := method.problems(chosen, tasks_of(experiment)):
            return [UserError(problems[0], where=document.where(at))]
    return []
