"""Norms and inner products of gradients; squares of large ones leave the range of float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


CACHED = 1 << 16
"""Columns that are processed together on a CPU, whose cache holds a few rows of them."""
AWAY = 1 << 22
"""The same on other devices, where each block costs at least one launch."""


def blocks_of(rows: Tensor, cached: int = CACHED) -> tuple[Tensor, ...]:
    """Views (n, columns) of (n, P) rows, with as many columns as are best processed together.

    Args:
        cached: columns on a CPU.
    """
    return torch.split(rows, cached if rows.device.type == "cpu" else AWAY, dim=1)


def norms_of(gradients: Tensor) -> Tensor:
    """(n,) Frobenius norms of n gradients (n, ...), in float64."""
    parts = blocks_of(gradients.flatten(1))
    norms: Tensor = torch.linalg.vector_norm(
        torch.stack([torch.linalg.vector_norm(p.double(), dim=1) for p in parts], dim=-1), dim=-1
    )
    return norms


def products_with_sum(rows: Tensor, weights: Tensor) -> Tensor:
    """(K,) inner products of K rows (K, P) with their sum weighted by (K,), in float64."""
    total = rows.new_zeros(len(rows), dtype=torch.float64)
    for block in blocks_of(rows, CACHED // 4):
        wide = block.double()
        total = total + wide @ (weights @ wide)
    return total
