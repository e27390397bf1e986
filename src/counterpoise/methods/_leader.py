"""Parts that the leaders of GradNorm and RotoGrad share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._adam import adam
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Signal, State

Target = Literal["norm_of_mean", "mean_of_norms"]
SMALLEST_WEIGHT = 1e-4


class LeaderOptions(base.Options):
    """Hyper-parameters of the slow player of the Stackelberg game."""

    leader_learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.02
    """Initial learning rate of the leader (section 5.2.1)."""
    decay: Annotated[float, Field(gt=0, le=1)] = 0.99
    """Factor of the exponential decay of that rate (0.9 and 0.99 are the best in Table 1)."""
    decay_unit: Literal["iteration", "epoch"] = "iteration"
    """"At each iteration, exponential decay is applied" (section 5.2.1)."""
    alpha: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    """GradNorm's exponent on the relative training rate; chosen by grid search in the paper and
    not printed. 0.5 is a value inside the usual grid, not a tuned one."""
    target: Target = "norm_of_mean"
    """Norm that weighted gradients are pulled towards: that of the mean gradient (Eq. 3) or the
    mean of the norms (Chen et al. 2018)."""
    weight_optimizer: Literal["adam", "sgd"] = "adam"
    """Update rule of the task weights. The submission does not state it; with SGD a step depends on
    the scale of the losses, with Adam it does not."""

    def decayed(self, rate: float, signal: Signal) -> float:
        """A learning rate at this step, after its decay."""
        passed = signal.step if self.decay_unit == "iteration" else signal.epoch
        return float(rate * self.decay**passed)

    def rate(self, signal: Signal) -> float:
        """The leader's learning rate alpha_t at this step."""
        return self.decayed(self.leader_learning_rate, signal)


def initial_weights(tasks: int) -> State:
    """Omega = 1, its optimizer's state and the losses that the training rates refer to."""
    return {
        "omega": torch.ones(tasks),
        "omega_steps": torch.zeros(tasks, dtype=torch.float64),
        "omega_first_moment": torch.zeros(tasks, dtype=torch.float64),
        "omega_second_moment": torch.zeros(tasks, dtype=torch.float64),
        "initial_losses": torch.zeros(tasks),
    }


def update_weights(
    state: State, signal: Signal, norms: Tensor, combined_norm: Tensor, options: LeaderOptions
) -> State:
    """One step of GradNorm's weights.

    With the gradients at some level W, G_k = ||grad_W l_k||, the relative training rates
    r_k = (l_k / l_k(0)) / mean_j (l_j / l_j(0)) and the constant target
    T_k = (1/K) ||sum_j omega_j grad_W l_j|| r_k^alpha (or mean_j omega_j G_j r_k^alpha),
    it descends sum_k |omega_k G_k - T_k|, whose derivative is sign(omega_k G_k - T_k) G_k; then
    omega is kept positive and rescaled so that it sums to K. K counts tasks with a known label in
    the batch; the weight of another, and its optimizer's state, stay as they are.

    Args:
        state: the weights and their associated state.
        signal: losses of this step.
        norms: (K,) G_k, in float64.
        combined_norm: ||sum_j omega_j grad_W l_j||, in float64.
        options: the leader's hyper-parameters.
    """
    tasks = len(signal.losses)
    omega = state["omega"].double()
    # A task without a known label in the batch has no gradient that could be compared: the others
    # are compared with each other, and share among them what is not its own.
    here = torch.ones_like(omega, dtype=torch.bool) if signal.known is None else signal.known
    count = here.sum().clamp(min=1)

    def mean_of(values: Tensor) -> Tensor:
        return torch.where(here, values, 0.0).sum() / count

    # l_k(0) is the first loss for which a label was known; until then a task makes no progress.
    initial = torch.where(
        (signal.losses > 0) & here & (state["initial_losses"] == 0),
        signal.losses,
        state["initial_losses"],
    )
    progress = torch.where(initial > 0, signal.losses / torch.where(initial > 0, initial, 1), 1)
    progress = progress.double()
    mean = mean_of(progress)
    # Where all losses have reached zero there is no slowest task: treated as at the start.
    relative = torch.where(mean == 0, 1.0, progress / torch.where(mean == 0, 1.0, mean))
    if options.target == "norm_of_mean":
        magnitude = combined_norm / count
    else:
        magnitude = mean_of(omega * norms)
    target = magnitude * relative.pow(options.alpha)
    slope = torch.sign(omega * norms - target) * norms
    # A negative loss has no relative training rate: let it show (the sign of NaN is 0), so that the
    # run ends, which is recorded as its result.
    slope = torch.where(torch.isfinite(target), slope, target)
    before = state["omega_first_moment"], state["omega_second_moment"]
    first, second = before
    if options.weight_optimizer == "adam":
        first, second, slope = adam(first, second, slope, state["omega_steps"])
    moved = (omega - options.rate(signal) * slope).clamp(min=SMALLEST_WEIGHT)
    share = tasks - torch.where(here, 0.0, omega).sum()
    moved = share * moved / torch.where(here, moved, 0.0).sum()
    return {
        **state,
        "omega": torch.where(here, moved, omega).to(state["omega"].dtype),
        "omega_steps": state["omega_steps"] + here,
        "omega_first_moment": torch.where(here, first, before[0]),
        "omega_second_moment": torch.where(here, second, before[1]),
        "initial_losses": initial,
    }
