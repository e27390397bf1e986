"""DB-MTL held to worked examples and to Algorithm 1 written with one backward pass a task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoise.methods._base import Signal
from counterpoise.training.step import train_step

from ..support import method_of, same_tensors, signal_of, small_cell, small_problem


def shown(losses: list[float], jacobian: list[list[float]], step: int) -> Signal:
    nothing = torch.zeros(len(losses), 1, 2)
    return Signal(
        torch.tensor(losses), nothing[0], nothing, nothing, nothing, step, 0,
        jacobian=torch.tensor(jacobian),
    )  # fmt: skip


def close(found: Tensor | None, expected: list[Any]) -> None:
    assert found is not None
    torch.testing.assert_close(found, torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_a_step_by_hand() -> None:
    """Losses 1 and 4; gradients (3, 4) and (0, 2).

    log: (3, 4) / 1 and (0, 2) / 4 = (0, 0.5), of norms 5 and 0.5. The larger is 5, so that the
    second becomes (0, 5): together (3, 9). Heads are weighted by 1 and 1/4.
    """
    method = method_of("db_mtl", 2, 2, beta=0.0)
    combined, _ = method.combine(
        method.initial_state(), shown([1.0, 4.0], [[3.0, 4.0], [0.0, 2.0]], 0)
    )
    close(combined.trunk, [3.0, 9.0])
    close(combined.weights, [1.0, 0.25])


def test_the_average_has_no_bias_correction() -> None:
    """beta = 0.5, the same gradients twice, norms 5 and 0.5 after the log.

    First step: half of them, alpha = 2.5, so (1.5, 2) + (0, 2.5) = (1.5, 4.5). Second: 0.75 of
    them, alpha = 3.75: (2.25, 3) + (0, 3.75) = (2.25, 6.75).
    """
    method = method_of("db_mtl", 2, 2, beta=0.5, schedule="constant")
    state = method.initial_state()
    for step, expected in enumerate(([1.5, 4.5], [2.25, 6.75])):
        combined, state = method.combine(state, shown([1.0, 4.0], [[3.0, 4.0], [0.0, 2.0]], step))
        close(combined.trunk, expected)


def test_beta_falls_with_the_root_of_the_step() -> None:
    """beta_t = 0.5 / sqrt(t): 0.5, then 0.5 / sqrt(2), on a constant gradient of norm 1."""
    method = method_of("db_mtl", 1, 1, beta=0.5, log=False)
    state = method.initial_state()
    average = 0.0
    for step in range(4):
        beta = 0.5 / (step + 1) ** 0.5
        average = beta * average + (1 - beta)
        combined, state = method.combine(state, shown([1.0], [[1.0]], step))
        close(combined.trunk, [average])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"log": False}, [3.0, 9.0]),  # norms 5 and 2, both brought to 5
        ({"norm": False}, [3.0, 4.5]),  # (3, 4) + (0, 0.5)
        ({"log": False, "norm": False}, [3.0, 6.0]),  # the plain sum
        ({"scale": "minimum"}, [0.3, 0.9]),  # both brought to 0.5
        ({"scale": "mean"}, [1.65, 4.95]),  # to 2.75
        ({"scale": 1.0}, [0.6, 1.8]),  # to a constant
    ],
)
def test_the_halves_and_the_scales(options: dict[str, Any], expected: list[float]) -> None:
    method = method_of("db_mtl", 2, 2, beta=0.0, **options)
    combined, _ = method.combine(
        method.initial_state(), shown([1.0, 4.0], [[3.0, 4.0], [0.0, 2.0]], 0)
    )
    close(combined.trunk, expected)


def test_two_steps_at_the_representation_by_hand() -> None:
    """Two items; losses 1 and 4, norms at Z 5 and 2, after the log 5 and 0.5; beta = 1/2.

    First norms (2.5, 0.25): the second task is scaled by ten. Then its gradient is three times as
    long: (3.75, 0.125 + 0.75), so by 30 / 7. v has the log's 1 and 1/4 besides.
    """
    method = method_of("db_mtl", 2, 2, level="features", schedule="constant")
    assert method.signal == "features"
    own = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 2.0], [0.0, 0.0]]])
    state, losses = method.initial_state(), torch.tensor([1.0, 4.0])
    for length, factor in ((1.0, 10.0), (3.0, 30 / 7)):
        gradients = own * torch.tensor([1.0, length])[:, None, None]
        combined, state = method.combine(state, signal_of(method, state, gradients, losses=losses))
        close(combined.mixing, [1.0, factor / 4])
        close(combined.weights, [1.0, 0.25])


def test_a_loss_that_has_no_logarithm_shows() -> None:
    method = method_of("db_mtl", 2, 2)
    _, state = method.combine(method.initial_state(), shown([-1.0, 4.0], [[3.0, 4.0], [0, 2.0]], 0))
    assert torch.isnan(state["average"][0]).all() and torch.isfinite(state["average"][1]).all()


def test_algorithm_1_with_one_backward_pass_a_task() -> None:
    """Five steps of the engine against autograd on log(l_k + epsilon), task by task, in float64.

    The oracle runs the whole network once for each task and step, and shares no code with the
    method or the engine beyond the network and the losses.
    """
    cell = small_cell("db_mtl", options={"beta": 0.9})
    problem = small_problem(cell)
    ours, method = problem.build(0)
    other, _ = problem.build(0)
    ours, other = ours.double(), other.double()
    state = {k: v.double() for k, v in method.initial_state().items()}
    own = torch.optim.SGD(ours.parameters(), lr=1e-3)
    normaliser = None
    average = [[torch.zeros_like(p) for p in other.trunk.parameters()] for _ in problem.tasks]
    for step in range(5):
        inputs, targets = problem.parts["train"].batch(torch.arange(8 * step, 8 * step + 8))
        inputs = inputs.double()
        own.zero_grad()
        state, normaliser, _ = train_step(
            ours, method, state, problem.tasks, problem.losses(), normaliser, inputs, targets,
            normalise=False, step=step, epoch=0,
        )  # fmt: skip
        own.step()
        beta = 0.9 / (step + 1) ** 0.5
        shared, heads = list(other.trunk.parameters()), []
        for k, (task, loss) in enumerate(zip(problem.tasks, problem.losses(), strict=True)):
            head = list(other.heads[task.name].parameters())
            value = torch.log(
                loss(other.heads[task.name](other.trunk(inputs)), targets[task.name]) + 1e-8
            )
            found = torch.autograd.grad(value, [*shared, *head])
            average[k] = [
                beta * a + (1 - beta) * g
                for a, g in zip(average[k], found[: len(shared)], strict=True)
            ]
            heads.append((head, found[len(shared) :]))
        norms = [torch.cat([a.flatten() for a in rows]).norm() for rows in average]
        with torch.no_grad():
            for n, parameter in enumerate(shared):
                total = sum(
                    max(norms) * rows[n] / (norm + 1e-8)
                    for rows, norm in zip(average, norms, strict=True)
                )
                parameter -= 1e-3 * total
            for head, gradients in heads:
                for parameter, gradient in zip(head, gradients, strict=True):
                    parameter -= 1e-3 * gradient
    for (key, found), expected in zip(
        ours.state_dict().items(), other.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11, msg=key)
    assert not same_tensors(ours.state_dict(), problem.build(0)[0].double().state_dict())


def test_at_the_representation_with_a_graph_a_task() -> None:
    """Five steps against autograd on log(l_k + epsilon) from a Z of each task's own, in float64."""
    problem = small_problem(small_cell("db_mtl", options={"level": "features", "beta": 0.9}))
    (ours, method), (other, _) = problem.build(0), problem.build(0)
    ours, other = ours.double(), other.double()
    state, normaliser, norms = method.initial_state(), None, torch.zeros(3).double()
    own, their = (torch.optim.SGD(net.parameters(), lr=1e-3) for net in (ours, other))
    for step in range(5):
        inputs, targets = problem.parts["train"].batch(torch.arange(8 * step, 8 * step + 8))
        inputs = inputs.double()
        own.zero_grad()
        state, normaliser, _ = train_step(
            ours, method, state, problem.tasks, problem.losses(), normaliser, inputs, targets,
            normalise=False, step=step, epoch=0,
        )  # fmt: skip
        own.step()
        their.zero_grad()
        z, found = other.trunk(inputs), []
        for task, loss in zip(problem.tasks, problem.losses(), strict=True):
            alone = z.detach().requires_grad_()
            torch.log(loss(other.heads[task.name](alone), targets[task.name]) + 1e-8).backward()
            assert alone.grad is not None
            found.append(alone.grad)
        beta = 0.9 / (step + 1) ** 0.5
        norms = beta * norms + (1 - beta) * torch.stack([g.norm() for g in found])
        z.backward(sum(norms.max() / (n + 1e-8) * g for n, g in zip(norms, found, strict=True)))
        their.step()
    for (key, value), expected in zip(
        ours.state_dict().items(), other.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-11, msg=key)
