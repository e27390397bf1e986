"""Methods held to their written loss: autograd through the whole network, in float64.

:func:`followed` trains a small network by the engine's step and a method. :func:`transcribed` trains
the same network by autograd on what a paper writes down, and shares nothing with the engine or the
method but the network and the tasks' losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from counterpoise.methods._base import Epoch, State
from counterpoise.training.engine import Problem
from counterpoise.training.modules import Network
from counterpoise.training.step import train_step

from ..support import small_cell, small_problem
from . import measured

EPOCHS, BATCHES, SIZE, RATE = 4, 3, 8, 1e-2
Displacement = dict[str, Tensor]


class Written:
    """What a method descends, as its paper writes it.

    Attributes:
        own: what is trained beside the network, with autograd.
    """

    own: Sequence[Tensor] = ()

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        """The scalar to descend, from the (K,) losses with their graph; their sum if not said."""
        return losses.sum()

    def shared(
        self, losses: Tensor, shared: list[Tensor], step: int, epoch: int
    ) -> list[Tensor] | None:
        """Gradients of the shared parameters, where they are not those of ``total``."""
        return None

    def looked(self, losses: Tensor) -> None:
        """After the step: the losses of the same batch."""

    def ended(self, losses: Tensor) -> None:
        """After the epoch: its mean losses."""


def _course(problem: Problem) -> Iterator[tuple[int, int, Tensor, dict[str, Tensor]]]:
    for step in range(EPOCHS * BATCHES):
        first = SIZE * (step % BATCHES)
        inputs, targets = problem.parts["train"].batch(torch.arange(first, first + SIZE))
        yield step, step // BATCHES, inputs.double(), targets


def _losses_of(network: Network, problem: Problem, inputs: Tensor, targets: Any) -> Tensor:
    z = network.trunk(inputs)
    pairs = zip(problem.tasks, problem.losses(), strict=True)
    return torch.stack([loss(network.heads[t.name](z), targets[t.name]) for t, loss in pairs])


def followed(
    name: str, options: dict[str, Any], *, normalise: bool = False
) -> tuple[Displacement, State]:
    """How far the engine and a method move the network, and the method's last state."""
    problem = small_problem(small_cell(name, options=options))
    network, method = problem.build(0)
    network = network.double()
    start = {k: v.clone() for k, v in network.state_dict().items()}
    state = {k: v.double() for k, v in method.initial_state().items()}
    own = {key: state[key] for key in method.trained}
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    normaliser, seen = None, []
    for step, epoch, inputs, targets in _course(problem):
        optimizer.zero_grad()
        state, normaliser, report = train_step(
            network, method, state, problem.tasks, problem.losses(), normaliser, inputs, targets,
            normalise=normalise, step=step, epoch=epoch,
            draws=method.draw(torch.Generator().manual_seed(step), SIZE),
        )  # fmt: skip
        optimizer.step()
        own = {key: value - RATE * report.gradients[key] for key, value in own.items()}
        state = {**state, **own}
        seen.append(report.losses)
        if method.looks_back:
            with torch.no_grad():
                losses = _losses_of(network, problem, inputs, targets)
            state = method.after_step(state, losses / normaliser)
        if (step + 1) % BATCHES == 0:
            mean = torch.stack(seen[-BATCHES:]).mean(0)
            state = method.end_of_epoch(state, Epoch(mean, mean, mean, mean, epoch))
    return {k: v - start[k] for k, v in network.state_dict().items()}, state


def transcribed(rule: Written, *, normalise: bool = False) -> Displacement:
    """How far descending what is written moves the network."""
    problem = small_problem(small_cell())
    network = problem.build(0)[0].double()
    start = {k: v.clone() for k, v in network.state_dict().items()}
    shared, heads = list(network.trunk.parameters()), list(network.heads.parameters())
    unit, seen = None, []
    for step, epoch, inputs, targets in _course(problem):
        losses = _losses_of(network, problem, inputs, targets)
        seen.append(losses.detach())
        if unit is None:
            unit = losses.detach() if normalise else torch.ones_like(losses)
        losses = losses / unit
        trunk = rule.shared(losses, shared, step, epoch)
        total = rule.total(losses, shared, step, epoch)
        everything = [*shared, *heads, *rule.own]
        found = list(torch.autograd.grad(total, everything, allow_unused=True))
        if trunk is not None:
            found[: len(shared)] = trunk
        with torch.no_grad():
            for parameter, gradient in zip(everything, found, strict=True):
                parameter -= RATE * gradient
            rule.looked(_losses_of(network, problem, inputs, targets) / unit)
        if (step + 1) % BATCHES == 0:
            rule.ended(torch.stack(seen[-BATCHES:]).mean(0))
    return {k: v - start[k] for k, v in network.state_dict().items()}


def difference(found: Displacement, expected: Displacement) -> float:
    """Largest relative difference of two displacements, over the network's tensors."""
    assert found.keys() == expected.keys()
    errors = [float((found[k] - v).norm() / v.norm()) for k, v in expected.items()]
    return max(errors)


def agree(found: Displacement, expected: Displacement, tolerance: float) -> None:
    """Two displacements that are to be the same."""
    for key, value in expected.items():
        measured.record(found[key], value)
    assert difference(found, expected) < tolerance
