"""Geometric loss strategy: descend the geometric mean of the losses.

Chennupati et al., "MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy for
Multi-Task Learning" (CVPR workshops 2019, arXiv 1904.08492)::

    L = (prod_k l_k)^(1/K),   omega_k = dL / dl_k = L / (K l_k)

- Computed through logarithms in float64: the product of many small or large losses leaves the range
  of float32, in which LibMTL computes it; the weights that LibMTL logs lack the exponent.
- The paper's *focused* variant, which multiplies the geometric mean of chosen tasks once more, is
  left out.
- Losses must be positive: otherwise the weights become NaN and the run ends, which is recorded as
  its result.

Cost: one backward pass through the trunk, as with uniform weighting; no state.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State

if TYPE_CHECKING:
    from torch import Tensor


class GLS(Method):
    """omega_k = L / (K l_k), L the geometric mean of the losses."""

    label = "GLS"
    signal = "losses"
    properties = frozenset(
        {
            "weighted_loss",
            "equal_tasks_equal_weights",
            "plain_with_one_task",
            "blind_to_loss_scale",
        }
    )

    def usable(self, losses: Tensor) -> Tensor:
        """Those that have a logarithm."""
        return losses > 0

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The gradient of the geometric mean."""
        losses = signal.losses.double()
        # The log of a loss that is not positive is undefined; let it show.
        logs = torch.where(losses > 0, losses, torch.nan).log()
        weights = (logs.mean() - logs - math.log(self.shape.tasks)).exp()
        return Combined(weights.to(signal.losses.dtype)), state
