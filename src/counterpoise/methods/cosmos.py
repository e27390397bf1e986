"""COSMOS: the weighted sum of the losses, pulled towards a desired ratio between them.

Ruchte and Grabocka, "Scalable Pareto Front Approximation for Deep Multi-Objective Learning" (ICDM
2021, arXiv 2103.13392), the objective. With a preference r >= 0 that sums to one and l the K
losses::

    descend  sum_k r_k l_k - lambda cos(r, l)

    omega_k = r_k - lambda (r_k / ||r|| - cos(r, l) l_k / ||l||) / ||l||

The cosine is largest where the losses are in the same ratio as the preferences. A task whose loss
is below its share loses weight, and its weight becomes negative if lambda / ||l|| is large: the
task is then unlearned.

- The paper trains one network for all preferences: it draws r anew at every step and passes it to
  the network. Here r is fixed, with equal entries unless ``preference`` says otherwise, which gives
  one point of the front.
- The penalty lambda cos(r, l) does not depend on the scale of the losses, while its derivative
  grows as they vanish, as lambda / ||l||: the right lambda depends on the size of the losses, so
  normalised losses are advisable. If all losses are zero, the derivative is taken as zero.
- The weights are those of a mean: with lambda = 0, 1/K of uniform weights.

Cost: one backward pass through the trunk, as with uniform weighting; only r is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._given import Preference, preferred, unknown_tasks
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape
    from counterpoise.tasks import Task


class COSMOS(Method):
    """omega_k = r_k - lambda d cos(r, l) / d l_k."""

    label = "COSMOS"
    signal = "losses"
    properties = frozenset({"weighted_loss", "equal_tasks_equal_weights", "plain_with_one_task"})
    variants = ({"strength": 0.1},)

    class Options(base.Options):
        """Hyper-parameters of the objective."""

        strength: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
        """lambda; the paper uses 0.01 to 8, depending on the dataset, and this value is our choice
        in that range."""
        preference: dict[str, Preference] = {}
        """r by task, before normalisation to sum one; one for a task that is not named (the paper
        draws r at random)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    @classmethod
    def problems(cls, options: base.Options, tasks: tuple[Task, ...]) -> list[str]:
        """Preferences for unknown tasks."""
        assert isinstance(options, cls.Options)
        return unknown_tasks("preference", options.preference, tasks)

    def initial_state(self) -> State:
        """The preference."""
        return {"preference": preferred(self.rule.preference, self.shape.names)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The objective's gradient at this step's losses."""
        losses, wanted = signal.losses.double(), state["preference"].double()
        length = losses.norm()
        divisor = torch.where(length > 0, length, 1)
        unit, direction = losses / divisor, wanted / wanted.norm()
        slope = (direction - (unit @ direction) * unit) / divisor
        weights = wanted - self.rule.strength * torch.where(length > 0, slope, 0)
        return Combined(weights.to(signal.losses.dtype)), state
