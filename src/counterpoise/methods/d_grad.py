"""d-grad: a learnable affine map of the representation for every task.

The baseline of the RotoGrad submission (section 5.2.2, Table 3) after Yu et al.: it "simply adds a
learnable affine transformation per task before each task-specific module". Task k sees z^k_i = A_k
z_i + c_k, and A_k and c_k descend the sum of the losses together with the network, by its
optimizer::

    dA_k = sum_i g^k_i z_i^T        dc_k = sum_i g^k_i

It costs one backward pass through the trunk, and K (d^2 + d) parameters: 3,250 with the
submission's reduced LeNet, 14.7 million with DenseNet-121 and 14 tasks.

- Neither the initial values nor the shape of A_k are printed. Here A_k starts as the identity and
  c_k at zero, so that the first step is that of uniform weighting, and A_k is a full matrix, as
  "affine" says.
- Like the rest of a method's state they have no weight decay.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._rotation import turn, turn_back

if TYPE_CHECKING:
    from torch import Tensor


class DGrad(Method):
    """Equal weights; z^k = A_k z + c_k is learned."""

    label = "d-grad"
    signal = "features"
    kept = trained = ("matrix", "shift")
    properties = frozenset(
        {
            "neutral_start",
            "weighted_loss",
            "weights_sum_to_tasks",
            "equal_tasks_equal_weights",
            "never_lengthens",
        }
    )

    def initial_state(self) -> State:
        """The identity for every task."""
        tasks, d = self.shape.tasks, self.shape.features
        return {"matrix": torch.eye(d).repeat(tasks, 1, 1), "shift": torch.zeros(tasks, d)}

    def represent(self, state: State, z: Tensor) -> Tensor:
        """z^k = A_k z + c_k."""
        return turn(state["matrix"], z) + state["shift"][:, None, :]

    def pull_back(self, state: State, gradients: Tensor) -> Tensor:
        """A_k^T g^k."""
        return turn_back(state["matrix"], gradients)

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Equal weights, and the gradients of the maps."""
        own = signal.task_gradients
        gradients = {"matrix": own.mT @ signal.z, "shift": own.sum(1)}
        return Combined(torch.ones_like(signal.losses), gradients=gradients), state
