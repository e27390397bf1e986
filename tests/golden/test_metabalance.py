"""MetaBalance held to a worked step and to its algorithm, tensor by tensor and task by task."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoise import registry
from counterpoise.methods._base import Shape, Signal
from counterpoise.tasks import Task

from ..support import method_of
from .transcription import Written, agree, followed, transcribed


def shown(jacobian: list[list[float]]) -> Signal:
    nothing = torch.zeros(len(jacobian), 1, 2)
    return Signal(
        torch.ones(len(jacobian)).double(), nothing[0], nothing, nothing, nothing, 0, 0,
        jacobian=torch.tensor(jacobian).double(),
    )  # fmt: skip


def over(tensors: tuple[int, ...], names: tuple[str, ...], **options: Any) -> Any:
    kind = registry.method("metabalance")
    return kind(kind.Options(**options), Shape(len(names), 2, tensors, names))


ROWS = [[3.0, 4.0, 1.0], [0.0, 10.0, 0.0]]


@pytest.mark.parametrize(
    ("options", "trunk"),
    [
        # First tensor: norms 5 and 10, ratio 1/2; r = 0.7 leaves 0.65 of (0, 10). Second tensor:
        # the auxiliary task does not reach it.
        ({}, [3.0, 10.5, 1.0]),
        ({"relax": 1.0}, [3.0, 9.0, 1.0]),
        ({"relax": 0.0}, [3.0, 14.0, 1.0]),
        ({"relax": 1.0, "strategy": "enlarge"}, [3.0, 14.0, 1.0]),
        # The other task as target: ratio 2 in the first tensor, 0 in the second.
        ({"relax": 1.0, "target": "b"}, [6.0, 18.0, 0.0]),
        ({"relax": 1.0, "target": "b", "strategy": "reduce"}, [3.0, 14.0, 0.0]),
    ],
)
def test_a_step_by_hand(options: dict[str, Any], trunk: list[float]) -> None:
    method = over((2, 1), ("a", "b"), **options)
    combined, following = method.combine(method.initial_state(), shown(ROWS))
    expected = torch.tensor(trunk, dtype=torch.float64)
    torch.testing.assert_close(combined.trunk, expected, rtol=1e-12, atol=0)
    norms = torch.tensor([[0.5, 0.1], [1.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(following["norms"], norms)


def test_norms_are_followed() -> None:
    """m = 0.9 * (0.5, 1) + 0.1 * (5, 0) = (0.95, 0.9): the zero gradient stays zero."""
    method = over((2,), ("a", "b"), relax=1.0)
    _, state = method.combine(method.initial_state(), shown([[3.0, 4.0], [0.0, 10.0]]))
    combined, state = method.combine(state, shown([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(state["norms"][:, 0], torch.tensor([0.95, 0.9], dtype=torch.float64))
    torch.testing.assert_close(combined.trunk, torch.tensor([3.0, 4.0]).double())


def test_an_unknown_target_is_told() -> None:
    kind = type(method_of("metabalance", 2, 3))
    tasks = (Task("left", "left", "nll", 10, 10, ("accuracy",)),)
    (problem,) = kind.problems(kind.Options(target="lefty"), tasks)
    assert "target names no task" in problem and "left" in problem


class Balanced(Written):
    """The authors' loop: one loss after the other, one parameter after the other."""

    def __init__(self, relax: float, beta: float, target: int, bounds: tuple[float, float]) -> None:
        self.relax, self.beta, self.target, self.bounds = relax, beta, target, bounds
        self.norms: dict[tuple[int, int], float] = {}

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        return losses.sum()

    def shared(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> list[Tensor]:
        found = [torch.autograd.grad(loss, shared, retain_graph=True) for loss in losses]
        for k, parts in enumerate(found):
            for n, part in enumerate(parts):
                before = self.norms.get((k, n), 0.0)
                self.norms[k, n] = before * self.beta + (1 - self.beta) * float(part.norm())
        sums = [torch.zeros_like(p) for p in shared]
        for k, parts in enumerate(found):
            for n, part in enumerate(parts):
                ratio = self.norms[self.target, n] / self.norms[k, n]
                ratio = min(max(ratio, self.bounds[0]), self.bounds[1])
                sums[n] += ratio * part * self.relax + part * (1.0 - self.relax)
        return sums


ANY = (0.0, float("inf"))


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({}, (0.7, 0.9, 0, ANY)),
        ({"relax": 1.0, "beta": 0.5, "strategy": "reduce"}, (1.0, 0.5, 0, (0.0, 1.0))),
        ({"relax": 0.4, "strategy": "enlarge"}, (0.4, 0.9, 0, (1.0, float("inf")))),
    ],
)
def test_the_network_moves_as_the_algorithm_says(options: dict[str, Any], rule: Any) -> None:
    """Twelve steps in float64, each task's gradient by its own backward pass."""
    found, _ = followed("metabalance", options)
    agree(found, transcribed(Balanced(*rule)), 1e-6)
