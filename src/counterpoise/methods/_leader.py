"""Parts that the leaders of GradNorm and RotoGrad share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Signal, State

Target = Literal["norm_of_mean", "mean_of_norms"]
SMALLEST_WEIGHT = 1e-4
ADAM_BETAS, ADAM_EPSILON = (0.9, 0.999), 1e-8


class LeaderOptions(base.Options):
    """Hyper-parameters of the slow player of the Stackelberg game."""

    leader_learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.02
    """Initial learning rate of the leader (section 5.2.1)."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Factor of the exponential decay of that rate (0.9 and 0.99 are best in Table 1)."""
    decay_unit: Literal["iteration", "epoch"] = "iteration"
    """"At each iteration, exponential decay is applied" (section 5.2.1)."""
    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    """GradNorm's exponent on the relative training rate; chosen by grid search in the paper and
    not printed. 0.5 is a value inside the usual grid, not a tuned one."""
    target: Target = "norm_of_mean"
    """Norm that weighted gradients are drawn to: that of the mean gradient (Eq. 3) or the mean
    of the norms (Chen et al. 2018)."""
    weight_optimizer: Literal["adam", "sgd"] = "adam"
    """Update rule of the task weights. Not stated; with SGD the step depends on the scale of the
    losses, with Adam it does not."""

    def rate(self, signal: Signal) -> float:
        """The leader's learning rate alpha_t at this step."""
        passed = signal.step if self.decay_unit == "iteration" else signal.epoch
        return float(self.leader_learning_rate * self.decay**passed)


def initial_weights(tasks: int) -> State:
    """Omega = 1 with the moments of its optimizer and the losses that rates refer to."""
    return {
        "omega": torch.ones(tasks),
        "omega_first_moment": torch.zeros(tasks, dtype=torch.float64),
        "omega_second_moment": torch.zeros(tasks, dtype=torch.float64),
        "initial_losses": torch.zeros(tasks),
    }


def update_weights(state: State, signal: Signal, shared: Tensor, options: LeaderOptions) -> State:
    """One step of GradNorm's weights.

    With G_k = ||grad_Z l_k||_F, r_k = (l_k / l_k(0)) / mean_j (l_j / l_j(0)) and the constant
    target T_k = (1/K) ||sum_j omega_j grad_Z l_j||_F r_k^alpha (or mean_j omega_j G_j r_k^alpha),
    it descends sum_k |omega_k G_k - T_k|, whose derivative is sign(omega_k G_k - T_k) G_k; then
    omega is kept positive and rescaled so that it sums to K.

    Args:
        state: the weights with what belongs to them.
        signal: losses and gradients of this step.
        options: the leader's hyper-parameters.
        shared: (B, d) sum_j omega_j grad_Z l_j.
    """
    tasks = len(signal.losses)
    omega = state["omega"].double()  # squares of large gradients leave the range of float32
    initial = signal.losses if signal.step == 0 else state["initial_losses"]
    norms = signal.gradients.flatten(1).double().norm(dim=1)
    progress = (signal.losses / initial).double()
    relative = progress / progress.mean()
    if options.target == "norm_of_mean":
        magnitude = shared.double().norm() / tasks
    else:
        magnitude = (omega * norms).mean()
    target = magnitude * relative.pow(options.alpha)
    slope = torch.sign(omega * norms - target) * norms
    # A negative loss has no relative training rate: let it show (the sign of NaN is 0) and end
    # the run as a recorded result.
    slope = torch.where(torch.isfinite(target), slope, target)
    first, second = state["omega_first_moment"], state["omega_second_moment"]
    if options.weight_optimizer == "adam":
        one, two = ADAM_BETAS
        first = one * first + (1 - one) * slope
        second = two * second + (1 - two) * slope.square()
        count = signal.step + 1
        slope = (first / (1 - one**count)) / ((second / (1 - two**count)).sqrt() + ADAM_EPSILON)
    omega = (omega - options.rate(signal) * slope).clamp(min=SMALLEST_WEIGHT)
    return {
        **state,
        "omega": (tasks * omega / omega.sum()).to(state["omega"].dtype),
        "omega_first_moment": first,
        "omega_second_moment": second,
        "initial_losses": initial,
    }
