"""DualProj: the mean gradient, projected to where it harms no task.

Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning" (NeurIPS 2017, arXiv
1706.08840), Equation 11, for several tasks at once as in Quinton and Rey (arXiv 2406.16232). With J
the matrix of the K gradients::

    shared parameters receive  argmin_d ||d - (1/K) sum_k g_k||    subject to  J d >= 0

It is the mean itself unless that conflicts with a task. Unlike UPGrad's, the result is not linear
in the scale of each gradient: a large gradient decides which way the mean points.

The weights are TorchJD's, solved by quadprog after adding a very little ``regularisation`` to the
Gramian's diagonal. The update is a mean: about 1/K of uniform weights'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.methods._gramian import Gradients, GramianMethod
from counterpoise.methods._torchjd import ConeOptions, torchjd_weights

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape, Signal

LIBRARIES = ("torchjd", "qpsolvers", "quadprog")


class DualProj(GramianMethod):
    """v = the weights of the mean gradient's projection."""

    label = "DualProj"
    properties = frozenset({"equal_tasks_equal_weights", "plain_with_one_task", "never_conflicts"})
    variants = ({"level": "features"},)

    class Options(ConeOptions):
        """Where to look, and how exactly."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def mix(self, gradients: Gradients, signal: Signal) -> Tensor:
        """TorchJD's weights."""
        projector = {"reg_eps": self.rule.regularisation}
        return torchjd_weights("DualProjWeighting", gradients.gramian, projector=projector)
