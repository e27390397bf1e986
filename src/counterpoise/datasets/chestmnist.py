"""ChestMNIST: the images of ChestX-ray14 at 28, 64, 128 or 224 pixels, ready in one file.

Yang et al., MedMNIST v2: A large-scale lightweight benchmark for 2D and 3D biomedical image
classification, Scientific Data 10, 41, 2023; the larger sizes are MedMNIST+. The published split is
used as it is: 78,468, 11,219 and 22,433 images, the numbers of CheXNet's split; MedMNIST's authors
say that no patient is in two parts. The file does not identify patients, so that neither this nor
whether it is CheXNet's split can be checked here, and images take the patients' place where scores
are resampled: intervals are narrower than they would be by patient.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from counterpoise.datasets import _nih
from counterpoise.datasets._npz import open_arrays
from counterpoise.datasets._part import Part
from counterpoise.errors import UserError
from counterpoise.files import atomic
from counterpoise.lazy import np, pd, torch
from counterpoise.spec import base
from counterpoise.tasks import Task

UNITS = ("image",)
LABELS = (
    "atelectasis",
    "cardiomegaly",
    "effusion",
    "infiltration",
    "mass",
    "nodule",
    "pneumonia",
    "pneumothorax",
    "consolidation",
    "edema",
    "emphysema",
    "fibrosis",
    "pleural_thickening",
    "hernia",
)
"""Columns of the file; MedMNIST's "pleural" has the release's name here."""
TASKS = list(_nih.TASKS.values())
PARTS = {"train": "train", "val": "validation", "test": "test"}
"""Names of the parts in the file, and their names here."""
MOST = 1 << 18
"""Images of one part; the file has 78,468."""
GREY_MEAN, GREY_STD = 0.449, 0.226
"""As for ChestX-ray14."""


class Options(base.Options):
    """Options of ChestMNIST."""

    size: Literal[28, 64, 128, 224] = 28
    """Pixels along each side; the source must be the file of that size."""
    training_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training images that is used; smaller shares are subsets of larger ones."""


def tasks(options: Options) -> tuple[Task, ...]:
    """The fourteen findings in the order of the release."""
    return _nih.tasks()


def file_of(size: int) -> str:
    """Name of the file of a size."""
    return "chestmnist.npz" if size == 28 else f"chestmnist_{size}.npz"


def prepare(raw: Path, out: Path, options: Options) -> None:
    """Write ``images.npy`` (N, size, size) uint8 and ``index.parquet`` (``part`` and the tasks).

    Raises:
        UserError: the file is missing, damaged or of another size, or a label is neither 0 nor 1.
    """
    path, size = raw / file_of(options.size), options.size
    most: dict[str, tuple[int, ...]] = {}
    for part in PARTS:
        most[f"{part}_images"] = (MOST, size, size)
        most[f"{part}_labels"] = (MOST, len(LABELS))
    with open_arrays(path, most) as arrays:
        frames, total = [], 0
        for part, name in PARTS.items():
            shape, labelled = arrays.shapes[f"{part}_images"], arrays.shapes[f"{part}_labels"]
            if shape[1:] != (size, size) or labelled != (shape[0], len(LABELS)):
                raise UserError(
                    f"{part} has images {shape} and labels {labelled}",
                    where=path,
                    remedy=f"take the file of {size} pixels as MedMNIST publishes it",
                )
            labels = np.concatenate(list(arrays.blocks(f"{part}_labels")))
            if labels.max() > 1:
                raise UserError(
                    f"{part}_labels has the value {labels.max()}",
                    where=path,
                    remedy="labels are 0 or 1: take the file as MedMNIST publishes it",
                )
            frame = pd.DataFrame(labels.astype(np.int8), columns=list(LABELS))[TASKS]
            frame.insert(0, "part", name)
            frames.append(frame)
            total += shape[0]
        with atomic(out / "images.npy") as temporary, temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(
                file, {"descr": "|u1", "fortran_order": False, "shape": (total, size, size)}
            )
            for part in PARTS:
                for block in arrays.blocks(f"{part}_images"):
                    file.write(block.tobytes())
    with atomic(out / "index.parquet") as temporary:
        pd.concat(frames, ignore_index=True).to_parquet(temporary, index=False)


def split(prepared: Path, options: Options, seed: int) -> pd.DataFrame:
    """The published parts; the seed decides which training images make up a share of them.

    Returns:
        Columns ``part``, ``item``, ``image`` (row in ``images.npy``).
    """
    index = pd.read_parquet(prepared / "index.parquet", columns=["part"])
    frames = []
    for part in PARTS.values():
        images = np.flatnonzero(index["part"] == part)
        if part == "train":
            order = np.random.default_rng(seed).permutation(images)
            images = np.sort(order[: max(1, round(options.training_share * len(order)))])
        frames.append(pd.DataFrame({"part": part, "item": np.arange(len(images)), "image": images}))
    return pd.concat(frames, ignore_index=True)


def labels(prepared: Path, items: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Whether each item has each finding: 0 or 1, one column per task."""
    known = pd.read_parquet(prepared / "index.parquet", columns=TASKS)
    return known.iloc[items["image"].to_numpy()].reset_index(drop=True)


def load(prepared: Path, items: pd.DataFrame, options: Options) -> Part:
    """Images (1, size, size) as bytes, with 0 or 1 for each finding; they stay in their file."""
    # Copied on write, which never happens, as torch warns of arrays that cannot be written to.
    images = np.load(prepared / "images.npy", mmap_mode="c")
    known = labels(prepared, items, options)
    return Part(
        torch.from_numpy(images)[:, None],
        {name: torch.from_numpy(known[name].to_numpy(np.int64)) for name in TASKS},
        GREY_MEAN,
        GREY_STD,
        torch.tensor(items["image"].to_numpy(np.int64)),
    )
