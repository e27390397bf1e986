"""ConFIG: the direction that has the same cosine with every gradient.

Liu, Chu and Thuerey, "ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks"
(ICLR 2025, arXiv 2408.11104), Equation 2. With U the K rows u_k = g_k / ||g_k||::

    d = U^+ 1,     d / ||d|| =: e
    shared parameters receive  (sum_k g_k.e) e

U e is the same for every task, and positive, if the gradients are linearly independent; then the
update conflicts with no task, and the scale of a task's gradient does not affect e. The length is
that of the sum of the gradients along e: with one task it is plain training. For linearly dependent
gradients the pseudo-inverse gives the least-squares solution, which may conflict.

U^+ 1 = U' C^+ 1, with C = U U' the cosines: the Gramian is all that is needed. A task without a
gradient takes no part, as in TorchJD. The paper's variants for momentum are left out. If the
decomposition behind the pseudo-inverse does not converge, the run ends, which is recorded as its
result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch
from counterpoise.methods._gramian import Gradients, GramianMethod

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Signal


ROUNDING = 1e-12


class ConFIG(GramianMethod):
    """v_k = (sum_j g_j.e) x_k / (||g_k|| ||d||), with x = C^+ 1."""

    label = "ConFIG"
    # All but the first three are promised for linearly independent gradients only.
    properties = frozenset(
        {
            "equal_tasks_equal_weights",
            "plain_with_one_task",
            "never_lengthens",
            "never_conflicts",
            "blind_to_gradient_scale",
            "blind_to_loss_scale",
        }
    )
    variants = ({"level": "features"},)

    def mix(self, gradients: Gradients, signal: Signal) -> Tensor:
        """Equal cosines, at the length of the gradients' sum along them."""
        units, norms = gradients.units, gradients.norms
        found = torch.linalg.pinv(units @ units.T, hermitian=True).sum(1)
        direction = found @ units
        length = direction.norm()
        along = (gradients.rows @ direction).sum() / length
        mixing: Tensor = along * found / torch.where(norms > 0, norms, 1) / length
        # Opposed gradients: no direction serves all.
        return torch.where(length > ROUNDING * found.abs().sum(), mixing, 0)
