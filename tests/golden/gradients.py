"""Gradients in float64 for the golden tests of gradient balancing, and what methods make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from counterpoise.methods._base import Combined, Method, Signal, State

from ..support import method_of
from . import measured


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SIZES = torch.tensor([100.0, 1.0, 0.1, 5.0, 30.0], dtype=torch.float64)
INDEPENDENT = [
    pytest.param(normal(1, 2, 6), id="two"),
    pytest.param(normal(2, 4, 6), id="four"),
    pytest.param(normal(3, 14, 40), id="fourteen"),
    pytest.param(normal(4, 5, 20) * SIZES[:, None], id="uneven"),
    pytest.param(normal(5, 4, 6) + 3, id="similar"),
]
DEPENDENT = [
    pytest.param(normal(6, 14, 9), id="more-than-parameters"),
    pytest.param(torch.cat([normal(7, 2, 6), normal(7, 2, 6)]), id="twice"),
]
independent = pytest.mark.parametrize("jacobian", INDEPENDENT)
every = pytest.mark.parametrize("jacobian", [*INDEPENDENT, *DEPENDENT])
PAIRS = [normal(seed, 2, 3) * SIZES[seed % 3 : seed % 3 + 2, None] for seed in range(30)]


def rows(*values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def shown(jacobian: Tensor, **more: Any) -> Signal:
    """A batch of one item, whose gradients at Z are those at the parameters."""
    at_z = jacobian[:, None]
    fields: dict[str, Any] = {
        "losses": torch.ones(len(jacobian), dtype=torch.float64), "z": at_z[0], "step": 0, "epoch": 0,
        "gramian": jacobian @ jacobian.T, "jacobian": jacobian, "representations": at_z,
        "task_gradients": at_z, "gradients": at_z,
    }  # fmt: skip
    return Signal(**fields | more)


def made(name: str, jacobian: Tensor, **options: Any) -> tuple[Method, State]:
    """A method and its first state, in float64."""
    method = method_of(name, *jacobian.shape, **options)
    return method, {k: v.double() for k, v in method.initial_state().items()}


def decided(
    name: str, jacobian: Tensor, more: dict[str, Any] | None = None, **options: Any
) -> Combined:
    method, state = made(name, jacobian, **options)
    return method.combine(state, shown(jacobian, **(more or {})))[0]


def mixing(name: str, jacobian: Tensor, **options: Any) -> Tensor:
    """v, when the heads keep their own gradients."""
    combined = decided(name, jacobian, **options)
    assert combined.mixing is not None
    assert torch.equal(combined.weights, torch.ones_like(combined.weights))
    return combined.mixing


def update(name: str, jacobian: Tensor, **options: Any) -> Tensor:
    """What the shared parameters receive."""
    return mixing(name, jacobian, **options) @ jacobian


def close(found: Any, expected: Any, tolerance: float = 1e-6) -> None:
    """Within a share of the largest value."""
    measured.record(found, expected)
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    assert found.shape == expected.shape
    error = np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300)
    assert error <= tolerance, f"{error:.1e} > {tolerance:.0e}: {found} for {expected}"
