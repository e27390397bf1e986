"""RotoGrad as the 2021 submission describes it: GradNorm on Z with task-specific rotations.

"Rotograd: Dynamic Gradient Homogenization for Multitask Learning" (ICLR 2021 submission), Algorithm
1, Eqs. 3-8 and appendix A.2. Each task sees z^k = R_k (z - zbar) + zbar_k. The network follows
sum_k omega_k L_k; the leader moves omega_k as GradNorm does, R_k towards the rotation R*_k that
brings the weighted gradient closest to the task's own, and the means zbar, zbar_k towards those of
the batch. No rotation parameter receives the gradient of a task's loss.

Differences from the text, all options where there is a choice:

- Appendix A.2 prints the product of its SVD transposed. With M_k = sum_i g^k_i g_i^T = U S V^T
  the minimiser is R*_k = U V^T.
- M_k has at most the rank of the task's head (1 for regression), so R*_k is undetermined in the
  remaining directions. A plain SVD fills these arbitrarily (``tie_break="svd"``, the literal
  reading); ``proximal`` chooses, among all minimisers, the one nearest to R_k, which is
  reproducible.
- Where a task's gradient is exactly reversed (Figure 3c), R*_k lies half a turn from R_k, all paths
  to it are equally short, and projecting the step gives R_k back: the leader would never move.
  ``proximal`` breaks this tie, too, by a small fixed turn; the next steps continue from there.
- For a linear head with one output M_k has rank one. If all tasks' gradients show this,
  ``proximal`` turns R_k in one plane, without the pull of a millionth towards R_k that it needs
  otherwise, and at a cost of O(d^2) per task in place of two singular value decompositions: with d
  = 1024 and 14 tasks only this is affordable. The tie of a half turn is then broken in one plane,
  too.
- ``translation="means"`` is the form that, according to the appendix, is used; ``offset`` is
  Algorithm 1.
- The determinant of R*_k is corrected to +1, as the appendix asks.
- ``magnitudes="none"`` leaves the weights at one: rotation alone, an ablation that the paper
  lacks.
- A singular value decomposition that does not converge is tried again, task by task and, if
  necessary, with a billionth of R_k added; a task whose matrix still fails keeps its R_k for this
  step.

The author's later library of the same name implements another algorithm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

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
    from collections.abc import Sequence

    from torch import Tensor

    from counterpoise.methods._base import Shape

PROXIMAL_EPSILON = 1e-6
NUDGE = 0.2
"""Radians per unit of the leader's rate, for each pair of neighbouring coordinates, of the turn
that breaks such a tie."""
RANK_ONE_TOLERANCE = 1e-6
"""Share of a gradient's norm that rounding in float32 may leave outside its one direction."""


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
    return torch.where(usable, polar(scaled, current, proper=True), current)


def step_towards(current: Tensor, target: Tensor, rate: float, tie_break: str) -> Tensor:
    """polar(R_k - alpha (R_k - R*_k)), for every task.

    Args:
        current: (K, d, d) rotations R_k.
        target: (K, d, d) rotations R*_k.
        rate: alpha.
        tie_break: with ``proximal``, a step that the projection undoes because of a half turn
            becomes a small turn.
    """
    if rate == 1.0:
        return target
    turned = polar(current + rate * (target - current), current)
    if tie_break == "proximal" and current.shape[-1] > 1:
        way, moved = (target - current).flatten(1).norm(dim=1), (turned - current).flatten(1)
        stuck = (way > 1.0) & (moved.norm(dim=1) < 1e-6 * rate * way)
        turn = torch.ones(current.shape[-1] - 1, dtype=current.dtype, device=current.device)
        skew = NUDGE * rate * (torch.diag(turn, 1) - torch.diag(turn, -1))
        nudged = current @ torch.linalg.matrix_exp(skew)
        turned = torch.where(stuck[:, None, None], nudged, turned)
    return turned


def unit(vectors: Tensor) -> Tensor:
    """(K, d) vectors scaled to length one; zero stays zero."""
    tiny = torch.finfo(vectors.dtype).tiny
    scaled: Tensor = vectors / vectors.norm(dim=1, keepdim=True).clamp(min=tiny)
    return scaled


def heads_of(own: Tensor) -> Tensor | None:
    """Unit vectors w_k (K, d) with g^k_i = delta_i w_k, if every task's gradients are of that form.

    This is the case for a linear layer with one output.
    """
    longest = own.norm(dim=2).argmax(1)
    head = unit(own[torch.arange(len(own), device=own.device), longest])
    rest = own - (own @ head[:, :, None]) * head[:, None, :]
    small = norms_of(rest) <= RANK_ONE_TOLERANCE * norms_of(own)
    return head if bool(small.all()) else None


def turn_towards(own: Tensor, shared: Tensor, current: Tensor, head: Tensor, rate: float) -> Tensor:
    """polar(R_k - alpha (R_k - R*_k)) where M_k = w c^T has rank one, without any SVD.

    The nearest minimiser R*_k turns u = R_k c / |c| into w in the plane of the two and leaves
    everything else unchanged, so a step is a turn in that plane by a fraction of the angle: O(d^2)
    per task.

    Args:
        own: (K, B, d) gradients g^k.
        shared: (B, d) weighted gradient g.
        current: (K, d, d) rotations R_k, possibly in a lower precision, which the result then has,
            too.
        head: (K, d) unit vectors w_k.
        rate: alpha; with 1, the result is R*_k.
    """
    turned = torch.empty_like(current)
    # A wide copy of one rotation stays in a CPU's cache; elsewhere a launch should do for all.
    tasks = 1 if current.device.type == "cpu" else len(current)
    parts = zip(*(torch.split(part, tasks) for part in (own, head, current, turned)), strict=True)
    for gradients, unit_vectors, before, after in parts:
        after.copy_(_turned(gradients, shared, before.to(own.dtype), unit_vectors, rate))
    return turned


