"""Task losses: (B, outputs) and (B,) targets to a scalar, the mean over items with known labels.

Items with unknown labels are masked rather than filtered out: shapes do not depend on their number,
so a device need not wait for the host. Their outputs receive a gradient of exactly zero.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from counterpoise.datasets._part import mean_of_known


class Loss(Protocol):
    """The form of a loss, here or of a dataset's own."""

    def __call__(self, outputs: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
        """Mean over the batch, a scalar.

        Args:
            outputs: (B, outputs).
            target: (B,).
            known: (B,) of bool, the items to average over; None for all. It is given only where
                the data have unknown labels.
        """


def blanked(outputs: Tensor, target: Tensor, known: Tensor | None) -> tuple[Tensor, Tensor]:
    """Outputs and targets with zeros where the label is unknown.

    The placeholder of an unknown label is no class or no number. Outputs go too: an infinite one
    would make its zero gradient NaN.
    """
    if known is None:
        return outputs, target
    return torch.where(known[:, None], outputs, 0.0), torch.where(known, target, 0)


def nll(outputs: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Negative log-likelihood of a softmax over the outputs."""
    if known is None:
        return functional.cross_entropy(outputs, target)
    outputs, target = blanked(outputs, target, known)
    return mean_of_known(functional.cross_entropy(outputs, target, reduction="none"), known)


def bce_one_hot(outputs: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of one sigmoid per class, summed over classes."""
    outputs, target = blanked(outputs, target, known)
    hot = functional.one_hot(target, outputs.shape[1]).to(outputs.dtype)
    each = functional.binary_cross_entropy_with_logits(outputs, hot, reduction="none")
    return mean_of_known(each.sum(1), known)


def bce(outputs: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Binary cross-entropy of one logit."""
    outputs, target = blanked(outputs, target, known)
    logits, truth = outputs[:, 0], target.to(outputs.dtype)
    if known is None:
        return functional.binary_cross_entropy_with_logits(logits, truth)
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return mean_of_known(each, known)


def mse(outputs: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """Mean squared error of one output."""
    outputs, target = blanked(outputs, target, known)
    return mean_of_known(torch.square(outputs[:, 0] - target), known)


LOSSES: dict[str, Loss] = {"nll": nll, "bce_one_hot": bce_one_hot, "bce": bce, "mse": mse}
