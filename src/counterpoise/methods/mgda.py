"""MGDA: the shortest convex combination of the gradients.

Desideri, "Multiple-gradient descent algorithm" (C. R. Acad. Sci. Paris 350, 2012), for networks by
Sener and Koltun, "Multi-Task Learning as Multi-Objective Optimization" (NeurIPS 2018, arXiv
1810.04650). With g_k the gradients of the K tasks, divided by n_k > 0 if they are normalised::

    alpha = argmin || sum_k alpha_k g_k / n_k ||^2    over alpha >= 0, sum_k alpha_k = 1
    shared parameters receive  sum_k (alpha_k / n_k) g_k

That vector has an inner product of at least its own squared length with every g_k / n_k, and is
zero only at Pareto stationary points. One labelled task without a gradient makes it zero for all.

- n_k is 1 (``none``, the default), ||g_k|| (``l2``), l_k (``loss``) or l_k ||g_k|| (``loss+``), the
  choices of Sener and Koltun's code. In that code n_k only affects alpha, by which the raw
  gradients are then mixed; here, as in LibMTL at the parameters, the shortest vector itself is the
  update.
- Public code searches for alpha with at most 250 Frank-Wolfe steps, TorchJD with 100. That falls
  short when there are many tasks (norms twice the minimum were seen for 14 tasks); here alpha is
  found exactly, as the solution of a non-negative least-squares problem.
- Heads keep their own gradients, as in LibMTL and TorchJD; Sener and Koltun's code weights them by
  alpha, too. ``level: features`` is their MGDA-UB.
- The update is a mean, not a sum: about 1/K of that of uniform weights, or less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from counterpoise.lazy import np, torch
from counterpoise.methods._gramian import Gradients, GramianMethod, GramianOptions
from counterpoise.methods._solving import solving

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape, Signal

LIBRARIES = ("scipy",)


def shortest(rows: Tensor) -> Tensor:
    """(K,) alpha of the shortest convex combination of K rows.

    The least of ||sum_k x_k g_k||^2 + (1 - sum_k x_k)^2 over x >= 0 is a multiple of alpha: with
    x = t alpha, the best t leaves q / (1 + q) of it, which grows with q = ||sum_k alpha_k g_k||^2.
    """
    from scipy.optimize import nnls

    tasks = len(rows)
    system = np.vstack([rows.T.numpy(), np.ones((1, tasks))])
    with solving("the shortest convex combination", RuntimeError):
        found, _ = nnls(system, np.append(np.zeros(rows.shape[1]), 1.0), maxiter=100 * tasks)
    return torch.from_numpy(found / found.sum())


class MGDA(GramianMethod):
    """v = alpha / n, the shortest convex combination."""

    label = "MGDA"
    sequential = "SciPy's solver runs on the host"
    # By the minimum's first-order conditions. Equal gradients leave alpha undetermined.
    properties = frozenset({"never_conflicts"})
    variants = (
        {"normalisation": "l2"},
        {"normalisation": "loss"},
        {"normalisation": "loss+", "level": "features"},
        {"level": "features"},
    )

    class Options(GramianOptions):
        """What is compared, and where."""

        normalisation: Literal["none", "l2", "loss", "loss+"] = "none"
        """What gradients are divided by beforehand: nothing (as in the papers' equations and
        LibMTL's default), their norm, the task's loss, or both."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options
        if options.normalisation == "none":
            self.promise("weights_sum_to_one", "never_lengthens")
        if options.normalisation in ("l2", "loss+"):
            self.promise("blind_to_gradient_scale")
        if options.normalisation in ("l2", "loss"):
            self.promise("blind_to_loss_scale")

    def mix(self, gradients: Gradients, signal: Signal) -> Tensor:
        """Alpha / n."""
        divisors = torch.ones_like(gradients.norms)
        if self.rule.normalisation in ("l2", "loss+"):
            divisors = gradients.norms * gradients.scale
        if self.rule.normalisation in ("loss", "loss+"):
            divisors = divisors * signal.losses
        # Division by a zero gradient's norm or by a non-positive loss is impossible.
        divisors = torch.where(divisors > 0, divisors, 1)
        rows = gradients.scaled(1 / divisors).rows
        if signal.known is None or not signal.known.any():
            return shortest(rows) / divisors
        # A missing gradient is not one of length zero, which would be the shortest by itself.
        found = torch.zeros_like(divisors)
        found[signal.known] = shortest(rows[signal.known])
        return found / divisors
