"""Every method's step on a CUDA device, as far as that shows without one.

Nothing may mix tensors of two devices. What is copied between host and device, which holds a step
up, stands in a table: it may shrink.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from counterpoise import registry
from counterpoise.spec.cell import Cell
from counterpoise.training import lookahead
from counterpoise.training.problem import Problem

from ..fake_device import (
    TO_DEVICE,
    TO_HOST,
    Traffic,
    fake_device,
    problem_of,
    step_alone,
    step_beside,
    step_together,
)
from ..support import small_cell

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop")

SIDE_BY_SIDE = [
    name
    for name in registry.names("methods")
    if not registry.method(name).sequential and not registry.method(name).descends
]


def looks(name: str, optimizer: str = "adam") -> int:
    """How often a step alone asks whether all is as it must be, and waits for the answer.

    It does not where the next one is taken at once.
    """
    method = registry.method(name)
    short = method.signal in lookahead.SIGNALS and not method.descends
    return 0 if short and optimizer == "adam" else 1


ALONE = {
    "aligned_mtl": (1, 1),
    "cagrad": (1, 1),
    "config": (1, 1),
    "dualproj": (1, 1),
    "fairgrad": (1, 1),
    "gradvac": (1, 2),
    "igb_v2": (0, 22),
    "imtl": (1, 0),
    "imtl_g": (1, 1),
    "mgda": (1, 1),
    "nash_mtl": (1, 2),
    "pcd": (1, 0),
    "pcgrad": (1, 1),
    "rotograd": (1, 0),
    "upgrad": (1, 1),
    "uw": (0, 1),
}
"""Copies of one step (to the host, to the device) that it waits for, besides that look; methods that
are not named have none."""
TOGETHER = {
    "config": (1, 1),
    "gradvac": (1, 2),
    "pcgrad": (1, 1),
    "uw": (0, 1),
}
"""Those of one step of two replicates side by side, which has no such look."""


def shown(found: tuple[int, int], allowed: tuple[int, int], traffic: Traffic) -> str:
    """Why a test failed."""
    return f"{found} and not {allowed} copies; put what is fewer into the table\n{traffic}"


@pytest.mark.parametrize("name", registry.names("methods"))
def test_a_step_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_device(monkeypatch) as traffic:
        step_alone(problem_of(small_cell(name)), traffic)
    found = (traffic.number(TO_HOST) - looks(name), traffic.number(TO_DEVICE))
    allowed = ALONE.get(name, (0, 0))
    assert found == allowed, shown(found, allowed, traffic)


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_a_step_side_by_side(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_device(monkeypatch) as traffic:
        step_together(problem_of(small_cell(name)), traffic)
    found = (traffic.number(TO_HOST), traffic.number(TO_DEVICE))
    allowed = TOGETHER.get(name, (0, 0))
    assert found == allowed, shown(found, allowed, traffic)


@pytest.mark.parametrize(
    "cells",
    [
        [small_cell("gradnorm", options={"alpha": alpha}) for alpha in (0.5, 1.5)],
        [small_cell("db_mtl", options={"beta": beta}) for beta in (0.1, 0.9)],
        [small_cell("uniform", tasks=(task,)) for task in ("sum", "density")],
    ],
)
def test_a_step_of_siblings(cells: list[Cell], monkeypatch: pytest.MonkeyPatch) -> None:
    """Points of a grid, and single tasks."""
    with fake_device(monkeypatch) as traffic:
        step_beside([problem_of(cell) for cell in cells], traffic)
    found = (traffic.number(TO_HOST), traffic.number(TO_DEVICE))
    assert found == (0, 0), shown(found, (0, 0), traffic)


EVERYTHING = {
    "weight_decay": 0.1,
    "loss_normalisation": "first_batch",
    "augment": {"rotation": 10, "crop": 0.1, "flip": 0.5, "brightness": 0.1, "resized_crop": {}},
}


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
@pytest.mark.parametrize("take", [step_alone, step_together])
def test_decay_normalisation_augmentation_and_unknown_labels(
    take: Callable[[Problem, Traffic], None], optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = small_cell("uniform", optimizer=optimizer, **EVERYTHING)
    with fake_device(monkeypatch) as traffic:
        take(problem_of(cell, labelled=False), traffic)
    look = looks("uniform", optimizer) if take is step_alone else 0
    keys = 1  # of the augmentation
    assert (traffic.number(TO_HOST), traffic.number(TO_DEVICE)) == (look, keys), str(traffic)
