"""ChestX-ray14: chest radiographs with fourteen findings, each a separate task.

Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised
Classification and Localization of Common Thorax Diseases, CVPR 2017, in the layout of the NIH
release. Images are resized to a square once, as CheXNet does, and stored as 8-bit grey.

All images of a patient are in the same part, unless a split by image is explicitly requested: later
images of a patient are near duplicates of earlier ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from counterpoise.datasets import _nih
from counterpoise.datasets._archives import read_images
from counterpoise.datasets._arrays import DAMAGED, Array, identity_of
from counterpoise.datasets._images import decode
from counterpoise.datasets._part import Part
from counterpoise.datasets._splits import divided
from counterpoise.files import atomic
from counterpoise.lazy import np, pd, torch
from counterpoise.spec import base
from counterpoise.tasks import Task

LIBRARIES = ("pillow",)
PREPARED = ("size", "label_file", "damaged")
FINDINGS = _nih.FINDINGS
TASKS = list(_nih.TASKS.values())

GREY_MEAN, GREY_STD = 0.449, 0.226
"""Mean and standard deviation of ImageNet, averaged over its three channels (0.485, 0.456, 0.406;
0.229, 0.224, 0.225), with which CheXNet normalises. Real images have 0.51 and 0.25 (3,345 of the
release, 64 x 64).
"""

IMAGES = "images.npy"


class Options(base.Options):
    """Options of ChestX-ray14."""

    size: Annotated[int, Field(ge=8, le=1024)] = 224
    """Pixels along each side of the prepared images."""
    damaged: Annotated[int, Field(ge=0)] = 0
    """Number of images that may be undecodable; they are left out and listed. One more is an
    error."""
    label_file: Literal[2020, 2017] = 2020
    """Year of the file of labels. The 2020 file, ``Data_Entry_2017_v2020.csv``, adds 188 labels in
    181 images to the 2017 file, which the papers up to 2019 used; copies of the release on Kaggle
    have only the 2017 file."""
    split: Literal["stratified", "official", "random", "by_image"] = "stratified"
    """By patient and stratified by finding; the release's test list, with a validation part taken
    from the rest by patient and stratified; by patient at random, as in CheXNet; or by image at
    random, as in DeepChest's code, which leaks: images of a patient are in several parts."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of all images, or of the official list for training and validation."""
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of all images; the official split has its own test part."""
    training_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training patients that is used (or of the images, if the split is by image);
    smaller shares are subsets of larger ones."""

    @model_validator(mode="after")
    def _leaves_training(self) -> Self:
        if self.split != "official" and self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing for training")
        return self


def tasks(options: Options) -> tuple[Task, ...]:
    """The fourteen findings in the order of the release."""
    return _nih.tasks()


def prepare(raw: Path, out: Path, options: Options) -> None:
    """Decode the images and read what is known about them.

    Writes ``images.npy`` (N, size, size) uint8 and ``index.parquet`` (columns of
    :func:`counterpoise.datasets._nih.read_index`) in order of the images' names, and, where the
    release has boxes, ``boxes.parquet`` (columns of :func:`counterpoise.datasets._nih.boxes`, and
    ``image``, the row in ``images.npy``) with those of the images that are present. Images that are
    damaged, if some may be, are black, marked in the index's column ``damaged``, in no part, and
    listed in ``damaged.parquet`` (columns ``name`` and ``reason``). A run that was killed continues
    where it stopped.

    Raises:
        UserError: a file is missing or damaged, or the files contradict each other.
    """
    index = _nih.read_index(raw, options.label_file)
    rows = {name: row for row, name in enumerate(index["name"])}
    boxes = _nih.boxes(raw)
    images = read_images(raw, rows, _nih.listed_in(raw, options.label_file).name)
    array = Array(out / IMAGES, rows, options.size, identity_of(raw))
    damaged = array.fill(images, decode, options.damaged)
    if damaged:
        index[DAMAGED] = index["name"].isin(damaged)
        told = pd.DataFrame(sorted(damaged.items()), columns=["name", "reason"])
        with atomic(out / "damaged.parquet") as temporary:
            told.to_parquet(temporary, index=False)
    if boxes is not None:
        boxes = index["name"].rename_axis("image").reset_index().merge(boxes, on="name")
        with atomic(out / "boxes.parquet") as temporary:
            boxes.to_parquet(temporary, index=False)
    with atomic(out / "index.parquet") as temporary:
        index.to_parquet(temporary, index=False)
    array.clear()


def leaks(options: Options) -> bool:
    """Whether a patient may have images in several parts."""
    return options.split == "by_image"


def split(prepared: Path, options: Options, seed: int) -> pd.DataFrame:
    """Images of each part, by patient unless the options ask otherwise.

    Returns:
        Columns ``part``, ``item``, ``image`` (row in ``images.npy``), ``name``, ``patient``.
    """
    index = pd.read_parquet(prepared / "index.parquet")
    shares = {"validation": options.validation_share, "test": options.test_share}
    tested = (index["official"] == "test").to_numpy() if options.split == "official" else None
    return divided(
        index,
        TASKS,
        shares,
        options.training_share,
        np.random.default_rng(seed),
        tested=tested,
        stratified=options.split in ("stratified", "official"),
        by_image=leaks(options),
    )


def counts(prepared: Path, options: Options) -> dict[str, int]:
    """Images, patients and positives of each finding; declared ones refer to the 2020 labels."""
    index = pd.read_parquet(prepared / "index.parquet")
    held = {"images": len(index), "patients": index["patient"].nunique()}
    if options.label_file != 2020:
        return held
    return {**held, **{name: int(index[name].sum()) for name in TASKS}}


def people(prepared: Path, items: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Age in years, sex and view (AP: taken from the front, mostly lying down) of each item."""
    known = pd.read_parquet(prepared / "index.parquet", columns=["age", "sex", "view"])
    return known.iloc[items["image"].to_numpy()].reset_index(drop=True)


def labels(prepared: Path, items: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Whether each item has each finding: 0 or 1, one column per task."""
    known = pd.read_parquet(prepared / "index.parquet", columns=TASKS)
    return known.iloc[items["image"].to_numpy()].reset_index(drop=True)


def load(prepared: Path, items: pd.DataFrame, options: Options) -> Part:
    """Images (1, size, size) as bytes, with 0 or 1 for each finding.

    They stay in their file, from which a batch reads what it needs.
    """
    # Copied on write, which never happens, as torch warns of arrays that cannot be written to.
    images = np.load(prepared / IMAGES, mmap_mode="c")
    known = labels(prepared, items, options)
    return Part(
        torch.from_numpy(images)[:, None],
        {name: torch.from_numpy(known[name].to_numpy(np.int64)) for name in TASKS},
        GREY_MEAN,
        GREY_STD,
        torch.tensor(items["image"].to_numpy(np.int64)),
    )
