"""The chest phantom in the file format of ChestMNIST at 28 pixels, in its three parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from counterpoise.datasets.chestmnist import LABELS, PARTS, file_of
from counterpoise.files import atomic
from counterpoise.generators.chest_phantom.cohort import reported, scenes
from counterpoise.generators.chest_phantom.render import radiograph
from counterpoise.lazy import np
from counterpoise.spec import base

SIZE = 28
DRAWN = 56
"""Pixels along each side of the image that is averaged down to the size of the file."""


class Options(base.Options):
    """Options of the phantom."""

    images: Annotated[int, Field(ge=20)] = 2000
    """Number of images: 70 % for training, 10 % for validation, 20 % for test, by patient."""


def generate(folder: Path, options: Options) -> None:
    """Write ``chestmnist.npz``; the same bytes for the same options."""
    cohort = list(scenes(options.images, 0, "first", "raised"))
    pictures = np.zeros((len(cohort), SIZE, SIZE), np.uint8)
    labels = np.zeros((len(cohort), len(LABELS)), np.uint8)
    for row, scene in enumerate(cohort):
        drawn, _ = radiograph(scene, DRAWN)
        averaged = drawn.reshape(SIZE, DRAWN // SIZE, SIZE, DRAWN // SIZE).mean((1, 3))
        pictures[row] = np.rint(averaged)
        found = {finding.lower() for finding in reported(scene, 0.0)}
        labels[row] = [name in found for name in LABELS]
    patients = np.array([scene.patient for scene in cohort])
    place = np.searchsorted(np.unique(patients), patients) % 10
    parts = {"train": place < 7, "val": place == 7, "test": place > 7}
    arrays = {}
    for part in PARTS:
        arrays[f"{part}_images"] = pictures[parts[part]]
        arrays[f"{part}_labels"] = labels[parts[part]]
    with atomic(folder / file_of(SIZE)) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
