"""ExcessMTL: weights tasks by how far each still is from its own optimum.

He et al., "Robust Multi-Task Learning with Excess Risks" (ICML 2024, arXiv 2402.02009), as
implemented in the authors' code and LibMTL. With g_k the gradient of l_k with respect to all P
shared parameters, all operations on vectors taken element by element, and the sum in h_k taken over
all steps so far::

    h_k     = sqrt(sum g_k^2 + 1e-7)            (diagonal estimate of the curvature)
    e_k     = sum (g_k^2 / h_k) / (its value at the first step)     (relative excess risk)
    omega_k <- K omega_k exp(eta e_k) / sum_j omega_j exp(eta e_j)

and omega = 1 at the first step. Unlike the loss itself, e_k is small for a task that has converged
at a high loss, so noisy labels do not earn weight.

- The weights sum to K, as in the code; in the paper they sum to one.
- The scale of e_k is its value at the first step, as in the code; the paper first trains three
  epochs with equal weights and uses their mean.
- A task whose gradient is zero at the first step has no scale; it counts as e_k = 0 until it has a
  gradient, and its excess at that step then becomes the scale. Public code divides by zero.
- A task without a known label in the batch keeps its weight: it is not one that has converged.
- h rather than its square is stored, since squares of large gradients leave the range of float32.
  Weights are stored as logarithms.
- The public code's option to use gradients at the representation is left out: in LibMTL its weights
  are NaN.

Cost: K backward passes through the trunk (LibMTL: K + 1), and memory for three K x P matrices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise import recycled
from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._norms import blocks_of
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape

FLOOR = 1e-7


def _among(here: Tensor, moved: Tensor, before: Tensor) -> Tensor:
    """(K,) logarithms of shares: the tasks that are here share what they have had; others stay."""
    nothing = torch.full_like(moved, -torch.inf)
    held, now = (torch.where(here, each, nothing).logsumexp(0) for each in (before, moved))
    return torch.where(here, moved - now + held, before)


class ExcessMTL(Method):
    """omega_k grows exponentially with the excess risk of its task."""

    label = "ExcessMTL"
    signal = "jacobian"
    properties = frozenset(
        {
            "neutral_start",
            "weighted_loss",
            "weights_sum_to_tasks",
            "equal_tasks_equal_weights",
            "plain_with_one_task",
        }
    )
    variants = ({"step_size": 1.0},)

    class Options(base.Options):
        """Hyper-parameters."""

        step_size: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
        """eta, the step size of the weights (the authors' code and LibMTL)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def initial_state(self) -> State:
        """Equal weights, no gradient yet."""
        tasks = self.shape.tasks
        return {
            "log_shares": torch.full((tasks,), 1 / tasks, dtype=torch.float64).log(),
            "first_excess": torch.zeros(tasks, dtype=torch.float64),
            "curvature": torch.tensor(FLOOR**0.5).expand(tasks, self.shape.parameters),
        }

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """This step's excess risks, and the weights that follow from them."""
        assert signal.jacobian is not None
        curvature = recycled.empty_like(state["curvature"])
        parts = []
        for g, before, h in zip(
            *map(blocks_of, (signal.jacobian, state["curvature"], curvature)), strict=True
        ):
            h.copy_(torch.hypot(before, g))  # in place it would not map over replicates
            # g (g / h) is below g in size; g^2 may leave the range of float32.
            parts.append((g / h).mul_(g).sum(1, dtype=torch.float64))
        excess = torch.stack(parts).sum(0)
        first = torch.where(state["first_excess"] > 0, state["first_excess"], excess)
        relative = torch.where(first > 0, excess / first, 0.0)
        shares = state["log_shares"] + self.rule.step_size * relative
        if signal.known is None:
            shares = shares.log_softmax(0)
        else:
            shares = _among(signal.known, shares, state["log_shares"])
        weights = (self.shape.tasks * shares.exp()).to(signal.losses.dtype)
        following = {"log_shares": shares, "first_excess": first, "curvature": curvature}
        return Combined(weights), following
