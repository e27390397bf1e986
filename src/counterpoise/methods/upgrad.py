"""UPGrad: every gradient projected to where it harms no task, then their mean.

Quinton and Rey, "Jacobian Descent for Multi-Objective Optimization" (arXiv 2406.16232), Section 3.
With J the matrix of the K gradients and C = {d : J d >= 0} the directions that conflict with none::

    shared parameters receive  (1/K) sum_k pi_C(g_k),     pi_C the projection onto C

It is never against a task, and linear in the scale of each gradient: halving a task's gradient
halves its part. For each k the projection is a quadratic program of K unknowns in the Gramian.

The weights are TorchJD's, the authors' library, which solves the K programs by quadprog after
adding a very little ``regularisation`` to the Gramian's diagonal. The update is a mean: about 1/K
of uniform weights'.
"""

from __future__ import annotations

from counterpoise.methods._torchjd import ConeMethod

LIBRARIES = ("torchjd", "qpsolvers", "quadprog")


class UPGrad(ConeMethod):
    """v = the sum of the projections' weights, over K."""

    label = "UPGrad"
    weighting = "UPGradWeighting"
