"""Images decoded into an array: resumable after a kill, damage counted, PNG by a faster inflate."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterpoise.datasets import _arrays
from counterpoise.datasets._archives import Encoded
from counterpoise.datasets._arrays import Array
from counterpoise.datasets._images import decode, stored
from counterpoise.errors import UserError
from counterpoise.files import sha256_file

from ..support import error_of, files_in

SIZE = 8
COUNT = 40


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)


def png(image: np.ndarray | Image.Image, **options: object) -> bytes:
    stream = BytesIO()
    made = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    made.save(stream, "PNG", **options)
    return stream.getvalue()


def images(count: int = COUNT, bad: tuple[int, ...] = ()) -> Iterator[Encoded]:
    for n in range(count):
        content = b"no image" if n in bad else png(picture(n))
        yield Encoded(f"{n:03}.png", content, Path("archive"))


def array(folder: Path, origin: str = "") -> Array:
    rows = {f"{n:03}.png": COUNT - 1 - n for n in range(COUNT)}
    return Array(folder / "images.npy", rows, SIZE, origin)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """And few enough images ahead of them, however many cores there are."""
    monkeypatch.setattr(_arrays, "SHARD", 7)
    monkeypatch.setattr(_arrays, "cores", lambda: 2)


def whole(folder: Path) -> str:
    made = array(folder)
    made.fill(images(), decode)
    made.clear()
    return sha256_file(folder / "images.npy")


def test_every_image_is_in_its_row(tmp_path: Path) -> None:
    whole(tmp_path)
    found = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert found.shape == (COUNT, SIZE, SIZE) and found.dtype == np.uint8
    assert all(np.array_equal(found[COUNT - 1 - n], picture(n)) for n in range(COUNT))
    assert files_in(tmp_path) == ["images.npy"]


class Stop(Exception):
    """Ends a run in the middle."""


def ending(after: int) -> Iterator[Encoded]:
    for n, image in enumerate(images()):
        if n == after:
            raise Stop
        yield image


@pytest.mark.parametrize("after", [0, 5, 20, 39])
def test_another_run_takes_over_whole_shards(tmp_path: Path, after: int) -> None:
    expected = whole(tmp_path / "whole")
    folder = tmp_path / "parts"
    with pytest.raises(Stop):
        array(folder).fill(ending(after), decode)
    # Those that wait behind a core are not on disk yet; what is there is named by notes.
    kept = files_in(folder)
    assert "images.npy" not in kept and (after > 20 or len(kept) <= 3)
    counted: list[str] = []

    def counting(image: Encoded, size: int) -> np.ndarray:
        counted.append(image.name)
        return decode(image, size)

    made = array(folder)
    made.fill(images(), counting)
    made.clear()
    assert sha256_file(folder / "images.npy") == expected and files_in(folder) == ["images.npy"]
    assert len(counted) == COUNT - 7 * sum(name.endswith(".json") for name in kept)


def test_a_shard_that_was_damaged_or_is_anothers_is_decoded_again(tmp_path: Path) -> None:
    expected = whole(tmp_path / "whole")
    for kind in ("pixels", "note", "origin"):
        folder = tmp_path / kind
        with pytest.raises(Stop):
            array(folder).fill(ending(39), decode)
        partial, note = folder / "images.npy.partial", folder / "images.npy.shard-00000.json"
        if kind == "pixels":
            content = bytearray(partial.read_bytes())
            content[-3] ^= 1  # the first images are in the last rows
            partial.write_bytes(content)
        elif kind == "note":
            note.write_text(note.read_text().replace("000.png", "001.png"))
        counted: list[str] = []

        def counting(image: Encoded, size: int, counted: list[str] = counted) -> np.ndarray:
            counted.append(image.name)
            return decode(image, size)

        array(folder, "another" if kind == "origin" else "").fill(images(), counting)
        assert sha256_file(folder / "images.npy") == expected
        assert "000.png" in counted and (kind != "origin" or len(counted) == COUNT)


def test_a_run_killed_behind_the_array_decodes_nothing_again(tmp_path: Path) -> None:
    """The array is in its place, the index is not yet: the notes are still there."""
    expected = whole(tmp_path / "whole")
    array(tmp_path / "p").fill(images(), decode)

    def never(image: Encoded, size: int) -> np.ndarray:
        raise AssertionError

    array(tmp_path / "p").fill(images(), never)
    assert sha256_file(tmp_path / "p" / "images.npy") == expected


PROGRAM = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.unit import test_arrays as t
from counterpoise.datasets import _arrays
_arrays.SHARD = 7
_arrays.cores = lambda: 2
decoded = []
def decode(image, size):
    if int(image.name[:3]) >= {stop}:
        time.sleep(600)
    decoded.append(image.name)
    return t.decode(image, size)
made = t.array(Path({folder!r}))
made.fill(t.images(), decode)
made.clear()
print(len(decoded))
"""
"""Decodes all images before one, then says how many; from that one on it sleeps."""


