"""UPGrad: projects every gradient so that it harms no task, then takes the mean.

Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization" (arXiv 2406.16232), Section 3.
With J the matrix of the K gradients and C = {d : J d >= 0} the directions that conflict with none::

    shared parameters receive  (1/K) sum_k pi_C(g_k),     pi_C the projection onto C

The update never conflicts with a task, and is linear in the scale of each gradient: halving a
task's gradient halves its contribution. For each k the projection is a quadratic program in K
unknowns, given by the Gramian.

The weights are computed by TorchJD, the authors' library, which solves the K programs with quadprog
after adding a very small ``regularisation`` to the Gramian's diagonal. The update is a mean: about
1/K of that of uniform weights.
"""

from __future__ import annotations

from counterpoise.methods._torchjd import ConeMethod

LIBRARIES = ("torchjd", "qpsolvers", "quadprog")


class UPGrad(ConeMethod):
    """v = the sum of the projections' weights, divided by K."""

    label = "UPGrad"
    weighting = "UPGradWeighting"
