"""MTAdam held to a worked step, to torch's Adam with one task, and to its algorithm term by term."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoise import registry
from counterpoise.methods._base import Shape, Signal

from .transcription import Written, agree, followed, transcribed


def shown(jacobian: Tensor, step: int = 0) -> Signal:
    nothing = torch.zeros(len(jacobian), 1, 2)
    return Signal(
        torch.ones(len(jacobian)).double(), nothing[0], nothing, nothing, nothing, step, 0,
        jacobian=jacobian.double().clone(),  # which the method writes into
    )  # fmt: skip


def over(tensors: tuple[int, ...], tasks: int, **options: Any) -> Any:
    kind = registry.method("mtadam")
    names = tuple("abc"[:tasks])
    method = kind(kind.Options(**options), Shape(tasks, 2, tensors, names))
    return method, {k: v.double() for k, v in method.initial_state().items()}


def test_a_step_by_hand() -> None:
    """Norms 5 and 10 in the first tensor: (0, 10) becomes (0, 5), the largest roots are (3, 5), and
    the step is (3/3, 4/5 + 5/5). The second tensor has no gradient of a, so b is its own anchor."""
    method, state = over((2, 1), 2)
    rows = torch.tensor([[3.0, 4.0, 0.0], [0.0, 10.0, -2.0]])
    combined, following = method.combine(state, shown(rows))
    expected = torch.tensor([1.0, 1.8, -1.0], dtype=torch.float64)
    torch.testing.assert_close(combined.trunk, expected, rtol=1e-8, atol=0)
    norms = torch.tensor([[5.0, 0.0], [10.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(following["norms"], norms)


def test_with_one_task_it_is_adam() -> None:
    """torch.optim.Adam over twenty steps."""
    draws = torch.Generator().manual_seed(0)
    ours = torch.randn(5, generator=draws, dtype=torch.float64)
    theirs = torch.nn.Parameter(ours.clone())
    adam = torch.optim.Adam([theirs], lr=0.01)
    method, state = over((2, 3), 1)
    for step in range(20):
        gradient = torch.randn(5, generator=draws, dtype=torch.float64)
        combined, state = method.combine(state, shown(gradient[None], step))
        ours = ours - 0.01 * combined.trunk
        theirs.grad = gradient
        adam.step()
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=0)


class Terms(Written):
    """The algorithm, one loss and one parameter after the other, with v itself."""

    def __init__(self, beta1: float, beta2: float, beta3: float) -> None:
        self.betas, self.kept = (beta1, beta2, beta3), {}

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        return losses.sum()

    def shared(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> list[Tensor]:
        beta1, beta2, beta3 = self.betas
        terms: list[list[tuple[Tensor, Tensor]]] = [[] for _ in shared]
        for k, loss in enumerate(losses):
            parts = torch.autograd.grad(loss, shared, retain_graph=True)
            for n, part in enumerate(parts):
                norm, m, v = self.kept.get((k, n), (float(part.norm()), 0.0, 0.0))
                norm = norm * beta3 + (1 - beta3) * float(part.norm())
                anchor = norm if k == 0 else self.kept[0, n][0]
                scaled = part * anchor / norm
                m = beta1 * m + (1 - beta1) * scaled
                v = beta2 * v + (1 - beta2) * scaled**2
                self.kept[k, n] = (norm, m, v)
                terms[n].append(
                    (m / (1 - beta1 ** (step + 1)), (v / (1 - beta2 ** (step + 1))).sqrt() + 1e-8)
                )
        steps = []
        for found in terms:
            largest = found[0][1]
            for _, root in found[1:]:
                largest = torch.maximum(largest, root)
            steps.append(sum((m / largest for m, _ in found), torch.zeros_like(largest)))
        return steps


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({}, (0.9, 0.999, 0.9)),
        ({"beta1": 0.5, "beta2": 0.9, "beta3": 0.3}, (0.5, 0.9, 0.3)),
    ],
)
def test_the_network_moves_as_the_algorithm_says(options: dict[str, Any], rule: Any) -> None:
    """Twelve steps in float64, each task's gradient by its own backward pass."""
    found, _ = followed("mtadam", options)
    agree(found, transcribed(Terms(*rule)), 1e-6)
