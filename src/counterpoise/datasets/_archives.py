"""Images read from the containers of the release in memory: nothing is ever unpacked to disk.

A container is an archive, ``images_NNN.tar.gz`` at NIH or ``images_NNN.zip`` in copies of the
release, with ``images/NAME.png`` inside; or an unpacked folder: ``images_NNN/images/NAME.png``
(Kaggle's layout) or ``images/NAME.png``.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from counterpoise.errors import UserError

PATTERN = "images_*.tar.gz"
FOLDER = "images"
MEMBER_BYTES = 64 << 20
"""No image of the release comes near this size; a larger one is refused unread."""
MEMBERS = 1 << 20
"""Entries of one archive; the whole release has a tenth of them."""
_CONTAINER = re.compile(r"images(_[^/]+)?|images_[^/]+\.(tar\.gz|zip)")
_UNPACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


class Encoded(NamedTuple):
    """An image as stored in a container."""

    name: str
    content: bytes
    archive: Path


def containers(raw: Path) -> list[Path]:
    """Archives and folders of images in a folder, by name.

    Raises:
        UserError: there is none.
    """
    found = sorted(
        path
        for path in raw.iterdir()
        if _CONTAINER.fullmatch(path.name)
        and (path.is_dir() if "." not in path.name else path.is_file())
    )
    if found:
        return found
    raise UserError(
        f"no archive {PATTERN}",
        where=raw,
        remedy="put the archives of the NIH release into this folder",
    )


def read_images(raw: Path, names: Collection[str], listed: str) -> Iterator[Encoded]:
    """Every image of the containers of a folder, in their order.

    Args:
        raw: folder with the containers.
        names: the images that they must hold, each once, and no other.
        listed: file that names them, for messages.

    Raises:
        UserError: a container is damaged or holds what it should not; an image is missing.
    """
    seen: dict[str, Path] = {}
    for archive in containers(raw):
        for image in read_container(archive):
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


def read_container(path: Path) -> Iterator[Encoded]:
    """Every image of one container, in its order.

    Raises:
        UserError: it is damaged, or holds what it should not, which is named.
    """
    if path.is_dir():
        return _read_folder(path)
    return _read_zip(path) if path.suffix == ".zip" else _read_tar(path)


def _read_folder(path: Path) -> Iterator[Encoded]:
    images = path if path.name == FOLDER else path / FOLDER
    try:
        with os.scandir(images) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".png"))
        for name in names:
            size = (images / name).stat().st_size
            if not (images / name).is_file():
                raise _refused(images, name, "which is not a plain file")
            if size > MEMBER_BYTES:
                raise _refused(images, name, _declares(size))
            yield Encoded(name, (images / name).read_bytes(), path)
    except OSError as error:
        raise UserError(
            f"cannot read the images ({error.strerror or error})",
            where=images,
            remedy="give yourself permission to read the folder and all in it",
        ) from error


def _read_zip(path: Path) -> Iterator[Encoded]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MEMBERS:
                raise _refused(path, members[0].filename, f"and {len(members) - 1} more entries")
            for member in members:
                if not _is_image_of_zip(member, path):
                    continue
                with archive.open(member) as file:
                    content = file.read(MEMBER_BYTES + 1)
                if len(content) != member.file_size:
                    raise zipfile.BadZipFile(f"{member.filename!r} has another size than declared")
                yield Encoded(PurePosixPath(member.filename).name, content, path)
    # zipfile raises RuntimeError, or its kind NotImplementedError, for an entry that is encrypted
    # or packed in a way that it cannot read.
    except (
        zipfile.BadZipFile, OSError, EOFError, zlib.error, ValueError, RuntimeError
    ) as error:  # fmt: skip
        raise _damaged(path, error) from error


def _is_image_of_zip(member: zipfile.ZipInfo, path: Path) -> bool:
    """As :func:`_is_image`, of a zip: its entries may also be links, encrypted, or oddly packed."""
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    if kind == stat.S_IFDIR or name.endswith("/"):
        if name.rstrip("/") in ("", FOLDER):
            return False
        raise _refused(path, name, "which is not a plain file")
    if not _is_inside(name):
        raise _refused(path, name, f"which is not in the folder {FOLDER}/")
    if kind not in (0, stat.S_IFREG):
        raise _refused(path, name, "which is not a plain file")
    if member.flag_bits & 1 or member.compress_type not in _UNPACKED:
        raise _refused(path, name, "which is encrypted or packed in an uncommon way")
    if not 0 <= member.file_size <= MEMBER_BYTES:
        raise _refused(path, name, _declares(member.file_size))
    return True


def _read_tar(path: Path) -> Iterator[Encoded]:
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
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(
        f"damaged archive ({error})",
        where=path,
        remedy=f"delete the folder {path.parent} and run again: it will be fetched anew",
    )


class _Bounded(gzip.GzipFile):
    """Refuses to read at once an amount that only a forged header would ask for."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or not 0 <= size <= MEMBER_BYTES:
            raise tarfile.ReadError(f"an entry of {size} bytes")
        return super().read(size)


def _is_image(member: tarfile.TarInfo, path: Path) -> bool:
    """Whether a member is an image rather than the folder of images.

    Raises:
        UserError: it is neither.
    """
    if member.isdir() and PurePosixPath(member.name).parts in ((), (FOLDER,)):
        return False
    if not _is_inside(member.name):
        problem = f"which is not in the folder {FOLDER}/"
    elif not member.isreg() or member.issparse():
        problem = "which is not a plain file"
    elif not 0 <= member.size <= MEMBER_BYTES:
        problem = _declares(member.size)
    else:
        return True
    raise _refused(path, member.name, problem)


def _is_inside(name: str) -> bool:
    """Whether a member's name is of a file in the folder of images, and nothing but that."""
    parts = PurePosixPath(name).parts
    return (
        len(parts) == 2
        and parts[0] == FOLDER
        and parts[1] != ".."
        and not name.startswith("/")
        and not set(name) & {"\\", ":", "\0"}
    )


def _declares(size: int) -> str:
    return f"which declares {size} bytes; at most {MEMBER_BYTES} are allowed"


def _refused(path: Path, name: str, problem: str) -> UserError:
    return UserError(
        f"holds {name!r}, {problem}",
        where=path,
        remedy="use no archive whose origin you do not know: fetch it again from NIH",
    )
