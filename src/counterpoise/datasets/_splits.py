"""Images divided into training, validation and test: one rule for all sets of radiographs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from counterpoise.datasets._arrays import DAMAGED
from counterpoise.datasets._patients import divide, nested_order, stratify
from counterpoise.lazy import np, pd

if TYPE_CHECKING:
    from numpy.typing import NDArray


def divided(
    index: pd.DataFrame,
    tasks: Sequence[str],
    shares: dict[str, float],
    training_share: float,
    rng: np.random.Generator,
    *,
    tested: NDArray[np.bool_] | None = None,
    stratified: bool = True,
    by_image: bool = False,
) -> pd.DataFrame:
    """Images of each part.

    Args:
        index: one row per image, in order of the array, with ``name``, ``patient`` and 0, 1, or -1
            where unknown, for each task; damaged images are in no part.
        tasks: columns to stratify by.
        shares: of all images for ``validation`` and ``test``; the rest is for training.
        training_share: share of the training patients that is used; smaller ones are nested in
            larger ones.
        rng: decides.
        tested: (N,) images of a given test part; the validation share then refers to the rest.
        stratified: every task about equally frequent in all parts, or divided at random.
        by_image: split by image, regardless of the patient, which leaks.

    Returns:
        Columns ``part``, ``item``, ``image`` (row of the array), ``name``, ``patient``.
    """
    units = np.arange(len(index)) if by_image else index["patient"]
    groups, owner = np.unique(units, return_inverse=True)
    part = np.full(len(groups), "test", "<U10")
    held_out = {"validation": shares["validation"]}
    if tested is not None:
        free = np.unique(owner[~tested])
    else:
        free = np.arange(len(groups))
        held_out["test"] = shares["test"]
    wanted = {"train": 1 - sum(held_out.values()), **held_out}
    counts = np.zeros((len(groups), len(tasks) + 1), np.int64)
    positives = (index[list(tasks)].to_numpy() == 1).astype(np.int64)
    np.add.at(counts, owner, np.column_stack([positives, np.ones(len(index), np.int64)]))
    if stratified:
        chosen = stratify(counts[free], list(wanted.values()), rng)
    else:
        chosen = divide(counts[free, -1], list(wanted.values()), rng)
    part[free] = np.array(list(wanted))[chosen]

    training = np.flatnonzero(part == "train")
    order = nested_order(counts[training], rng) if stratified else rng.permutation(len(training))
    used = training[order]
    part[used[max(1, round(training_share * len(used))) :]] = "unused"
    return items_of(index, part[owner])


def items_of(index: pd.DataFrame, part: NDArray[np.str_]) -> pd.DataFrame:
    """The items of each part.

    Args:
        index: one row per image.
        part: (N,) name of the part of each image; names other than the three are left out.
    """
    usable = ~index[DAMAGED].to_numpy() if DAMAGED in index else np.ones(len(index), bool)
    frames = []
    for name in ("train", "validation", "test"):
        images = np.flatnonzero((part == name) & usable)
        known = index.loc[images, ["name", "patient"]]
        frames.append(
            pd.DataFrame(
                {
                    "part": name,
                    "item": np.arange(len(images)),
                    "image": images,
                    "name": known["name"].to_numpy(),
                    "patient": known["patient"].to_numpy(),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)
