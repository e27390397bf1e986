"""STCH: a smooth maximum of the losses, each relative to its value after a warm-up.

Lin et al., "Smooth Tchebycheff Scalarization for Multi-Objective Optimization" (ICML 2024,
arXiv 2402.19078), as the authors' code for multi-task learning applies it. While the epoch, counted
from zero, is at most ``warmup``, it descends sum_k log l_k; then, with z_k the mean of l_k over the
batches of epoch ``warmup`` (the nadir)::

    K mu log sum_k exp(log(l_k / z_k) / mu)

    omega_k = K softmax_k(log(l_k / z_k) / mu) / l_k

With mu = 1 this is K / (z_k sum_j l_j / z_j); as mu goes to zero only the worst task counts.

- ``warmup: 4`` means five epochs of warm-up, as in the authors' code and LibMTL. A shorter run
  never leaves it.
- The nadir is kept in the state, so a resumed run continues exactly as before; LibMTL, when started
  after the warm-up, divides by zero.
- Public code adds 1e-20 inside both logarithms; here nothing is added. Losses must be positive:
  otherwise the weights become NaN and the run ends, which is recorded as its result.
- All preferences are equal and the ideal point is zero, as in the authors' code.

Cost: one backward pass through the trunk, as with uniform weighting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._reference import counted, no_reference, reference
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape


class STCH(Method):
    """omega_k = K softmax(log(l_k / z_k) / mu) / l_k."""

    label = "STCH"
    signal = "losses"
    properties = frozenset({"weighted_loss", "equal_tasks_equal_weights", "blind_to_loss_scale"})
    variants = ({"warmup": 0, "mu": 0.1},)

    class Options(base.Options):
        """Hyper-parameters; the defaults are those of the authors' code and LibMTL."""

        mu: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
        """Smoothness of the maximum; with small values only the worst task counts (LibMTL)."""
        warmup: Annotated[int, Field(ge=0)] = 4
        """Last epoch of the warm-up, counted from zero; its mean losses are the nadir (LibMTL)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def initial_state(self) -> State:
        """No losses to average yet."""
        return no_reference(self.shape.tasks)

    def usable(self, losses: Tensor) -> Tensor:
        """Those that have a logarithm."""
        return losses > 0

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The gradient of the warm-up's loss or of the smooth maximum."""
        losses = signal.losses.double()
        # The log of a loss that is not positive is undefined; let it show.
        losses = torch.where(losses > 0, losses, torch.nan)
        weights = 1 / losses
        if signal.epoch > self.rule.warmup:
            share = ((losses / reference(state, losses)).log() / self.rule.mu).softmax(0)
            weights = self.shape.tasks * share * weights
        elif signal.epoch == self.rule.warmup:
            state = counted(state, losses, signal)
        return Combined(weights.to(signal.losses.dtype)), state
