"""GradNorm: task weights that equalise gradient magnitudes, at Z or at the last shared layer.

Chen et al., "GradNorm" (ICML 2018), in the form of the RotoGrad submission (Eq. 3). With
G_k = ||grad_W l_k||, the norm of a task's gradient at a chosen level W, the weights omega_k descend
sum_k |omega_k G_k - T_k| for a target T_k that is larger where the loss has fallen less; they stay
positive and sum to K. ``at`` chooses the level:

- ``z``, the submission's *gradnorm Z* (section 4.1): the shared representation of the batch. It
  costs no backward pass through the trunk beyond the usual one;
- ``w``, Chen et al.'s choice and the submission's *gradnorm W*: the parameters of the last shared
  layer. It also costs K passes through that layer. The submission does not say which layer W was;
  here it is the last module of the trunk that has parameters, its biases included.

Two things differ from Chen et al. and are options: the target is the norm of the mean gradient, as
printed in Eq. 3 (``mean_of_norms`` is Chen et al.'s), and the leader's learning rate decays
exponentially. The exponent, the optimizer of the weights and their learning rate are not printed
for this baseline; it uses the leader's settings of section 5.2.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._leader import LeaderOptions, initial_weights, update_weights
from counterpoise.methods._norms import norms_of

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape, SignalKind


class GradNorm(Method):
    """omega_k follows GradNorm's rule at Z or W; sum_k omega_k = K."""

    label = "GradNorm"
    signal: SignalKind = "features"
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
        {"at": "w"},
    )

    class Options(LeaderOptions):
        """Hyper-parameters of the weights' update."""

        at: Literal["z", "w"] = "z"
        """Where gradients are measured: the shared representation Z (the submission's choice) or
        the last shared layer W (Chen et al.; "gradnorm W")."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.leader = options
        if options.at == "w":
            self.signal = "last_layer"

    def usable(self, losses: Tensor) -> Tensor:
        """Those that have a relative training rate."""
        return losses >= 0

    def initial_state(self) -> State:
        """Equal weights."""
        return initial_weights(self.shape.tasks)

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weights of this step, and those of the next."""
        omega = state["omega"]
        gradients = signal.gradients if self.leader.at == "z" else signal.last_layer
        assert gradients is not None
        total = torch.einsum("k,k...->...", omega, gradients).double().norm()
        following = update_weights(state, signal, norms_of(gradients), total, self.leader)
        return Combined(omega), following
