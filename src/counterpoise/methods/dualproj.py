"""DualProj: the mean gradient, projected so that it harms no task.

Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning" (NeurIPS 2017, arXiv
1706.08840), Equation 11, for several tasks at once as in Quinton and Rey (arXiv 2406.16232). With J
the matrix of the K gradients::

    shared parameters receive  argmin_d ||d - (1/K) sum_k g_k||    subject to  J d >= 0

This is the mean itself unless it conflicts with a task. Unlike UPGrad's, the result is not linear
in the scale of each gradient: a large gradient dominates the direction of the mean.

The weights are computed by TorchJD, which uses quadprog after adding a very small
``regularisation`` to the Gramian's diagonal. The update is a mean: about 1/K of that of uniform
weights.
"""

from __future__ import annotations

from counterpoise.methods._torchjd import ConeMethod

LIBRARIES = ("torchjd", "qpsolvers", "quadprog")


class DualProj(ConeMethod):
    """v = the weights of the mean gradient's projection."""

    label = "DualProj"
    weighting = "DualProjWeighting"
