"""The fixed point that Nash-MTL and FairGrad solve for, found by Newton's method.

G a = a^(-1/alpha), element by element, with G the Gramian and a > 0, says that a minimises the
strictly convex function::

    f(a) = a'Ga / 2 - sum_k phi(a_k),    phi'(a) = a^(-1/alpha)

so there is at most one solution, whatever the start. It exists unless a convex combination of the
gradients vanishes (a Pareto stationary point), where a grows without bound; the ridge below then
limits its growth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import np, torch
from counterpoise.methods._solving import solving

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from counterpoise.methods._gramian import Gradients

SEQUENTIAL = "Newton's method runs on the host and ends where the data say so"
"""Why methods that use it train one replicate at a time."""
RIDGE = 1e-12
"""Added to the diagonal of the cosines; the relative change of the solution is of the same size."""


ACCURACY = 1e-8
"""Largest |(G a)_k a_k^(1/alpha) - 1| before the last step of Newton's method."""


def fair_weights(gradients: Gradients, alpha: float) -> Tensor:
    """(K,) a > 0 with G a = a^(-1/alpha), G being the Gramian in its true scale.

    Tasks without a gradient take no part and get the weight one, which has no effect on the
    shared parameters.

    Raises:
        Unsolved: a step of Newton's method has no solution.
    """
    active = gradients.norms > 0
    gramian = gradients.gramian[active][:, active]
    gramian = gramian + RIDGE * gramian.diagonal().diag()
    with solving("Newton's method of the fair weights"):
        found = torch.from_numpy(_newton(gramian.numpy(), 1 / alpha))
    # Of a Gramian s^2 G the solution is s^(-2 alpha / (1 + alpha)) a.
    weights = torch.ones_like(gradients.norms)
    weights[active] = found * float(gradients.scale) ** (-2 * alpha / (1 + alpha))
    return weights


def _newton(gramian: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    """The minimiser of f, by steps that never leave a > 0 and never climb."""

    def value(a: NDArray[np.float64]) -> float:
        gain = np.log(a) if power == 1 else a ** (1 - power) / (1 - power)
        return float(a @ gramian @ a / 2 - gain.sum())

    a = np.diag(gramian) ** (-1 / (1 + power))  # the solution for orthogonal gradients
    for _ in range(200):
        slope = gramian @ a - a**-power
        curvature = gramian + np.diag(power * a ** (-power - 1))
        units = np.diag(curvature) ** -0.5
        move = -units * np.linalg.solve(curvature * np.outer(units, units), units * slope)
        step = min(1.0, 0.99 / max(float((-move / a).max()), 1e-300))
        start, fall = value(a), float(slope @ move)
        if -fall <= 1e-15 * (a @ gramian @ a):
            # The function can no longer tell the difference, as tasks of small a add next to
            # nothing to it. Their equations still can, and a last step after they hold halves
            # digits.
            residual = np.abs(slope * a**power).max()
            a = a + step * move
            if residual <= ACCURACY:
                return a
            continue
        while value(a + step * move) > start + 1e-4 * step * fall and step > 1e-10:
            step /= 2
        a = a + step * move
    return a
