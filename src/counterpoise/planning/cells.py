"""One cell of a run: what is trained, its name, and its identity."""

from __future__ import annotations

import re
from typing import Any, Literal

from counterpoise import registry
from counterpoise.code import code_digests
from counterpoise.files import digest_of
from counterpoise.layout import Training, weights_marker
from counterpoise.planning.identity import DISPLAY, versions
from counterpoise.planning.tier_run import TierRun
from counterpoise.spec.cell import Candidate, Cell, Component, ImageNet, Protocol, Variation
from counterpoise.spec.names import SINGLE_TASK

TRAINING = "counterpoise.training.job"
SCORING = "counterpoise.evaluation.evaluate"
LIBRARIES = ("numpy", "torch")
LONGEST_NAME = 96

Kind = Literal["methods", "networks"]


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
    network = planned.reduction.network or planned.experiment.network
    method = Component(name="uniform" if planned.alone else run.method, options=run.options)
    cell = Cell(
        dataset=data.dataset,
        source=data.source,
        dataset_options=data.options,
        network=_resolved("networks", network),
        method=_resolved("methods", method),
        weighting=_resolved("methods", run.weighting) if run.weighting else None,
        tasks=tasks,
        protocol=protocol,
        seeds=tuple(range(planned.seeds)),
        candidates=candidates,
        single_task=single_task or {},
        pretraining=pretraining,
    )
    weights = None
    if isinstance(protocol.initial, ImageNet):
        name = registry.find("networks", network.name).published(_options("networks", network))
        weights = name, planned.project.weights[name]
    identity = {"data": data.identity, **_made_by(cell)}
    if weights is not None:
        identity["weights"] = weights[1].identity
    scorers = [SCORING, registry.module_name("datasets", data.dataset)]
    scoring = code_digests(scorers, DISPLAY)
    return Training(
        planned.tier,
        _name(planned, cell),
        digest_of({"cell": cell.model_dump(mode="json"), **identity}),
        cell,
        data,
        digest_of(scoring, length=8),
        identity,
        scoring,
        weights_marker(*weights) if weights is not None else None,
    )


def _options(kind: Kind, part: Component) -> Any:
    """A network's or method's options, as its module defines them."""
    methods = kind == "methods"
    definer = registry.method(part.name) if methods else registry.find(kind, part.name)
    return definer.Options(**part.options)


def _resolved(kind: Kind, part: Component) -> Component:
    """The same with all options."""
    return Component(name=part.name, options=_options(kind, part).model_dump(mode="json"))


def _methods(cell: Cell) -> list[Component]:
    return [cell.method, cell.weighting] if cell.weighting else [cell.method]


def _made_by(cell: Cell) -> dict[str, Any]:
    """Libraries and code that train a cell."""
    methods = [method.name for method in _methods(cell)]
    libraries = versions(LIBRARIES, registry.find("networks", cell.network.name))
    for name in methods:
        libraries |= versions((), registry.find("methods", name), optional=True)
    catalogue = [registry.module_name("methods", name) for name in methods]
    catalogue.append(registry.module_name("networks", cell.network.name))
    catalogue.append(registry.module_name("datasets", cell.dataset))
    return {"libraries": libraries, "code": code_digests([TRAINING, *catalogue], DISPLAY)}


# Names ---------------------------------------------------------------------------------------


def _name(planned: TierRun, cell: Cell) -> str:
    """What a cell's folder begins with: data, network, method, and what is special about it."""
    words = [cell.dataset, cell.network.name, *_changed("networks", cell.network)]
    words += [_word(key, cell.dataset_options[key]) for key in planned.experiment.dataset_options]
    if planned.alone:
        words += [SINGLE_TASK, *cell.tasks]
    else:
        words += [cell.method.name, *_changed("methods", cell.method)]
    if cell.weighting:
        words += ["on", cell.weighting.name, *_changed("methods", cell.weighting)]
    if planned.experiment.tasks and not planned.alone:
        words.append(f"{len(cell.tasks)}-tasks")
    words += _varied(planned.run.protocol, cell.protocol)
    if cell.candidates:
        words.append("search")
    return re.sub(r"[^a-z0-9_.]+", "-", "-".join(words).lower())[:LONGEST_NAME].strip("-.")


def _changed(kind: Kind, part: Component) -> list[str]:
    """Options that differ from their defaults."""
    options = _options(kind, part)
    fields = type(options).model_fields
    changed = {k: v for k, v in options.model_dump().items() if v != fields[k].default}
    return [_word(key, value) for key, value in changed.items()]


def _varied(variation: Variation, protocol: Protocol) -> list[str]:
    """What a run changes of the experiment's protocol, as it is in the tier."""
    given = protocol.model_dump(mode="json", include=variation.model_fields_set)
    return [
        str(v["kind"]) if isinstance(v, dict) else _word(k, len(v) if isinstance(v, list) else v)
        for k, v in given.items()
    ]


def _word(key: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    name = key.replace("_", "-")
    return name if isinstance(value, dict) else f"{name}-{value}"
