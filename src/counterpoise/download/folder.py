"""Files of a source out of a folder of one's own: copied, or linked where they are too large."""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path

from counterpoise.download.batch import Batch
from counterpoise.download.room import check_room
from counterpoise.errors import UserError
from counterpoise.spec.dataset import SourceFile
from counterpoise.transfer import copied, sha256_of

log = logging.getLogger(__name__)

ARCHIVES = (".tar.gz", ".zip")


def take(batch: Batch, mirror: Path) -> None:
    """Copy all files from a folder, or link them where the source says so."""
    unpacked = _unpacked(batch, mirror) if batch.source.in_place else {}
    missing = [file for file in batch.source.files if not batch.is_here(file)]
    copied = [] if batch.source.in_place else [file.bytes or 0 for file in missing]
    check_room(batch.source.title, batch.folder, sum(copied), batch.prepared)
    for file in missing:
        if unpacked and file.name.endswith(ARCHIVES):
            continue
        found = next((p / file.name for p in _places(batch, mirror)
                      if (p / file.name).is_file()), None)  # fmt: skip
        if found is not None:
            _take(batch, file, found)
        elif file.needed == "always":
            raise _lacks(batch, mirror, file)
        else:
            log.info("%s is missing; it is not always needed", file.name)
    for name, images in unpacked.items():
        _link_folder(batch, name, images)


def _places(batch: Batch, mirror: Path) -> tuple[Path, Path]:
    return mirror / batch.name, mirror


def _lacks(batch: Batch, mirror: Path, file: SourceFile) -> UserError:
    if not mirror.is_dir():
        what, where = "the mirror folder does not exist", mirror
    else:
        what, where = f"the mirror has no {file.name}", mirror / batch.name / file.name
    remote = batch.source.mirrors or file.urls
    return UserError(
        what,
        where=where,
        remedy=f"put the files of source {batch.name!r} into a folder {batch.name}/ in the mirror"
        + (", or leave `mirror` out to download them" if remote else ""),
    )


def _take(batch: Batch, file: SourceFile, found: Path) -> None:
    target, editions = batch.folder / file.name, batch.editions(file)
    remedy = "fetch the file again from its publisher" + batch.changed(file)
    if batch.source.in_place:
        sha256 = sha256_of(found, editions, remedy)
        _link(found, target)
    else:
        sha256 = copied(found, target, editions, remedy)
    batch.keep(file, sha256)
    log.info("%s %s", "linked" if batch.source.in_place else "copied", found)


def _unpacked(batch: Batch, mirror: Path) -> dict[str, Path]:
    """Folders of unpacked images by name, in the layout of the release or of Kaggle."""
    for place in _places(batch, mirror):
        if any((place / file.name).is_file() for file in batch.source.files
               if file.name.endswith(ARCHIVES)):  # fmt: skip
            return {}
        numbered = sorted(p for p in place.glob("images_*") if (p / "images").is_dir())
        if numbered:
            return {path.name: path for path in numbered}
        if (place / "images").is_dir():
            return {"images": place / "images"}
    return {}


def _link_folder(batch: Batch, name: str, found: Path) -> None:
    """Link a folder of images; its names and sizes stand for its content."""
    images = found if name == "images" else found / "images"
    lines = sorted(
        f"{entry.name} {entry.stat().st_size}\n"
        for entry in os.scandir(images)
        if entry.name.endswith(".png")
    )
    listing = hashlib.sha256("".join(lines).encode()).hexdigest()
    key = f"{name}/"
    if batch.recorded.get(key, listing) != listing:
        raise UserError(
            "holds other images than when it was first used",
            where=found,
            remedy="put back the images that were there or, if the change is intended, delete "
            f"{batch.checksums} and everything made from them",
        )
    _link(found, batch.folder / name)
    batch.folders[name] = {"images": len(lines), "listing": listing}
    log.info("linked %s with %d images", found, len(lines))


def _link(found: Path, target: Path) -> None:
    """A symbolic link in place of whatever link or file is there."""
    try:
        if target.is_symlink() or target.is_file():
            target.unlink()
        target.symlink_to(found.resolve())
    except OSError as error:
        raise UserError(
            f"cannot link: {error.strerror or error}",
            where=target,
            remedy="put data/ on a disk whose file system supports symbolic links",
        ) from error
