"""Decoding one image to a square of 8-bit grey."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from counterpoise.datasets._archives import Encoded
from counterpoise.errors import UserError
from counterpoise.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

MAX_PIXELS = 64_000_000
"""The release's images have a million pixels; one larger than this is refused before it is
decoded."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_BLOCK = 0xFFFF
"""Bytes of a stored block at most."""
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Values a pixel by colour type of PNG."""


def decode(image: Encoded, size: int, formats: tuple[str, ...] = ("PNG",)) -> NDArray[np.uint8]:
    """Pixels (size, size) of an image of any colour type, as 8-bit grey.

    Alpha is ignored: where the release has it, it is opaque throughout. Images that are not square
    are stretched. Images are resized with Pillow's bilinear filter, which averages when it reduces;
    a JPEG is first reduced by an integer factor while it is decoded, to no less than twice the
    target size.

    Args:
        image: the file's content, with its name for messages.
        size: pixels along each side.
        formats: those allowed, by Pillow's names.

    Raises:
        UserError: the content is not a complete image in these formats, or declares too many
            pixels.
    """
    from PIL import Image

    if formats == ("PNG",):
        _check_header(image)
    try:
        with Image.open(BytesIO(stored(image.content)), formats=formats) as picture:
            width, height = picture.size
            if width * height > MAX_PIXELS:
                raise undecodable(image, _declares(width, height))
            picture.draft("L", (2 * size, 2 * size))
            picture.load()
            grey = _grey(picture)
    except UserError:
        raise
    # What Pillow raises for damaged files depends on where the damage is.
    except Exception as error:
        raise undecodable(image, str(error)) from error
    if grey.size != (size, size):
        grey = grey.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(grey)


def _grey(picture: Image) -> Image:
    from PIL import Image

    picture.info.pop("transparency", None)  # ignored as alpha is, and without a warning
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        return Image.fromarray((np.asarray(picture) / 257 + 0.5).astype(np.uint8))
    return picture.convert("L")


def _check_header(image: Encoded) -> None:
    """Before anything is decoded: a PNG, of a size that can be."""
    header = image.content[:24]
    if header[:8] != SIGNATURE or header[12:16] != b"IHDR" or len(header) < 24:
        raise undecodable(image, "not a PNG image")
    width, height = struct.unpack(">II", header[16:24])
    if width * height > MAX_PIXELS:
        raise undecodable(image, _declares(width, height))


def _declares(width: int, height: int) -> str:
    return f"it declares {width} x {height} pixels; at most {MAX_PIXELS} are allowed"


def undecodable(image: Encoded, reason: str) -> UserError:
    """The error that names the image and its archive."""
    return UserError(
        f"cannot decode the image {image.name!r}: {reason}",
        where=image.archive,
        remedy=f"delete the folder {image.archive.parent} and run again: it will be fetched anew",
    )


def stored(content: bytes) -> bytes:
    """A PNG with its pixels inflated by ISA-L and stored without compression.

    Half of the time for decoding a PNG is spent in zlib; ISA-L needs a quarter of zlib's time.
    Anything but a plain, complete, non-interlaced PNG is returned as it is, for Pillow to judge.
    """
    try:
        from isal import isal_zlib
    except ImportError:
        return content
    try:
        if content[:8] != SIGNATURE or content[12:16] != b"IHDR":
            return content
        width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content[16:29])
        line = (width * depth * _CHANNELS[colour] + 7) // 8 + 1
        expected = line * height
        if interlaced or not 0 < width * height <= MAX_PIXELS:
            return content
        chunks, place, pixels = [SIGNATURE], 8, []
        while content[place + 4 : place + 8] != b"IEND":
            (length,) = struct.unpack(">I", content[place : place + 4])
            end = place + 12 + length
            if end > len(content):
                return content
            if content[place + 4 : place + 8] == b"IDAT":
                pixels.append(content[place + 8 : end - 4])
            elif not pixels:
                chunks.append(content[place:end])
            place = end
        inflater = isal_zlib.decompressobj()
        data = inflater.decompress(b"".join(pixels), expected)
        if (
            len(data) != expected
            or (not inflater.eof and inflater.decompress(inflater.unconsumed_tail, 1))
            or not inflater.eof
        ):
            return content
    except (isal_zlib.IsalError, struct.error, KeyError, EOFError):  # type: ignore[misc]
        return content
    body = b"".join([b"IDAT\x78\x01", *_blocks(data), struct.pack(">I", isal_zlib.adler32(data))])
    checksum = struct.pack(">I", isal_zlib.crc32(body))
    return b"".join([*chunks, struct.pack(">I", len(body) - 4), body, checksum, _END])


def _blocks(data: bytes) -> Iterator[bytes]:
    """Deflate's stored blocks (RFC 1951, 3.2.4), each with its header."""
    for start in range(0, len(data), _BLOCK):
        block = data[start : start + _BLOCK]
        last = start + _BLOCK >= len(data)
        yield struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF)
        yield block
