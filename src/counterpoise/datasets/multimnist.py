"""MultiMNIST: two overlapping digits in one image, five tasks.

Images as in Sener and Koltun (2018), whose construction the RotoGrad submission calls similar to
its own: a 36 x 36 canvas with the left digit at rows and columns 0:28 and the right one at 6:34,
the larger value where they overlap, stretched to 0..255 and reduced to 28 x 28 by nearest-neighbour
sampling. Tasks: the left digit, the right digit, their sum, their product, and the density (pixels
above one half, as a percentage of all pixels).

Digits are split into training, validation and test parts before they are paired, so no digit image
is in two parts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from counterpoise.datasets._idx import read_idx
from counterpoise.datasets._part import Part
from counterpoise.errors import UserError
from counterpoise.files import atomic
from counterpoise.lazy import np, pd, torch
from counterpoise.spec import base
from counterpoise.tasks import Task

FILES = {
    ("train", "images"): "train-images-idx3-ubyte.gz",
    ("train", "labels"): "train-labels-idx1-ubyte.gz",
    ("test", "images"): "t10k-images-idx3-ubyte.gz",
    ("test", "labels"): "t10k-labels-idx1-ubyte.gz",
}
MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
CANVAS, DIGIT, SHIFT, SIZE = 36, 28, 6, 28
UNITS = ("left", "right")
"""Columns of the split that identify the digits of an image: the units of resampling."""


class Options(base.Options):
    """Options of MultiMNIST."""

    layout: Literal["overlap", "side_by_side"] = "overlap"
    """Digits overlap in 28 x 28 pixels (Sener and Koltun) or lie side by side in 28 x 56."""
    density: Literal["percent", "count"] = "percent"
    """Pixels above one half as a percentage of all pixels, or their number."""
    classification: Literal["softmax", "one_vs_rest"] = "softmax"
    """Log-softmax with NLL, or a sigmoid per class with binary cross-entropy."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 1 / 6
    """Share of the training digits that is set aside for validation."""
    train_pairs: Annotated[int, Field(ge=1)] = 60_000
    validation_pairs: Annotated[int, Field(ge=1)] = 10_000
    test_pairs: Annotated[int, Field(ge=1)] = 10_000


def tasks(options: Options) -> tuple[Task, ...]:
    """The five tasks of the RotoGrad submission, section 5.2."""
    loss = "nll" if options.classification == "softmax" else "bce_one_hot"
    return (
        Task("left", "Left digit", 10, loss, ("accuracy",), classes=10),
        Task("right", "Right digit", 10, loss, ("accuracy",), classes=10),
        Task("sum", "Sum", 1, "mse", ("mse",)),
        Task("product", "Product", 1, "mse", ("mse",)),
        Task("density", "Density", 1, "mse", ("mse",)),
    )


def prepare(raw: Path, out: Path, options: Options) -> None:
    """Decode the four IDX files into ``digits.npy`` (N, 28, 28) and ``digits.parquet``."""
    images, frames = [], []
    for part in ("train", "test"):
        pixels = read_idx(raw / FILES[part, "images"], 3)
        labels = read_idx(raw / FILES[part, "labels"], 1)
        if len(pixels) != len(labels):
            raise UserError(
                f"{len(pixels)} images but {len(labels)} labels", where=raw / FILES[part, "labels"]
            )
        if pixels.shape[1:] != (DIGIT, DIGIT) or labels.max(initial=0) > 9:
            raise UserError("not images of 28 x 28 with labels 0 to 9", where=raw)
        images.append(pixels)
        frames.append(pd.DataFrame({"file": part, "label": labels}))
    digits = pd.concat(frames, ignore_index=True)
    with atomic(out / "digits.npy") as temporary:
        np.save(temporary, np.concatenate(images))
    with atomic(out / "digits.parquet") as temporary:
        digits.to_parquet(temporary, index=False)


