"""Scale-invariant loss: descend the sum of the logarithms of the losses.

The baseline *SI* of Navon et al., "Multi-Task Learning as a Bargaining Game" (ICML 2022,
arXiv 2202.01017), and the first half of DB-MTL (Lin et al., arXiv 2308.12029, Eq. 1)::

    sum_k log(l_k + epsilon),   omega_k = 1 / (l_k + epsilon)

Multiplying a loss by a constant changes nothing. It is IMTL-L with its scales solved exactly, and
the loss of STCH's warm-up.

- epsilon = 1e-8 as in DB-MTL, so that it equals ``db_mtl`` with ``norm: false`` and ``beta: 0`` at
  1/K of its passes through the trunk. Public code of the baseline SI adds no epsilon.
- Weights are not bounded: a solved task dominates.
- Losses must be positive: otherwise the weights become NaN and the run ends, which is recorded as
  its result.

Cost: one backward pass through the trunk, as with uniform weighting; no state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State

if TYPE_CHECKING:
    from torch import Tensor

EPSILON = 1e-8


class ScaleInvariant(Method):
    """omega_k = 1 / l_k."""

    label = "Scale-invariant"
    signal = "losses"
    properties = frozenset({"weighted_loss", "equal_tasks_equal_weights", "blind_to_loss_scale"})

    def usable(self, losses: Tensor) -> Tensor:
        """Those that have a logarithm."""
        return losses + EPSILON > 0

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The derivative of the logarithms."""
        shifted = signal.losses + EPSILON
        # The log of a loss that is not positive is undefined; let it show.
        return Combined(torch.where(shifted > 0, 1 / shifted, torch.nan)), state