def test_kill_in_the_middle_then_resume(tmp_path: Path) -> None:
    """SIGKILL once two shards are noted and nothing more comes; the next ends in the same bytes."""
    expected = whole(tmp_path / "whole")
    folder, root = tmp_path / "p", str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *sys.path])}

    def program(stop: int) -> list[str]:
        return [sys.executable, "-c", PROGRAM.format(root=root, folder=str(folder), stop=stop)]

    running = subprocess.Popen(program(14), env=environment)
    end = time.monotonic() + 60
    while not (folder / "images.npy.shard-00001.json").exists():
        time.sleep(0.005)
        assert running.poll() is None and time.monotonic() < end
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert len(array(folder).notes) == 2 and not (folder / "images.npy").exists()
    done = subprocess.run(
        program(COUNT), env=environment, check=True, timeout=60, stdout=subprocess.PIPE, text=True
    )
    assert int(done.stdout) == COUNT - 14
    assert sha256_file(folder / "images.npy") == expected and files_in(folder) == ["images.npy"]


def test_damaged_images_are_listed_up_to_a_number(tmp_path: Path) -> None:
    made = array(tmp_path / "two")
    told = made.fill(images(bad=(3, 30)), decode, allowed=2)
    assert list(told) == ["003.png", "030.png"] and "not a PNG" in told["003.png"]
    found = np.load(tmp_path / "two" / "images.npy")
    assert found[COUNT - 1 - 3].max() == 0 and found[COUNT - 1 - 4].max() > 0
    again = array(tmp_path / "two").fill(images(bad=(3, 30)), decode, allowed=2)
    assert again == told, "known from the notes"
    error = error_of(lambda: array(tmp_path / "one").fill(images(bad=(3, 30)), decode, allowed=1))
    assert "2 images cannot be decoded and 1 may be: 003.png, 030.png" in error.what
    error = error_of(lambda: array(tmp_path / "none").fill(images(bad=(3,)), decode))
    assert "'003.png'" in error.what and files_in(tmp_path / "none") == []


# PNG by ISA-L --------------------------------------------------------------------------------

FORMS = {
    "grey": lambda: Image.fromarray(picture(0)),
    "rgb": lambda: Image.fromarray(picture(0)).convert("RGB"),
    "rgba": lambda: Image.fromarray(picture(0)).convert("RGBA"),
    "grey-alpha": lambda: Image.fromarray(picture(0)).convert("LA"),
    "palette": lambda: Image.fromarray(picture(0)).convert("P"),
    "bits": lambda: Image.fromarray(picture(0)).convert("1"),
    "16 bits": lambda: Image.fromarray(picture(0).astype(np.uint16) * 257),
    "wide": lambda: Image.fromarray(np.tile(picture(0), (3, 40))),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("level", [0, 1, 9])
def test_stored_pixels_are_those_of_the_file(form: str, level: int) -> None:
    pytest.importorskip("isal")
    content = png(FORMS[form](), compress_level=level)
    again = stored(content)
    assert again is not content
    one, other = (Image.open(BytesIO(c)) for c in (content, again))
    assert one.mode == other.mode and one.size == other.size
    assert np.array_equal(np.asarray(one), np.asarray(other))
    if one.mode == "P":
        assert one.getpalette() == other.getpalette()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_what_is_no_plain_whole_png_is_left_to_pillow() -> None:
    """Interlaced, cut, with too many or too few pixels, too large, or of another kind."""
    content = png(picture(0))
    header = content[:33]
    interlaced = bytearray(content)
    interlaced[28] = 1
    pixels = zlib.compress(bytes(SIZE * (SIZE + 1)))
    huge = content[:16] + struct.pack(">II", 100_000, 100_000) + content[24:]
    end = chunk(b"IEND", b"")
    odd = {
        "interlaced": bytes(interlaced),
        "cut": content[:-30],
        "no end": content[:-12],
        "text": b"<html>",
        "nothing": b"",
        "huge": huge,
        "too many": header + chunk(b"IDAT", zlib.compress(bytes(10_000))) + end,
        "too few": header + chunk(b"IDAT", zlib.compress(bytes(7))) + end,
        "wrong checksum": header + chunk(b"IDAT", pixels[:-1] + b"\xff") + end,
        "half": header + chunk(b"IDAT", pixels[: len(pixels) // 2]) + end,
        "unknown colour": content[:25] + b"\x05" + content[26:],
    }
    for name, given in odd.items():
        assert stored(given) is given, name
    whole = header + chunk(b"IDAT", pixels) + end
    assert stored(whole) is not whole


def test_a_jpeg_is_reduced_while_it_is_decoded_and_stays_antialiased() -> None:
    """Stripes finer than the target leave their mean; a PNG is refused where a JPEG is due."""
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    stream = BytesIO()
    Image.fromarray(stripes).save(stream, "JPEG", quality=95)
    found = decode(Encoded("a.jpg", stream.getvalue(), Path("x")), 64, ("JPEG",))
    assert np.abs(found[:, 1:-1].astype(int) - 127.5).max() < 2
    with pytest.raises(UserError):
        decode(Encoded("a.jpg", png(stripes), Path("x")), 64, ("JPEG",))
