"""Task losses: (B, outputs) and (B,) targets to a scalar, the mean over the batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]


def nll(outputs: Tensor, target: Tensor) -> Tensor:
    """Negative log-likelihood of a softmax over the outputs."""
    return functional.cross_entropy(outputs, target)


def bce_one_hot(outputs: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of one sigmoid per class, summed over classes."""
    hot = functional.one_hot(target, outputs.shape[1]).to(outputs.dtype)
    return functional.binary_cross_entropy_with_logits(outputs, hot, reduction="none").sum(1).mean()


def bce(outputs: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of one logit."""
    return functional.binary_cross_entropy_with_logits(outputs[:, 0], target.to(outputs.dtype))


def mse(outputs: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of one output."""
    return torch.square(outputs[:, 0] - target).mean()


LOSSES: dict[str, Loss] = {"nll": nll, "bce_one_hot": bce_one_hot, "bce": bce, "mse": mse}
