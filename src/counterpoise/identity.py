"""Identities of data and trainings: digests of specification, sources, libraries and code."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

from counterpoise import registry
from counterpoise.code import code_digests, library_version
from counterpoise.errors import UserError
from counterpoise.files import digest_of
from counterpoise.layout import Data, Training, weights_marker
from counterpoise.project import Project
from counterpoise.spec.cell import (
    Candidate,
    Cell,
    Component,
    ImageNet,
    Pretrained,
    Protocol,
    Random,
    Variation,
)
from counterpoise.spec.dataset import DataSource
from counterpoise.spec.paper import SINGLE_TASK, Experiment
from counterpoise.spec.tier import Reduction

TRAINING = ("counterpoise.training.job",)
SCORING = "counterpoise.evaluation.evaluate"
PREPARING = "counterpoise.prepared"
TRAINING_LIBRARIES = ("numpy", "torch")
DATA_LIBRARIES = ("numpy", "pandas")

DISPLAY = frozenset(
    f"counterpoise.{name}" for name in ("code", "errors", "provenance", "training.progress")
)
"""Modules that jobs import to talk and to record, and that change no result."""


def raw_identity(name: str, source: DataSource) -> dict[str, Any]:
    """What a source's files are: published checksums, or what generates them."""
    identity: dict[str, Any] = {
        "source": name,
        "files": {file.name: file.checksum for file in source.files},
        "needs": {library: library_version(library) for library in source.needs},
    }
    if source.generator is not None:
        chosen = registry.find("generators", source.generator.name)
        options = chosen.Options(**source.generator.options)
        identity["generator"] = [source.generator.name, options.model_dump(mode="json")]
        if hasattr(chosen, "identity"):  # it reads files of the user's own
            identity["read"] = chosen.identity(options)
        identity["code"] = code_digests([chosen.__name__], DISPLAY)
    return identity


def raw_digest(name: str, source: DataSource) -> str:
    """Digest of :func:`raw_identity`."""
    return digest_of(raw_identity(name, source), length=8)


def _versions(
    common: tuple[str, ...], module: ModuleType, *, optional: bool = False
) -> dict[str, str]:
    """Versions of the common libraries and of those that a module of the catalogue names.

    What only some methods need may be absent: planning goes on, and training them says so.
    """
    own: tuple[str, ...] = getattr(module, "LIBRARIES", ())
    found = {name: library_version(name) for name in common}
    for name in own:
        try:
            found[name] = library_version(name)
        except UserError:
            if not optional:
                raise
            found[name] = "absent"
    return found


def plan_data(project: Project, experiment: Experiment, reduction: Reduction) -> Data:
    """The data of an experiment in a tier, with their identity.

    The digest covers what the data are derived from (checksums of the published files, or the
    generating code and the libraries it needs), the options, the split's seed and the code.
    """
    dataset = project.datasets[experiment.dataset]
    source = dataset.sources[reduction.source]
    module = registry.find("datasets", dataset.id)
    options = module.Options(
        **{
            **dataset.options,
            **source.options,
            **experiment.dataset_options,
            **reduction.dataset_options,
        }
    ).model_dump(mode="json")
    raw = raw_identity(reduction.source, source)
    identity = {
        "dataset": dataset.id,
        "raw": raw,
        "libraries": _versions(DATA_LIBRARIES, module),
        "options": options,
        "split seed": dataset.split_seed,
        "code": code_digests([PREPARING, registry.module_name("datasets", dataset.id)], DISPLAY),
    }
    return Data(
        dataset.id,
        reduction.source,
        options,
        dataset.split_seed,
        digest_of(raw, length=8),
        digest_of(identity),
        identity,
        dict(source.counts),
    )


