"""Nash-MTL: the bargain that no task could improve without costing the others more.

Navon et al., "Multi-Task Learning as a Bargaining Game" (ICML 2022, arXiv 2202.01017), Algorithm 1.
With G the Gramian of the K gradients, the shared parameters receive sum_k alpha_k g_k, where::

    G alpha = 1 / alpha,   alpha > 0

So alpha_k (g_k.update) is the same for every task, and the update has length sqrt(K) whatever the
lengths of the gradients: the scale of a task's loss does not matter.

- The paper approximates alpha by a sequence of convex problems, and so does public code, including
  TorchJD (each is solved by ECOS; where the solver fails, the previous weights are silently kept:
  for gradients whose lengths differ a thousandfold, residuals of 300 were seen). Here alpha is the
  minimiser of a strictly convex function, found to rounding error by Newton's method: this takes a
  fraction of a millisecond, needs no solver to be installed, and does not depend on earlier steps.
- The public code clips the update at length one (``max_norm``); since its length is sqrt(K), the
  clipped length is always one. It also weights the heads by alpha (``heads``); Algorithm 1 is about
  shared parameters.
- At a Pareto stationary point there is no such alpha; a tiny ridge keeps it finite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Signal, State
from counterpoise.methods._fairness import SEQUENTIAL, fair_weights
from counterpoise.methods._gramian import (
    LevelMethod,
    LevelOptions,
    seen_gradients,
    within_range,
)

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape


class NashMTL(LevelMethod):
    """v = alpha, with G alpha = 1 / alpha."""

    label = "Nash-MTL"
    sequential = SEQUENTIAL
    # g_k.update = 1 / alpha_k > 0; a task's scale moves into its alpha.
    properties = frozenset(
        {
            "equal_tasks_equal_weights",
            "never_conflicts",
            "blind_to_gradient_scale",
            "blind_to_loss_scale",
        }
    )
    variants = (
        {"max_norm": 1.0, "heads": "weighted"},
        {"every": 3},
        {"level": "features"},
    )

    class Options(LevelOptions):
        """The bargain's details."""

        max_norm: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
        """Largest length of the update, zero for no limit (Algorithm 1; the public code: 1)."""
        every: Annotated[int, Field(ge=1)] = 1
        """Steps between two bargains; in between, alpha stays (Algorithm 1 and public code: 1)."""
        heads: Literal["own", "weighted"] = "own"
        """Heads receive their own gradients, or alpha_k times them as in the public code, which
        limits the shared parameters' update only."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def initial_state(self) -> State:
        """Weights of one until the first bargain."""
        return {"alpha": torch.ones(self.shape.tasks)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """A bargain, or the last one again."""
        gradients, (alpha,) = seen_gradients(self, signal, state["alpha"])
        if gradients.told and signal.step % self.rule.every == 0:
            # One without a gradient, or a label in the batch, keeps that of its last bargain.
            alpha = torch.where(gradients.norms > 0, fair_weights(gradients, 1.0), alpha)
        following = {"alpha": within_range(alpha, state["alpha"])}
        if gradients.told and self.rule.max_norm:
            length = float((alpha @ gradients.rows).norm() * gradients.scale)
            alpha = alpha * min(1.0, self.rule.max_norm / max(length, 1e-300))
        mixing = within_range(alpha, signal.losses)
        weights = torch.ones_like(mixing)
        if self.rule.heads == "weighted":
            weights = following["alpha"].to(mixing)
        return Combined(weights, mixing=mixing), following
