"""IGBv1: gives more weight to tasks that are far from solved, relative to their own base loss.

Dai, Fei and Lu, "Improvable Gap Balancing for Multi-Task Learning" (UAI 2023, arXiv 2307.15429),
the first of its two algorithms, following the authors' public code. With B_k the mean loss over the
batches of epoch ``base_epoch`` (counted from zero) and an ideal loss of zero, from the next epoch
on::

    w = K softmax(l / B)      (the gap that can still be improved; no gradient goes through it)
    descend  sum_k w_k log l_k,   omega_k = w_k / l_k

and w_k = 1 until then, which is the scale-invariant loss.

- The second algorithm, which chooses w by reinforcement learning, is ``igb_v2``.
- Losses must be positive: otherwise the weights become NaN and the run ends, which is recorded as
  its result.

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


class IGB(Method):
    """omega_k = K softmax(l_k / B_k) / l_k."""

    label = "IGBv1"
    signal = "losses"
    properties = frozenset({"weighted_loss", "equal_tasks_equal_weights", "blind_to_loss_scale"})
    variants = ({"base_epoch": 0},)

    class Options(base.Options):
        """Hyper-parameters; the default is that of the authors' code."""

        base_epoch: Annotated[int, Field(ge=0)] = 1
        """Epoch, from zero, whose mean training losses are the bases B_k (the code)."""

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
        """The gradient of the weighted logarithms."""
        losses = signal.losses.double()
        # The log of a loss that is not positive is undefined; let it show.
        losses = torch.where(losses > 0, losses, torch.nan)
        weights = 1 / losses
        if signal.epoch > self.rule.base_epoch:
            gaps = losses / reference(state, losses)
            weights = self.shape.tasks * gaps.softmax(0) * weights
        elif signal.epoch == self.rule.base_epoch:
            state = counted(state, losses, signal)
        return Combined(weights.to(signal.losses.dtype)), state