def protocol_of(experiment: Experiment, run_name: str, reduction: Reduction) -> Protocol:
    """The protocol of a run in a tier."""
    changes: dict[str, Any] = {
        key: value
        for key in ("epochs", "batch_size", "learning_rate", "selection", "augment")
        if (value := getattr(reduction, key)) is not None
    }
    published = experiment.runs[run_name].protocol.of(experiment.protocol)
    if reduction.instead_of_imagenet is not None and published.initial.kind == "imagenet":
        changes["initial"] = reduction.instead_of_imagenet
    return published.model_copy(update=changes)


def plan_training(
    tier: str,
    experiment: Experiment,
    run_name: str,
    reduction: Reduction,
    data: Data,
    tasks: tuple[str, ...],
    candidates: tuple[Candidate, ...] = (),
    single_task: dict[str, str] | None = None,
    *,
    project: Project,
    pretraining: str | None = None,
) -> Training:
    """One cell of a run: the tasks trained together, with all that its digest covers.

    Args:
        candidates: of a searched run, the cells that its options are chosen from.
        single_task: by task, the cell that the method's options wait for.
        pretraining: the cell whose trunk this one starts from.
    """
    run = experiment.runs[run_name]
    alone = run.method == SINGLE_TASK
    method = "uniform" if alone else run.method
    options = registry.method(method).Options(**run.options)
    network = reduction.network or experiment.network
    network_options = registry.find("networks", network.name).Options(**network.options)
    protocol = protocol_of(experiment, run_name, reduction)
    weights = None
    if isinstance(protocol.initial, ImageNet):
        name = registry.find("networks", network.name).published(network_options)
        weights = name, project.weights[name]
    repeats = min(experiment.repeats, reduction.seeds or experiment.repeats)
    cell = Cell(
        dataset=data.dataset,
        source=data.source,
        dataset_options=data.options,
        network=Component(name=network.name, options=network_options.model_dump(mode="json")),
        method=Component(name=method, options=options.model_dump(mode="json")),
        tasks=tasks,
        protocol=protocol,
        seeds=tuple(range(repeats)),
        candidates=candidates,
        single_task=single_task or {},
        pretraining=pretraining,
    )
    parts = [data.dataset, network.name, *_shown(network_options), *_shown_data(experiment, data)]
    parts += [SINGLE_TASK, *tasks] if alone else [method, *_shown(options)]
    parts += [*_shown_variation(run.protocol, protocol), *["search"] * bool(candidates)]
    name = re.sub(r"[^a-z0-9_.]+", "-", "-".join(parts).lower())[:96].strip("-.")
    catalogue = (
        registry.module_name("methods", method),
        registry.module_name("networks", network.name),
        registry.module_name("datasets", data.dataset),
    )
    identity = {
        "data": data.identity,
        "libraries": {
            **_versions(TRAINING_LIBRARIES, registry.find("networks", network.name)),
            **_versions((), registry.find("methods", method), optional=True),
        },
        "code": code_digests([*TRAINING, *catalogue], DISPLAY),
    }
    if weights is not None:
        identity["weights"] = weights[1].identity
    scorers = [SCORING, registry.module_name("datasets", data.dataset)]
    scoring = code_digests(scorers, DISPLAY)
    return Training(
        tier,
        name,
        digest_of({"cell": cell.model_dump(mode="json"), **identity}),
        cell,
        data,
        digest_of(scoring, length=8),
        identity,
        scoring,
        weights_marker(*weights) if weights is not None else None,
    )


