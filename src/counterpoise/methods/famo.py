"""FAMO: lets all losses fall at about the same relative rate, for one more forward pass a step.

Liu et al., "FAMO: Fast Adaptive Multitask Optimization" (NeurIPS 2023, arXiv 2306.03792), Algorithm
1, as implemented in the authors' code and LibMTL. With logits w (zero at first), z = softmax(w),
lower bounds m_k and D_k = l_k - m_k + 1e-8, the network descends::

    sum_k z_k log D_k / c,   c = sum_k z_k / D_k (constant),   omega_k = z_k / (c D_k)

so that the weights sum to one. After the step, w is updated from the losses l'_k of the same batch
under the new weights of the network, by Adam with weight decay ``decay``::

    grad w = J^T delta,   delta_k = log D_k - log D'_k,   J the Jacobian of the softmax

that is, z_k (delta_k - sum_j z_j delta_j): a task whose loss fell less than the mean gains weight.

- The lower bounds m_k are zero unless ``min_losses`` gives them, in the unit of the losses that the
  method sees (normalised ones, if the protocol normalises).
- The authors' code clips the trunk's gradient to norm one; here, as in LibMTL, nothing is clipped.
- In the authors' code the second forward pass updates the running averages of batch normalisation
  once more; here it does not, so that they are averages over the steps as for every other method,
  whatever the micro-batches.
- Losses must stay above their bounds: otherwise the weights become NaN and the run ends, which is
  recorded as its result.

Cost: one backward pass through the trunk, as with uniform weighting, and one more forward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._adam import adam
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._given import Constant, unknown_tasks
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape
    from counterpoise.tasks import Task

EPSILON = 1e-8
Finite = Annotated[float, Field(allow_inf_nan=False)]


class FAMO(Method):
    """omega_k = z_k / (c l_k), z following how much each loss has just fallen."""

    label = "FAMO"
    signal = "losses"
    looks_back = True
    # A bound other than zero has a unit.
    properties = frozenset(
        {
            "weighted_loss",
            "weights_sum_to_one",
            "equal_tasks_equal_weights",
            "plain_with_one_task",
            "blind_to_loss_scale",
            "never_lengthens",
        }
    )
    variants = ({"learning_rate": 0.1, "decay": 0.0},)

    class Options(base.Options):
        """Hyper-parameters of the logits."""

        learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.025
        """Learning rate of the logits' Adam (the authors' code and LibMTL)."""
        decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.01
        """Weight decay gamma of the logits (the authors' code); 0.001 in LibMTL. The paper searches
        it per dataset."""
        min_losses: dict[str, Finite] = {}
        """Lower bounds of the losses by task; zero (as in the code) for a task that is not
        named."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options
        self.bounds = Constant([options.min_losses.get(name, 0.0) for name in shape.names])

    @classmethod
    def problems(cls, options: base.Options, tasks: tuple[Task, ...]) -> list[str]:
        """Bounds for unknown tasks."""
        assert isinstance(options, cls.Options)
        return unknown_tasks("min_losses", options.min_losses, tasks)

    def initial_state(self) -> State:
        """Equal logits with their optimizer's moments and its counts of steps."""
        nothing = {
            name: torch.zeros(self.shape.tasks, dtype=torch.float64)
            for name in ("logits", "first_moment", "second_moment", "losses_before", "count")
        }
        return {**nothing, "here": torch.ones(self.shape.tasks, dtype=torch.float64)}

    def usable(self, losses: Tensor) -> Tensor:
        """Those above their bounds."""
        return self._over(losses) > 0

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """This step's weights; the losses are kept for the comparison after the step."""
        losses = signal.losses.double()
        pull = state["logits"].softmax(0) / self._above(losses)
        weights = (pull / pull.sum()).to(signal.losses.dtype)
        here = torch.ones_like(losses) if signal.known is None else signal.known.double()
        return Combined(weights), {**state, "losses_before": losses, "here": here}

    def after_step(self, state: State, losses: Tensor) -> State:
        """One step of Adam on the logits of tasks that have had a known label in the batch.

        The others have not been seen to fall: they take no part, and their logits stay.
        """
        rule, logits, here = self.rule, state["logits"], state["here"] > 0
        delta = self._above(state["losses_before"]).log() - self._above(losses.double()).log()
        shares = logits.softmax(0)
        taking = shares * state["here"]
        mean = (taking * delta).sum() / torch.where(here.any(), taking.sum(), 1.0)
        slope = shares * (delta - mean) + rule.decay * logits
        first, second = state["first_moment"], state["second_moment"]
        first, second, move = adam(first, second, slope, state["count"])
        moved = {
            "logits": logits - rule.learning_rate * move,
            "first_moment": first,
            "second_moment": second,
        }
        kept = {name: torch.where(here, new, state[name]) for name, new in moved.items()}
        return {**state, **kept, "count": state["count"] + state["here"]}

    def _over(self, losses: Tensor) -> Tensor:
        """(K,) D_k, which may not be positive."""
        if not self.rule.min_losses:
            return losses + EPSILON
        return losses - self.bounds.like(losses) + EPSILON

    def _above(self, losses: Tensor) -> Tensor:
        """(K,) D_k; NaN where its log is undefined."""
        above = self._over(losses)
        return torch.where(above > 0, above, torch.nan)
