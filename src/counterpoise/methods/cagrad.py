"""CAGrad: the direction near the mean gradient that is best for the worst task.

Liu et al., "Conflict-Averse Gradient Descent for Multi-task Learning" (NeurIPS 2021, arXiv
2110.14048), Algorithm 1. With g_0 the mean of the K gradients, d solves::

    max_d min_k g_k.d    subject to  ||d - g_0|| <= c ||g_0||

    d = g_0 + (c ||g_0|| / ||g_w||) g_w,   g_w = sum_k w_k g_k
    w = argmin  g_w.g_0 + c ||g_0|| ||g_w||    over w >= 0, sum_k w_k = 1

The weights are computed by TorchJD (which solves for w with Clarabel; the paper's code uses SLSQP).

- Where g_w vanishes (a single labelled task without a gradient is enough), TorchJD gives the shared
  parameters a zero update, which lies outside the ball; here, as in the paper's code, they receive
  g_0.
- ``rescale`` divides by 1 + c^2 or 1 + c: the paper's code and LibMTL use the former by default,
  Algorithm 1 neither. The update is a mean, not a sum: about 1/K of that of uniform weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._gramian import Gradients, GramianMethod, GramianOptions
from counterpoise.methods._torchjd import torchjd_weights

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape, Signal

LIBRARIES = ("torchjd", "cvxpy", "clarabel")


class CAGrad(GramianMethod):
    """v = 1/K + (c ||g_0|| / ||g_w||) w."""

    label = "CAGrad"
    sequential = "TorchJD's solver, Clarabel, runs on the host"
    # For two or more tasks: within the ball it is shorter than 2 ||g_0||.
    properties = frozenset({"never_lengthens"})
    variants = ({"rescale": "linear"}, {"c": 0.2, "rescale": "square", "level": "features"})

    class Options(GramianOptions):
        """Hyper-parameters of Algorithm 1."""

        c: Annotated[float, Field(ge=0, lt=1)] = 0.5
        """Radius of the ball in units of ||g_0|| (default of the paper's code and LibMTL). Below
        one, the mean of the losses still converges."""
        rescale: Literal["none", "square", "linear"] = "none"
        """Divide the update by 1 (Algorithm 1), 1 + c^2 or 1 + c."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def mix(self, gradients: Gradients, signal: Signal) -> Tensor:
        """TorchJD's weights, rescaled."""
        if signal.known is None or not signal.known.any():
            return self._weights(gradients.gramian)
        # The mean g_0 and its ball are those of the tasks that have a label in the batch.
        found = torch.zeros_like(gradients.norms)
        found[signal.known] = self._weights(gradients.gramian[signal.known][:, signal.known])
        return found

    def _weights(self, gramian: Tensor) -> Tensor:
        c = self.rule.c
        found = torchjd_weights("CAGradWeighting", gramian, c=c, norm_eps=1e-8)
        if not found.any():
            found = torch.full_like(found, 1 / len(found))
        return found / {"none": 1, "square": 1 + c**2, "linear": 1 + c}[self.rule.rescale]
