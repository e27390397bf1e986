"""An auxiliary head: its loss enters training and nothing else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from counterpoise.datasets._part import Part
from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.training.engine import Interrupted, Replicate
from counterpoise.training.problem import Problem, outputs_of, tasks_of
from counterpoise.training.replicates import Together, fit_together
from counterpoise.training.step import answers_and_losses, task_losses, task_outputs

from ..support import same_tensors

FINDINGS = ("atelectasis", "effusion", "hernia")


def cell(family: str = "inception", method: str = "uniform", **protocol: Any) -> Cell:
    rule = {"epochs": 2, "batch_size": 8, "learning_rate": 0.01, **protocol}
    return Cell(
        dataset="chestxray14",
        source="phantom",
        dataset_options={"size": 32},
        network=Component(name="stand_in", options={"family": family}),
        method=Component(name=method, options={}),
        tasks=FINDINGS,
        protocol=Protocol(**rule),
        seeds=(0, 1),
    )


def part(count: int, seed: int) -> Part:
    draws = torch.Generator().manual_seed(seed)
    targets = {name: torch.randint(0, 2, (count,), generator=draws) for name in FINDINGS}
    return Part(torch.randn(count, 1, 32, 32, generator=draws), targets)


def problem(chosen: Cell) -> Problem:
    return Problem(chosen, tasks_of(chosen), {"train": part(24, 1), "validation": part(10, 2)})


def never() -> bool:
    return False


def test_the_auxiliary_loss_is_added_in_training_with_its_weight() -> None:
    made = problem(cell())
    network, _ = made.build(0)
    inputs, targets = made.parts["train"].batch(torch.arange(8))
    z = network.shared(inputs)
    outputs = task_outputs(network, z.expand(len(FINDINGS), *z.shape))
    answers, raw = answers_and_losses(network, made.tasks, made.losses(), outputs, targets, {})
    heads = network.heads.values()
    mains = [head.main(z[:, : head.features]) for head in heads]
    sides = [head.auxiliary(z[:, head.features :]) for head in heads]
    for answer, main in zip(answers, mains, strict=True):
        torch.testing.assert_close(answer, main)
    first, second = (task_losses(made.tasks, made.losses(), o, targets, {}) for o in (mains, sides))
    for value, one, two in zip(raw, first, second, strict=True):
        torch.testing.assert_close(value, one + 0.4 * two)


def test_the_auxiliary_head_learns_and_is_not_scored(tmp_path: Path) -> None:
    made = problem(cell())
    replicate = Replicate(made, 0, tmp_path / "seed.state", 0)
    before = copy.deepcopy(replicate.network)
    replicate.run(lambda _: None, never)
    network = replicate.network
    for name, head in network.heads.items():
        assert not torch.equal(head.auxiliary.weight, before.heads[name].auxiliary.weight)
    scored = outputs_of(network, replicate.method, replicate.method_state, made.parts["validation"])
    assert all(outputs.shape == (10, 1) for outputs in scored)
    with torch.no_grad():  # whatever the auxiliary head says changes no score
        for head in network.heads.values():
            head.auxiliary.weight.fill_(1e3)
    again = outputs_of(network, replicate.method, replicate.method_state, made.parts["validation"])
    assert all(torch.equal(one, other) for one, other in zip(scored, again, strict=True))
    loss = replicate.history[-1]["validation_loss/hernia"]
    target = made.parts["validation"].targets["hernia"]
    assert loss == pytest.approx(float(made.losses()[2](scored[2], target)))


def test_without_weight_the_branch_stands_still(tmp_path: Path) -> None:
    chosen = cell()
    options = {"family": "inception", "auxiliary_weight": 0.0}
    chosen = chosen.model_copy(update={"network": Component(name="stand_in", options=options)})
    replicate = Replicate(problem(chosen), 0, tmp_path / "seed.state", 0)
    before = copy.deepcopy(replicate.network)
    replicate.run(lambda _: None, never)
    for name, head in replicate.network.heads.items():
        assert torch.equal(head.auxiliary.weight, before.heads[name].auxiliary.weight)
        assert not torch.equal(head.main.weight, before.heads[name].main.weight)


@pytest.mark.parametrize("method", ["uniform", "rotograd", "imtl_g", "pcgrad", "uw"])
def test_methods_train_a_network_with_an_auxiliary_head(method: str, tmp_path: Path) -> None:
    replicate = Replicate(problem(cell(method=method, epochs=1)), 0, tmp_path / "s.state", 0)
    replicate.run(lambda _: None, never)
    assert replicate.trouble is None and len(replicate.history) == 1


def test_replicates_side_by_side_learn_what_each_learns_alone(tmp_path: Path) -> None:
    made = problem(cell(epochs=1, optimizer="sgd", batch_size=12))
    alone, together = (
        [Replicate(made, seed, tmp_path / f"{kind}{seed}.state", 1e9) for seed in (0, 1)]
        for kind in ("a", "t")
    )
    for one in alone:
        one.run(lambda _: None, never)
    assert fit_together(together)
    Together(together).run(lambda _: None, never)
    for one, other in zip(alone, together, strict=True):
        for key, value in one._tensors().items():
            # Batched kernels sum in another order; two steps of plain gradient do not enlarge it.
            torch.testing.assert_close(other._tensors()[key], value, rtol=1e-3, atol=1e-4)


def test_dropout_follows_from_the_seed_and_survives_a_stop(tmp_path: Path) -> None:
    """A network with dropout, killed after its fourth step, ends as if nothing had been."""
    made = problem(cell("alexnet"))
    whole = Replicate(made, 0, tmp_path / "whole.state", 0)
    whole.run(lambda _: None, never)
    calls = iter(range(3))
    first = Replicate(made, 0, tmp_path / "cut.state", 0)
    with pytest.raises(Interrupted):
        first.run(lambda _: None, lambda: next(calls, None) is None)
    torch.manual_seed(12345)
    second = Replicate(made, 0, tmp_path / "cut.state", 0)
    assert second.resume()
    second.run(lambda _: None, never)
    assert same_tensors(whole._tensors(), second._tensors())
