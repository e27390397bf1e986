"""Aligned-MTL: makes all singular values of the matrix of gradients equal.

Senushkin et al., "Independent Component Alignment for Multi-Task Learning" (CVPR 2023, arXiv
2305.19000), Algorithm 1. With G = V diag(lambda) V' the Gramian of the K gradients, of rank r::

    B = sqrt(scale) V diag(lambda^(-1/2)) V'      over the r positive eigenvalues
    shared parameters receive  sum_k (B w)_k g_k,   scale = min lambda, w = 1/K each

The rows of B times the gradients are orthogonal, all of length sqrt(scale) (if r = K): each task
has a direction of its own, and scaling to the smallest singular value keeps it from overshooting.

The weights are computed by TorchJD. ``scale`` replaces the smallest eigenvalue by the median or the
mean of the eigenvalues, the other modes of TorchJD and of the authors' code. ``preference: sum``
sets w = 1 for each task, as the authors' code and LibMTL do; it brings the update to the scale of
uniform weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from counterpoise.methods._gramian import Gradients, GramianMethod, GramianOptions
from counterpoise.methods._torchjd import torchjd_weights

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape, Signal

LIBRARIES = ("torchjd",)


class AlignedMTL(GramianMethod):
    """v = B w."""

    label = "Aligned-MTL"
    sequential = "TorchJD counts the positive eigenvalues in a branch on the data"
    properties = frozenset({"equal_tasks_equal_weights", "plain_with_one_task"})
    variants = ({"scale": "mean", "preference": "sum"}, {"scale": "median"}, {"level": "features"})

    class Options(GramianOptions):
        """Hyper-parameters of Algorithm 1."""

        scale: Literal["minimum", "median", "mean"] = "minimum"
        """The eigenvalue to which all are set (Algorithm 1: the smallest)."""
        preference: Literal["mean", "sum"] = "mean"
        """Tasks' importance w: 1/K each (the paper; TorchJD's default) or one each (the authors'
        code, LibMTL)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options
        if options.preference == "mean":  # sqrt(scale) ||w|| is no more than the largest norm
            self.promise("never_lengthens")

    def mix(self, gradients: Gradients, signal: Signal) -> Tensor:
        """TorchJD's weights."""
        modes = {"minimum": "min", "median": "median", "mean": "rmse"}
        found = torchjd_weights(
            "AlignedMTLWeighting", gradients.gramian, scale_mode=modes[self.rule.scale]
        )
        return found * (len(found) if self.rule.preference == "sum" else 1)