def plan_pretraining(
    tier: str,
    experiment: Experiment,
    run_name: str,
    reduction: Reduction,
    project: Project,
    before: Pretrained,
) -> Training:
    """The cell on other data whose trunk a run starts from: all its tasks under equal weights."""
    dataset = before.dataset or experiment.dataset
    other = dataset != experiment.dataset
    place = project.tiers.tiers[tier].datasets[dataset] if other else reduction
    changed = {**place.dataset_options, **before.dataset_options}
    own: dict[str, Any] = {"source": before.source or place.source, "dataset_options": changed}
    if before.epochs is not None:
        own["epochs"] = before.epochs
    run = experiment.runs[run_name]
    protocol = run.protocol.of(experiment.protocol)
    plain = protocol.model_copy(update={"initial": Random(), "frozen": ()})
    alone = run.model_copy(
        update={"method": "uniform", "options": {}, "search": None, "protocol": Variation()}
    )
    given = {} if other else experiment.dataset_options
    first = experiment.model_copy(
        update={
            "dataset": dataset,
            "dataset_options": given,
            "runs": {run_name: alone},
            "protocol": plain,
        }
    )
    reduced = reduction.model_copy(update=own)
    data = plan_data(project, first, reduced)
    module = registry.find("datasets", dataset)
    tasks = tuple(task.name for task in module.tasks(module.Options(**data.options)))
    return plan_training(tier, first, run_name, reduced, data, tasks, project=project)


def plan_candidates(
    tier: str,
    experiment: Experiment,
    run_name: str,
    reduction: Reduction,
    data: Data,
    tasks: tuple[str, ...],
    single_task: dict[str, str],
    *,
    project: Project,
    pretraining: str | None = None,
) -> list[Training]:
    """The cells of a run's grid search; none without one."""
    run = experiment.runs[run_name]
    if run.search is None:
        return []
    epochs = reduction.epochs or experiment.protocol.epochs
    seeds = min(run.search.seeds, experiment.repeats, reduction.seeds or experiment.repeats)
    shorter = reduction.model_copy(
        update={"epochs": min(run.search.epochs or epochs, epochs), "seeds": seeds}
    )
    found = []
    for options in run.search.points(run.options):
        point = run.model_copy(update={"options": options, "search": None})
        tried = experiment.model_copy(update={"runs": {run_name: point}})
        found.append(
            plan_training(
                tier, tried, run_name, shorter, data, tasks, (), single_task,
                project=project, pretraining=pretraining,
            )
        )  # fmt: skip
    return found


def plan_single_tasks(
    tier: str,
    experiment: Experiment,
    run_name: str,
    reduction: Reduction,
    data: Data,
    tasks: tuple[str, ...],
    *,
    project: Project,
    pretraining: str | None = None,
) -> dict[str, Training]:
    """By task, a network of its own that the run's options wait for; none where they do not."""
    run = experiment.runs[run_name]
    if run.method == SINGLE_TASK:
        return {}
    method = registry.method(run.method)
    if not method.needs_single_task(method.Options(**run.options)):
        return {}
    alone = run.model_copy(update={"method": SINGLE_TASK, "options": {}, "search": None})
    reference = experiment.model_copy(update={"runs": {run_name: alone}})
    return {
        task: plan_training(
            tier, reference, run_name, reduction, data, (task,),
            project=project, pretraining=pretraining,
        )
        for task in tasks
    }  # fmt: skip


def _shown(options: Any) -> list[str]:
    """Options that differ from their defaults, for a cell's name."""
    fields = type(options).model_fields
    changed = {k: v for k, v in options.model_dump().items() if v != fields[k].default}
    return [_word(key, value) for key, value in changed.items()]


def _shown_variation(variation: Variation, protocol: Protocol) -> list[str]:
    """What a run changes of the experiment's protocol, as it is in the tier, for a cell's name."""
    given = protocol.model_dump(mode="json", include=variation.model_fields_set)
    return [
        str(v["kind"]) if isinstance(v, dict) else _word(k, len(v) if isinstance(v, list) else v)
        for k, v in given.items()
    ]


def _shown_data(experiment: Experiment, data: Data) -> list[str]:
    """What the tier makes of the options that the experiment chooses, for a cell's name."""
    return [_word(key, data.options[key]) for key in experiment.dataset_options]


def _word(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    name = key.replace("_", "-")
    return name if isinstance(value, dict) else f"{name}-{value}"
