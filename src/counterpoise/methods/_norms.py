"""Norms and inner products of gradients; squares of large ones leave the range of float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


BLOCK = 1 << 20
"""Columns that are made float64 at a time."""
CACHED = 1 << 16
"""The same where a norm is all that is wanted, on a CPU: they stay in its cache."""
AWAY = 1 << 22
"""The same elsewhere: each block is a launch or two."""


def norms_of(gradients: Tensor) -> Tensor:
    """(n,) Frobenius norms of n gradients (n, ...), in float64."""
    columns = CACHED if gradients.device.type == "cpu" else AWAY
    parts = torch.split(gradients.flatten(1), columns, dim=1)
    norms: Tensor = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(p.double(), dim=1) for p in parts], dim=-1), dim=-1
    )
    return norms


def products_of(rows: Tensor) -> Tensor:
    """(K, K) inner products of K rows (K, P), in float64, without a matrix of that size in it."""
    total = rows.new_zeros(len(rows), len(rows), dtype=torch.float64)
    for block in torch.split(rows, BLOCK if rows.device.type == "cpu" else AWAY, dim=1):
        wide = block.double()
        total = total + wide @ wide.T
    return total
