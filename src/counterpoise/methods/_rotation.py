"""Parts that the methods with a rotation R_k for every task share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def turn(rotation: Tensor, z: Tensor) -> Tensor:
    """R_k z_i, (K, B, d), of rotations (K, d, d) and items (B, d)."""
    return torch.einsum("kij,bj->kbi", rotation, z)


def turn_back(rotation: Tensor, gradients: Tensor) -> Tensor:
    """R_k^T g^k_i, (K, B, d), of rotations (K, d, d) and gradients (K, B, d)."""
    return torch.einsum("kij,kbi->kbj", rotation, gradients)


def polar(matrix: Tensor, proper: bool = False) -> Tensor:
    """Nearest orthogonal matrices U V^T to (K, d, d) matrices U S V^T.

    Args:
        matrix: (K, d, d) matrices.
        proper: make the determinants +1 by turning the direction of the smallest singular value.
    """
    u, _, vh = torch.linalg.svd(matrix)
    if proper:
        u = u.clone()
        u[..., -1] *= torch.sign(torch.linalg.det(u @ vh))[..., None]
    nearest: Tensor = u @ vh
    return nearest
