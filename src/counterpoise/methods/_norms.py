"""Norms and inner products of gradients; squares of large ones leave the range of float32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


CACHED = 1 << 14
"""Columns that are made float64 at a time on a CPU: they stay in its cache."""
AWAY = 1 << 22
"""The same elsewhere: each block is a launch or two."""


def _wide_blocks(rows: Tensor) -> Iterator[Tensor]:
    """Columns of (n, P) rows in float64, some at a time."""
    for block in torch.split(rows, CACHED if rows.device.type == "cpu" else AWAY, dim=1):
        yield block.double()


def norms_of(gradients: Tensor) -> Tensor:
    """(n,) Frobenius norms of n gradients (n, ...), in float64."""
    # float64 holds the square of any float32; torch's own norm over rows is eight times as slow.
    squares = [block.square().sum(1) for block in _wide_blocks(gradients.flatten(1))]
    return torch.stack(squares).sum(0).sqrt()


def products_of(rows: Tensor) -> Tensor:
    """(K, K) inner products of K rows (K, P), in float64, without a matrix of that size in it."""
    total = rows.new_zeros(len(rows), len(rows), dtype=torch.float64)
    for block in _wide_blocks(rows):
        total = total + block @ block.T
    return total
