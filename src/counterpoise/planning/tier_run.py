"""A run of an experiment as a tier makes it: its protocol, its data and its tasks."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from counterpoise import registry
from counterpoise.code import code_digests
from counterpoise.files import digest_of
from counterpoise.layout import Data
from counterpoise.planning.identity import DISPLAY, raw_identity, versions
from counterpoise.project import Project
from counterpoise.spec.cell import Protocol
from counterpoise.spec.experiment import Experiment, Run
from counterpoise.spec.names import SINGLE_TASK
from counterpoise.spec.tier import Reduction

PREPARING = "counterpoise.prepared"
LIBRARIES = ("numpy", "pandas")


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
        "libraries": versions(LIBRARIES, module),
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
