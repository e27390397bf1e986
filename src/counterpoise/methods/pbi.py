"""PBI: descends along a desired ratio between the losses, with a penalty for the distance from it.

Penalty-based boundary intersection of Zhang and Li, "MOEA/D: A Multiobjective Evolutionary
Algorithm Based on Decomposition" (IEEE Transactions on Evolutionary Computation, 2007), as a loss
for networks. With w the preference's unit vector, z* the smallest possible losses and l the K
losses::

    d_1 = (l - z*).w,   d_2 = ||l - z* - d_1 w||,   descend  d_1 + theta d_2

    omega_k = w_k + theta (l_k - z*_k - d_1 w_k) / d_2

The gradient of the distance d_2, which is orthogonal to w, has length one however small d_2 is:
with the paper's theta = 5, tasks whose losses are below their share are unlearned until they reach
it.

- The paper decomposes a front into many such problems; here the preference is fixed, and equal
  unless ``preference`` says otherwise.
- d_2 has no gradient on the line itself: as in TorchJD it is sqrt(||.||^2 + 1e-12).
- With theta = 0 and equal preferences the weights are 1/sqrt(K) times uniform weights.

Cost: one backward pass through the trunk, as with uniform weighting; only w and z* are stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._given import Preference, given_numbers, preferred, unknown_tasks
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape
    from counterpoise.tasks import Task

SMALLEST_SQUARE = 1e-12
Finite = Annotated[float, Field(allow_inf_nan=False)]


class PBI(Method):
    """omega_k = w_k + theta d d_2 / d l_k."""

    label = "PBI"
    signal = "losses"
    properties = frozenset({"weighted_loss", "equal_tasks_equal_weights", "plain_with_one_task"})
    variants = ({"theta": 0.5},)

    class Options(base.Options):
        """Hyper-parameters of the decomposition."""

        theta: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 5.0
        """The penalty on the distance (as in the paper's experiments)."""
        preference: dict[str, Preference] = {}
        """w by task, before normalisation to length one; one for a task that is not named (the
        paper spreads w over the front)."""
        min_losses: dict[str, Finite] = {}
        """z* by task: its smallest possible loss, zero (as usual) for a task that is not named."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    @classmethod
    def problems(cls, options: base.Options, tasks: tuple[Task, ...]) -> list[str]:
        """Preferences for unknown tasks, or their smallest losses."""
        assert isinstance(options, cls.Options)
        return [
            *unknown_tasks("preference", options.preference, tasks),
            *unknown_tasks("min_losses", options.min_losses, tasks),
        ]

    def initial_state(self) -> State:
        """The preference, and the smallest losses."""
        names = self.shape.names
        return {
            "preference": preferred(self.rule.preference, names),
            "least": given_numbers(self.rule.min_losses, names, otherwise=0.0),
        }

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The objective's gradient at this step's losses."""
        wanted = state["preference"].double()
        direction = wanted / wanted.norm()
        losses = signal.losses.double() - state["least"]
        beside = losses - (losses @ direction) * direction
        distance = (beside.square().sum() + SMALLEST_SQUARE).sqrt()
        weights = direction + self.rule.theta * beside / distance
        return Combined(weights.to(signal.losses.dtype)), state
