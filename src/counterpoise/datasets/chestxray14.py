"""ChestX-ray14: chest radiographs with fourteen findings, each a task of its own.

Wang et al., ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks on Weakly-Supervised
Classification and Localization of Common Thorax Diseases, CVPR 2017, in the layout of the NIH
release. Images are reduced to a square once, as CheXNet does, and kept as 8-bit grey.

All images of a patient are in one part, unless a split by image is asked for by name: later images
of a patient are near duplicates.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from counterpoise.datasets import _nih
from counterpoise.datasets._archives import Encoded, read_images
from counterpoise.datasets._part import Part
from counterpoise.datasets._patients import divide, nested_order, stratify
from counterpoise.errors import UserError
from counterpoise.files import atomic
from counterpoise.lazy import np, pd, torch
from counterpoise.spec import base
from counterpoise.tasks import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIBRARIES = ("pillow",)
FINDINGS = _nih.FINDINGS
TASKS = list(_nih.TASKS.values())

GREY_MEAN, GREY_STD = 0.449, 0.226
"""Of ImageNet, averaged over its three channels (0.485, 0.456, 0.406; 0.229, 0.224, 0.225), by
which CheXNet normalises. Real images have 0.51 and 0.25 (3,345 of the release, 64 x 64).
"""

MAX_PIXELS = 64_000_000
"""The release's images have a million; a larger one than this is refused before it is decoded."""


class Options(base.Options):
    """What can be chosen about ChestX-ray14."""

    size: Annotated[int, Field(ge=8, le=1024)] = 224
    """Pixels along each side of the prepared images."""
    split: Literal["stratified", "official", "random", "by_image"] = "stratified"
    """By patient and stratified by finding; the release's test list, with a validation part cut
    from the rest by patient and stratified; by patient at random, as CheXNet; or by image at
    random, as DeepChest's code, which leaks: images of a patient are in several parts."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of all images, or of the official list for training and validation."""
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Of all images; the official split has its own."""
    training_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training patients that is used (of the images, where these are divided); a
    smaller one is part of a larger one."""

    @model_validator(mode="after")
    def _leaves_training(self) -> Self:
        if self.split != "official" and self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing for training")
        return self


def tasks(options: Options) -> tuple[Task, ...]:
    """The fourteen findings in the order of the release."""
    return tuple(
        Task(
            name,
            finding.replace("_", " ").capitalize(),
            1,
            "bce",
            ("auroc", "auprc", "accuracy", "f1", "bce"),
            classes=2,
        )
        for finding, name in _nih.TASKS.items()
    )


def prepare(raw: Path, out: Path, options: Options) -> None:
    """Decode the images and read what is known of them.

    Writes ``images.npy`` (N, size, size) uint8 and ``index.parquet`` (columns of
    :func:`counterpoise.datasets._nih.read_index`) in order of the images' names, and, where the
    release has boxes, ``boxes.parquet`` (columns of :func:`counterpoise.datasets._nih.boxes`, and
    ``image``, the row in ``images.npy``) with those of the images that are there.

    Raises:
        UserError: a file is missing or damaged, or the files contradict each other.
    """
    index = _nih.read_index(raw)
    rows = {name: row for row, name in enumerate(index["name"])}
    boxes = _nih.boxes(raw)
    shape = (len(rows), options.size, options.size)
    with atomic(out / "images.npy") as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        start = file.tell()
        # Plain writes rather than a memory map, which a full disk would end with a bus error.
        for name, pixels in _decoded(raw, rows, options.size):
            file.seek(start + rows[name] * pixels.size)
            file.write(pixels.tobytes())
    if boxes is not None:
        boxes = index["name"].rename_axis("image").reset_index().merge(boxes, on="name")
        with atomic(out / "boxes.parquet") as temporary:
            boxes.to_parquet(temporary, index=False)
    with atomic(out / "index.parquet") as temporary:
        index.to_parquet(temporary, index=False)


