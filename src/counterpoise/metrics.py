"""Scores of one task from its outputs and targets, without torch.

Every metric takes outputs (N, outputs) and targets (N,) and gives a number, or None where the
score is undefined (an AUROC without positives, say). A binary task has one output, the logit of
its positive class, and targets 0 and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from counterpoise.lazy import np

if TYPE_CHECKING:
    from numpy import ndarray

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Metric:
    """A score with its direction.

    Attributes:
        compute: outputs and targets to a number or None.
        weighted: the same with R rows of weights (R, N) of the items, to (R,), NaN where
            undefined; None where the score cannot be weighted. The bootstrap needs it.
    """

    label: str
    better: Better
    compute: Callable[[ndarray, ndarray], float | None]
    weighted: Callable[[ndarray, ndarray, ndarray], ndarray] | None = None


def ratio(above: ndarray, below: ndarray) -> ndarray:
    """A quotient of arrays of one shape, NaN where the denominator is zero."""
    quotient: ndarray = np.divide(above, below, out=np.full(below.shape, np.nan), where=below > 0)
    return quotient


def weighted_mean(values: ndarray, weights: ndarray) -> ndarray:
    """Means of ``values`` (N,) under weights (R, N): (R,), NaN where nothing has weight."""
    # Not a matrix product: its last digits would depend on the threads of the BLAS.
    exact = np.asarray(values, np.float64)
    return ratio(np.einsum("rn,n->r", weights, exact), weights.sum(axis=1))


def _accuracy(outputs: ndarray, targets: ndarray, weights: ndarray) -> ndarray:
    predicted = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0
    return weighted_mean(predicted == targets, weights)


def _mse(outputs: ndarray, targets: ndarray, weights: ndarray) -> ndarray:
    return weighted_mean(np.square(outputs[:, 0].astype(np.float64) - targets), weights)


def binary_cross_entropy(logits: ndarray, targets: ndarray) -> ndarray:
    """-ln p(target) of each item in nats, any shape; finite for saturated logits."""
    exact = logits.astype(np.float64)
    entropy: ndarray = np.logaddexp(0.0, exact) - exact * targets
    return entropy


def _bce(outputs: ndarray, targets: ndarray, weights: ndarray) -> ndarray:
    return weighted_mean(binary_cross_entropy(outputs[:, 0], targets), weights)


def _f1(outputs: ndarray, targets: ndarray, weights: ndarray) -> ndarray:
    predicted, positive = outputs[:, 0] > 0, targets == 1
    hits, called, there = (
        weights[:, chosen].sum(axis=1) for chosen in (predicted & positive, predicted, positive)
    )
    return np.where(there > 0, ratio(2 * hits, called + there), np.nan)


def _cumulated(values: ndarray, weights: ndarray, bounds: ndarray) -> tuple[ndarray, ndarray]:
    """Weight of the items whose value is below each bound, and below or at it: (R, bounds) each."""
    order = np.argsort(values)
    total = np.zeros((len(weights), len(values) + 1))
    np.cumsum(weights[:, order], axis=1, out=total[:, 1:])
    below, upto = (np.searchsorted(values[order], bounds, side) for side in ("left", "right"))
    return total[:, below], total[:, upto]


def _auroc(outputs: ndarray, targets: ndarray, weights: ndarray) -> ndarray:
    """Share of the pairs of a positive and a negative in the right order, ties counted half."""
    logits, positive = outputs[:, 0], targets == 1
    found, others = weights[:, positive], weights[:, ~positive]
    below, upto = _cumulated(logits[~positive], others, logits[positive])
    ordered = (found * (below + upto)).sum(axis=1) / 2
    return ratio(ordered, found.sum(axis=1) * others.sum(axis=1))


def _auprc(outputs: ndarray, targets: ndarray, weights: ndarray) -> ndarray:
    """Average precision: mean over the positives of the precision at the threshold of each.

    The sum over distinct thresholds of precision times the step in recall, as in scikit-learn.
    """
    scores, positive = -outputs[:, 0], targets == 1  # from the highest logit down
    found = weights[:, positive]
    _, hits = _cumulated(scores[positive], found, scores[positive])
    _, alarms = _cumulated(scores[~positive], weights[:, ~positive], scores[positive])
    precision = np.divide(hits, hits + alarms, out=np.zeros_like(hits), where=hits > 0)
    return ratio((found * precision).sum(axis=1), found.sum(axis=1))


def _focal(outputs: ndarray, targets: ndarray, weights: ndarray) -> ndarray:
    """(1 - p)^2 times the cross-entropy, p being the probability of the target (Lin et al. 2017).

    gamma 2 and no alpha: positives and negatives count the same.
    """
    entropy = binary_cross_entropy(outputs[:, 0], targets)
    return weighted_mean(np.square(-np.expm1(-entropy)) * entropy, weights)


def _bce_twice(outputs: ndarray, targets: ndarray, weights: ndarray) -> ndarray:
    """Cross-entropy of a probability that is taken for a logit: the sigmoid is applied twice.

    A fault, not a score: it is there to be compared with numbers that may have it.
    """
    taken = 1 / (1 + np.exp(-np.clip(outputs[:, 0].astype(np.float64), -500, 500)))
    return weighted_mean(binary_cross_entropy(taken, targets), weights)


SPECIFICITY = 0.90
CALIBRATION_BINS = 15
"""As in Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017)."""


def _sensitivity(outputs: ndarray, targets: ndarray, weights: ndarray) -> ndarray:
    """Largest share of positives found by a threshold that passes over 90 % of negatives or more.

    Items at the threshold are called positive. A positive is found if calling all that is at or
    above its own logit raises few enough alarms.
    """
    logits, positive = outputs[:, 0], targets == 1
    found, others = weights[:, positive], weights[:, ~positive]
    below, _ = _cumulated(logits[~positive], others, logits[positive])
    total = others.sum(axis=1)
    fits = total[:, None] - below <= (1 - SPECIFICITY) * total[:, None] + 1e-9
    share = ratio((found * fits).sum(axis=1), found.sum(axis=1))
    return np.where(total > 0, share, np.nan)


def _bins(probabilities: ndarray, bins: int) -> ndarray:
    """Number of the equal bin that each probability is in; one is in the last."""
    place: ndarray = np.minimum((probabilities * bins).astype(np.int64), bins - 1)
    return place


def _probabilities(logits: ndarray) -> ndarray:
    probabilities: ndarray = np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
    return probabilities


def reliability(logits: ndarray, targets: ndarray, bins: int = CALIBRATION_BINS) -> ndarray:
    """(bins, 3): of equal bins of probability the items, their mean probability, their positives.

    The positives as a share; means are zero where a bin has no items.
    """
    probability = _probabilities(logits)
    place = _bins(probability, bins)
    counts = np.bincount(place, minlength=bins).astype(np.float64)
    sums = [np.bincount(place, each, bins) for each in (probability, (targets == 1) * 1.0)]
    means = [np.divide(s, counts, out=np.zeros(bins), where=counts > 0) for s in sums]
    table: ndarray = np.column_stack([counts, *means])
    return table


def _ece(outputs: ndarray, targets: ndarray, weights: ndarray) -> ndarray:
    """Mean over items of how far the share of positives is from the mean probability in a bin."""
    if len(targets) == 0:
        return np.full(len(weights), np.nan)
    probability = _probabilities(outputs[:, 0])
    place = _bins(probability, CALIBRATION_BINS)
    order = np.argsort(place, kind="stable")
    starts = np.unique(place[order], return_index=True)[1]
    gaps = (weights * (probability - (targets == 1)))[:, order]
    return ratio(np.abs(np.add.reduceat(gaps, starts, axis=1)).sum(axis=1), weights.sum(axis=1))


def _metric(
    label: str, better: Better, weighted: Callable[[ndarray, ndarray, ndarray], ndarray]
) -> Metric:
    """A metric whose plain value is the one with equal weights."""

    def compute(outputs: ndarray, targets: ndarray) -> float | None:
        value = weighted(outputs, targets, np.ones((1, len(targets))))[0]
        return None if np.isnan(value) else float(value)

    return Metric(label, better, compute, weighted)


METRICS: dict[str, Metric] = {
    "accuracy": _metric("Accuracy", "higher", _accuracy),
    "auroc": _metric("AUROC", "higher", _auroc),
    "auprc": _metric("AUPRC", "higher", _auprc),
    "f1": _metric("F1 at 0.5", "higher", _f1),
    "bce": _metric("BCE", "lower", _bce),
    "focal": _metric("Focal loss", "lower", _focal),
    "bce_twice": _metric("BCE, sigmoid applied twice", "lower", _bce_twice),
    "sensitivity_90": _metric("Sensitivity at specificity 0.90", "higher", _sensitivity),
    "ece": _metric("ECE", "lower", _ece),
    "mse": _metric("MSE", "lower", _mse),
}


def metric(dataset: ModuleType, name: str) -> Metric:
    """A metric by name: the dataset's own, or one of :data:`METRICS`."""
    own: dict[str, Metric] = getattr(dataset, "METRICS", {})
    return own[name] if name in own else METRICS[name]
