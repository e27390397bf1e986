"""DeepChest: task weights that follow training accuracy, once per epoch, without gradients.

Mohamed et al., "DeepChest" (arXiv 2505.23595). The rule is that of the authors' public code,
reimplemented from a description of it. With a_k the training accuracy of task k, counted while the
epoch runs and its weights change, and theta = (1/K) sum_k a_k::

    omega_k <- min(1.1 omega_k, 1.5)   if a_k < theta   (strictly)
               omega_k / 1.05          otherwise

The weight of a task exactly at the mean decays, too: so do all weights if the accuracies are equal,
and that of a single task decays in every epoch. The weights are not normalised, the cap applies
only where a weight grows, and there is no floor, so weights of easy tasks decay without limit. With
binary findings accuracy is close to one minus prevalence: in effect the rule favours frequent
findings.

The abstract speaks of "task-specific loss trends" instead. ``performance`` offers three readings of
that in addition to the code's: validation accuracy, the level of the training loss (the weight of a
task whose loss is above the mean grows), and its trend (the weight of a task whose loss has fallen
less than the mean since the previous epoch grows; nothing changes after the first epoch). A floor
and normalisation are options that the code lacks.

Initial weights are one unless ``initial_weights`` gives them by task. The code reads them from
files; all of them fit omega_k(1) = (3 - accuracy of a single-task network) / 2. ``single_task``
computes that from single-task networks, which are trained first under the same protocol. The images
on which the authors measured accuracy are unknown; here it is the validation part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Epoch, Method, Signal, State
from counterpoise.methods._given import given_numbers, unknown_tasks
from counterpoise.spec import base

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from counterpoise.methods._base import Shape
    from counterpoise.tasks import Task

Weight = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DeepChest(Method):
    """omega_k grows where a task does worse than the mean, and decays otherwise."""

    label = "DeepChest"
    signal = "losses"
    properties = frozenset({"neutral_start", "weighted_loss", "equal_tasks_equal_weights"})
    variants = (
        {"performance": "loss", "floor": 0.9},
        {"performance": "loss_trend", "normalise": True},
        {"performance": "validation_accuracy", "growth": 1.3, "cap": 2.0, "decay": 1.2},
    )

    class Options(base.Options):
        """Hyper-parameters; the defaults are the public code's."""

        performance: Literal["accuracy", "validation_accuracy", "loss", "loss_trend"] = "accuracy"
        """What the weights follow: training accuracy (the code), accuracy on the validation part,
        the level of the training loss, or its trend (readings of the abstract)."""
        growth: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.1
        """Factor by which a weight grows (the code)."""
        cap: Weight = 1.5
        """Largest value after growth (the code)."""
        decay: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 1.05
        """Divisor of every other weight (the code)."""
        floor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
        """Smallest value after decay; the code has none."""
        normalise: bool = False
        """Rescale the weights so that they sum to the number of tasks; the code does not."""
        initial_weights: dict[str, Weight] | Literal["single_task"] = {}
        """Initial weights by task (the code reads them from files), one for a task that is not
        named; or from single-task networks."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    @classmethod
    def problems(cls, options: base.Options, tasks: tuple[Task, ...]) -> list[str]:
        """Weights for unknown tasks; accuracy required of a task that has none."""
        assert isinstance(options, cls.Options)
        given = options.initial_weights
        found = [] if given == "single_task" else unknown_tasks("initial_weights", given, tasks)
        without = [task.name for task in tasks if task.classes is None]
        if without and options.performance in ("accuracy", "validation_accuracy"):
            found.append(
                f"performance {options.performance!r} needs classes, which the task "
                f"{without[0]!r} lacks; take 'loss_trend'"
            )
        if without and given == "single_task":
            found.append(
                "initial_weights 'single_task' needs classes, which the task "
                f"{without[0]!r} lacks; give the weights by task"
            )
        return found

    @classmethod
    def needs_single_task(cls, options: base.Options) -> bool:
        """Whether the initial weights come from single-task accuracies."""
        assert isinstance(options, cls.Options)
        return options.initial_weights == "single_task"

    @classmethod
    def with_single_task(
        cls, options: base.Options, accuracies: Mapping[str, float]
    ) -> base.Options:
        """omega_k(1) = (3 - accuracy) / 2."""
        first = {task: (3 - accuracy) / 2 for task, accuracy in accuracies.items()}
        return options.model_copy(update={"initial_weights": first})

    def initial_state(self) -> State:
        """Initial weights, and no losses of an earlier epoch."""
        given = self.rule.initial_weights
        assert given != "single_task", "the training job has put accuracies in its place"
        return {
            "omega": given_numbers(given, self.shape.names).to(torch.get_default_dtype()),
            "last_losses": torch.zeros(self.shape.tasks),
        }

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The epoch's weights."""
        return Combined(state["omega"]), state

    def end_of_epoch(self, state: State, epoch: Epoch) -> State:
        """The weights of the next epoch."""
        omega, rule = state["omega"], self.rule
        grows = self._does_worse(state, epoch)
        grown = (rule.growth * omega).clamp(max=rule.cap)
        faded = (omega / rule.decay).clamp(min=rule.floor)
        following = torch.where(grows, grown, faded)
        if rule.performance == "loss_trend" and epoch.epoch == 0:
            following = omega
        if rule.normalise:
            following = self.shape.tasks * following / following.sum()
        return {"omega": following, "last_losses": epoch.losses.to(omega.dtype)}

    def _does_worse(self, state: State, epoch: Epoch) -> Tensor:
        """(K,) whether a task is on the worse side of the mean."""
        if self.rule.performance == "loss":
            return epoch.losses > epoch.losses.mean()
        if self.rule.performance == "loss_trend":
            ratio = epoch.losses / state["last_losses"]
            return ratio > ratio.mean()
        accuracies = (
            epoch.accuracies if self.rule.performance == "accuracy" else epoch.validation_accuracies
        )
        return accuracies < accuracies.mean()
