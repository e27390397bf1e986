"""One update: the gradients that a method's decision stands for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoise.methods._base import Combined, Method, Shape, Signal, State
from counterpoise.tasks import Task
from counterpoise.training.modules import Network
from counterpoise.training.problem import Problem
from counterpoise.training.signals import laid_out
from counterpoise.training.step import StepReport, count_correct, task_outputs, train_step

from ..support import method_of, random_signals, small_cell, small_problem

# Gradients that two orders of summation give in float32 differ by some units of the last of seven
# digits; the trunk adds over thousands of terms.
CLOSE: dict[str, Any] = {"rtol": 2e-4, "atol": 2e-6}
METHODS = {
    "uniform": {},
    # With this target weights move apart also for random gradients.
    "gradnorm": {"target": "mean_of_norms"},
    "rotograd": {"target": "mean_of_norms"},
    "rotograd offset": {"translation": "offset", "tie_break": "svd"},
    "rotograd without weights": {"magnitudes": "none"},
}


@pytest.fixture
def problem() -> Problem:
    return small_problem(small_cell())


def network_of(problem: Problem) -> Network:
    return problem.build(0)[0]


def step(
    problem: Problem, network: Network, method: Method, state: State, **options: Any
) -> tuple[State, Tensor, StepReport]:
    inputs, targets = problem.parts["train"].batch(torch.arange(24))
    options = {"normaliser": None, "normalise": False, "step": 0, "epoch": 0, **options}
    return train_step(
        network, method, state, problem.tasks, problem.losses(), options.pop("normaliser"),
        inputs, targets, **options,
    )  # fmt: skip


def plain_gradients(
    problem: Problem, network: Network, method: Method, state: State, weights: Tensor, scale: Tensor
) -> dict[str, Tensor]:
    """Autograd's gradients of sum_k omega_k l_k / L_k(0) through the transform of the method."""
    network.zero_grad()
    inputs, targets = problem.parts["train"].batch(torch.arange(24))
    outputs = task_outputs(network, method.represent(state, network.trunk(inputs)))
    losses = [
        loss(output, targets[task.name])
        for loss, output, task in zip(problem.losses(), outputs, problem.tasks, strict=True)
    ]
    sum(w * value / s for w, value, s in zip(weights, losses, scale, strict=True)).backward()
    return {name: p.grad.clone() for name, p in network.named_parameters()}


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_those_of_the_weighted_loss(
    problem: Problem, name: str, normalise: bool
) -> None:
    """A method that decides nothing but weights and a transform must not change the gradient."""
    network = network_of(problem)
    method = method_of(name.split()[0], 3, network.features, **METHODS[name])
    state = random_signals(method, method.initial_state(), 5)
    _, normaliser, report = step(problem, network, method, state, step=5, normalise=normalise)
    found = {n: p.grad.clone() for n, p in network.named_parameters()}
    expected = plain_gradients(problem, network, method, state, report.weights, normaliser)
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(found[key] / scale, gradient / scale, **CLOSE)


def test_the_transform_and_the_weights_of_that_test_are_not_trivial(problem: Problem) -> None:
    method = method_of("rotograd", 3, 25, **METHODS["rotograd"])
    state = random_signals(method, method.initial_state(), 5)
    assert (state["rotation"] - torch.eye(25)).abs().max() > 0.01
    assert (state["omega"] - 1).abs().max() > 0.01


def test_losses_are_divided_by_those_of_the_first_batch(problem: Problem) -> None:
    network, method = problem.build(0)
    _, normaliser, first = step(problem, network, method, {}, normalise=True)
    torch.testing.assert_close(normaliser, first.losses)
    _, kept, second = step(problem, network, method, {}, normaliser=normaliser, normalise=True)
    assert kept is normaliser
    torch.testing.assert_close(second.losses, first.losses)  # reported as they are


