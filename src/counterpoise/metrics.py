"""Scores of one task from its outputs and targets, without torch.

Every metric takes outputs (N, outputs) and targets (N,) and gives a number, or None where the
score is undefined (an AUROC without positives, say).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from counterpoise.lazy import np

if TYPE_CHECKING:
    from numpy import ndarray


@dataclass(frozen=True)
class Metric:
    """A score with its direction."""

    label: str
    better: Literal["higher", "lower"]
    compute: Callable[[ndarray, ndarray], float | None]


def _accuracy(outputs: ndarray, targets: ndarray) -> float | None:
    if len(targets) == 0:
        return None
    predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0
    return float(np.mean(predicted == targets))


def _mse(outputs: ndarray, targets: ndarray) -> float | None:
    if len(targets) == 0:
        return None
    return float(np.mean(np.square(outputs[:, 0].astype(np.float64) - targets)))


METRICS: dict[str, Metric] = {
    "accuracy": Metric("Accuracy", "higher", _accuracy),
    "mse": Metric("MSE", "lower", _mse),
}


def metric(dataset: ModuleType, name: str) -> Metric:
    """A metric by name: the dataset's own, or one of :data:`METRICS`."""
    own: dict[str, Metric] = getattr(dataset, "METRICS", {})
    return own[name] if name in own else METRICS[name]
