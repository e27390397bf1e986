"""IMTL-G: the combination that has equal projections onto all unit gradients.

Liu et al., "Towards Impartial Multi-task Learning" (ICLR 2021), the half for shared parameters.
With u_k = g_k / ||g_k||, the shared parameters receive g = sum_k v_k g_k, where::

    g.u_1 = ... = g.u_K,   sum_k v_k = 1

In closed form, v is G^+ d divided by its sum, with G the Gramian and d_k = ||g_k||. The weights are
computed by TorchJD, whose pseudo-inverse allows linearly dependent gradients.

v may be negative. So may the sum before division: then the common projection is negative, and the
update works against every task. As the sum approaches zero the update grows without bound; at
exactly zero, as far as float64 can tell, the shared parameters receive a zero update. Neither the
paper nor public code prevents this.

The paper takes gradients at the shared features to save time: ``level: features``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.methods._gramian import Gradients, GramianMethod
from counterpoise.methods._torchjd import torchjd_weights

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Signal

LIBRARIES = ("torchjd",)


class IMTLG(GramianMethod):
    """v of equal projections, of sum one."""

    label = "IMTL-G"
    sequential = "TorchJD asks in a branch on the data whether the weights' sum vanishes"
    # Rescaling a gradient keeps the line of the update, but may flip its sign.
    properties = frozenset(
        {"weights_sum_to_one", "equal_tasks_equal_weights", "plain_with_one_task"}
    )
    variants = ({"level": "features"},)

    def mix(self, gradients: Gradients, signal: Signal) -> Tensor:
        """TorchJD's weights."""
        return torchjd_weights("IMTLGWeighting", gradients.gramian)
