"""The adversarial baseline held to autograd through a gradient-reversal layer."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from counterpoise.methods.adversarial import LAYERS
from counterpoise.training.step import train_step

from ..support import method_of, signal_of, small_cell, small_problem
from . import measured

BATCH, EPOCH, EPOCHS, HIDDEN = 24, 1, 4, 9


class Reverse(torch.autograd.Function):
    """The identity forward; backward the gradient times -strength (Ganin and Lempitsky 2015)."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, strength: float) -> Tensor:
        context.strength = strength
        return inputs.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -context.strength * gradient, None


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.5])
def test_the_whole_network_by_autograd(weight: float) -> None:
    """(1 - w) sum_k l_k + w C behind the reversal, differentiated twice through everything."""
    cell = small_cell("adversarial", options={"weight": weight, "hidden": HIDDEN})
    problem = small_problem(cell)
    network, method = problem.build(0)
    network.double()
    state = {k: v.double() for k, v in method.initial_state().items()}
    draws = method.draw(torch.Generator().manual_seed(3), BATCH)
    draws = {name: value.double() for name, value in draws.items()}
    inputs, targets = problem.parts["train"].batch(torch.arange(BATCH))
    inputs = inputs.double()
    targets = {k: v.double() if v.is_floating_point() else v for k, v in targets.items()}
    following, scale, _ = train_step(
        network, method, state, problem.tasks, problem.losses(), None, inputs, targets,
        normalise=True, step=0, epoch=EPOCH, epochs=EPOCHS, draws=draws,
    )  # fmt: skip
    found = {name: p.grad.clone() for name, p in network.named_parameters()}

    network.zero_grad()
    z = network.trunk(inputs)
    copies = [z.clone() for _ in problem.tasks]
    losses = [
        loss(head(copy), targets[task.name]) / s
        for loss, head, copy, task, s in zip(
            problem.losses(), network.heads.values(), copies, problem.tasks, scale, strict=True
        )
    ]
    strength = 2 / (1 + math.exp(-10 * (EPOCH + 1) / EPOCHS)) - 1
    layers = [draws[name].clone().requires_grad_() for name in LAYERS]
    guesses = torch.zeros((), dtype=torch.float64)
    for k, (loss, copy) in enumerate(zip(losses, copies, strict=True)):
        (gradient,) = torch.autograd.grad(loss, copy, create_graph=True)
        unit = Reverse.apply(functional.normalize(gradient, dim=1), strength)
        inner = functional.leaky_relu(functional.linear(unit, layers[0], layers[1]), 0.2)
        logits = functional.linear(inner, layers[2], layers[3])
        guesses = guesses + functional.cross_entropy(logits, torch.full((BATCH,), k)) / 3
    ((1 - weight) * sum(losses) + weight * guesses).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None
        # Units are g / (|g| + 1e-10) here and g / max(|g|, 1e-12) there.
        error = (found[name] - parameter.grad).norm() / parameter.grad.norm()
        assert float(error) < 1e-7, name
        measured.record(found[name], parameter.grad)
    if weight:  # the discriminator's first step of Adam, on C alone
        for name, layer in zip(LAYERS, layers, strict=True):
            assert layer.grad is not None
            slope = layer.grad / weight
            expected = draws[name] - 0.01 * slope / (slope.abs() + 1e-8)
            torch.testing.assert_close(following[name], expected, rtol=1e-6, atol=1e-9)


def test_the_reversal_grows_over_the_epochs() -> None:
    """lambda = 2 / (1 + exp(-10 p)) - 1: 0.46 at a tenth of the training, 0.99991 at its end."""
    method = method_of("adversarial", 2, 3, weight=0.5)
    state, own = (
        method.initial_state(),
        torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(1)),
    )
    sizes = []
    for epoch in (0, 9):
        combined, _ = method.combine(state, signal_of(method, state, own, epoch=epoch))
        assert combined.through_gradients is not None
        sizes.append(combined.through_gradients.norm())
    ratio = (2 / (1 + math.exp(-1.0)) - 1) / (2 / (1 + math.exp(-10.0)) - 1)
    assert float(sizes[0] / sizes[1]) == pytest.approx(ratio, rel=1e-5)


def test_a_discriminator_learns_which_task_a_gradient_is_of() -> None:
    method = method_of("adversarial", 2, 3)
    state = method.initial_state()
    own = torch.zeros(2, 8, 3)
    own[0, :, 0], own[1, :, 1] = 1.0, 1.0
    sizes = []
    for step in range(60):
        combined, state = method.combine(state, signal_of(method, state, own, step=step, epoch=9))
        assert combined.through_gradients is not None
        sizes.append(float(combined.through_gradients.norm()))
    # Once it is sure, its loss has no slope left.
    assert sizes[-1] < 0.1 * max(sizes)
