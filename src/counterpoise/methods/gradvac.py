"""GradVac: turns gradients towards each other until they are as similar as usual.

Wang et al., "Gradient Vaccine" (ICLR 2021, arXiv 2010.05874). rho_ij is the target similarity of
tasks i and j, zero before the first step. For every task i, starting from g' = g_i, and for every
other task j, in an order drawn anew for each i, with c = cos(g', g_j)::

    if c < rho_ij:   g' <- g' + (||g'|| / ||g_j||)
                              (rho_ij sqrt(1 - c^2) - c sqrt(1 - rho_ij^2)) / sqrt(1 - rho_ij^2) g_j
    rho_ij <- (1 - beta) rho_ij + beta c
    shared parameters receive  sum_i g'_i

Afterwards cos(g', g_j) = rho_ij. With rho = 0 it is PCGrad, so the first step is PCGrad's.

- All shared parameters are one group (LibMTL's and TorchJD's default); the paper also lets each
  layer have its own similarities.
- rho is updated from the similarity before the correction, as in LibMTL and TorchJD. Tasks without
  a gradient are left out; public code instead adds 1e-8 to its divisors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Signal, State
from counterpoise.methods._gramian import (
    Gradients,
    LevelMethod,
    LevelOptions,
    seen_gradients,
    within_range,
)

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape


def vaccinated(
    gradients: Gradients, rho: Tensor, order: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """Coefficients (K, K) of the g'_i, one row each, and the new targets.

    All g'_i meet the next task of their own order at the same time: no row depends on another.

    Args:
        gradients: the K gradients.
        rho: (K, K) targets.
        order: (K, K); row i has the tasks in the order in which i meets them.
        beta: weight of the newest similarity.
    """
    gramian = gradients.gramian
    coefficients = torch.eye(len(gramian), dtype=torch.float64)
    lengths, there, targets = gradients.norms[order], coefficients[order], rho.gather(1, order)
    rests, across = (1 - targets**2).sqrt(), torch.arange(len(gramian))[:, None] != order
    meets, turns = across & (lengths > 0) & gradients.told, across & (rests > 0)
    moved = []
    for p in range(len(gramian)):
        target, other = targets[:, p], there[:, p]
        products = coefficients @ gramian
        norms = (products * coefficients).sum(1).clamp(min=0).sqrt()
        met = meets[:, p] & (norms > 0)
        cosine = ((products * other).sum(1) / (norms * lengths[:, p])).clamp(-1, 1)
        turn = target * (1 - cosine**2).sqrt() / rests[:, p] - cosine
        turned = met & turns[:, p] & (cosine < target)
        added = torch.where(turned, norms / lengths[:, p] * turn, 0)
        coefficients = coefficients + added[:, None] * other
        moved.append(torch.where(met, (1 - beta) * target + beta * cosine, target))
    return coefficients, rho.scatter(1, order, torch.stack(moved, dim=1))


class GradVac(LevelMethod):
    """v = sum of the coefficients of all g'_i; rho is remembered."""

    label = "GradVac"
    properties = frozenset({"equal_tasks_equal_weights", "plain_with_one_task"})
    host_draws = ("order",)
    variants = ({"beta": 0.01}, {"level": "features"})

    class Options(LevelOptions):
        """Hyper-parameters of the targets."""

        beta: Annotated[float, Field(ge=0, le=1)] = 0.5
        """Weight of the newest similarity in the moving average rho (LibMTL and TorchJD; 0.01 in
        the paper)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def initial_state(self) -> State:
        """Targets of zero."""
        return {"rho": torch.zeros(self.shape.tasks, self.shape.tasks)}

    def draw(self, generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        """(K, K) numbers: task i visits the others in ascending order of its row."""
        return {"order": torch.rand(self.shape.tasks, self.shape.tasks, generator=generator)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Turn the gradients, pair by pair, and track their similarities."""
        plain = torch.ones_like(signal.losses)
        gradients, (rho,) = seen_gradients(self, signal, state["rho"])
        order = signal.draws["order"].argsort(dim=1)
        coefficients, rho = vaccinated(gradients, rho, order, self.rule.beta)
        mixing = within_range(coefficients.sum(0), plain)
        return Combined(plain, mixing=mixing), {"rho": rho.to(state["rho"])}
