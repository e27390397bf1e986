"""Identities of data and trainings: digests of specification, sources, libraries and code."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
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
from counterpoise.spec.experiment import Experiment, Run
from counterpoise.spec.names import SINGLE_TASK
from counterpoise.spec.study import OWN
from counterpoise.spec.tier import Reduction

TRAINING = ("counterpoise.training.job",)
SCORING = "counterpoise.evaluation.evaluate"
PREPARING = "counterpoise.prepared"
TRAINING_LIBRARIES = ("numpy", "torch")
DATA_LIBRARIES = ("numpy", "pandas")

DISPLAY = frozenset(
    f"counterpoise.{name}"
    for name in ("code", "syntax", "errors", "provenance", "training.progress")
)
"""Modules that jobs import to talk and to record, and that change no result."""


@dataclass(frozen=True)
class TierRun:
    """One run of an experiment, in one tier."""

    project: Project
    tier: str
    experiment: Experiment
    run: Run
    reduction: Reduction
    raws: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False, repr=False)
    """By source, its identity as :func:`raw_identity` found it. All runs of a plan share them, for
    images of the user's own are looked through for it."""

    @property
    def alone(self) -> bool:
        """Whether each task has a network of its own."""
        return self.run.method == SINGLE_TASK

    @property
    def published(self) -> Protocol:
        """How the paper trains the run."""
        return self.run.protocol.of(self.experiment.protocol)

    @property
    def protocol(self) -> Protocol:
        """How the tier trains the run."""
        names = ("epochs", "batch_size", "learning_rate", "selection", "augment")
        given = {name: getattr(self.reduction, name) for name in names}
        changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        published = self.published
        if self.run.protocol.epochs is not None and "epochs" in changes:
            changes["epochs"] = min(published.epochs, changes["epochs"])
        instead = self.reduction.instead_of_imagenet
        if instead is not None and published.initial.kind == "imagenet":
            changes["initial"] = instead
        return published.model_copy(update=changes)

    @cached_property
    def data(self) -> Data:
        """What it is trained and tested on."""
        return plan_data(self)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks that it trains, in the dataset's order."""
        module = registry.find("datasets", self.data.dataset)
        every = (task.name for task in module.tasks(module.Options(**self.data.options)))
        chosen = self.experiment.tasks
        return tuple(name for name in every if chosen is None or name in chosen)

    @property
    def seeds(self) -> int:
        """Number of replicates."""
        return min(self.experiment.repeats, self.reduction.seeds or self.experiment.repeats)

    def running(self, **changes: Any) -> TierRun:
        """The same with another run, as the published one is changed."""
        return replace(self, run=self.run.model_copy(update=changes))

    def reduced(self, **changes: Any) -> TierRun:
        """The same with another reduction."""
        return replace(self, reduction=self.reduction.model_copy(update=changes))


def raw_identity(name: str, source: DataSource, root: Path) -> dict[str, Any]:
    """What a source's files are: published checksums, or what generates them.

    Args:
        root: the checkout, which folders of the user's own start from.

    Raises:
        UserError: files of the user's own are not there.
    """
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
            identity["read"] = chosen.identity(options, root)
        identity["code"] = code_digests([chosen.__name__], DISPLAY)
    return identity


def raw_digest(name: str, source: DataSource, root: Path) -> str:
    """Digest of :func:`raw_identity`."""
    return digest_of(raw_identity(name, source, root), length=8)


def _versions(
    common: tuple[str, ...], module: ModuleType, *, optional: bool = False
) -> dict[str, str]:
    """Versions of the common libraries and of those that a module of the catalogue names.

    What only some methods need may be absent: planning goes on, and training them says so.
    """
    own: tuple[str, ...] = getattr(module, "LIBRARIES", ())
    found = {name: library_version(name) for name in common}
    return found | {name: library_version(name, optional=optional) for name in own}