def _turned(own: Tensor, shared: Tensor, current: Tensor, head: Tensor, rate: float) -> Tensor:
    """The same for some of the tasks, all in one precision."""
    pull = (own @ head[:, :, None]).squeeze(2) @ shared
    length = pull.norm(dim=1)
    usable = torch.isfinite(length) & (length > 0)
    pull = torch.where(usable[:, None], pull, 0)
    u = unit((pull[:, None, :] @ current.mT).squeeze(1))
    cos = (u * head).sum(1)
    across = head - cos[:, None] * u
    sin = across.norm(dim=1)
    # Half a turn: every plane through u is as good; take that of the axis most across it.
    half = usable & (cos < 0) & (sin < 1e-6)
    axis = torch.nn.functional.one_hot(u.abs().argmin(1), u.shape[1]).to(u)
    across = torch.where(half[:, None], axis - (axis * u).sum(1, keepdim=True) * u, across)
    q = unit(across)
    angle = torch.atan2(rate * sin, 1 - rate + rate * cos)
    angle = torch.where(half, angle.clamp(min=NUDGE * rate), angle)
    angle = torch.where(usable, angle, 0)
    less, much = (torch.cos(angle) - 1)[:, None], torch.sin(angle)[:, None]
    left = torch.stack([less * u + much * q, less * q - much * u], dim=2)
    return torch.baddbmm(current, left, torch.stack([u, q], dim=1) @ current)


def leaders_moves(
    own: Tensor, shared: Tensor, current: Tensor, rates: Sequence[float], tie_break: str
) -> list[Tensor]:
    """polar(R_k - alpha (R_k - R*_k)), for every task, by the cheaper of the two ways.

    Computed in the precision of the gradients, returned in that of the rotations.

    Args:
        rates: each an alpha; all results come from a single look at the heads.
    """
    if tie_break == "proximal" and own.shape[2] > 1 and (head := heads_of(own)) is not None:
        return [turn_towards(own, shared, current, head, rate) for rate in rates]
    wide = current.to(own.dtype)
    target = target_rotation(own, shared, wide, tie_break)
    return [step_towards(wide, target, rate, tie_break).to(current.dtype) for rate in rates]


class RotoGrad(Method):
    """Rotations that align task gradients, on top of GradNorm's weights."""

    label = "RotoGrad (2021 submission)"
    sequential = (
        "a branch on the data spares decompositions where heads are linear with one output; to "
        "compute both ways would cost more than it saves"
    )
    on_host = (
        "whether all heads are linear with one output; if not, whether decompositions converge"
    )
    signal = "features"
    kept = ("rotation", "centre", "offset")
    # With one task and a single head a plain SVD turns the directions that the head leaves
    # undetermined, so training is plain only with `proximal`; RotoGrad's own tests check that.
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
        """Small steps to R*_k (the submission), or R_k = R*_k at once (last row of Table 1)."""
        tie_break: Literal["proximal", "svd"] = "proximal"
        """Which minimiser is chosen where the gradients leave R*_k undetermined. The submission
        does not say; the nearest to R_k moves only what the gradients require."""
        translation: Literal["means", "offset"] = "means"
        """z^k = R_k (z - zbar) + zbar_k (appendix A.2) or R_k z + d_k (Algorithm 1)."""
        magnitudes: Literal["gradnorm", "none"] = "gradnorm"
        """Task weights by GradNorm (the submission), or all one."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.leader = options

    def usable(self, losses: Tensor) -> Tensor:
        """Those that have a relative training rate, if one is needed."""
        return losses >= 0 if self.leader.magnitudes == "gradnorm" else super().usable(losses)

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
        return turn(state["rotation"], z - state["centre"]) + state["offset"][:, None, :]

    def pull_back(self, state: State, gradients: Tensor) -> Tensor:
        """R_k^T g^k."""
        return turn_back(state["rotation"], gradients)

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weights and g_i = sum_k omega_k R_k^T g^k_i; then the leader's move."""
        omega = state["omega"]
        shared = torch.einsum("k,kbd->bd", omega, signal.gradients)
        following = self._turn(state, signal, shared)
        if self.leader.magnitudes == "gradnorm":
            norms, total = norms_of(signal.gradients), shared.double().norm()
            following = update_weights(following, signal, norms, total, self.leader)
        return Combined(omega, shared=shared), following

    def _turn(self, state: State, signal: Signal, shared: Tensor) -> State:
        options = self.leader
        rate = 1.0 if options.update == "closed_form" else options.rate(signal)
        current = state["rotation"]
        own, combined = signal.task_gradients.double(), shared.double()
        rates = (rate,) if options.translation == "means" else (rate, 1.0)
        turned, *nearest = leaders_moves(own, combined, current, rates, options.tie_break)
        if signal.step % RENEWED_EVERY == 0:
            turned = orthonormalised(turned.double()).to(current.dtype)
        mean, task_means = signal.z.mean(0), signal.representations.mean(1)
        if options.translation == "means":
            centre = state["centre"] + rate * (mean - state["centre"])
            goal = task_means
        else:
            centre = state["centre"]
            goal = task_means - nearest[0] @ mean
        offset = state["offset"] + rate * (goal - state["offset"])
        return {
            **state,
            "rotation": turned,
            "centre": centre,
            "offset": offset,
        }
