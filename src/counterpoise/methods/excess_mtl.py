"""ExcessMTL: weights grow where a task is far from its own best, not where its noise is large.

He et al., "Robust Multi-Task Learning with Excess Risks" (ICML 2024, arXiv 2402.02009). The excess
risk of task k, the loss that training could still remove, is estimated with the sum of squared
gradients so far as a diagonal Hessian (Equations 6-7); its ratio to the first one moves the weights
by exponentiated gradient (Section 3.2, Equation 9). With g_k over all shared parameters::

    h_k   = sqrt(sum over steps of g_k^2)                       element by element
    E_k   = sum_p g_kp^2 / h_kp
    r_k   = E_k / E_k of the first step
    w_k  <- w_k exp(step_size r_k), brought to sum one;   the losses are weighted by K w_k

It needs the K gradients, K backward passes of the trunk, and remembers a K x P matrix.

- In the public code, LibMTL and TorchJD without warm-up the first step moves the weights by E_k
  itself, whose scale is arbitrary; here r_k = 1 there, so that the first step is uniform
  (TorchJD's warm-up of one step). The paper's warm-up of three epochs is left out.
- Weights sum to K as in LibMTL, so that with one task it is plain training; the paper's sum to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape


class ExcessMTL(Method):
    """omega = K softmax of the summed ratios of excess risks."""

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
        """Hyper-parameters of Equation 9."""

        step_size: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
        """Step of the exponentiated gradient (LibMTL's default)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def initial_state(self) -> State:
        """Equal weights; no gradient and no risk yet."""
        tasks, parameters = self.shape.tasks, self.shape.parameters
        return {
            "log_weights": torch.zeros(tasks),
            "first_risk": torch.zeros(tasks),
            "root": torch.zeros(tasks, parameters),
        }

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weights that follow this step's risks."""
        gradients = signal.jacobian
        assert gradients is not None
        # As a root, for squares of large gradients leave the range of float32.
        root = torch.hypot(state["root"], gradients)
        share = gradients / torch.where(root > 0, root, 1)
        risk = (share * gradients).sum(1)
        first = torch.where(state["first_risk"] > 0, state["first_risk"], risk)
        # A task that has had no gradient yet has no excess risk.
        ratio = torch.where(first > 0, risk / first, 0)
        moved = (state["log_weights"] + self.rule.step_size * ratio).log_softmax(0)
        weights = self.shape.tasks * moved.exp()
        return Combined(weights), {"log_weights": moved, "first_risk": first, "root": root}