def plan_data(planned: TierRun) -> Data:
    """The data of a run in a tier, with their identity.

    The digest covers what the data are derived from (checksums of the published files, or the
    generating code and the libraries it needs), the options, the split's seed and the code.
    """
    experiment, reduction = planned.experiment, planned.reduction
    dataset = planned.project.datasets[experiment.dataset]
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
    name, raws = reduction.source, planned.raws
    if name not in raws:
        raws[name] = raw_identity(name, source, planned.project.root)
    raw = raws[name]
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
        dataset.counts_of(reduction.source),
    )


def plan_training(
    planned: TierRun,
    tasks: tuple[str, ...],
    candidates: tuple[Candidate, ...] = (),
    single_task: dict[str, str] | None = None,
    pretraining: str | None = None,
) -> Training:
    """One cell of a run: the tasks trained together, with all that its digest covers.

    Args:
        candidates: of a searched run, the cells that its options are chosen from.
        single_task: by task, the cell that the method's options wait for.
        pretraining: the cell whose trunk this one starts from.
    """
    run, data, protocol = planned.run, planned.data, planned.protocol
    method = "uniform" if planned.alone else run.method
    chosen = [(method, registry.method(method).Options(**run.options))]
    if (before := run.weighting) is not None:
        chosen.append((before.name, registry.method(before.name).Options(**before.options)))
    weighting = [_component(*each) for each in chosen[1:]]
    network = planned.reduction.network or planned.experiment.network
    network_options = registry.find("networks", network.name).Options(**network.options)
    weights = None
    if isinstance(protocol.initial, ImageNet):
        name = registry.find("networks", network.name).published(network_options)
        weights = name, planned.project.weights[name]
    cell = Cell(
        dataset=data.dataset,
        source=data.source,
        dataset_options=data.options,
        network=_component(network.name, network_options),
        method=_component(*chosen[0]),
        weighting=weighting[0] if weighting else None,
        tasks=tasks,
        protocol=protocol,
        seeds=tuple(range(planned.seeds)),
        candidates=candidates,
        single_task=single_task or {},
        pretraining=pretraining,
    )
    words = [data.dataset, network.name, *_shown(network_options), *_shown_data(planned)]
    words += [SINGLE_TASK, *tasks] if planned.alone else [method, *_shown(chosen[0][1])]
    for other, options in chosen[1:]:
        words += ["on", other, *_shown(options)]
    words += [f"{len(tasks)}-tasks"] * bool(planned.experiment.tasks and not planned.alone)
    words += [*_shown_variation(run.protocol, protocol), *["search"] * bool(candidates)]
    methods = [name for name, _ in chosen]
    libraries = _versions(TRAINING_LIBRARIES, registry.find("networks", network.name))
    for name in methods:
        libraries |= _versions((), registry.find("methods", name), optional=True)
    catalogue = [registry.module_name("methods", name) for name in methods]
    catalogue.append(registry.module_name("networks", network.name))
    catalogue.append(registry.module_name("datasets", data.dataset))
    identity = {
        "data": data.identity,
        "libraries": libraries,
        "code": code_digests([*TRAINING, *catalogue], DISPLAY),
    }
    if weights is not None:
        identity["weights"] = weights[1].identity
    scorers = [SCORING, registry.module_name("datasets", data.dataset)]
    scoring = code_digests(scorers, DISPLAY)
    return Training(
        planned.tier,
        re.sub(r"[^a-z0-9_.]+", "-", "-".join(words).lower())[:96].strip("-."),
        digest_of({"cell": cell.model_dump(mode="json"), **identity}),
        cell,
        data,
        digest_of(scoring, length=8),
        identity,
        scoring,
        weights_marker(*weights) if weights is not None else None,
    )


