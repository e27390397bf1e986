"""Patients divided into parts in which every finding is about equally frequent.

Iterative stratification (Sechidis, Tsoumakas and Vlahavas, On the stratification of multi-label
data, ECML PKDD 2011, algorithm 1) with a patient and all of their images in place of one example:
the finding with the fewest remaining images is handled first, and each of its patients goes to the
part that is most short of it. Patients are taken in random order rather than by size, as otherwise
those with dozens of images would all end up in the largest part.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from counterpoise.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRATA = 20


def stratify(
    counts: NDArray[np.int64], shares: Sequence[float], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The part of each patient.

    Args:
        counts: (patients, findings + 1) images of each patient with each finding, and in the last
            column all images of the patient, at least one.
        shares: share of the images that each part is to have; they sum to 1.
        rng: decides the order of patients and breaks ties between parts.

    Returns:
        (patients,) index into ``shares``.
    """
    parts = np.full(len(counts), -1)
    needs = np.outer(shares, counts.sum(axis=0))
    order = rng.permutation(len(counts))
    while len(order):
        left = counts[order].sum(axis=0)
        # Once no finding is left, the last column distributes the patients who have none.
        rarest = np.where(left > 0, left, np.inf).argmin()
        chosen = counts[order, rarest] > 0
        for patient in order[chosen]:
            part = _neediest(needs[:, rarest], needs[:, -1], rng)
            needs[part] -= counts[patient]
            parts[patient] = part
        order = order[~chosen]
    return parts


def divide(
    sizes: NDArray[np.int64], shares: Sequence[float], rng: np.random.Generator
) -> NDArray[np.int64]:
    """The part of each patient, at random.

    Args:
        sizes: (patients,) images of each.
        shares: share of the images that each part is to have; they sum to 1.
        rng: decides the order of patients, which then go to one part after the other.

    Returns:
        (patients,) index into ``shares``.
    """
    order = rng.permutation(len(sizes))
    # A patient goes to the part to which the middle one of their images belongs.
    middle = np.cumsum(sizes[order]) - sizes[order] / 2
    parts = np.empty(len(sizes), np.int64)
    ends = np.cumsum(shares[:-1]) * sizes.sum()
    parts[order] = np.searchsorted(ends, middle, side="right")
    return parts


def _neediest(
    need: NDArray[np.float64], overall: NDArray[np.float64], rng: np.random.Generator
) -> int:
    best = np.flatnonzero(need == need.max())
    if len(best) > 1:
        best = best[overall[best] == overall[best].max()]
    return int(best[0] if len(best) == 1 else rng.choice(best))


def nested_order(counts: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """An order of patients in which every initial segment is approximately stratified.

    A segment contains every shorter one, so subsets of several sizes are nested. The patients are
    stratified into twentieths, which follow one another.

    Args:
        counts: as of :func:`stratify`.
        rng: decides the order.

    Returns:
        (patients,) indices of patients.
    """
    strata = stratify(counts, [1 / STRATA] * STRATA, rng)
    shuffled = rng.permutation(len(counts))
    order: NDArray[np.int64] = shuffled[np.argsort(strata[shuffled], kind="stable")]
    return order
