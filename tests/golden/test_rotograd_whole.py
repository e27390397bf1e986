"""RotoGrad as a whole: trunk, heads, weights, rotations and translations, in numpy and by the engine.

The transcription follows background/rotograd.md, 1.2 to 1.5, and shares nothing with the method or
the engine but the numbers that both begin with.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from counterpoise.tasks import Task
from counterpoise.training.step import train_step

from ..support import method_of, signal_of
from .test_gradnorm import Transcription, double
from .test_rotograd import normal, rank_one_step
from .test_rotograd_family import plane

TASKS, BATCH, INPUTS, D = 3, 7, 5, 4
RATE, STEPS = 0.05, 25


def start(outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the trunk (INPUTS, D) and of the heads (TASKS, D, outputs), of uneven sizes."""
    sizes = np.array([3.0, 1.0, 0.3])[:, None, None]
    return normal(INPUTS, D, seed=1), normal(TASKS, D, outputs, seed=2) * sizes


def batch(step: int, outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (BATCH, INPUTS), and targets (TASKS, BATCH, outputs)."""
    return normal(BATCH, INPUTS, seed=50 + step) + 0.5, normal(TASKS, BATCH, outputs, seed=9)


def nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """U diag(1, ..., 1, det(U V^T)) V^T."""
    u, _, vh = np.linalg.svd(matrix)
    return u @ np.diag([1.0] * (len(u) - 1) + [np.linalg.det(u @ vh)]) @ vh


class Submission:
    """z^k = R_k (z - zbar) + zbar_k, or R_k z + d_k; tanh(x A) below and V_k above."""

    def __init__(self, outputs: int, options: dict[str, Any]) -> None:
        self.trunk, self.heads = start(outputs)
        self.options = options
        self.turned = np.stack([np.eye(D)] * TASKS)
        self.centre, self.offset = np.zeros(D), np.zeros((TASKS, D))
        self.weights = Transcription(
            TASKS, 0.1, 0.95, {"target": "mean_of_norms", "weight_optimizer": "adam", "alpha": 0.5}
        )
        self.first: np.ndarray | None = None

    def step(self, x: np.ndarray, targets: np.ndarray, number: int) -> None:
        z, omega = np.tanh(x @ self.trunk), self.weights.omega
        seen, losses, slopes = [], [], []
        for k in range(TASKS):
            seen.append((z - self.centre) @ self.turned[k].T + self.offset[k])
            gap = seen[k] @ self.heads[k] - targets[k]
            losses.append((gap**2).mean())
            slopes.append(2 * gap / gap.size)
        if self.first is None:
            self.first = np.array(losses)
        slopes = [slope / unit for slope, unit in zip(slopes, self.first, strict=True)]
        own = [slope @ head.T for slope, head in zip(slopes, self.heads, strict=True)]
        back = np.stack([own[k] @ self.turned[k] for k in range(TASKS)])  # rows: (R^T g)^T = g^T R
        shared = sum(omega[k] * back[k] for k in range(TASKS))
        for k in range(TASKS):
            self.heads[k] = self.heads[k] - RATE * omega[k] * seen[k].T @ slopes[k]
        self.trunk = self.trunk - RATE * x.T @ (shared * (1 - z**2))
        rate = 0.1 * 0.95**number
        if self.options.get("update") == "closed_form":
            rate = 1.0
        for k in range(TASKS):
            goal, moved = self.leader(own[k], shared, self.turned[k], rate)
            if self.options.get("translation") == "offset":
                wanted = seen[k].mean(0) - goal @ z.mean(0)  # d*_k
            else:
                wanted = seen[k].mean(0)
            self.offset[k] += rate * (wanted - self.offset[k])
            self.turned[k] = moved
        if self.options.get("translation") != "offset":
            self.centre = self.centre + rate * (z.mean(0) - self.centre)
        if self.options.get("magnitudes") != "none":
            self.weights.update(np.array(losses) / self.first, back)

    def leader(
        self, own: np.ndarray, shared: np.ndarray, current: np.ndarray, rate: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """R*_k, and R_k after the step towards it."""
        product = own.T @ shared
        if self.heads.shape[2] == 1:  # rank one: M_k = w c^T
            u, s, vh = np.linalg.svd(product)
            return tuple(rank_one_step(u[:, 0], s[0] * vh[0], current, r) for r in (1.0, rate))
        product = product / np.linalg.norm(product)
        if self.options.get("tie_break") != "svd":
            product = product + 1e-6 * current
        goal = nearest_rotation(product)
        u, _, vh = np.linalg.svd(current - rate * (current - goal))
        return goal, u @ vh


class Tiny(nn.Module):
    """The same network for the engine."""

    auxiliary_weight = 0.0

    def __init__(self, outputs: int) -> None:
        super().__init__()
        trunk, heads = start(outputs)
        self.trunk = nn.Sequential(nn.Linear(INPUTS, D, bias=False), nn.Tanh()).double()
        self.heads = nn.ModuleDict(
            {f"task{k}": nn.Linear(D, outputs, bias=False).double() for k in range(TASKS)}
        )
        with torch.no_grad():
            self.trunk[0].weight.copy_(torch.from_numpy(trunk.T))
            for head, values in zip(self.heads.values(), heads, strict=True):
                head.weight.copy_(torch.from_numpy(values.T))

    def autocast(self, device: str) -> contextlib.nullcontext[None]:
        return contextlib.nullcontext()

    def shared(self, inputs: Tensor) -> Tensor:
        z: Tensor = self.trunk(inputs)
        return z

    def shared_parameters(self) -> list[nn.Parameter]:
        return list(self.trunk.parameters())


@pytest.mark.parametrize(
    ("options", "outputs"),
    [
        ({}, D),
        ({"translation": "offset"}, D),
        ({"translation": "offset", "tie_break": "svd"}, D),
        ({"tie_break": "svd", "update": "closed_form"}, D),
        ({"translation": "offset", "update": "closed_form"}, D),
        ({"magnitudes": "none"}, 2),
        ({"translation": "offset"}, 1),
        ({}, 1),
    ],
    ids=lambda o: "-".join(map(str, o.values())) or "default" if isinstance(o, dict) else str(o),
)
def test_a_training_is_that_of_the_transcription(options: dict[str, Any], outputs: int) -> None:
    method = method_of(
        "rotograd", TASKS, D, leader_learning_rate=0.1, decay=0.95, target="mean_of_norms",
        **options,
    )  # fmt: skip
    network, expected = Tiny(outputs), Submission(outputs, options)
    tasks = tuple(Task(f"task{k}", f"{k}", outputs, "mse", ("mse",)) for k in range(TASKS))

    def loss(answers: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
        return (answers - target).square().mean()

    state, normaliser = double(method.initial_state()), None
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    for step in range(STEPS):
        x, targets = batch(step, outputs)
        named = {f"task{k}": torch.from_numpy(targets[k]) for k in range(TASKS)}
        optimizer.zero_grad()
        state, normaliser, _ = train_step(
            network, method, state, tasks, (loss,) * TASKS, normaliser, torch.from_numpy(x), named,
            normalise=True, step=step, epoch=0,
        )  # type: ignore[arg-type]  # fmt: skip
        optimizer.step()
        expected.step(x, targets, step)
        pairs = [
            (state["omega"], expected.weights.omega),
            (state["rotation"], expected.turned),
            (state["offset"], expected.offset),
            (state["centre"], expected.centre),
            (network.trunk[0].weight.detach().T, expected.trunk),
            *(
                (head.weight.detach().T, values)
                for head, values in zip(network.heads.values(), expected.heads, strict=True)
            ),
        ]
        for found, reference in pairs:
            np.testing.assert_allclose(found.numpy(), reference, rtol=1e-7, atol=1e-9)
    assert np.abs(expected.turned - np.eye(D)).max() > 0.1, "there was something to agree on"
    assert np.abs(expected.offset).max() > 0.1
    weighted = bool(np.abs(expected.weights.omega - 1).max() > 0.1)
    assert weighted is ("magnitudes" not in options)


def test_a_step_of_both_translations_by_hand() -> None:
    """One item at z = (5, 0); g_1 = (3, 0), g_2 = (0, 4), so g = (3, 4) = 5 (0.6, 0.8); alpha = 1/2.

    R*_1 turns (0.6, 0.8) to (1, 0): its angle -a has cos a = 0.6 and sin a = 0.8, so that
    R*_1 z = (3, -4). R*_2 turns it to (0, 1): its angle b has cos b = 0.8 and sin b = 0.6, so that
    R*_2 z = (4, 3). With alpha = 1/2 the step is half of each angle.

    Algorithm 1: d*_k = z^k - R*_k z, (5, 0) - (3, -4) = (2, 4) and (5, 0) - (4, 3) = (1, -3); half
    of them is made. Appendix A.2: zbar and both zbar_k are drawn half way to (5, 0).
    """
    own = torch.tensor([[[3.0, 0.0]], [[0.0, 4.0]]]).double()
    z = torch.tensor([[5.0, 0.0]]).double()
    angles = [-np.arccos(0.6) / 2, np.arccos(0.8) / 2]
    moved = {
        "offset": ([0.0, 0.0], [[1.0, 2.0], [0.5, -1.5]]),
        "means": ([2.5, 0.0], [[2.5, 0]] * 2),
    }
    for translation, (centre, offset) in moved.items():
        method = method_of(
            "rotograd", 2, 2, translation=translation, leader_learning_rate=0.5, magnitudes="none"
        )
        state = double(method.initial_state())
        combined, state = method.combine(state, signal_of(method, state, own, z=z))
        assert combined.shared is not None
        np.testing.assert_allclose(combined.shared, [[3.0, 4.0]], rtol=1e-15)
        np.testing.assert_allclose(state["rotation"], [plane(a) for a in angles], atol=1e-14)
        np.testing.assert_allclose(state["centre"], centre, atol=1e-14)
        np.testing.assert_allclose(state["offset"], offset, atol=1e-14)
