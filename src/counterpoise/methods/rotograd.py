"""RotoGrad as the 2021 submission describes it: GradNorm on Z with task-specific rotations.

"Rotograd: Dynamic Gradient Homogenization for Multitask Learning" (ICLR 2021 submission),
Algorithm 1, Eqs. 3-8 and appendix A.2. Each task sees z^k = R_k (z - zbar) + zbar_k. The network
follows sum_k omega_k L_k; the leader moves omega_k as GradNorm does, R_k towards the rotation
R*_k that brings the weighted gradient closest to the task's own, and the means zbar, zbar_k
towards those of the batch. No rotation parameter receives a gradient of a task's loss.

Differences from the text, all options where there is a choice:

- Appendix A.2 prints the product of its SVD transposed. With M_k = sum_i g^k_i g_i^T = U S V^T
  the minimiser is R*_k = U V^T.
- M_k has at most the rank of the task's head (1 for regression), so R*_k is free elsewhere. A
  plain SVD fills the rest arbitrarily (``tie_break="svd"``, the literal reading);
  ``proximal`` takes among all minimisers the one nearest to R_k, which is reproducible.
- Where a task's gradient is exactly reversed (Figure 3c), R*_k lies half a turn from R_k, all ways
  there are equally short, and projecting the step gives R_k back: the leader would never move.
  ``proximal`` breaks this tie, too, by a small fixed turn; the next steps go on from there.
- ``translation="means"`` is the form that the appendix says is used; ``offset`` is Algorithm 1.
- The determinant of R*_k is corrected to +1, as the appendix asks.
- ``magnitudes="none"`` leaves the weights at one: rotation alone, an ablation that the paper
  lacks.

The author's later library of the same name implements another algorithm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._leader import LeaderOptions, initial_weights, update_weights

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape

PROXIMAL_EPSILON = 1e-6
NUDGE = 0.2
"""Radians per unit of the leader's rate, for each pair of neighbouring coordinates, of the turn
that breaks such a tie."""


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


def target_rotation(own: Tensor, shared: Tensor, current: Tensor, tie_break: str) -> Tensor:
    """R*_k = argmin_R sum_i ||R g_i - g^k_i||^2 over rotations, for every task.

    Args:
        own: (K, B, d) gradients g^k.
        shared: (B, d) weighted gradient g.
        current: (K, d, d) rotations R_k.
        tie_break: ``svd`` or ``proximal`` (module docstring).

    Returns:
        (K, d, d). A task without a usable gradient keeps its R_k.
    """
    product = own.mT @ shared
    norm = torch.linalg.matrix_norm(product)[:, None, None]
    usable = torch.isfinite(norm) & (norm > 0)
    scaled = torch.where(usable, product / norm, current)
    if tie_break == "proximal":
        scaled = scaled + PROXIMAL_EPSILON * current
    return torch.where(usable, polar(scaled, proper=True), current)


def step_towards(current: Tensor, target: Tensor, rate: float, tie_break: str) -> Tensor:
    """polar(R_k - alpha (R_k - R*_k)), for every task.

    Args:
        current: (K, d, d) rotations R_k.
        target: (K, d, d) rotations R*_k.
        rate: alpha.
        tie_break: with ``proximal``, a step that a half turn has undone becomes a small turn.
    """
    if rate == 1.0:
        return target
    turned = polar(current + rate * (target - current))
    if tie_break == "proximal" and current.shape[-1] > 1:
        way, moved = (target - current).flatten(1).norm(dim=1), (turned - current).flatten(1)
        stuck = (way > 1.0) & (moved.norm(dim=1) < 1e-6 * rate * way)
        turn = torch.ones(current.shape[-1] - 1, dtype=current.dtype, device=current.device)
        skew = NUDGE * rate * (torch.diag(turn, 1) - torch.diag(turn, -1))
        nudged = current @ torch.linalg.matrix_exp(skew)
        turned = torch.where(stuck[:, None, None], nudged, turned)
    return turned


class RotoGrad(Method):
    """Rotations that align task gradients, on top of GradNorm's weights."""

    label = "RotoGrad (2021 submission)"
    signal = "features"
    kept = ("rotation", "centre", "offset")
    # With one task and a single head a plain SVD turns the directions that the head leaves free, so
    # that training is plain for `proximal` only; a test of RotoGrad's own holds that.
    properties = frozenset(
        {"neutral_start", "weighted_loss", "weights_sum_to_tasks", "equal_tasks_equal_weights"}
    )
    variants = (
        {"tie_break": "svd", "translation": "offset", "target": "mean_of_norms"},
        {"update": "closed_form"},
        {"magnitudes": "none", "decay": 1.0, "leader_learning_rate": 0.3},
    )

    class Options(LeaderOptions):
        """Hyper-parameters of the leader."""

        update: Literal["iterative", "closed_form"] = "iterative"
        """Small steps towards R*_k, or R_k = R*_k at once (last row of Table 1)."""
        tie_break: Literal["proximal", "svd"] = "proximal"
        """Which minimiser is taken where the gradients leave R*_k free."""
        translation: Literal["means", "offset"] = "means"
        """z^k = R_k (z - zbar) + zbar_k (appendix A.2) or R_k z + d_k (Algorithm 1)."""
        magnitudes: Literal["gradnorm", "none"] = "gradnorm"
        """Task weights by GradNorm, or all one."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.leader = options

    def initial_state(self) -> State:
        """Identity rotations, zero translations, equal weights: step 0 equals uniform."""
        tasks, d = self.shape.tasks, self.shape.features
        return {
            **initial_weights(tasks),
            "rotation": torch.eye(d).repeat(tasks, 1, 1),
            "centre": torch.zeros(d),
            "offset": torch.zeros(tasks, d),
        }

    def represent(self, state: State, z: Tensor) -> Tensor:
        """z^k = R_k (z - zbar) + zbar_k; with ``offset`` the centre zbar stays zero."""
        turned = torch.einsum("kij,bj->kbi", state["rotation"], z - state["centre"])
        return turned + state["offset"][:, None, :]

    def pull_back(self, state: State, gradients: Tensor) -> Tensor:
        """R_k^T g^k."""
        return torch.einsum("kij,kbi->kbj", state["rotation"], gradients)

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weights and g_i = sum_k omega_k R_k^T g^k_i; then the leader's move."""
        omega = state["omega"]
        shared = torch.einsum("k,kbd->bd", omega, signal.gradients)
        following = self._turn(state, signal, shared)
        if self.leader.magnitudes == "gradnorm":
            following = update_weights(following, signal, shared, self.leader)
        return Combined(omega, shared=shared), following

    def _turn(self, state: State, signal: Signal, shared: Tensor) -> State:
        options = self.leader
        rate = 1.0 if options.update == "closed_form" else options.rate(signal)
        current = state["rotation"].double()
        own, mean = signal.task_gradients.double(), signal.z.mean(0)
        target = target_rotation(own, shared.double(), current, options.tie_break)
        turned = step_towards(current, target, rate, options.tie_break)
        task_means = signal.representations.mean(1)
        if options.translation == "means":
            centre = state["centre"] + rate * (mean - state["centre"])
            goal = task_means
        else:
            centre = state["centre"]
            goal = task_means - target.to(mean.dtype) @ mean
        offset = state["offset"] + rate * (goal - state["offset"])
        return {
            **state,
            "rotation": turned.to(state["rotation"].dtype),
            "centre": centre,
            "offset": offset,
        }
