"""Adam (Kingma and Ba, arXiv 1412.6980) for parameters that methods train themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BETAS, EPSILON = (0.9, 0.999), 1e-8


def adam(
    first: Tensor, second: Tensor, slope: Tensor, step: int | Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One step, counted from zero: both moments, and the direction to subtract.

    Args:
        first: moments of the slopes before.
        second: moments of their squares.
        slope: the gradient.
        step: number of steps made before.
    """
    one, two = BETAS
    first = one * first + (1 - one) * slope
    second = two * second + (1 - two) * slope.square()
    count = step + 1
    direction = (first / (1 - one**count)) / ((second / (1 - two**count)).sqrt() + EPSILON)
    return first, second, direction
