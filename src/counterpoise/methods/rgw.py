"""RGW: random weights for the gradients of the shared parameters, drawn anew at every step.

Lin et al., "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning"
(TMLR 2022, arXiv 2111.10603), Algorithm 2 (random gradient weighting)::

    v = softmax(x),   x ~ N(0, 1)^K
    shared parameters receive  sum_k v_k grad l_k; heads their own gradients

A method that cannot beat this has demonstrated nothing. It looks at no gradients, and costs the
same as uniform weights. The weights sum to one: the update is about 1/K of that of uniform weights.
Random weights for the losses (Algorithm 1), which reach the heads as well, are another method
(``rlw``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State

if TYPE_CHECKING:
    from torch import Tensor


class RGW(Method):
    """v = softmax of normal numbers."""

    label = "RGW"
    signal = "losses"
    properties = frozenset({"weights_sum_to_one", "plain_with_one_task", "never_lengthens"})

    def draw(self, generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        """(K,) standard normal numbers."""
        return {"x": torch.randn(self.shape.tasks, generator=generator)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The step's weights."""
        mixing = signal.draws["x"].softmax(0).to(signal.losses)
        return Combined(torch.ones_like(signal.losses), mixing=mixing), state
