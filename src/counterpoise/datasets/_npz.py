"""Arrays read from a NumPy archive (``.npz``), block by block, without trusting its content."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from counterpoise.errors import UserError
from counterpoise.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1 << 24
"""Bytes read at a time."""
_PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


class Arrays:
    """The arrays of bytes in an archive.

    Attributes:
        shapes: shape of each, by name.
    """

    def __init__(self, path: Path, archive: zipfile.ZipFile, most: dict[str, tuple[int, ...]]):
        self._path, self._archive = path, archive
        self.shapes = {name: self._shape(name, largest) for name, largest in most.items()}

    def blocks(self, name: str) -> Iterator[NDArray[np.uint8]]:
        """An array in blocks of whole rows, in order.

        Raises:
            UserError: the content is damaged.
        """
        shape = self.shapes[name]
        row = int(np.prod(shape[1:], dtype=np.int64))
        rows = max(1, BLOCK // max(row, 1))
        try:
            with self._archive.open(f"{name}.npy") as file:
                _header(file)
                for start in range(0, shape[0], rows):
                    count = min(rows, shape[0] - start)
                    content = _exactly(file, count * row)
                    yield np.frombuffer(content, np.uint8).reshape(count, *shape[1:])
                if file.read(1):  # and with the end the checksum is compared
                    raise ValueError("more than its header says")
        except _BROKEN as error:
            raise _damaged(self._path, f"{name}: {error}") from error

    def _shape(self, name: str, largest: tuple[int, ...]) -> tuple[int, ...]:
        try:
            member = self._archive.getinfo(f"{name}.npy")
        except KeyError as error:
            raise UserError(
                f"has no array {name!r}",
                where=self._path,
                remedy="take the file as its publisher has it",
            ) from error
        if member.flag_bits & 1 or member.compress_type not in _PACKED:
            raise _damaged(self._path, f"{name} is encrypted or packed in an uncommon way")
        try:
            with self._archive.open(member) as file:
                shape, kind, fortran = _header(file)
                start = file.tell()
        except _BROKEN as error:
            raise _damaged(self._path, f"{name}: {error}") from error
        # Objects would have to be unpickled, which may run anything.
        if kind != np.dtype(np.uint8) or fortran:
            raise _damaged(self._path, f"{name} is of {kind}, not of bytes row by row")
        fits = len(shape) == len(largest) and all(
            0 < n <= most for n, most in zip(shape, largest, strict=True)
        )
        if not fits:
            raise UserError(
                f"{name} has the shape {shape}; at most {largest} is allowed",
                where=self._path,
                remedy="take the file as its publisher has it, or the dataset option that fits it",
            )
        if member.file_size != start + int(np.prod(shape, dtype=np.int64)):
            raise _damaged(self._path, f"{name} has another size than its header says")
        return shape


@contextmanager
def open_arrays(path: Path, most: dict[str, tuple[int, ...]]) -> Iterator[Arrays]:
    """Open an archive.

    Args:
        most: largest allowed shape of each array that is read, by name.

    Raises:
        UserError: the file is missing or damaged, lacks an array, or has one that is larger, of a
            type other than uint8, or laid out differently.
    """
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError as error:
        raise UserError("no such file", where=path, remedy="fetch it again") from error
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    with archive:
        yield Arrays(path, archive, most)


_BROKEN = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, RuntimeError)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, bool]:
    """Shape, type, and whether columns come first."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format")
    read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
    try:
        shape, fortran, kind = read(file)
    # What NumPy raises for damaged headers depends on where the damage is.
    except Exception as error:
        raise ValueError(f"header: {error}") from error
    return tuple(int(n) for n in shape), kind, bool(fortran)


def _exactly(file: IO[bytes], count: int) -> bytes:
    parts, left = [], count
    while left:
        content = file.read(left)
        if not content:
            raise EOFError("less than its header says")
        parts.append(content)
        left -= len(content)
    return b"".join(parts)


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(
        f"damaged archive ({reason})",
        where=path,
        remedy=f"delete the folder {path.parent} and run again: it will be fetched anew",
    )
