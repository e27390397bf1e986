"""rotograd-sgd: RotoGrad whose rotations follow the gradient of their objective.

A comparison of the RotoGrad submission (section 5.2.2): it minimises Eq. 8 as RotoGrad does, but by
automatic differentiation instead of the closed form R*_k. With g^k_i the gradient of item i's loss
at z^k_i and g_i = sum_k omega_k R_k^T g^k_i, both constants::

    R_k <- the rotation nearest to  R_k - alpha (2/B) sum_i (R_k g_i - g^k_i) g_i^T

Weights omega_k move as RotoGrad's do. It costs one backward pass through the trunk, and a singular
value decomposition for every R_k: of a d x d matrix or, where there are few items, of a matrix with
2 B + 1 rows, in which case rounding errors add up until the rotations are made orthogonal again,
every thousandth step.

- There is no translation: the gradient of the second problem of Eq. 8 with respect to d_k is 2
  mean_i (R_k z_i + d_k - z^k_i) = 0 at the current d_k, which therefore stays zero. Rotations are
  about the origin.
- The step scales with the squared gradients, so its learning rate has no meaning by itself and
  needs a grid of its own. Gradients are those of an item's own loss l_k(z_i), as written in section
  4.3, which are B times those of the mean over the batch; a program that differentiates the mean
  has alpha / B^2 in place of alpha.
- Determinants stay +1: the nearest rotation is taken, not the nearest orthogonal matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._leader import LeaderOptions, initial_weights, update_weights
from counterpoise.methods._norms import norms_of
from counterpoise.methods._rotation import (
    RENEWED_EVERY,
    orthonormalised,
    polar,
    turn,
    turn_back,
)

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape


def descend(own: Tensor, shared: Tensor, current: Tensor, rate: float) -> Tensor:
    """A projected gradient step on mean_i ||R g_i - g^k_i||^2, for every task.

    Args:
        own: (K, B, d) gradients g^k.
        shared: (B, d) weighted gradient g.
        current: (K, d, d) rotations R_k.
        rate: alpha.

    Returns:
        (K, d, d). A task without a usable gradient keeps its R_k.
    """
    if 2 * (2 * len(shared) + 1) < current.shape[-1]:
        return _in_span(own, shared, current, rate)
    slope = 2 / len(shared) * (current @ shared.mT - own.mT) @ shared
    usable = torch.isfinite(slope).flatten(1).all(1)[:, None, None]
    stepped = torch.where(usable, current - rate * slope, current)
    return torch.where(usable, polar(stepped, current, proper=True), current)


def _in_span(own: Tensor, shared: Tensor, current: Tensor, rate: float) -> Tensor:
    """The same within the span of a few gradients, for rotations that are orthogonal.

    With S and P_k the rows g_i and R_k^T g^k_i, the step leads to R_k M_k, M_k = I + (2 alpha / B)
    (P_k - S)^T S, whose nearest rotation is R_k times that of M_k; and M_k leaves everything
    orthogonal to all rows unchanged. One such direction is included, as it is the one to turn where
    a reflection stretches every other.
    """
    pulled = own @ current
    rows = torch.cat([shared.expand_as(pulled), pulled, torch.zeros_like(pulled[:, :1])], 1)
    usable = torch.isfinite(rows).flatten(1).all(1)[:, None, None]
    basis, _ = torch.linalg.qr(torch.where(usable, rows, 0).mT)
    same = torch.eye(basis.shape[-1], dtype=basis.dtype, device=basis.device).expand(
        len(basis), -1, -1
    )
    away, along = (pulled - shared) @ basis, shared @ basis
    inner = same + 2 * rate / len(shared) * away.mT @ along
    usable = usable & torch.isfinite(inner).flatten(1).all(1)[:, None, None]
    turned = polar(torch.where(usable, inner, same), same, proper=True)
    less = torch.where(usable, turned - same, 0)
    return torch.baddbmm(current, current @ basis, less @ basis.mT)


class RotoGradSGD(Method):
    """Rotations by gradient descent, weights by GradNorm."""

    label = "rotograd-sgd"
    signal = "features"
    on_host = "whether decompositions converge"
    kept = ("rotation",)
    properties = frozenset(
        {
            "neutral_start",
            "weighted_loss",
            "weights_sum_to_tasks",
            "equal_tasks_equal_weights",
            "plain_with_one_task",
        }
    )
    variants = ({"rotation_learning_rate": 1.0, "target": "mean_of_norms"},)

    class Options(LeaderOptions):
        """Hyper-parameters of the leader."""

        rotation_learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.02
        """Initial learning rate alpha of the rotations, which decays as the weights' does. Not
        printed for this variant; the leader's of section 5.2.1."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.leader = options

    def usable(self, losses: Tensor) -> Tensor:
        """Those that have a relative training rate."""
        return losses >= 0

    def initial_state(self) -> State:
        """Identity rotations, equal weights: step 0 equals uniform."""
        tasks, d = self.shape.tasks, self.shape.features
        return {**initial_weights(tasks), "rotation": torch.eye(d).repeat(tasks, 1, 1)}

    def represent(self, state: State, z: Tensor) -> Tensor:
        """z^k = R_k z."""
        return turn(state["rotation"], z)

    def pull_back(self, state: State, gradients: Tensor) -> Tensor:
        """R_k^T g^k."""
        return turn_back(state["rotation"], gradients)

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weights and g_i = sum_k omega_k R_k^T g^k_i; then the leader's move."""
        omega, batch = state["omega"], len(signal.z)
        shared = torch.einsum("k,kbd->bd", omega, signal.gradients)
        norms, total = norms_of(signal.gradients), shared.double().norm()
        following = update_weights(state, signal, norms, total, self.leader)
        rate = self.leader.decayed(self.leader.rotation_learning_rate, signal)
        own, current = signal.task_gradients.double(), state["rotation"].double()
        turned = descend(batch * own, batch * shared.double(), current, rate)
        if signal.step % RENEWED_EVERY == 0:
            turned = orthonormalised(turned)
        following["rotation"] = turned.to(state["rotation"].dtype)
        return Combined(omega, shared=shared), following
