"""GradNorm on the shared representation Z: task weights that equalise gradient magnitudes.

Chen et al., "GradNorm" (ICML 2018), in the form of the RotoGrad submission (Eq. 3, section 4.1),
whose *gradnorm Z* takes the gradients with respect to Z instead of a chosen layer's weights.
Two things differ from Chen et al. and are options: the target is the norm of the mean gradient
as Eq. 3 prints it (``mean_of_norms`` is Chen et al.'s), and the leader's learning rate decays
exponentially. The exponent, the optimizer of the weights and their learning rate are not printed
for this baseline; it takes the leader's of section 5.2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._leader import LeaderOptions, initial_weights, update_weights

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape


class GradNorm(Method):
    """omega_k follows GradNorm's rule at Z; sum_k omega_k = K."""

    label = "GradNorm (Z)"
    signal = "features"
    properties = frozenset(
        {
            "neutral_start",
            "weighted_loss",
            "weights_sum_to_tasks",
            "equal_tasks_equal_weights",
            "plain_with_one_task",
        }
    )
    variants = (
        {"target": "mean_of_norms", "weight_optimizer": "sgd", "leader_learning_rate": 0.001},
        {"alpha": 1.5, "decay": 0.9, "decay_unit": "epoch"},
    )

    class Options(LeaderOptions):
        """Hyper-parameters of the weights' update."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.leader = options

    def initial_state(self) -> State:
        """Equal weights."""
        return initial_weights(self.shape.tasks)

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weights of this step, and those of the next."""
        omega = state["omega"]
        shared = torch.einsum("k,kbd->bd", omega, signal.gradients)
        return Combined(omega, shared=shared), update_weights(state, signal, shared, self.leader)
