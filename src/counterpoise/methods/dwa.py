"""Dynamic weight average: gives more weight to tasks whose loss falls slowly, once per epoch.

Liu, Johns and Davison, "End-to-End Multi-Task Learning with Attention" (CVPR 2019,
arXiv 1803.10704), section 3.3. With L_k(e) the mean unweighted training loss of task k in epoch e
and T a temperature::

    r_k = L_k(e - 1) / L_k(e - 2),   omega_k(e) = K exp(r_k / T) / sum_j exp(r_j / T)

and omega_k = 1 during the first two epochs, which have no two earlier epochs to compare. As in
LibMTL and the authors' code, losses are counted while the epoch runs and the weights of the network
change.

- Only ratios enter, so the units and the normalisation of the losses do not matter.
- A task whose mean loss was exactly zero has no rate and is given r_k = 1; public code divides by
  zero in this case.
- The public code of IGB uses windows of 25 steps in place of epochs.

Cost: one backward pass through the trunk, as with uniform weighting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Epoch, Method, Signal, State
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape


class DWA(Method):
    """omega = K softmax(rate of the losses / T)."""

    label = "DWA"
    signal = "losses"
    properties = frozenset(
        {
            "neutral_start",
            "weighted_loss",
            "weights_sum_to_tasks",
            "equal_tasks_equal_weights",
            "plain_with_one_task",
        }
    )
    variants = ({"temperature": 0.5},)

    class Options(base.Options):
        """Hyper-parameters."""

        temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 2.0
        """T; larger values make the weights more equal (the paper's and LibMTL's value)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def initial_state(self) -> State:
        """Equal weights, and no losses of an earlier epoch."""
        tasks = self.shape.tasks
        return {
            "omega": torch.ones(tasks),
            "last_losses": torch.zeros(tasks, dtype=torch.float64),
        }

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The epoch's weights."""
        return Combined(state["omega"]), state

    def end_of_epoch(self, state: State, epoch: Epoch) -> State:
        """The weights of the next epoch."""
        last, losses = state["last_losses"], epoch.losses.double()
        # Zero before there are any: with equal rates the weights stay at one.
        rates = torch.where(last == 0, 1.0, losses / last)
        omega = self.shape.tasks * (rates / self.rule.temperature).softmax(0)
        return {"omega": omega.to(state["omega"].dtype), "last_losses": losses}
