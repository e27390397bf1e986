"""The predictor that sees no input, and how much better a network is.

It gives the same answer for every item, from the averages of the training part: class frequencies
as logits, or the mean. A network that is no better has learned nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from counterpoise.metrics import binary_cross_entropy
from counterpoise.tasks import Task

Training = dict[str, list[float]]
"""Of each task the shares of its classes in the training part, or its mean."""

RAREST = 1e-6
"""Frequencies are kept this far from zero and one, so that their logits are finite."""


def _one_sigmoid_each(task: Task) -> bool:
    return task.outputs == 1 or task.loss == "bce_one_hot"


def constant_outputs(task: Task, training: Sequence[float]) -> np.ndarray | None:
    """Outputs (outputs,) of the constant predictor; None where the task has no such thing.

    Args:
        task: what is predicted.
        training: shares of the classes in the training part, or the mean of a regression target.
    """
    if task.classes is not None:
        return _constant_logits(task, training)
    return np.array(training, np.float64) if task.outputs == len(training) == 1 else None


def _constant_logits(task: Task, shares: Sequence[float]) -> np.ndarray:
    known = np.clip(np.array(shares, np.float64), RAREST, 1 - RAREST)
    if not _one_sigmoid_each(task):
        logarithms: np.ndarray = np.log(known)
        return logarithms
    logits: np.ndarray = np.log(known) - np.log1p(-known)
    return logits[1:] if task.outputs == 1 else logits


def _cross_entropy(task: Task, outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if task.outputs == 1:
        return binary_cross_entropy(outputs[:, 0], labels)
    if _one_sigmoid_each(task):
        total: np.ndarray = binary_cross_entropy(outputs, np.eye(task.outputs)[labels]).sum(axis=1)
        return total
    exact = outputs.astype(np.float64)
    loss: np.ndarray = np.logaddexp.reduce(exact, axis=1) - exact[np.arange(len(exact)), labels]
    return loss


def gain_on_items(
    task: Task, shares: Sequence[float], outputs: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """Cross-entropy of the constant predictor minus that of a network, of each item (N,) in nats.

    For classification tasks: binary for one logit, summed over the classes where each has a
    sigmoid, else of the softmax. Whatever weighting or focusing a training loss has is left out,
    as the class frequencies are the best constant answer to the plain one only.
    """
    labels = targets.astype(int)
    constant = np.tile(_constant_logits(task, shares), (len(labels), 1))
    gain: np.ndarray = _cross_entropy(task, constant, labels) - _cross_entropy(
        task, outputs, labels
    )
    return gain
