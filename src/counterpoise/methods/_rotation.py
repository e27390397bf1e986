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
"""Steps after which rotations are re-orthogonalised; with turns in a plane rounding errors add
up."""
CONDITIONING = 1e-9
"""Share of the current rotation that is added to a matrix whose decomposition did not converge."""


def decomposed(matrix: Tensor, current: Tensor) -> tuple[Tensor, Tensor]:
    """U and V^T of a (d, d) matrix, by the first way that converges.

    On a GPU the slow but reliable driver is tried first; then the matrix, scaled to a largest
    element of one, with a billionth of the current rotation R_k added, which separates degenerate
    singular values; and if that fails, too, R_k itself is used: the task skips this move.
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

    If the K decompositions do not all converge, each is tried separately, and again as described in
    :func:`decomposed`; a task whose matrix still fails stays at ``current``.

    Args:
        matrix: (K, d, d) matrices.
        current: (K, d, d) current rotations R_k.
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
    """Nearly orthogonal matrices made more orthogonal by one Newton-Schulz step."""
    return 1.5 * rotation - 0.5 * rotation @ (rotation.mT @ rotation)
