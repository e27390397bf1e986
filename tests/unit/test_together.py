"""Replicates trained side by side: what each learns is what it learns alone."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest
import torch

from counterpoise import registry
from counterpoise.methods._base import Method
from counterpoise.spec.cell import ClassWeighted, Component, Schedule
from counterpoise.training.binary import binary_loss
from counterpoise.training.engine import Interrupted, Replicate
from counterpoise.training.modules import Network
from counterpoise.training.problem import Problem
from counterpoise.training.replicates import Together, fit_together
from counterpoise.training.stacks import mapped_loss

from ..support import gone_astray, hidden, small_cell, small_problem

SEEDS = (0, 1, 2)
CLOSE = 1e-3
"""Of the way that a tensor goes. Batched kernels sum in another order, which leaves 1e-6 a step; with
plain steps along the gradient it stays small. (One of Adam follows the sign of a gradient that is
zero but for rounding.)"""


def never() -> bool:
    return False


def made(problem: Problem, folder: Path, seeds: tuple[int, ...] = SEEDS) -> list[Replicate]:
    return [Replicate(problem, seed, folder / f"{seed}.state", 1e9) for seed in seeds]


def both_ways(
    problems: list[Problem], folder: Path, seeds: tuple[int, ...] = SEEDS
) -> tuple[list[Replicate], list[Replicate]]:
    """Replicates of all problems, trained alone and side by side."""
    alone, together = (
        [r for n, p in enumerate(problems) for r in made(p, folder / f"{way}{n}", seeds)]
        for way in ("alone", "together")
    )
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
    assert_same(*both_ways([small_problem(cell)], tmp_path))


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
    alone, together = both_ways([small_problem(cell)], tmp_path)
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
    alone, together = both_ways([small_problem(cell) for cell in cells], tmp_path, (0, 1))
    assert_same(alone, together)
    assert alone[0]._tensors()["network.heads.sum.bias"] != 0


@pytest.mark.parametrize("others", ["hidden alike", "whole"])
def test_unknown_labels_teach_nothing_side_by_side(others: str, tmp_path: Path) -> None:
    """Also where one problem's labels are partly unknown and those of its neighbour are not."""
    cell = small_cell("gradnorm", epochs=1, optimizer="sgd", learning_rate=1e-3)
    problems = [small_problem(cell), small_problem(cell)]
    for problem in problems[:1] if others == "whole" else problems:
        part = problem.parts["train"]
        rows = torch.arange(len(part))
        problem.parts["train"] = hidden(part, {"density": rows % 5 > 0, "left": rows % 3 > 0})
    assert_same(*both_ways(problems, tmp_path, (0, 1)))


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
    assert fit_together(resumed), "what is finished stands where it is"
    Together(resumed).run(lambda _: None, never)
    assert_same(alone, resumed, close)
    size = (tmp_path / "stopped" / "0.state").stat().st_size
    assert size < 1.1 * (tmp_path / "alone" / "0.state").stat().st_size
    assert not math.isnan(resumed[1].history[-1]["selection"])


def test_after_a_bad_end_a_stopped_run_still_goes_on_together(tmp_path: Path) -> None:
    """The one that has ended stands far behind the others."""
    cells = [small_cell(optimizer="sgd", learning_rate=rate) for rate in (1e-3, 1e12, 2e-3)]
    problems = [small_problem(cell) for cell in cells]
    unbroken = [made(p, tmp_path / f"u{n}", (0,))[0] for n, p in enumerate(problems)]
    Together(unbroken).run(lambda _: None, never)
    stopped = [made(p, tmp_path / f"s{n}", (0,))[0] for n, p in enumerate(problems)]
    asked = iter([False] * 4 + [True])
    with pytest.raises(Interrupted):
        Together(stopped).run(lambda _: None, lambda: next(asked))
    resumed = [made(p, tmp_path / f"s{n}", (0,))[0] for n, p in enumerate(problems)]
    assert all(r.resume() for r in resumed)
    assert len({r.step for r in resumed}) == 2
    assert fit_together(resumed)
    Together(resumed).run(lambda _: None, never)
    assert_same(unbroken, resumed)
    assert [r.trouble is None for r in resumed] == [True, False, True]
    assert fit_together(resumed), "a finished run is written down as what it was"


