"""Losses for a single logit that a protocol may choose in place of binary cross-entropy.

Each is a function of (B, 1) logits and (B,) targets in {0, 1}, with p the sigmoid of the logit, and
gives a scalar. The counts behind class weights are taken once, on the known labels of the training
part.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from counterpoise.datasets._part import mean_of_known
from counterpoise.spec.cell import (
    Asymmetric,
    BinaryLoss,
    ClassBalanced,
    ClassWeighted,
    Focal,
    SigmoidTwice,
)
from counterpoise.training.losses import Loss, bce, blanked

EachLoss = Callable[[Tensor, Tensor], Tensor]
"""(B,) logits and (B,) targets of 0.0 and 1.0 to the (B,) losses of the items."""


def _entropy(logits: Tensor, truth: Tensor) -> Tensor:
    return binary_cross_entropy_with_logits(logits, truth, reduction="none")


def focal(spec: Focal) -> EachLoss:
    """-alpha_t (1 - p_t)^gamma ln p_t (Lin et al. 2017, eq. 5).

    p_t is p for a positive and 1 - p for a negative; alpha_t is alpha and 1 - alpha, or one.
    """

    def each(logits: Tensor, truth: Tensor) -> Tensor:
        signed = torch.where(truth > 0, logits, -logits)
        # 1 - p_t is a sigmoid too: no cancellation, and no power of zero in the backward pass.
        values = -torch.exp(spec.gamma * logsigmoid(-signed)) * logsigmoid(signed)
        if spec.alpha is None:
            return values
        return values * (truth * spec.alpha + (1 - truth) * (1 - spec.alpha))

    return each


def asymmetric(spec: Asymmetric) -> EachLoss:
    """-(1 - p)^gamma_+ ln p and -p_m^gamma_- ln(1 - p_m), p_m = max(p - m, 0).

    Ridnik et al. 2021, eqs. 4-6: the margin m drops negatives that are easy enough altogether.
    """

    def each(logits: Tensor, truth: Tensor) -> Tensor:
        positive = -torch.exp(spec.gamma_positive * logsigmoid(-logits)) * logsigmoid(logits)
        # ln(1 - p + m) where p > m; 1 - p from the other side of the sigmoid, for precision.
        rest = (torch.sigmoid(-logits) + spec.margin).clamp(max=1.0)
        # Where p_m is zero a power below one has no derivative; the loss there is zero anyhow.
        floor = torch.finfo(logits.dtype).tiny
        p_m = (1 - rest).clamp(min=floor)
        negative = -(p_m**spec.gamma_negative) * rest.clamp(min=floor).log()
        return torch.where(truth > 0, positive, negative)

    return each


def sigmoid_twice(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy of sigmoid(p) in place of p: a fault, kept to test for its traces."""
    return _entropy(torch.sigmoid(logits), truth)


def class_weights(spec: ClassWeighted | ClassBalanced, counts: tuple[int, int]) -> Tensor:
    """(2,) weights of negatives and positives, from their counts in the training part.

    A class that never occurs has a weight of zero; no item would carry it.
    """
    there = torch.tensor(counts, dtype=torch.float64)
    if isinstance(spec, ClassWeighted):
        weights = there.sum() / there
        if spec.form == "positive":
            weights = torch.stack([torch.ones_like(there[0]), there[0] / there[1]])
    else:
        # Cui et al. 2019, eq. 12, normalised so that the classes' weights sum to their number.
        weights = -(1 - spec.beta) / torch.expm1(there * math.log(spec.beta))
        present = torch.where(there > 0, weights, 0.0)
        weights = 2 * weights / present.sum()
    return torch.where(there > 0, weights, 0.0)


def _mean(each: EachLoss) -> Loss:
    def loss(outputs: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
        outputs, target = blanked(outputs, target, known)
        return mean_of_known(each(outputs[:, 0], target.to(outputs.dtype)), known)

    return loss


def _weighted(weights: Tensor, *, by_weight: bool) -> Loss:
    """Weighted cross-entropy; ``by_weight`` divides by the weights' sum, not by the items."""
    negative, positive = weights.tolist()  # plain numbers: no device has to wait for them

    def loss(outputs: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
        outputs, target = blanked(outputs, target, known)
        logits, truth = outputs[:, 0], target.to(outputs.dtype)
        share = truth * positive + (1 - truth) * negative
        values = share * _entropy(logits, truth)
        if not by_weight:
            return mean_of_known(values, known)
        if known is not None:
            values, share = torch.where(known, values, 0.0), torch.where(known, share, 0.0)
        total: Tensor = values.sum() / share.sum().clamp(min=torch.finfo(share.dtype).tiny)
        return total

    return loss


def binary_loss(spec: BinaryLoss, counts: tuple[int, int]) -> Loss:
    """The loss of a binary task.

    Args:
        spec: as the protocol chooses it.
        counts: known negatives and positives of the task in the training part.
    """
    if isinstance(spec, Focal):
        return _mean(focal(spec))
    if isinstance(spec, Asymmetric):
        return _mean(asymmetric(spec))
    if isinstance(spec, SigmoidTwice):
        return _mean(sigmoid_twice)
    if isinstance(spec, ClassWeighted):
        return _weighted(class_weights(spec, counts), by_weight=spec.mean == "weights")
    if isinstance(spec, ClassBalanced):
        return _weighted(class_weights(spec, counts), by_weight=False)
    return bce
