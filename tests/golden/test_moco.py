"""MoCo held to a worked step, to the projection's definition and to its equations task by task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor

from counterpoise.methods._base import Signal

from ..support import method_of
from .transcription import Written, agree, followed, transcribed


def shown(losses: list[float], jacobian: list[list[float]], step: int = 0) -> Signal:
    nothing = torch.zeros(len(losses), 1, 2)
    return Signal(
        torch.tensor(losses).double(), nothing[0], nothing, nothing, nothing, step, 0,
        jacobian=torch.tensor(jacobian).double(),
    )  # fmt: skip


def start(tasks: int, **options: Any) -> tuple[Any, dict[str, Tensor]]:
    method = method_of("moco", tasks, 2, **options)
    return method, {k: v.double() for k, v in method.initial_state().items()}


def test_a_step_by_hand() -> None:
    """Losses 1 and 4; gradients (3, 4) and (0, 2), of norms 5 and 2.

    H = (0.6, 0.8) and (0, 4); beta = 1/2: Y = (0.3, 0.4) and (0, 2). Y Y^T = (0.25, 0.8; 0.8, 4),
    times lambda = (1/2, 1/2): (0.525, 2.4). gamma = 1, projection: (1/2, 1/2) - (0.525, 2.4) =
    (-0.025, -1.9), whose nearest point on the simplex is (1, 0). So the trunk receives (0.3, 0.4).
    Softmax instead: 1 / (1 + exp(-1.875)) of it.
    """
    losses, rows = [1.0, 4.0], [[3.0, 4.0], [0.0, 2.0]]
    method, state = start(2, gamma=1.0, simplex="projection")
    combined, following = method.combine(state, shown(losses, rows))
    close = torch.testing.assert_close
    close(combined.trunk, torch.tensor([0.3, 0.4], dtype=torch.float64), rtol=1e-7, atol=0)
    close(combined.weights, torch.ones(2).double())
    close(following["tracked"], torch.tensor([[0.3, 0.4], [0.0, 2.0]], dtype=torch.float64))
    method, state = start(2, gamma=1.0)
    share = 1 / (1 + np.exp(-1.875))
    expected = [0.3 * share, 0.4 * share + 2 * (1 - share)]
    combined, _ = method.combine(state, shown(losses, rows))
    close(combined.trunk, torch.tensor(expected, dtype=torch.float64))


def test_the_projection_is_the_nearest_point_of_the_simplex() -> None:
    """Held to a general solver, on points inside, outside and far outside."""
    draws = np.random.default_rng(0)
    method, _ = start(5, simplex="projection")
    for scale in (0.1, 1.0, 10.0):
        for _ in range(5):
            point = draws.normal(size=5) * scale
            found = method._on_simplex(torch.from_numpy(point)).numpy()
            solved = minimize(
                lambda x, p=point: ((x - p) ** 2).sum(),
                np.full(5, 0.2),
                jac=lambda x, p=point: 2 * (x - p),
                bounds=[(0, 1)] * 5,
                constraints={"type": "eq", "fun": lambda x: x.sum() - 1},
                options={"ftol": 1e-14, "maxiter": 500},
            )
            assert found == pytest.approx(solved.x, abs=1e-6)
            assert found.sum() == pytest.approx(1, abs=1e-12) and found.min() >= 0


class Tracking(Written):
    """Heads descend the sum of their losses; the trunk gets Y^T lambda, one row after the other."""

    def __init__(self, beta: float, gamma: float, rho: float, projected: bool) -> None:
        self.beta, self.gamma, self.rho, self.projected = beta, gamma, rho, projected
        self.rows: list[Tensor] = []
        self.shares = np.full(3, 1 / 3)

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        return losses.sum()

    def shared(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> list[Tensor]:
        beta, gamma = self.beta / (step + 1) ** 0.5, self.gamma / (step + 1) ** 0.5
        for k, loss in enumerate(losses):
            parts = torch.autograd.grad(loss, shared, retain_graph=True)
            flat = torch.cat([part.flatten() for part in parts])
            if step == 0:
                self.rows.append(torch.zeros_like(flat))
            target = loss.detach() * flat / (flat.square().sum().sqrt() + 1e-8)
            self.rows[k] = self.rows[k] - beta * (self.rows[k] - target)
        products = np.array([[float(a @ b) for b in self.rows] for a in self.rows])
        values = self.shares - gamma * (products + self.rho * np.eye(3)) @ self.shares
        if self.projected:
            # One threshold for all, found by bisection.
            low, high = values.min() - 1, values.max()
            for _ in range(200):
                middle = (low + high) / 2
                above = np.maximum(values - middle, 0).sum() > 1
                low, high = (middle, high) if above else (low, middle)
            self.shares = np.maximum(values - low, 0)
        else:
            self.shares = np.exp(values) / np.exp(values).sum()
        flat = sum(float(s) * row for s, row in zip(self.shares, self.rows, strict=True))
        sizes = [p.numel() for p in shared]
        return [g.view_as(p) for g, p in zip(torch.split(flat, sizes), shared, strict=True)]


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({}, (0.5, 0.1, 0.0, False)),
        ({"beta": 0.9, "gamma": 1.0, "rho": 0.1}, (0.9, 1.0, 0.1, False)),
        ({"gamma": 0.3, "rho": 0.1, "simplex": "projection"}, (0.5, 0.3, 0.1, True)),
    ],
)
def test_the_network_moves_as_its_equations_say(options: dict[str, Any], rule: Any) -> None:
    """Twelve steps in float64, each task's gradient by its own backward pass."""
    found, state = followed("moco", options, normalise=True)
    agree(found, transcribed(Tracking(*rule), normalise=True), 1e-6)
    assert float(state["shares"].sum()) == pytest.approx(1, abs=1e-12)
