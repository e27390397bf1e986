"""What a tier changes of a paper's protocol, in words."""

from __future__ import annotations

from counterpoise import registry
from counterpoise.planning.tier_run import TierRun
from counterpoise.spec.augment import Augment
from counterpoise.spec.cell import Component
from counterpoise.spec.study import OWN

_EPOCHS = {"best_validation": "the epoch of lowest validation loss", "last": "the last epoch"}


def reductions_of(planned: TierRun) -> tuple[str, ...]:
    """What the tier changes of the published protocol, in words."""
    experiment, reduction, data = planned.experiment, planned.reduction, planned.data
    protocol, epochs = planned.published, planned.protocol.epochs
    changes = []
    if epochs != protocol.epochs:
        changes.append(f"{epochs} of {protocol.epochs} epochs")
    if reduction.seeds is not None and reduction.seeds < experiment.repeats:
        changes.append(f"{reduction.seeds} of {experiment.repeats} seeds")
    if reduction.batch_size not in (None, protocol.batch_size):
        changes.append(f"batches of {reduction.batch_size} instead of {protocol.batch_size}")
    if reduction.learning_rate not in (None, protocol.learning_rate):
        changes.append(
            f"learning rate {reduction.learning_rate} instead of {protocol.learning_rate}"
        )
    if reduction.selection not in (None, protocol.selection):
        changes.append(f"weights of {_EPOCHS[reduction.selection]}")
    if reduction.augment not in (None, protocol.augment or Augment()):
        changes.append(f"augmentation: {reduction.augment}")
    instead = reduction.instead_of_imagenet
    if instead is not None and protocol.initial.kind == "imagenet":
        changes.append(f"pre-trained on {instead.source or instead.dataset} instead of ImageNet")
    if reduction.network not in (None, experiment.network):
        changes.append(f"network {_named(reduction.network)} for {_named(experiment.network)}")
    if planned.run.search is not None:
        search = planned.run.search
        wanted = min(epochs, search.epochs or epochs)
        if (reduction.search_epochs or epochs) < wanted:
            changes.append(f"options searched over {reduction.search_epochs} of {wanted} epochs")
        if (reduction.search_seeds or search.seeds) < min(planned.seeds, search.seeds):
            changes.append(
                f"options searched with {reduction.search_seeds} of {search.seeds} seeds"
            )
    if part := _part_of_the_data(planned):
        changes.append(part)
    defaults = registry.find("datasets", experiment.dataset).Options
    published = defaults(**experiment.dataset_options).model_dump(mode="json")
    changes += [
        f"{key} {data.options[key]}"
        for key in sorted(reduction.dataset_options)
        if data.options[key] != published[key]
    ]
    return tuple(changes)


def _part_of_the_data(planned: TierRun) -> str:
    """That a source has some of the published data only, in words; empty of others.

    Stand-in data have a mark of their own; in a comparison on one's own data nothing is published.
    """
    sources = planned.project.datasets[planned.experiment.dataset].sources
    chosen = sources[planned.data.source]
    if chosen.whole or chosen.stand_in or planned.tier == OWN:
        return ""
    return f"data: {chosen.title}" if any(source.whole for source in sources.values()) else ""


def _named(component: Component) -> str:
    options = [f"{key} {value}" for key, value in component.options.items()]
    return " ".join([component.name, *options])
