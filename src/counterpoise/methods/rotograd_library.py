"""RotoGrad as in the author's later library (PyPI ``rotograd`` 0.1.6): another algorithm.

Javaloy and Valera, "RotoGrad: Gradient Homogenization in Multitask Learning" (ICLR 2022), following
the class ``RotoGrad`` of their public code, reimplemented from a description of it. This is not the
submission's algorithm (``rotograd``). Task k sees z^k = R_k z, without translation. With G_k =
R_k^T g^k the task's gradient at Z (all items), n_k = ||G_k|| and m = ||mean_k G_k||::

    v   = mean_k (m / n_k) G_k                                      the direction to agree on
    R_k : one step of Adam on sum_i ||R_k v_i - g^k_i||^2,  R_k = exp(L_k - L_k^T)
    a_k = r_k / sum_j r_j,  r_k = n_k / n_k(t0)                     how far a task has come
    Z receives  C sum_k G_k / n_k,  C = sum_k a_k n_k               all tasks at one norm

Heads descend their own losses, not weighted. L_k is strictly lower triangular and starts at zero.
t0 is the first step and, from step ``burn_in`` on, that step. It costs one backward pass through
the trunk and, for every task, two exponentials of a d x d matrix and the derivative of one, O(d^3):
expensive where d is large. (The library can restrict rotations to the first coordinates; that
option is left out.)

- The library asks for identity rotations, but geotorch, which it uses to parametrise them, replaces
  them by random ones (versions 0.2 and 0.3; 0.4 is no longer compatible with it). Here they start
  at the identity.
- The library leaves the leader's optimizer to its user. The defaults here are those of the author's
  toy example; for NYUv2 a public comparison (rotograd-mtl) used a learning rate of 5e-5.
- The sum over items is the code's, whose indices leave its mean nothing to average; under Adam sum
  and mean are equivalent.
- The library guards divisions by norms with 1e-15, in two forms; here norms are at least 1e-15.
- A task without a gradient at t0 would be compared with that guard for ever; here it keeps its
  earlier norm, or takes the first one that it has.
- The library's own normalisation of losses, off by default and renewed at ``burn_in``, is left out:
  that of the protocol takes its place.
- Sums and moments are in float64.
- The class ``RotoGradNorm``, which uses GradNorm's weights instead, is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._adam import adam
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._norms import norms_of
from counterpoise.methods._rotation import turn, turn_back
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape

SMALLEST_NORM = 1e-15


def rotation_of(lower: Tensor) -> Tensor:
    """exp(L - L^T), a rotation, of the strictly lower triangles L of (K, d, d) matrices."""
    lower = lower.tril(-1)
    rotation: Tensor = torch.linalg.matrix_exp(lower - lower.mT)
    return rotation


def slope_of(lower: Tensor, goal: Tensor, own: Tensor) -> Tensor:
    """Gradient of sum_k sum_i ||R_k v_i - g^k_i||^2 at (K, d, d) parameters L_k.

    Args:
        lower: the parameters.
        goal: (B, d) v.
        own: (K, B, d) g^k.
    """

    def distance(lower: Tensor) -> Tensor:
        gap = turn(rotation_of(lower), goal) - own
        return gap.square().sum()

    slope: Tensor = torch.func.grad(distance)(lower)
    return slope


class RotoGradLibrary(Method):
    """Rotations by Adam on their exponential coordinates; gradients of one norm."""

    label = "RotoGrad (author's library)"
    signal = "features"
    on_host = "which degree the exponentials of matrices take (torch)"
    kept = ("rotation",)
    # A gradient's scale does not change the direction of a step, but it does change how rotations
    # move.
    properties = frozenset({"weights_sum_to_tasks", "equal_tasks_equal_weights"})
    variants = ({"leader_learning_rate": 0.001, "decay": 1.0, "burn_in": 0},)

    class Options(base.Options):
        """Hyper-parameters of the leader."""

        leader_learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.05
        """Initial learning rate of Adam (the author's example)."""
        decay: Annotated[float, Field(gt=0, le=1)] = 0.99999
        """Factor of its exponential decay at each step (the author's example)."""
        burn_in: Annotated[int, Field(ge=0)] = 20
        """Step at which the norms n_k(t0) are fixed (the library)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.leader = options

    def initial_state(self) -> State:
        """Identity rotations."""
        tasks, d = self.shape.tasks, self.shape.features
        moment = torch.zeros(tasks, d, d, dtype=torch.float64)
        return {
            "rotation": torch.eye(d).repeat(tasks, 1, 1),
            "lower": torch.zeros(tasks, d, d),
            "first_moment": moment,
            "second_moment": moment.clone(),
            "initial_norms": torch.zeros(tasks, dtype=torch.float64),
        }

    def represent(self, state: State, z: Tensor) -> Tensor:
        """z^k = R_k z."""
        return turn(state["rotation"], z)

    def pull_back(self, state: State, gradients: Tensor) -> Tensor:
        """R_k^T g^k."""
        return turn_back(state["rotation"], gradients)

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Gradients of one norm; then the rotations' move."""
        options = self.leader
        norms = norms_of(signal.gradients).clamp(min=SMALLEST_NORM)
        taken = norms > SMALLEST_NORM
        if signal.step not in (0, options.burn_in):
            taken = taken & (state["initial_norms"] == 0)
        initial = torch.where(taken, norms, state["initial_norms"])
        ratios = norms / torch.where(initial > 0, initial, norms)
        common = (ratios / ratios.sum() * norms).sum()
        gradients = signal.gradients.double()
        scales = gradients.mean(0).norm() / norms
        goal = torch.einsum("k,kbd->bd", scales, gradients) / self.shape.tasks
        slope = slope_of(state["lower"].double(), goal, signal.task_gradients.double())
        one, two, direction = adam(
            state["first_moment"], state["second_moment"], slope, signal.step
        )
        rate = options.leader_learning_rate * options.decay**signal.step
        lower = state["lower"].double() - rate * direction
        dtype = state["rotation"].dtype
        return Combined(torch.ones_like(signal.losses), mixing=(common / norms).to(dtype)), {
            "rotation": rotation_of(lower).to(dtype),
            "lower": lower.to(dtype),
            "first_moment": one,
            "second_moment": two,
            "initial_norms": initial,
        }