def _decoded(raw: Path, rows: dict[str, int], size: int) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Name and pixels of every image. Pillow leaves Python's lock, so threads use all cores."""
    workers = min(os.cpu_count() or 1, 8)
    waiting: deque[tuple[str, Future[NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for image in read_images(raw, rows, _nih.listed_in(raw).name):
            waiting.append((image.name, pool.submit(decode, image, size)))
            if len(waiting) > 4 * workers:  # bounds the memory
                name, future = waiting.popleft()
                yield name, future.result()
        for name, future in waiting:
            yield name, future.result()


def decode(image: Encoded, size: int) -> NDArray[np.uint8]:
    """Pixels (size, size) of a PNG of any colour type, as 8-bit grey.

    Alpha is ignored: where the release has it, it is opaque throughout. Other shapes than squares
    are stretched. Sizes are changed by Pillow's bilinear filter, which averages when it reduces.

    Raises:
        UserError: the content is not a whole PNG, or declares too many pixels.
    """
    from PIL import Image

    header = image.content[:24]
    if header[:8] != b"\x89PNG\r\n\x1a\n" or header[12:16] != b"IHDR" or len(header) < 24:
        raise _undecodable(image, "not a PNG image")
    width, height = (int.from_bytes(header[place : place + 4], "big") for place in (16, 20))
    if width * height > MAX_PIXELS:
        raise _undecodable(
            image, f"it declares {width} x {height} pixels; at most {MAX_PIXELS} are allowed"
        )
    try:
        with Image.open(BytesIO(image.content), formats=("PNG",)) as picture:
            picture.load()
            picture.info.pop("transparency", None)  # ignored as alpha is, and without a warning
            if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
                grey = Image.fromarray((np.asarray(picture) / 257 + 0.5).astype(np.uint8))
            else:
                grey = picture.convert("L")
    # What Pillow raises for damaged files depends on where the damage is.
    except Exception as error:
        raise _undecodable(image, str(error)) from error
    if grey.size != (size, size):
        grey = grey.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(grey)


def _undecodable(image: Encoded, reason: str) -> UserError:
    return UserError(
        f"cannot decode the image {image.name!r}: {reason}",
        where=image.archive,
        remedy=f"delete the folder {image.archive.parent} and run again: it will be fetched anew",
    )


def leaks(options: Options) -> bool:
    """Whether a patient may have images in several parts."""
    return options.split == "by_image"


def split(prepared: Path, options: Options, seed: int) -> pd.DataFrame:
    """Images of each part, by patient unless the options ask otherwise.

    Returns:
        Columns ``part``, ``item``, ``image`` (row in ``images.npy``), ``name``, ``patient``.
    """
    index = pd.read_parquet(prepared / "index.parquet")
    rng = np.random.default_rng(seed)
    units = np.arange(len(index)) if leaks(options) else index["patient"]
    groups, owner = np.unique(units, return_inverse=True)
    part = np.full(len(groups), "test", "<U10")
    held_out = {"validation": options.validation_share}
    if options.split == "official":
        free = np.unique(owner[index["official"] == "train_val"])
    else:
        free = np.arange(len(groups))
        held_out["test"] = options.test_share
    shares = {"train": 1 - sum(held_out.values()), **held_out}
    counts = np.zeros((len(groups), len(TASKS) + 1), np.int64)
    np.add.at(counts, owner, np.column_stack([index[TASKS], np.ones(len(index), np.int8)]))
    if options.split in ("stratified", "official"):
        chosen = stratify(counts[free], list(shares.values()), rng)
    else:
        chosen = divide(counts[free, -1], list(shares.values()), rng)
    part[free] = np.array(list(shares))[chosen]

    training = np.flatnonzero(part == "train")
    if options.split in ("stratified", "official"):
        order = training[nested_order(counts[training], rng)]
    else:
        order = training[rng.permutation(len(training))]
    part[order[max(1, round(options.training_share * len(order))) :]] = "unused"

    frames = []
    for name in ("train", "validation", "test"):
        images = np.flatnonzero(part[owner] == name)
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


def labels(prepared: Path, items: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Whether each item has each finding: 0 or 1, one column a task."""
    known = pd.read_parquet(prepared / "index.parquet", columns=TASKS)
    return known.iloc[items["image"].to_numpy()].reset_index(drop=True)


def load(prepared: Path, items: pd.DataFrame, options: Options) -> Part:
    """Images (N, 1, size, size) as bytes, with 0 or 1 for each finding."""
    images = np.load(prepared / "images.npy", mmap_mode="r")
    chosen = np.asarray(images[items["image"].to_numpy()])
    known = labels(prepared, items, options)
    return Part(
        torch.from_numpy(chosen[:, None]),
        {name: torch.from_numpy(known[name].to_numpy(np.int64)) for name in TASKS},
        GREY_MEAN,
        GREY_STD,
    )
