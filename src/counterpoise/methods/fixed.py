"""Fixed weights: omega_k is given and never changes.

The *grid search* baseline of 2509.23915 and of most papers in the field is this method with the
``search`` of a paper file: every point of a grid is trained, and the run then trains again with the
weights that gave the lowest validation loss. That is the most expensive way to choose weights, and
the one that adaptive methods have to beat.

With all weights equal to one it is uniform weighting. A common factor of all weights acts as a
factor of the learning rate (under Adam, it matters only beside its epsilon).

Cost: one backward pass through the trunk, as with uniform weighting; a search costs that for every
point.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._given import given_numbers, unknown_tasks
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.tasks import Task

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Fixed(Method):
    """omega_k = const."""

    label = "Fixed weights"
    signal = "losses"
    properties = frozenset(
        {"neutral_start", "weighted_loss", "equal_tasks_equal_weights", "plain_with_one_task"}
    )

    class Options(base.Options):
        """The weights; one for every task that is not named."""

        weights: dict[str, Weight] = {}
        """Weight by task, ours to choose; zero leaves a task out."""

    @classmethod
    def problems(cls, options: base.Options, tasks: tuple[Task, ...]) -> list[str]:
        """Weights for unknown tasks, or no weight above zero."""
        assert isinstance(options, cls.Options)
        found = unknown_tasks("weights", options.weights, tasks)
        if all(options.weights.get(task.name, 1.0) == 0 for task in tasks):
            found.append("all weights are zero, so that nothing would be trained")
        return found

    def initial_state(self) -> State:
        """The weights."""
        assert isinstance(self.options, self.Options)
        return {"omega": given_numbers(self.options.weights, self.shape.names).float()}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The given weights."""
        return Combined(state["omega"].to(signal.losses.dtype)), state
