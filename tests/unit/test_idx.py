"""The IDX format."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from counterpoise.datasets._idx import read_idx, write_idx

from ..support import error_of, files_in


def idx(*shape: int, kind: bytes = b"\x00\x00\x08", content: bytes = b"") -> bytes:
    header = kind + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
    return header + content


def written(folder: Path, content: bytes) -> Path:
    path = folder / "file.gz"
    path.write_bytes(gzip.compress(content))
    return path


@pytest.mark.parametrize("shape", [(7,), (0,), (3, 28, 28), (0, 28, 28), (2, 5, 1)])
def test_round_trip(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_idx(tmp_path / "file.gz", array)
    found = read_idx(tmp_path / "file.gz", len(shape))
    assert found.dtype == np.uint8 and np.array_equal(found, array)


def test_the_format_is_that_of_mnist(tmp_path: Path) -> None:
    """Written by hand after Y. LeCun's description: magic number, sizes big-endian, bytes."""
    path = written(tmp_path, b"\x00\x00\x08\x01" + b"\x00\x00\x00\x03" + bytes([5, 0, 4]))
    assert read_idx(path, 1).tolist() == [5, 0, 4]


def test_the_same_array_gives_the_same_bytes(tmp_path: Path) -> None:
    array = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    for name in ("a.gz", "other-name.gz"):
        write_idx(tmp_path / name, array)
    one, other = ((tmp_path / name).read_bytes() for name in ("a.gz", "other-name.gz"))
    assert one == other
    assert one[4:8] == b"\x00" * 4, "a gzip file must not hold the time of writing"


GOOD = idx(2, 3, content=bytes(6))
BAD = {
    "not gzip": (b"just text", 2, "damaged archive"),
    "empty file": (b"", 2, "not an IDX file"),
    "truncated archive": (gzip.compress(GOOD)[:-9], 2, "damaged archive"),
    "wrong checksum": (gzip.compress(GOOD)[:-8] + bytes(8), 2, "damaged archive"),
    "altered stream": (gzip.compress(GOOD)[:10] + b"\xff" * 30, 2, "damaged archive"),
    "wrong magic": (gzip.compress(idx(2, 3, kind=b"\x01\x00\x08", content=bytes(6))), 2, "IDX"),
    "floats": (gzip.compress(idx(2, 3, kind=b"\x00\x00\x0d", content=bytes(24))), 2, "IDX"),
    "no header": (gzip.compress(b"\x00\x00\x08\x02"), 2, "IDX"),
    "other dimensions": (gzip.compress(idx(6, content=bytes(60))), 3, "1 dimensions where 3"),
    "too little": (gzip.compress(GOOD[:-1]), 2, "holds 5 bytes, not 6"),
    "too much": (gzip.compress(GOOD + b"\x00"), 2, "holds 7 bytes, not 6"),
    "absurd size": (gzip.compress(idx(60000, 28, 28000)), 3, "declares"),
    # Products of 2**64 and of 2**64 - 2**33 + 1 wrap to 0 and to a negative number in 64 bits.
    "size that wraps to zero": (gzip.compress(idx(2**31, 2**31, 4)), 3, "declares"),
    "size that wraps below zero": (gzip.compress(idx(2**32 - 1, 2**32 - 1, 1)), 3, "declares"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    content, dimensions, said = BAD[name]
    path = tmp_path / "file.gz"
    path.write_bytes(content)
    error = error_of(lambda: read_idx(path, dimensions))
    assert said in error.what
    assert error.where == str(path) and error.remedy


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """A small archive of a great many zeros: no more is read than the header declares."""
    path = written(tmp_path, idx(2, 3) + bytes(50_000_000))
    assert path.stat().st_size < 100_000
    assert "holds 7 bytes, not 6" in error_of(lambda: read_idx(path, 2)).what


def test_a_missing_file(tmp_path: Path) -> None:
    error = error_of(lambda: read_idx(tmp_path / "absent.gz", 1))
    assert error.what == "no such file" and files_in(tmp_path) == []
