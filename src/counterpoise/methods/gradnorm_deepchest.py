"""GradNorm as implemented in DeepChest's public code, which is not Chen et al.'s GradNorm.

The baseline that DeepChest (arXiv 2505.23595) is compared with, reimplemented from a description of
its code. At every step, with n_k the norm of the gradient of the *already weighted* loss omega_k
l_k over all parameters, heads included, and c_k the number of correct answers for task k since the
epoch began::

    T_k     = mean_j(n_j) c_k^0.12
    omega_k <- max(omega_k - 0.12 (n_k - T_k), 1e-6)              (for the next step)

GradNorm itself uses loss ratios in place of counts and rescales the weights to sum to K. c_k^0.12
is above one (1.8 after a batch of 128, near 4 after an epoch) and n_k grows with omega_k, so the
weights grow without bound, exponentially at first; their ratios stay near one. Adam hides this
growth in the network's updates, but it shows in the weighted losses. The code's cost is reproduced
as it is: a backward pass through the trunk for every task (14 for chest radiographs), and one more
for the weighted loss, although its gradient is known by then; ``extra_pass: false`` avoids that
one.

Differences from the code:

- A task without classes counts as always correct.
- Weights and squared norms are capped at the largest float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Epoch, Method, Signal, State
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class GradNormDeepChest(Method):
    """omega_k follows a count of correct answers and grows without bound."""

    label = "GradNorm (DeepChest's code)"
    signal = "gramian"
    properties = frozenset({"neutral_start", "weighted_loss", "equal_tasks_equal_weights"})
    variants = ({"learning_rate": 0.01, "alpha": 0.5, "extra_pass": False},)

    class Options(base.Options):
        """Hyper-parameters; the defaults are the public code's."""

        learning_rate: Positive = 0.12
        """Step of the weights (the code)."""
        alpha: Positive = 0.12
        """Exponent on the count of correct answers (the code)."""
        floor: Positive = 1e-6
        """Smallest weight (the code)."""
        extra_pass: bool = True
        """Pass backward through the trunk K + 1 times, not K (the code)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options
        self.passes_again = options.extra_pass

    def initial_state(self) -> State:
        """Equal weights; nothing seen."""
        tasks = self.shape.tasks
        return {
            "omega": torch.ones(tasks),
            "count": torch.zeros(tasks),
        }

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weights of this step, and those of the next."""
        assert signal.gramian is not None
        assert signal.correct is not None and signal.head_norms is not None
        omega, rule = state["omega"], self.rule
        largest = torch.finfo(omega.dtype).max
        right = torch.where(signal.correct.isnan(), len(signal.z), signal.correct)
        count = state["count"] + right.to(omega.dtype)
        squares = signal.gramian.diagonal().clamp(max=largest).double()
        squares = squares + signal.head_norms.clamp(max=largest**0.5).double().square()
        norms = omega.double() * squares.sqrt()
        mean = norms.mean()
        if signal.known is not None:  # the mean of those that have a gradient
            mean = torch.where(signal.known, norms, 0.0).sum() / signal.known.sum().clamp(min=1)
        target = mean * count.double().pow(rule.alpha)
        moved = omega.double() - rule.learning_rate * (norms - target)
        following = moved.clamp(rule.floor, largest).to(omega.dtype)
        if signal.known is not None:
            following = torch.where(signal.known, following, omega)
        return Combined(omega), {"omega": following, "count": count}

    def end_of_epoch(self, state: State, epoch: Epoch) -> State:
        """The count begins anew."""
        return {**state, "count": torch.zeros_like(state["count"])}