def split(prepared: Path, options: Options, seed: int) -> pd.DataFrame:
    """Pairs of digits for each part.

    Every digit of a part is on the left equally often (give or take one); its partner on the
    right is drawn uniformly, with replacement, from the same part.
    """
    digits = pd.read_parquet(prepared / "digits.parquet")
    rng = np.random.default_rng(seed)
    training = rng.permutation(np.flatnonzero(digits["file"] == "train"))
    held_out = round(len(training) * options.validation_share)
    pools = {
        "train": (np.sort(training[held_out:]), options.train_pairs),
        "validation": (np.sort(training[:held_out]), options.validation_pairs),
        "test": (np.flatnonzero(digits["file"] == "test"), options.test_pairs),
    }
    frames = []
    for part, (pool, count) in pools.items():
        if len(pool) == 0:
            raise UserError(
                f"the {part} part of multimnist is empty",
                where=prepared,
                remedy="give more digits, or another `validation_share` in the dataset options",
            )
        rounds = -(-count // len(pool))
        left = np.concatenate([rng.permutation(pool) for _ in range(rounds)])[:count]
        right = rng.choice(pool, size=count)
        frames.append(pd.DataFrame({"part": part, "left": left, "right": right}))
    pairs = pd.concat(frames, ignore_index=True)
    pairs.insert(1, "item", pairs.groupby("part", sort=False).cumcount())
    return pairs


def compose(left: np.ndarray, right: np.ndarray, layout: str = "overlap") -> np.ndarray:
    """Images of two digits: (N, 28, 28) bytes twice to (N, 28, 28 or 56) bytes."""
    if layout == "side_by_side":
        return np.concatenate([left, right], axis=2)
    canvas = np.zeros((len(left), CANVAS, CANVAS), np.uint8)
    canvas[:, :DIGIT, :DIGIT] = left
    window = canvas[:, SHIFT : SHIFT + DIGIT, SHIFT : SHIFT + DIGIT]
    np.maximum(window, right, out=window)
    nearest = ((np.arange(SIZE) + 0.5) * CANVAS / SIZE).astype(int)
    # scipy.misc.imresize, which the original loader calls, first stretches to the full range.
    low = canvas.min(axis=(1, 2), keepdims=True).astype(np.float64)
    high = canvas.max(axis=(1, 2), keepdims=True)
    small = canvas[:, nearest[:, None], nearest[None, :]]
    pictures: np.ndarray = ((small - low) * (255.0 / np.maximum(high - low, 1)) + 0.5).astype(
        np.uint8
    )
    return pictures


def load(prepared: Path, items: pd.DataFrame, options: Options) -> Part:
    """Images (N, 1, 28, 28 or 56) as bytes, with the targets of the five tasks."""
    digits = np.load(prepared / "digits.npy", mmap_mode="r")
    labels = pd.read_parquet(prepared / "digits.parquet")["label"].to_numpy().astype(np.int64)
    left, right = items["left"].to_numpy(), items["right"].to_numpy()
    pictures = np.empty((len(items), SIZE, SIZE * (1 + (options.layout != "overlap"))), np.uint8)
    for start in range(0, len(items), 4096):  # bounds the memory of the canvases
        block = slice(start, start + 4096)
        pictures[block] = compose(digits[left[block]], digits[right[block]], options.layout)
    lit = (pictures > 127).sum(axis=(1, 2))
    density = 100.0 * lit / pictures[0].size if options.density == "percent" else lit
    targets = {
        "left": labels[left],
        "right": labels[right],
        "sum": (labels[left] + labels[right]).astype(np.float32),
        "product": (labels[left] * labels[right]).astype(np.float32),
        "density": density.astype(np.float32),
    }
    return Part(
        torch.from_numpy(pictures[:, None]),
        {name: torch.from_numpy(values) for name, values in targets.items()},
        MNIST_MEAN,
        MNIST_STD,
    )
