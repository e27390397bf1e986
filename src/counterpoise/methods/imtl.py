"""IMTL: trained loss scales (IMTL-L) and equal projections of the scaled gradients (IMTL-G).

Liu et al., "Towards Impartial Multi-task Learning" (ICLR 2021), both halves. Each task has a scalar
s_k, zero at first, trained by the network's optimizer without weight decay::

    l'_k = exp(s_k) l_k - s_k,        d l'_k / d s_k = exp(s_k) l_k - 1
    head k receives  exp(s_k) grad l_k
    shared parameters receive  sum_k v_k exp(s_k) grad l_k,    v of IMTL-G for those gradients

At equilibrium exp(s_k) = 1 / l_k: all scaled losses are one. s_k follows its own l'_k, not weighted
by v. LibMTL applies weight decay to s, too. What the card of IMTL-G says about negative sums also
holds here.
"""

from __future__ import annotations

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Signal, State
from counterpoise.methods._gramian import LevelMethod, seen_gradients, within_range
from counterpoise.methods._torchjd import torchjd_weights

LIBRARIES = ("torchjd",)


class IMTL(LevelMethod):
    """Heads weighted by exp(s_k); v by IMTL-G of the gradients so scaled."""

    label = "IMTL"
    sequential = "TorchJD asks in a branch on the data whether the weights' sum vanishes"
    trained = ("log_scale",)
    properties = frozenset({"equal_tasks_equal_weights"})
    variants = ({"level": "features"},)

    def initial_state(self) -> State:
        """Scales of one."""
        return {"log_scale": torch.zeros(self.shape.tasks)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Scaled heads, impartial shared parameters, and the gradients of the s_k."""
        weights = state["log_scale"].exp()
        gradients, (scales,) = seen_gradients(self, signal, weights)
        mixing = weights
        if gradients.told:
            impartial = torchjd_weights("IMTLGWeighting", gradients.scaled(scales).gramian)
            mixing = within_range(impartial * scales, weights)
        descent = {"log_scale": weights * signal.losses - 1}
        return Combined(weights, mixing=mixing, gradients=descent), state