def test_what_is_something_else_side_by_side_trains_alone(tmp_path: Path) -> None:
    half = small_problem(small_cell(precision="bfloat16"))
    assert not fit_together(made(half, tmp_path)), "operations are taken apart before they are cast"
    ahead = made(small_problem(small_cell()), tmp_path)
    ahead[0]._step(torch.arange(16))
    assert not fit_together(ahead), "one is ahead of the others"


@pytest.mark.parametrize("share", [0.0, 0.1])
def test_networks_that_drop_at_random_train_alone(
    share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Side by side each would drop other features than alone. The question leaves no trace."""
    build = Problem.build

    def built(problem: Problem, seed: int) -> tuple[Network, Method]:
        network, method = build(problem, seed)
        network.trunk.append(torch.nn.Dropout(share))
        return network, method

    monkeypatch.setattr(Problem, "build", built)
    cell = small_cell(network=Component(name="resnet", options={"depth": 18}))
    pair = made(small_problem(cell), tmp_path, (0, 1))
    buffers = [b.clone() for b in pair[0].network.buffers()]
    state = torch.get_rng_state()
    assert fit_together(pair) is (share == 0)
    assert all(map(torch.equal, buffers, pair[0].network.buffers()))
    assert torch.equal(state, torch.get_rng_state())


def test_states_of_different_form_do_not_fit(tmp_path: Path) -> None:
    replicates = [
        made(small_problem(small_cell("config", options={"smoothing": share})), tmp_path, (0,))[0]
        for share in (0.0, 0.9)
    ]
    assert not fit_together(replicates)


def test_each_problem_has_its_own_losses(tmp_path: Path) -> None:
    """Problems of one form may weigh classes by their own counts."""
    problems = [small_problem(small_cell(epochs=1, optimizer="sgd")) for _ in range(2)]
    alone, together = (
        [r for n, p in enumerate(problems) for r in made(p, tmp_path / f"{way}{n}", (0, 1))]
        for way in "at"
    )
    for replicate in (*alone[2:], *together[2:]):
        first, *rest = replicate.losses
        replicate.losses = (lambda *given, first=first: 3 * first(*given), *rest)
    for replicate in alone:
        replicate.run(lambda _: None, never)
    Together(together).run(lambda _: None, never)
    assert_same(alone, together)


@pytest.mark.parametrize("masked", [False, True])
def test_losses_of_several_counts_side_by_side(masked: bool) -> None:
    spec = ClassWeighted(kind="class_weighted")
    losses = [binary_loss(spec, counts) for counts in ((90, 10), (50, 50))]
    draws = torch.Generator().manual_seed(0)
    outputs = torch.randn(3, 8, 1, generator=draws)
    target = torch.randint(0, 2, (3, 8), generator=draws)
    known = [torch.rand(3, 8, generator=draws) > 0.3] if masked else []
    found = mapped_loss([(losses[0], 2), (losses[1], 1)])(outputs, target, *known)
    each = [losses[0], losses[0], losses[1]]
    expected = [loss(*one) for loss, *one in zip(each, outputs, target, *known, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected))


def test_the_end_of_an_epoch_takes_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There the device has done what the steps have asked of it."""
    pair = made(small_problem(small_cell(epochs=1, optimizer="sgd")), tmp_path, (0, 1))
    end = Replicate.end_epoch

    def slow(replicate: Replicate, count: int) -> None:
        time.sleep(0.3)
        end(replicate, count)

    monkeypatch.setattr(Replicate, "end_epoch", slow)
    started = time.monotonic()
    Together(pair).run(lambda _: None, never)
    passed = time.monotonic() - started
    assert 0.6 <= sum(r.seconds for r in pair) <= passed


def test_who_has_ended_takes_no_more_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is that of those that live: all of it is shared out, and once."""
    cells = [small_cell(optimizer="sgd", epochs=5, learning_rate=rate) for rate in (1e-3, 1e12)]
    lives, ends = (made(small_problem(c), tmp_path / f"{n}", (0,))[0] for n, c in enumerate(cells))
    end = Replicate.end_epoch

    def slow(replicate: Replicate, count: int) -> None:
        time.sleep(0.1)
        end(replicate, count)

    monkeypatch.setattr(Replicate, "end_epoch", slow)
    started = time.monotonic()
    Together([lives, ends]).run(lambda _: None, never)
    passed = time.monotonic() - started
    assert lives.trouble is None and ends.trouble is not None and ends.epoch == 0
    assert lives.seconds - ends.seconds >= 0.4, "the four epochs after the bad end"
    assert 0.5 <= lives.seconds + ends.seconds <= passed
