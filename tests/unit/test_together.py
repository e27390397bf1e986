"""Replicates trained side by side: what each learns is what it learns alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from counterpoise import registry
from counterpoise.spec.cell import Cell, Schedule
from counterpoise.training.engine import Interrupted, Replicate
from counterpoise.training.problem import Problem
from counterpoise.training.replicates import Together, fit_together

from ..support import gone_astray, small_cell, small_problem

SEEDS = (0, 1, 2)
CLOSE = 1e-3
"""Of the way that a tensor goes. Batched kernels sum in another order, which leaves 1e-6 a step; with
plain steps along the gradient it stays small. (One of Adam follows the sign of a gradient that is
zero but for rounding.)"""


def never() -> bool:
    return False


def made(problem: Problem, folder: Path, seeds: tuple[int, ...] = SEEDS) -> list[Replicate]:
    return [Replicate(problem, seed, folder / f"{seed}.state", 1e9) for seed in seeds]


def both_ways(cell: Cell, folder: Path) -> tuple[list[Replicate], list[Replicate]]:
    problem = small_problem(cell)
    alone, together = made(problem, folder / "alone"), made(problem, folder / "together")
    for replicate in alone:
        replicate.run(lambda _: None, never)
    assert fit_together(together)
    Together(together).run(lambda _: None, never)
    return alone, together


def assert_same(alone: list[Replicate], together: list[Replicate], close: float = CLOSE) -> None:
    for one, other in zip(alone, together, strict=True):
        assert one.trouble == other.trouble
        assert (one.epoch, one.batch, one.step) == (other.epoch, other.batch, other.step)
        assert gone_astray(other, one, close) == []
        for row, same in zip(one.history, other.history, strict=True):
            assert row.keys() == same.keys()
            for key, value in row.items():
                if not key.startswith(("cosine", "validation_metric")):  # medians and counts jump
                    assert same[key] == pytest.approx(value, rel=0.02, abs=1e-4), key


NAMES = [
    name
    for name in registry.names("methods")
    if not registry.method(name).sequential and not registry.method(name).descends
]


@pytest.mark.parametrize("name", NAMES)
def test_every_method(name: str, tmp_path: Path) -> None:
    """Two steps and an epoch's end: what no rounding has had the time to grow.

    Options are tried step by step in tests/contract/test_replicates.py.
    """
    cell = small_cell(name, epochs=1, batch_size=20, learning_rate=0.01, optimizer="sgd")
    assert_same(*both_ways(cell, tmp_path))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_optimizers_schedules_and_decay(optimizer: str, tmp_path: Path) -> None:
    cell = small_cell(
        "gradnorm",
        epochs=2,
        optimizer=optimizer,
        learning_rate=1e-4,
        weight_decay=0.1,
        schedule=Schedule(kind="exponential", factor=0.5),
        loss_normalisation="first_batch",
    )
    alone, together = both_ways(cell, tmp_path)
    assert_same(alone, together, 2e-3)
    for one, other in zip(alone, together, strict=True):
        if optimizer != "sgd":  # it counts nothing
            assert [int(c) for c in one.optimizer.counts] == [6 for _ in other.optimizer.counts]
            assert [int(c) for c in other.optimizer.counts] == [6 for _ in other.optimizer.counts]


def test_each_problem_has_its_own_task_method_and_rate(tmp_path: Path) -> None:
    """Single-task networks of one shape and grid points train side by side."""
    cells = [
        small_cell("fixed", options={"weights": {task: weight}}, tasks=(task,), epochs=1,
                   optimizer="sgd", learning_rate=rate)
        for task, weight, rate in (("sum", 1.0, 1e-3), ("density", 2.0, 1e-2))
    ]  # fmt: skip
    problems = [small_problem(cell) for cell in cells]
    alone = [r for n, p in enumerate(problems) for r in made(p, tmp_path / f"a{n}", (0, 1))]
    together = [r for n, p in enumerate(problems) for r in made(p, tmp_path / f"t{n}", (0, 1))]
    for replicate in alone:
        replicate.run(lambda _: None, never)
    assert fit_together(together)
    Together(together).run(lambda _: None, never)
    assert_same(alone, together)
    assert alone[0]._tensors()["network.heads.sum.bias"] != 0


def test_one_bad_end_leaves_the_others_alone(tmp_path: Path) -> None:
    """The one that diverges stands still at its last good weights; the rest go on to their end."""
    cells = [
        small_cell(optimizer="sgd", epochs=2, learning_rate=rate, selection="last")
        for rate in (1e-3, 1e12)
    ]
    problems = [small_problem(cell) for cell in cells]
    alone = [made(p, tmp_path / f"a{n}", (0,))[0] for n, p in enumerate(problems)]
    together = [made(p, tmp_path / f"t{n}", (0,))[0] for n, p in enumerate(problems)]
    for replicate in alone:
        replicate.run(lambda _: None, never)
    Together(together).run(lambda _: None, never)
    assert together[0].trouble is None and together[1].trouble is not None
    assert together[1].trouble == alone[1].trouble
    assert_same(alone[:1], together[:1])
    last = together[1].network.state_dict()
    assert all(torch.isfinite(value).all() for value in last.values())


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_a_stopped_run_goes_on_alone_or_together(optimizer: str, tmp_path: Path) -> None:
    """The saved states are those that training alone reads, in the layout of the parameters."""
    rate, close = (1e-3, CLOSE) if optimizer == "sgd" else (1e-4, 2e-3)
    cell = small_cell("gradnorm", epochs=2, optimizer=optimizer, learning_rate=rate)
    problem = small_problem(cell)
    alone = made(problem, tmp_path / "alone")
    for replicate in alone:
        replicate.run(lambda _: None, never)
    asked = iter([False, False, False, True])
    stopped = made(problem, tmp_path / "stopped")
    with pytest.raises(Interrupted):
        Together(stopped).run(lambda _: None, lambda: next(asked))
    resumed = made(problem, tmp_path / "stopped")
    assert all(r.resume() for r in resumed)
    assert [r.step for r in resumed] == [4, 4, 4]
    resumed[0].run(lambda _: None, never)
    assert not fit_together(resumed), "one is ahead of the others"
    Together(resumed[1:]).run(lambda _: None, never)
    assert_same(alone, resumed, close)
    size = (tmp_path / "stopped" / "0.state").stat().st_size
    assert size < 1.1 * (tmp_path / "alone" / "0.state").stat().st_size
    assert not math.isnan(resumed[1].history[-1]["selection"])
