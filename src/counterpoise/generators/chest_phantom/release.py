"""The files of the NIH release, filled with the phantom."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

from counterpoise.datasets._nih import BOX_SYNONYMS, BOXES, EDITIONS, NO_FINDING, OFFICIAL
from counterpoise.files import atomic, write_text
from counterpoise.generators.chest_phantom.cohort import Scene, reported
from counterpoise.generators.chest_phantom.render import radiograph
from counterpoise.lazy import np

ARCHIVE = "images_001.tar.gz"
BOX_SPACE = 1024  # the release gives boxes in pixels of its pictures, 1024 x 1024
_ENTRY_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
_BOX_LABELS = {finding: label for label, finding in BOX_SYNONYMS.items()}


def write(folder: Path, scenes: list[Scene], size: int, label_noise: float) -> None:
    """Write archive, labels, lists and boxes; the same bytes for the same arguments."""
    boxes = _write_archive(folder / ARCHIVE, scenes, size)
    entries = [_entry(scene, label_noise) for scene in scenes]
    _write_lines(folder / EDITIONS[2020], [_ENTRY_HEADER, *entries])
    _write_lines(folder / BOXES, [_BOX_HEADER, *boxes])
    for part, file in OFFICIAL.items():
        chosen = [scene.name for scene in scenes if scene.for_test == (part == "test")]
        _write_lines(folder / file, chosen)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def _entry(scene: Scene, label_noise: float) -> str:
    labels = "|".join(reported(scene, label_noise)) or NO_FINDING
    person = f"{scene.visit},{scene.patient + 1},{scene.age},{scene.sex},{scene.view}"
    return f"{scene.name},{labels},{person},2048,2048,0.171,0.171"


def _write_archive(path: Path, scenes: list[Scene], size: int) -> list[str]:
    """Take all pictures; returns the lines of the file of boxes."""
    from PIL import Image

    boxes = []
    with (
        atomic(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for scene in scenes:
            pixels, masks = radiograph(scene, size)
            encoded = io.BytesIO()
            Image.fromarray(pixels).save(encoded, "png", compress_level=1)
            member = tarfile.TarInfo(f"images/{scene.name}")
            member.size = encoded.tell()
            encoded.seek(0)
            archive.addfile(member, encoded)
            for finding, mask in masks.items():
                label = _BOX_LABELS.get(finding, finding)
                boxes += [f"{scene.name},{label},{box}" for box in _boxes(mask)]
    return boxes


def _boxes(mask: np.ndarray) -> list[str]:
    """``x,y,w,h`` of each connected part of a mask, without crumbs of the largest part."""
    from scipy.ndimage import find_objects, label

    parts, count = label(mask)
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    scale = BOX_SPACE / len(mask)
    return [
        ",".join(
            f"{scale * value:.12g}"
            for value in (x.start, y.start, x.stop - x.start, y.stop - y.start)
        )
        for (y, x), area in zip(find_objects(parts), areas, strict=True)
        if 4 * area >= areas.max()
    ]