def test_without_normalisation_losses_are_divided_by_one(problem: Problem) -> None:
    network, method = problem.build(0)
    _, normaliser, _ = step(problem, network, method, {})
    assert torch.equal(normaliser, torch.ones(3))


def test_a_method_is_shown_normalised_losses_and_their_gradients(problem: Problem) -> None:
    network, method = problem.build(0)
    seen: list[Signal] = []

    class Watching(type(method)):  # type: ignore[misc]
        def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
            seen.append(signal)
            return super().combine(state, signal)

    watching = Watching(method.options, method.shape)
    _, normaliser, report = step(problem, network, watching, {}, normalise=True)
    scale = torch.tensor([2.0, 4.0, 8.0])
    step(problem, network, watching, {}, normaliser=normaliser * scale, normalise=True, step=7)
    first, later = seen
    torch.testing.assert_close(first.losses, torch.ones(3))
    torch.testing.assert_close(later.losses, 1 / scale)
    torch.testing.assert_close(later.gradients, first.gradients / scale[:, None, None])
    assert (first.step, later.step, first.z.shape) == (0, 7, (24, 25))
    assert not first.z.requires_grad and not first.gradients.requires_grad
    torch.testing.assert_close(report.losses, normaliser)


def test_the_report_shows_norms_and_cosines_at_the_shared_representation(problem: Problem) -> None:
    network, method = problem.build(0)
    _, normaliser, report = step(problem, network, method, {}, normalise=True)
    inputs, targets = problem.parts["train"].batch(torch.arange(24))
    z = network.trunk(inputs)
    gradients = []
    for k, task in enumerate(problem.tasks):
        value = problem.losses()[k](network.heads[task.name](z), targets[task.name])
        gradients.append(torch.autograd.grad(value / normaliser[k], z, retain_graph=True)[0])
    total = sum(gradients)
    for k, gradient in enumerate(gradients):
        assert float(report.norms[k]) == pytest.approx(float(gradient.norm()), rel=1e-4)
        cosine = torch.nn.functional.cosine_similarity(gradient, total, dim=1)
        assert float(report.cosines[k]) == pytest.approx(float(cosine.median()), rel=1e-3)


def test_the_trunk_is_passed_backward_once_whatever_the_method(problem: Problem) -> None:
    network = network_of(problem)
    count: list[int] = []
    first = next(network.trunk.parameters())
    first.register_post_accumulate_grad_hook(lambda _: count.append(1))
    for name in ("uniform", "gradnorm", "rotograd"):
        method = method_of(name, 3, network.features)
        count.clear()
        step(problem, network, method, method.initial_state())
        assert len(count) == 1


class Watching(Method):
    """Sees the Jacobian and sums its rows: plain training."""

    signal = "jacobian"
    seen: Tensor

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        assert signal.jacobian is not None
        type(self).seen = signal.jacobian
        return Combined(torch.ones_like(signal.losses), trunk=signal.jacobian.sum(0)), state


def test_the_jacobian_is_that_of_the_normalised_losses(problem: Problem) -> None:
    """Row by row held to autograd through the whole network."""
    network = network_of(problem)
    parameters = list(network.trunk.parameters())
    size = sum(p.numel() for p in parameters)
    method = Watching(Method.Options(), Shape(3, network.features, (size,), ("a", "b", "c")))
    _, normaliser, _ = step(problem, network, method, {}, normalise=True)
    written = [laid_out(p.grad.clone(), p, 0) for p in parameters]
    inputs, targets = problem.parts["train"].batch(torch.arange(24))
    z = network.trunk(inputs)
    outputs = task_outputs(network, z.expand(3, *z.shape))
    for k, (task, loss) in enumerate(zip(problem.tasks, problem.losses(), strict=True)):
        value = loss(outputs[k], targets[task.name]) / normaliser[k]
        found = torch.autograd.grad(value, parameters, retain_graph=True)
        pairs = zip(found, parameters, strict=True)
        expected = torch.cat([laid_out(part, like, 0) for part, like in pairs])
        torch.testing.assert_close(Watching.seen[k], expected, rtol=1e-4, atol=1e-6)
    total = Watching.seen.sum(0)
    assert torch.equal(torch.cat(written), total)
    strides = [(p.grad.stride(), p.stride()) for p in parameters if p.grad is not None]
    assert all(one == other for one, other in strides), "a gradient lies as its parameter does"


