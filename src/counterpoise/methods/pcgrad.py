"""PCGrad: removes from each gradient the components that conflict with the others, in random order.

Yu et al., "Gradient Surgery for Multi-Task Learning" (NeurIPS 2020, arXiv 2001.06782), Algorithm 1.
For every task i, starting from g' = g_i, and for every other task j, in an order drawn anew for
each i::

    if g'.g_j < 0:   g' <- g' - (g'.g_j / ||g_j||^2) g_j
    shared parameters receive  sum_i g'_i

Each g'_i is a combination of the K gradients, so the Gramian is all that is needed. With two tasks
the result conflicts with neither; with more it may, since later projections can undo earlier ones.

- The order comes from the replicate's own random generator; public code and TorchJD use the global
  one.
- LibMTL also visits i itself, and adds 1e-8 to the divisor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch
from counterpoise.methods._gramian import Gradients, GramianMethod

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Signal


class PCGrad(GramianMethod):
    """v = sum of the coefficients of all g'_i."""

    label = "PCGrad"
    # Each projection shortens the projected gradient.
    properties = frozenset({"equal_tasks_equal_weights", "plain_with_one_task", "never_lengthens"})
    host_draws = ("order",)
    variants = ({"level": "features", "smoothing": 0.9},)

    def draw(self, generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        """(K, K) numbers: task i visits the others in ascending order of its row."""
        return {"order": torch.rand(self.shape.tasks, self.shape.tasks, generator=generator)}

    def mix(self, gradients: Gradients, signal: Signal) -> Tensor:
        """Project all g' at once, each along the next task of its own order."""
        gramian = gradients.gramian
        coefficients = torch.eye(len(gramian), dtype=torch.float64)
        order = signal.draws["order"].argsort(dim=1)
        # Row i, column p: values of the task that i meets p-th.
        rows, there, squares = gramian[order], coefficients[order], gramian.diagonal()[order]
        across = torch.arange(len(gramian))[:, None] != order
        for p in range(len(gramian)):
            products = (coefficients * rows[:, p]).sum(1)
            against = across[:, p] & (products < 0)
            shares = torch.where(against, products / squares[:, p], 0)
            coefficients = coefficients - shares[:, None] * there[:, p]
        return coefficients.sum(0)
