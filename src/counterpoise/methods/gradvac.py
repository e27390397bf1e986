"""GradVac: gradients are turned towards each other until they are as similar as usual.

Wang et al., "Gradient Vaccine" (ICLR 2021, arXiv 2010.05874). rho_ij is the target similarity of
tasks i and j, zero before the first step. For every task i, starting from g' = g_i, for every other
task j in an order drawn anew for each i, with c = cos(g', g_j)::

    if c < rho_ij:   g' <- g' + (||g'|| / ||g_j||)
                              (rho_ij sqrt(1 - c^2) - c sqrt(1 - rho_ij^2)) / sqrt(1 - rho_ij^2) g_j
    rho_ij <- (1 - beta) rho_ij + beta c
    shared parameters receive  sum_i g'_i

Afterwards cos(g', g_j) = rho_ij. With rho = 0 it is PCGrad, and so the first step is.

- All shared parameters are one group (LibMTL's and TorchJD's default); the paper also lets each
  layer have its own similarities.
- rho is updated from the similarity before the correction, as in LibMTL and TorchJD. Tasks without
  gradient are left out, where public code adds 1e-8 to its divisors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Signal, State
from counterpoise.methods._gramian import LevelMethod, LevelOptions, seen_gradients, within_range

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape


class GradVac(LevelMethod):
    """v = sum of the coefficients of all g'_i; rho is remembered."""

    label = "GradVac"
    properties = frozenset({"equal_tasks_equal_weights", "plain_with_one_task"})
    variants = ({"beta": 0.01}, {"level": "features"})

    class Options(LevelOptions):
        """Hyper-parameters of the targets."""

        beta: Annotated[float, Field(ge=0, le=1)] = 0.5
        """Weight of the newest similarity in the moving average rho (LibMTL and TorchJD)."""

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
        """Turn the gradients, pair by pair, and follow their similarities."""
        plain = torch.ones_like(signal.losses)
        gradients = seen_gradients(self, signal)
        if gradients is None:
            return Combined(plain, mixing=plain), state
        coefficients = torch.eye(self.shape.tasks, dtype=torch.float64).numpy()
        gramian, norms = gradients.gramian.numpy(), gradients.norms.numpy()
        beta, rho = self.rule.beta, state["rho"].double().cpu().numpy().copy()
        for i, order in enumerate(signal.draws["order"].argsort(dim=1).tolist()):
            own = coefficients[i]
            for j in order:
                norm = max(float(own @ gramian @ own), 0.0) ** 0.5
                if j == i or norm * norms[j] == 0:
                    continue
                cosine = min(max(float(own @ gramian[j]) / (norm * norms[j]), -1.0), 1.0)
                target = float(rho[i, j])
                rest = (1 - target**2) ** 0.5
                if cosine < target and rest > 0:
                    turn = target * (1 - cosine**2) ** 0.5 / rest - cosine
                    own[j] += norm / norms[j] * turn
                rho[i, j] = (1 - beta) * target + beta * cosine
        mixing = within_range(torch.from_numpy(coefficients.sum(0)), plain)
        return Combined(plain, mixing=mixing), {"rho": torch.from_numpy(rho).to(state["rho"])}