def plan_pretraining(planned: TierRun, before: Pretrained) -> Training:
    """The cell on other data whose trunk a run starts from: all its tasks under equal weights."""
    experiment = planned.experiment
    dataset = before.dataset or experiment.dataset
    other = dataset != experiment.dataset
    tier = planned.project.tiers.tiers[planned.tier]
    if other and dataset not in tier.datasets:
        studies = planned.tier == OWN
        raise UserError(
            f"tier {planned.tier} has no dataset {dataset!r}, which {experiment.title!r} starts "
            "from",
            where=planned.project.root / "config" / ("studies" if studies else "tiers.yaml"),
            remedy=f"write a study of it: `counterpoise compare {dataset} --dry-run`"
            if studies
            else f"name it under the tier's `datasets`, as {experiment.dataset} is",
        )
    reduction = tier.datasets[dataset] if other else planned.reduction
    changed = {**reduction.dataset_options, **before.dataset_options}
    source = before.source or reduction.source
    own: dict[str, Any] = {"source": source, "dataset_options": changed}
    if not other and source == reduction.source:
        _check_same_split(planned, before)
    if before.epochs is not None:
        own["epochs"] = before.epochs
    plain = planned.published.model_copy(
        update={
            "initial": Random(),
            "frozen": (),
            "loss": before.loss,
            "epochs": experiment.protocol.epochs,
        }
    )
    first = experiment.model_copy(
        update={
            "dataset": dataset,
            "dataset_options": {} if other else experiment.dataset_options,
            "protocol": plain,
            "tasks": None,
        }
    )
    before_it = replace(planned, experiment=first).reduced(**own)
    before_it = before_it.running(
        method="uniform", options={}, weighting=None, search=None, protocol=Variation()
    )
    return plan_training(before_it, before_it.tasks)


SAME_SPLIT = {"size", "training_share"}
"""Options in which data may differ from a run's own without another division into parts."""


def _check_same_split(planned: TierRun, before: Pretrained) -> None:
    """Refuse to train before on the run's own images divided otherwise: its test part would leak.

    Raises:
        UserError: an option that may divide them otherwise has another value.
    """
    options = planned.data.options
    wrong = [
        name
        for name, value in before.dataset_options.items()
        if name not in SAME_SPLIT and options.get(name) != value
    ]
    if wrong:
        raise UserError(
            f"{planned.experiment.title!r} starts from a network that is trained on the same "
            f"images with another {wrong[0]!r}: images of the test part may be among them",
            where=planned.project.root / "config" / "papers",
            remedy=f"leave {wrong[0]!r} out of its `initial`, or name another source there",
        )


def plan_candidates(
    planned: TierRun,
    tasks: tuple[str, ...],
    single_task: dict[str, str],
    pretraining: str | None = None,
) -> list[Training]:
    """The cells of a run's grid search; none without one."""
    search = planned.run.search
    if search is None:
        return []
    tier = planned.reduction
    epochs = tier.epochs or planned.experiment.protocol.epochs
    shorter = planned.reduced(
        epochs=min(epochs, search.epochs or epochs, tier.search_epochs or epochs),
        seeds=min(planned.seeds, search.seeds, tier.search_seeds or search.seeds),
    )
    return [
        plan_training(
            shorter.running(options=options, search=None), tasks, (), single_task, pretraining
        )
        for options in search.points(planned.run.options)
    ]


def plan_single_tasks(
    planned: TierRun, tasks: tuple[str, ...], pretraining: str | None = None
) -> dict[str, Training]:
    """By task, a network of its own that the run's options wait for; none where they do not."""
    if planned.alone:
        return {}
    method = registry.method(planned.run.method)
    if not method.needs_single_task(method.Options(**planned.run.options)):
        return {}
    alone = planned.running(method=SINGLE_TASK, options={}, weighting=None, search=None)
    return {task: plan_training(alone, (task,), pretraining=pretraining) for task in tasks}


def _component(name: str, options: Any) -> Component:
    return Component(name=name, options=options.model_dump(mode="json"))


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


def _shown_data(planned: TierRun) -> list[str]:
    """What the tier makes of the options that the experiment chooses, for a cell's name."""
    return [_word(key, planned.data.options[key]) for key in planned.experiment.dataset_options]


def _word(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    name = key.replace("_", "-")
    return name if isinstance(value, dict) else f"{name}-{value}"
