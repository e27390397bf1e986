"""What an experiment's protocol is: as the paper has it, and as this tier runs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from counterpoise.plan import Plan
from counterpoise.report.numbers import count, options_text, plural
from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.spec.experiment import Experiment


@dataclass(frozen=True)
class Setting:
    """A setting of a protocol: as published and as run."""

    name: str
    published: str
    used: str


_SELECTION = {"best_validation": "lowest mean validation loss", "last": "last"}
_NORMALISATION = {"first_batch": "divided by the first batch's", "none": "not normalised"}

_SETTINGS: dict[str, Callable[[Protocol], str]] = {
    "epochs": lambda p: count(p.epochs),
    "batch size": lambda p: count(p.batch_size),
    "optimiser": lambda p: p.optimizer,
    "learning rate": lambda p: f"{p.learning_rate:g}",
    "weight decay": lambda p: f"{p.weight_decay:g}",
    "schedule": lambda p: (
        p.schedule.kind
        if p.schedule.kind in ("constant", "cosine")
        else f"{p.schedule.kind}, times {p.schedule.factor:g} every "
        f"{plural(p.schedule.every, 'epoch')}"
    ),
    "augmentation": lambda p: str(p.augment or "none"),
    "losses": lambda p: _NORMALISATION[p.loss_normalisation],
    "loss of binary tasks": lambda p: options_text(p.loss.model_dump()),
    "tested epoch": lambda p: _SELECTION[p.selection],
}


def settings_of(plan: Plan, experiment: Experiment, cell: Cell | None) -> tuple[Setting, ...]:
    """All settings; ``cell`` is one that the tier trains, if there is one."""
    dataset = plan.project.datasets[experiment.dataset]
    options = options_text(experiment.dataset_options)
    data = f"{dataset.title} ({options})" if options else dataset.title
    used_data = used_network = ""
    if cell:
        resolved = {key: cell.dataset_options[key] for key in experiment.dataset_options}
        shown = options_text(resolved)
        used_data = dataset.sources[cell.source].title + (f" ({shown})" if shown else "")
        if cell.network.name != experiment.network.name or any(
            cell.network.options[key] != value for key, value in experiment.network.options.items()
        ):
            used_network = named(cell.network)
    seeds = count(len(cell.seeds)) if cell else ""
    reduced = seeds != count(experiment.repeats)
    settings = [
        Setting("data", data, used_data),
        Setting("network", named(experiment.network), used_network),
        Setting("seeds", count(experiment.repeats), seeds if reduced else ""),
    ]
    for name, text in _SETTINGS.items():
        published = text(experiment.protocol)
        used = text(cell.protocol) if cell else ""
        settings.append(Setting(name, published, used if used != published else ""))
    return tuple(settings)


def protocol_text(protocol: Protocol) -> str:
    """A protocol in one line."""
    return "; ".join(f"{name} {text(protocol)}" for name, text in _SETTINGS.items())


def named(component: Component) -> str:
    """A method or network with its options."""
    options = options_text(component.options)
    return f"{component.name}: {options}" if options else component.name
