"""ExcessMTL held to a worked step and to its equations, task by task."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoise.methods._base import Combined, Signal, State

from ..support import method_of
from .transcription import Written, agree, followed, transcribed


def stepped(rows: list[list[float]], state: State | None, **options: Any) -> tuple[Combined, State]:
    method = method_of("excess_mtl", len(rows), len(rows[0]), **options)
    if state is None:
        state = {k: v.double() for k, v in method.initial_state().items()}
    nothing = torch.zeros(len(rows), 1, 2)
    signal = Signal(
        torch.ones(len(rows)).double(), nothing[0], nothing, nothing, nothing, 0, 0,
        jacobian=torch.tensor(rows).double(),
    )  # fmt: skip
    return method.combine(state, signal)


def test_two_steps_by_hand() -> None:
    """One parameter, eta = 1; gradients 3 and 5, then 4 and 0.

    First: g^2 / h = 3 and 5, weights one. Second: h = 5, excess 16 / 5, relative 16 / 15, and zero
    for the task without gradient: weights 2 exp(16/15) / (exp(16/15) + 1) and two minus that.
    """
    combined, state = stepped([[3.0], [5.0]], None, step_size=1.0)
    close = torch.testing.assert_close
    close(combined.weights, torch.ones(2).double())
    combined, state = stepped([[4.0], [0.0]], state, step_size=1.0)
    first = 2 / (1 + math.exp(-16 / 15))
    close(
        combined.weights, torch.tensor([first, 2 - first], dtype=torch.float64), rtol=1e-7, atol=0
    )


def test_a_task_that_starts_without_gradient_is_measured_from_its_first() -> None:
    """Public code divides by zero. First step: relative excesses 1 and 0; second: both 1 / sqrt 2
    and 1."""
    combined, state = stepped([[3.0], [0.0]], None, step_size=1.0)
    first = 2 / (1 + math.exp(-1))
    torch.testing.assert_close(
        combined.weights, torch.tensor([first, 2 - first], dtype=torch.float64), rtol=1e-7, atol=0
    )
    combined, state = stepped([[3.0], [7.0]], state, step_size=1.0)
    gap = 1 + 1 / math.sqrt(2) - 1
    first = 2 / (1 + math.exp(-gap))
    torch.testing.assert_close(
        combined.weights, torch.tensor([first, 2 - first], dtype=torch.float64), rtol=1e-7, atol=0
    )


class ExcessRisk(Written):
    def __init__(self, eta: float) -> None:
        self.eta, self.weights = eta, torch.ones(3).double()
        self.squares: list[Tensor | float] = [0.0] * 3
        self.first: Tensor | None = None

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        excess = []
        for k, loss in enumerate(losses):
            parts = torch.autograd.grad(loss, shared, retain_graph=True)
            flat = torch.cat([part.flatten() for part in parts])
            self.squares[k] = self.squares[k] + flat**2
            excess.append((flat**2 / (self.squares[k] + 1e-7).sqrt()).sum())
        now = torch.stack(excess)
        if self.first is None:
            self.first = now
        else:
            self.weights = self.weights * (self.eta * now / self.first).exp()
            self.weights = 3 * self.weights / self.weights.sum()
        return (self.weights * losses).sum()


# With raw losses and a large step the training diverges, in the oracle too.
@pytest.mark.parametrize(("eta", "normalise"), [(0.01, False), (0.01, True), (2.0, True)])
def test_the_network_moves_as_its_equations_say(eta: float, normalise: bool) -> None:
    """Twelve steps in float64, each task's gradient by its own backward pass."""
    found, _ = followed("excess_mtl", {"step_size": eta}, normalise=normalise)
    agree(found, transcribed(ExcessRisk(eta), normalise=normalise), 1e-6)
