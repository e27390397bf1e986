"""IMTL-L: trained scales bring all losses to the same size.

The loss half of Liu et al., "Towards Impartial Multi-Task Learning" (ICLR 2021, OpenReview
IMPnRXEWpvr). The network's optimizer trains s_k together with the network, on::

    sum_k  exp(s_k) l_k - s_k,   omega_k = exp(s_k),   d / d s_k = exp(s_k) l_k - 1

so that exp(s_k) l_k is pulled towards one. With s solved exactly it is the scale-invariant loss, up
to a constant.

- The paper writes a^s for any base a > 1 and uses a = e and an initial s = 0, as LibMTL does.
- s is trained without weight decay; LibMTL applies the network's weight decay to it, a defect:
  decay pulls the weights back to one.
- LibMTL has this half only together with the gradient half, IMTL-G.

Cost: one backward pass through the trunk, as with uniform weighting, and K trained numbers.
"""

from __future__ import annotations

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State


class IMTLL(Method):
    """omega_k = exp(s_k), s_k trained."""

    label = "IMTL-L"
    signal = "losses"
    trained = ("log_scale",)
    properties = frozenset({"neutral_start", "weighted_loss", "equal_tasks_equal_weights"})

    def initial_state(self) -> State:
        """Scales of one."""
        return {"log_scale": torch.zeros(self.shape.tasks)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """This step's scales, and the gradient of their logarithms."""
        weights = state["log_scale"].exp()
        gradient = weights * signal.losses - 1
        return Combined(weights, gradients={"log_scale": gradient}), state
