"""Parts that the methods with a rotation R_k for every task share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def turn(rotation: Tensor, z: Tensor) -> Tensor:
    """R_k z_i, (K, B, d), of rotations (K, d, d) and items (B, d)."""
    return z @ rotation.mT


def turn_back(rotation: Tensor, gradients: Tensor) -> Tensor:
    """R_k^T g^k_i, (K, B, d), of rotations (K, d, d) and gradients (K, B, d)."""
    return torch.einsum("kij,kbi->kbj", rotation, gradients)


RENEWED_EVERY = 1000
"""Steps after which rotations are made orthogonal again; turns in a plane let rounding add up."""
CONDITIONING = 1e-9
"""Share of the rotation as it is that is added to a matrix whose decomposition did not converge."""


def decomposed(matrix: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
    """U and V^T of a (d, d) matrix, by the first way that converges.

    On a GPU the slow and sure driver first; then the matrix at a largest element of one with a
    billionth of the rotation R_k as it is, which parts what is degenerate; and if that fails, too,
    R_k itself: the task skips this move.
    """
    largest = matrix.abs().amax()
    ways: list[tuple[Tensor, dict[str, str]]] = [
        (matrix, {"driver": "gesvd"} if matrix.is_cuda else {}),
        (matrix / torch.where(largest > 0, largest, 1) + CONDITIONING * current, {}),
    ]
    for tried, options in ways:
        try:
            u, _, vh = torch.linalg.svd(tried, **options)
        except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
            continue
        return u, vh
    return current, torch.eye(len(current), dtype=current.dtype, device=current.device)


def polar(matrix: Tensor, current: Tensor, proper: bool = False) -> Tensor:
    """Nearest orthogonal matrices U V^T to (K, d, d) matrices U S V^T.

    If the K decompositions do not all converge, each is tried by itself, and again as
    :func:`decomposed` says; a task whose matrix resists stays at ``current``.

    Args:
        matrix: (K, d, d) matrices.
        current: (K, d, d) rotations R_k as they are.
        proper: make the determinants +1 by turning the direction of the smallest singular value.
    """
    try:
        u, _, vh = torch.linalg.svd(matrix)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        each = [decomposed(*pair) for pair in zip(matrix.unbind(), current.unbind(), strict=True)]
        u, vh = (torch.stack(parts) for parts in zip(*each, strict=True))
    if proper:
        u = u.clone()
        u[..., -1] *= torch.sign(torch.linalg.det(u @ vh))[..., None]
    nearest: Tensor = u @ vh
    return nearest


def orthonormalised(rotation: Tensor) -> Tensor:
    """Nearly orthogonal matrices made more so, by a step of Newton and Schulz."""
    return 1.5 * rotation - 0.5 * rotation @ (rotation.mT @ rotation)
