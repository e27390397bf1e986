"""The IDX format of the MNIST files."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.files import atomic
from counterpoise.lazy import np

_MAX_BYTES = 1 << 30


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read one gzipped IDX file of unsigned bytes.

    Raises:
        UserError: the file is not whole, not IDX, or has other dimensions.
    """
    remedy = f"delete the folder {path.parent} and run again: it will be fetched anew"
    try:
        with gzip.open(path) as handle:
            header = handle.read(4 + 4 * dimensions)
            if len(header) < 4 + 4 * dimensions or header[:3] != b"\x00\x00\x08":
                raise UserError("not an IDX file of bytes", where=path, remedy=remedy)
            if header[3] != dimensions:
                raise UserError(
                    f"an IDX file of {header[3]} dimensions where {dimensions} are needed",
                    where=path,
                    remedy="check that images and labels are not swapped",
                )
            shape = struct.unpack(f">{dimensions}I", header[4:])
            size = math.prod(shape)
            if size > _MAX_BYTES:
                raise UserError(f"declares {size} bytes of content", where=path, remedy=remedy)
            content = handle.read(size + 1)
    except FileNotFoundError as error:
        raise UserError("no such file", where=path, remedy=remedy) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"damaged archive ({error})", where=path, remedy=remedy) from error
    if len(content) != size:
        raise UserError(f"holds {len(content)} bytes, not {size}", where=path, remedy=remedy)
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write unsigned bytes as a gzipped IDX file, always the same bytes for the same array."""
    header = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)
    with atomic(path) as temporary:
        temporary.write_bytes(content)
