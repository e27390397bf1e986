"""Scores over all findings of a network: averages named by how they are taken.

A finding is a task with one logit and two classes. Outputs are logits (N, T), targets 0 or 1, and
-1 where unknown, (N, T). *Macro* is the mean over findings, *micro* one score over all labels as if
they belonged to one finding, *weighted* the mean over findings weighted by their positives. For F1,
what is above probability 0.5 counts as positive, or, where the name ends in ``_best``, what is at
or above the threshold that is best for the finding on the validation part. *Rare* is the mean over
the half of the findings that have the fewest positives. A finding without a positive, or without an
item, is left out of a macro mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise.metrics import METRICS, ratio, reliability

HALF = 0.0
"""Logit of probability 0.5; a logit must be above it."""


@dataclass(frozen=True)
class Findings:
    """Logits and labels of some items.

    Attributes:
        logits: (N, T).
        targets: (N, T), -1 where unknown.
        called: (N, T) of bool, what is called positive at probability 0.5.
        best: the same at each finding's threshold from the validation part.
    """

    logits: np.ndarray
    targets: np.ndarray
    called: np.ndarray
    best: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """(N, T) whether the label is known."""
        known: np.ndarray = self.targets >= 0
        return known


RARE = "_rare"
"""How the names of scores of the rare findings end."""


def rarest(targets: np.ndarray) -> np.ndarray:
    """(T // 2,) places of the findings with the fewest positives; of equal ones the first."""
    fewest: np.ndarray = np.argsort((targets == 1).sum(axis=0), kind="stable")
    return np.sort(fewest[: len(fewest) // 2])


Scoring = Callable[[Findings, np.ndarray], np.ndarray]
"""Items under weights (R, N) to scores (R,), NaN where undefined."""


def findings(logits: np.ndarray, targets: np.ndarray, thresholds: np.ndarray) -> Findings:
    """Items with what is called positive, at 0.5 and at thresholds (T,) of logits."""
    return Findings(logits, targets, logits > HALF, logits >= thresholds)


def best_thresholds(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(T,) logits at or above which F1 on these items is best; infinite without a positive.

    Of equal ones the highest.
    """
    found = []
    for scores, labels in zip(logits.T, targets.T, strict=True):
        known = labels >= 0
        order = np.argsort(-scores[known], kind="stable")
        ranked, positive = scores[known][order], labels[known][order] == 1
        if not positive.any():
            found.append(np.inf)
            continue
        hits, called = np.cumsum(positive), np.arange(1, len(ranked) + 1)
        f1 = 2 * hits / (called + positive.sum())
        last = np.append(ranked[:-1] != ranked[1:], True)  # equal logits are called together
        f1[~last] = -1.0
        found.append(ranked[int(f1.argmax())])
    return np.array(found)


def _counts(
    data: Findings, called: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hits, called and positives of each finding under weights (R, N): (R, T) each."""
    positive = data.targets == 1

    def total(chosen: np.ndarray) -> np.ndarray:
        # Not a matrix product: its last digits would depend on the threads of the BLAS. Sums of
        # whole numbers are exact.
        summed: np.ndarray = np.einsum("rn,nt->rt", weights, chosen.astype(np.float64))
        return summed

    return total(called & positive), total(called & data.known), total(positive)


def _mean_defined(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """(R,) means over findings of (R, T) values, of those that are defined."""
    there = np.isfinite(values)
    scale = there.astype(np.float64) if weights is None else np.where(there, weights, 0.0)
    return ratio((np.where(there, values, 0.0) * scale).sum(axis=1), scale.sum(axis=1))


def _f1(average: str, *, best: bool) -> Scoring:
    def weighted(data: Findings, weights: np.ndarray) -> np.ndarray:
        hits, called, positives = _counts(data, data.best if best else data.called, weights)
        if average == "micro":
            hits, called, positives = (part.sum(axis=1) for part in (hits, called, positives))
            return np.where(positives > 0, ratio(2 * hits, called + positives), np.nan)
        each = np.where(positives > 0, ratio(2 * hits, called + positives), np.nan)
        return _mean_defined(each, positives if average == "weighted" else None)

    return weighted


def _mean_of(name: str, *, rare: bool = False, twice: bool = False) -> Scoring:
    """Mean over findings, or the rare ones, of a score of one finding.

    ``twice`` takes the probabilities for logits, so that the sigmoid is applied twice: a fault, to
    be compared with numbers that may have it.
    """
    score = METRICS[name].weighted
    assert score is not None, f"{name} cannot be weighted"

    def weighted(data: Findings, weights: np.ndarray) -> np.ndarray:
        columns = []
        for t in rarest(data.targets) if rare else range(data.logits.shape[1]):
            known = data.known[:, t]
            outputs, targets = data.logits[known, t : t + 1], data.targets[known, t]
            if twice:
                outputs = np.exp(-np.logaddexp(0.0, -outputs.astype(np.float64)))
            columns.append(score(outputs, targets, weights[:, known]))
        return _mean_defined(np.stack(columns, axis=1))

    return weighted


def _micro_auroc(data: Findings, weights: np.ndarray) -> np.ndarray:
    known = data.known
    each = np.repeat(weights, known.sum(axis=1), axis=1)
    auroc = METRICS["auroc"].weighted
    assert auroc is not None
    return auroc(data.logits[known][:, None], data.targets[known], each)


JOINT: dict[str, Scoring] = {
    "focal": _mean_of("focal"),
    "bce_twice": _mean_of("bce_twice"),
    **{
        f"f1_{average}{'_best' if best else ''}": _f1(average, best=best)
        for average in ("macro", "micro", "weighted")
        for best in (False, True)
    },
    "auroc_micro": _micro_auroc,
    "sensitivity_90": _mean_of("sensitivity_90"),
    f"sensitivity_90{RARE}": _mean_of("sensitivity_90", rare=True),
    "ece": _mean_of("ece"),
    "focal_twice": _mean_of("focal", twice=True),
}


def joint_scores(data: Findings) -> dict[str, float | None]:
    """All of them; None where one is undefined."""
    equal = np.ones((1, len(data.logits)))
    values = {name: float(scoring(data, equal)[0]) for name, scoring in JOINT.items()}
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def diagram(data: Findings, names: tuple[str, ...]) -> dict[str, Any]:
    """Of each finding a reliability diagram: bins that have items, as [count, mean p, share]."""
    return {
        name: [
            [int(count), float(f"{mean:.6g}"), float(f"{share:.6g}")]
            for count, mean, share in reliability(
                data.logits[data.known[:, t], t], data.targets[data.known[:, t], t]
            )
            if count
        ]
        for t, name in enumerate(names)
    }
