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


def test_a_step_by_hand() -> None:
    """One item, g = (3, 4) and (0, 2); one hidden unit u_1 + 0.1, logits (h, -h).

    Units (0.6, 0.8) and (0, 1): h = 0.7 and 0.1, the right answers' probabilities s(1.4) and
    1 - s(0.2), s the logistic function. dC/dh = s(1.4) - 1 and s(0.2), each the mean's half of two
    logits'. At u that times (1, 0), and at g what lies across u, over the length:
    (0.64, -0.48) / 5 and (1, 0) / 2. p = 1/10, so lambda = 2 / (1 + 1/e) - 1, and w = 1/2.
    """
    method = method_of("adversarial", 2, 2, weight=0.5, hidden=1)
    layers = ([[1.0, 0.0]], [0.1], [[1.0], [-1.0]], [0.0, 0.0])
    draws = {n: torch.tensor(v, dtype=torch.float64) for n, v in zip(LAYERS, layers, strict=True)}
    own = torch.tensor([[[3.0, 4.0]], [[0.0, 2.0]]]).double()
    state = {name: value.double() for name, value in method.initial_state().items()}
    combined, following = method.combine(state, signal_of(method, state, own, draws=draws))
    first, second = (1 / (1 + math.exp(-x)) for x in (1.4, 0.2))
    strength = (2 / (1 + math.exp(-1.0)) - 1) * 0.5
    at_first, at_second = [0.128 * (first - 1), -0.096 * (first - 1)], [0.5 * second, 0.0]
    expected = torch.tensor([[at_first], [at_second]], dtype=torch.float64)
    assert combined.through_gradients is not None and combined.weights.tolist() == [0.5, 0.5]
    # The guard of 1e-10 beside lengths of one.
    torch.testing.assert_close(
        combined.through_gradients, -strength * expected, rtol=1e-8, atol=1e-10
    )
    # Adam's first step goes the rate against the sign: both answers lean to the first task.
    torch.testing.assert_close(
        following["outer_bias"], torch.tensor([-0.01, 0.01], dtype=torch.float64), rtol=1e-6, atol=0
    )


def test_an_item_without_a_gradient_has_no_direction() -> None:
    """It changes nothing, and nothing reaches the trunk through it: 1 / 1e-10 is no derivative."""
    method = method_of("adversarial", 2, 3, weight=0.5)
    numbers = torch.Generator().manual_seed(2)
    own = torch.randn(2, 5, 3, generator=numbers)
    own[1, -1] = 0
    draws = method.draw(numbers, 5)
    state = method.initial_state()
    combined, following = method.combine(state, signal_of(method, state, own, draws=draws))
    found = combined.through_gradients
    assert found is not None and not found[1, -1].any() and float(found.abs().max()) < 1

    def loss(own: Tensor) -> Tensor:
        u = functional.normalize(own.flatten(0, 1)[:-1], dim=1)
        inner = functional.leaky_relu(functional.linear(u, *(draws[n] for n in LAYERS[:2])), 0.2)
        logits = functional.linear(inner, *(draws[n] for n in LAYERS[2:]))
        return functional.cross_entropy(logits, torch.arange(2).repeat_interleave(5)[:-1])

    expected = torch.func.grad(loss)(own)
    ratio = found[0] / expected[0]
    torch.testing.assert_close(found, float(ratio[0, 0]) * expected, rtol=1e-4, atol=1e-8)
    assert all(torch.isfinite(value).all() for value in following.values())


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
