"""Cells as they are planned, handed to the jobs, which need not plan every paper for one cell.

``work/<tier>/cells.json`` holds each planned cell with all that its digest covers. A job takes its
cell from there if that still has the digest that the job is asked for, under the code and the
libraries that are here now; else it plans, which also says what is wrong.

The file may be a stranger's: what becomes part of a path is compared with the digests, or has the
form that planning gives it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from counterpoise import registry
from counterpoise.code import library_version, module_digest
from counterpoise.errors import UserError
from counterpoise.files import digest_of, read_json, to_json, write_if_changed
from counterpoise.layout import WEIGHTS, Data, Training, raw_marker
from counterpoise.spec.cell import Cell


def orders_file(tier: str) -> str:
    """Where the cells of a tier are."""
    return f"work/{tier}/cells.json"


def write_orders(root: Path, tier: str, trainings: Iterable[Training]) -> None:
    """Write the cells of a tier, unless they are there."""
    orders = {
        t.key: {
            "reader": registry.module_name("datasets", t.data.dataset),
            "training": {**asdict(t), "cell": t.cell.model_dump(mode="json")},
        }
        for t in trainings
    }
    write_if_changed(root / orders_file(tier), to_json(orders, indent=None))


_NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]*")
_MARKER = re.compile(raw_marker(f"{WEIGHTS}({_NAME.pattern})", "[0-9a-f]{8}"))
NO_ORDER = (UserError, OSError, KeyError, TypeError, ValueError, AttributeError)
"""What reading raises where something else stands than an order of ours."""


def read_order(root: Path, tier: str, key: str) -> Training | None:
    """A cell of a tier, whose dataset can then be read; None where it must be planned."""
    try:
        order = read_json(root / orders_file(tier))[key]
        training, reader = _read(order), order["reader"]
        data = training.data
        if (training.tier, training.key) != (tier, key) or not _holds(training):
            return None
        if reader not in data.identity["code"]:
            return None
        registry.set_readers({data.dataset: reader.rpartition(".")[2]})
        return training
    except NO_ORDER:
        return None


def read_siblings(root: Path, training: Training) -> list[Training]:
    """Other planned cells on the same data that one model can train with a cell, as planned.

    Empty where nothing is planned there any more.
    """
    found = []
    try:
        for key, order in read_json(root / orders_file(training.tier)).items():
            other = _read(order)
            if (
                (other.tier, other.key, other.data) == (training.tier, key, training.data)
                and other.cell.is_sibling_of(training.cell)
                and _holds(other)
            ):
                found.append(other)
    except NO_ORDER:
        return []
    return found


def _read(order: dict[str, Any]) -> Training:
    told = order["training"]
    cell, data = Cell.model_validate(told["cell"]), Data(**told["data"])
    return Training(**{**told, "cell": cell, "data": data})


def _holds(training: Training) -> bool:
    """Whether its digests are those of what it says, and that is what is here."""
    identity, data = training.identity, training.data
    covered: dict[str, Any] = {"cell": training.cell.model_dump(mode="json"), **identity}
    return (
        _NAME.fullmatch(training.name) is not None
        and digest_of(covered) == training.digest
        and digest_of(data.identity) == data.digest
        and identity["data"] == data.identity
        and digest_of(training.scoring_code, length=8) == training.scoring
        and digest_of(data.identity["raw"], length=8) == data.raw_digest
        and data.seed == data.identity["split seed"]
        and _names_its_weights(training)
        and data.options == data.identity["options"] == training.cell.dataset_options
        and (data.dataset, data.source) == (training.cell.dataset, training.cell.source)
        and _are_here({**identity["code"], **training.scoring_code}, module_digest)
        and _are_here(identity["libraries"], partial(library_version, optional=True))
    )


def _names_its_weights(training: Training) -> bool:
    """Whether the marker of published weights is that of those in its identity, or of none."""
    if "weights" not in training.identity:
        return training.weights is None
    digest = digest_of(training.identity["weights"], length=8)
    marker = _MARKER.fullmatch(training.weights or "")
    return marker is not None and marker[0] == raw_marker(f"{WEIGHTS}{marker[1]}", digest)


def _are_here(expected: dict[str, str], found: Any) -> bool:
    return all(found(name) == value for name, value in expected.items())
