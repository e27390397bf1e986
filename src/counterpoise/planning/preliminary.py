"""Cells that others start from: pretraining, points of a grid search, networks of one task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from counterpoise import registry
from counterpoise.errors import UserError
from counterpoise.layout import Training
from counterpoise.planning.cells import plan_training
from counterpoise.planning.tier_run import TierRun
from counterpoise.spec.cell import Pretrained, Random, Variation
from counterpoise.spec.names import SINGLE_TASK
from counterpoise.spec.study import OWN


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