def test_right_answers_are_counted_where_there_are_classes() -> None:
    softmax = Task("digit", "Digit", 3, "nll", ("accuracy",), classes=3)
    outputs = torch.tensor([[0.1, 2.0, 0.3], [3.0, 1.0, 2.0], [0.0, 0.0, 1.0]])
    assert count_correct(softmax, outputs, torch.tensor([1, 2, 2])) == 2
    binary = Task("mass", "Mass", 1, "bce", ("auroc",), classes=2)
    logits = torch.tensor([[-1.0], [0.5], [2.0], [0.0]])
    assert count_correct(binary, logits, torch.tensor([0, 1, 0, 0])) == 3
    value = Task("sum", "Sum", 1, "mse", ("mse",))
    assert torch.isnan(count_correct(value, logits, torch.zeros(4)))


def test_the_gramian_is_that_of_the_jacobian(problem: Problem) -> None:
    seen = {}

    class Mixing(Method):
        signal = "gramian"

        def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
            seen["gramian"] = signal.gramian
            ones = torch.ones_like(signal.losses)
            return Combined(ones, mixing=torch.tensor([0.5, 2.0, -1.0])), state

    network = network_of(problem)
    parameters = list(network.trunk.parameters())
    shape = Shape(3, network.features, (), ("a", "b", "c"))
    step(problem, network, Watching(Method.Options(), shape), {})
    heads = [p.grad.clone() for p in network.heads.parameters()]
    network.zero_grad()
    step(problem, network, Mixing(Method.Options(), shape), {})
    jacobian = Watching.seen
    wide = jacobian.double()
    torch.testing.assert_close(seen["gramian"], wide @ wide.T)
    # The trunk receives the mixture, and every head its own gradient.
    found = torch.cat([laid_out(p.grad, p, 0) for p in parameters])
    expected = torch.tensor([0.5, 2.0, -1.0]) @ jacobian
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    for one, other in zip(heads, network.heads.parameters(), strict=True):
        assert torch.equal(one, other.grad)


def test_a_pass_of_its_own_brings_the_same_gradient(problem: Problem) -> None:
    """K passes give the rows, from which the shared gradient follows; one more gives it again."""
    found = []
    for extra in (False, True):
        network = network_of(problem)
        method = method_of("gradnorm_deepchest", 3, network.features, extra_pass=extra)
        state = method.initial_state() | {"omega": torch.tensor([2.0, 0.5, 1.0])}
        step(problem, network, method, state)
        found.append({name: p.grad for name, p in network.named_parameters()})
    for name, gradient in found[0].items():
        assert gradient is not None and gradient.any()
        torch.testing.assert_close(gradient, found[1][name], **CLOSE)


def test_gradients_at_the_last_shared_layer(problem: Problem) -> None:
    """Of the reduced LeNet the second fully connected layer: 30 x 25 weights and 25 biases."""
    seen = {}

    class Looking(Method):
        signal = "last_layer"

        def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
            seen["rows"] = signal.last_layer
            return Combined(torch.ones_like(signal.losses)), state

    network = network_of(problem)
    shape = Shape(3, network.features, (), ("a", "b", "c"))
    step(problem, network, Looking(Method.Options(), shape), {})
    assert seen["rows"].shape == (3, 30 * 25 + 25)
    total = torch.cat([p.grad.flatten() for p in network.trunk.last.parameters()])
    torch.testing.assert_close(seen["rows"].sum(0), total, rtol=1e-4, atol=1e-6)
