"""Images out of ``images_NNN.tar.gz``, in memory: nothing is ever unpacked to disk."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from counterpoise.errors import UserError

PATTERN = "images_*.tar.gz"
FOLDER = "images"
MEMBER_BYTES = 64 << 20
"""No image of the release is near this size; a larger one is refused unread."""


class Encoded(NamedTuple):
    """An image as it lies in an archive."""

    name: str
    content: bytes
    archive: Path


def read_images(raw: Path, names: Collection[str], listed: str) -> Iterator[Encoded]:
    """Every image of the archives of a folder, in their order.

    Args:
        raw: folder with the archives.
        names: the images that the archives must hold, each once, and no other.
        listed: file that names them, for messages.

    Raises:
        UserError: an archive is damaged or holds what it should not; an image is missing.
    """
    archives = sorted(raw.glob(PATTERN))
    if not archives:
        raise UserError(
            f"no archive {PATTERN}",
            where=raw,
            remedy="put the archives of the NIH release into this folder",
        )
    seen: dict[str, Path] = {}
    for archive in archives:
        for image in _read_archive(archive):
            if image.name not in names:
                raise UserError(
                    f"holds the image {image.name!r}, which {listed} does not name",
                    where=archive,
                    remedy=f"take {listed} and the archives from one release, or add the image",
                )
            if image.name in seen:
                raise UserError(
                    f"holds the image {image.name!r}, which {seen[image.name].name} holds already",
                    where=archive,
                    remedy="remove one of the two",
                )
            seen[image.name] = archive
            yield image
    missing = [name for name in names if name not in seen]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(names)} images that {listed} names are in no archive, such as "
            f"{missing[0]!r}",
            where=raw,
            remedy="add the archives that are missing, or name the images that are there in "
            "sample_list.txt",
        )


def _read_archive(path: Path) -> Iterator[Encoded]:
    damaged = f"delete the folder {path.parent} and run again: it will be fetched anew"
    try:
        with _Bounded(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                if _is_image(member, path):
                    content = archive.extractfile(member)
                    assert content is not None  # for it is a regular file
                    yield Encoded(PurePosixPath(member.name).name, content.read(), path)
            # tarfile takes a damaged header for the end. The true end is zeros, and the checksum
            # is compared once all of them are read.
            rest = stream.read(MEMBER_BYTES)
            if len(rest) == MEMBER_BYTES or rest.strip(b"\0"):
                raise tarfile.ReadError("unreadable entry")
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(f"damaged archive ({error})", where=path, remedy=damaged) from error


class _Bounded(gzip.GzipFile):
    """Refuses to read as much at once as only a forged header asks for."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MEMBER_BYTES:
            raise tarfile.ReadError(f"an entry of {size} bytes")
        return super().read(size)


def _is_image(member: tarfile.TarInfo, path: Path) -> bool:
    """Whether a member is an image rather than the folder of images.

    Raises:
        UserError: it is neither.
    """
    parts = PurePosixPath(member.name).parts
    if member.isdir() and parts in ((), (FOLDER,)):
        return False
    if "/" in parts[:1] or ".." in parts or parts[:1] != (FOLDER,) or len(parts) != 2:
        problem = f"which is not in the folder {FOLDER}/"
    elif not member.isreg() or member.issparse():
        problem = "which is not a plain file"
    elif not 0 <= member.size <= MEMBER_BYTES:
        problem = f"which declares {member.size} bytes; at most {MEMBER_BYTES} are allowed"
    else:
        return True
    raise UserError(
        f"holds {member.name!r}, {problem}",
        where=path,
        remedy="use no archive whose origin you do not know: fetch it again from NIH",
    )
