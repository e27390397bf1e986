"""Images decoded into one memory-mapped array, on all cores, resumable after any interruption.

The array is written next to its final place and moved there when it is complete. Images are decoded
in the order in which they are read and grouped into shards; once all images of a shard are on disk,
a note records which they are, with the checksum of their pixels. Another run takes over the shards
whose pixels still match their checksum, and reads and decodes the rest, so that it produces the
same bytes.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from counterpoise.datasets._archives import Encoded
from counterpoise.errors import UserError
from counterpoise.files import digest_of, is_sealed, make_folder, read_json, write_sealed
from counterpoise.lazy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

SHARD = 1024
"""Images in a shard: with a slow disk at most some minutes of work are lost."""
DAMAGED = "damaged"
"""Column of an index that marks damaged images, where there are any."""
AHEAD = 4
"""Images queued per core; bounds the memory."""


class Array:
    """An array of images (N, size, size) of uint8 under construction.

    Args:
        target: the ``.npy`` file.
        rows: the images' names and their places.
        size: pixels along each side.
        origin: what the images come from; shards of another origin are not taken over.
    """

    def __init__(self, target: Path, rows: dict[str, int], size: int, origin: Any) -> None:
        self.target, self.rows, self.size = target, rows, size
        self.partial = target.with_name(f"{target.name}.partial")
        self.key = digest_of([list(rows), size, origin])
        self.done: set[str] = set()
        self.damaged: dict[str, str] = {}
        self.shards = 0

    @property
    def notes(self) -> list[Path]:
        """Files that say which shards are on disk."""
        return sorted(self.target.parent.glob(f"{self.target.name}.shard-*.json"))

    def fill(
        self,
        images: Iterable[Encoded],
        decode: Callable[[Encoded, int], NDArray[np.uint8]],
        allowed: int = 0,
    ) -> dict[str, str]:
        """Decode all images and put the array in its place.

        Args:
            images: every image once, in any order.
            decode: an image's pixels (size, size).
            allowed: images that may be damaged; they stay black.

        Returns:
            What is wrong with which image.

        Raises:
            UserError: more images are damaged than are allowed.
        """
        make_folder(self.target.parent)
        source = self.target if self.target.is_file() and self.notes else self.partial
        with self._opened(source) as file:
            start = file.tell()
            self._take_over(file, start)
            try:
                self._write(file, start, images, decode, allowed)
            except BaseException:
                if not self.done:  # nothing that another run could take over
                    file.close()
                    self.clear()
                    source.unlink(missing_ok=True)
                raise
            file.flush()
            os.fsync(file.fileno())
        if source != self.target:
            source.replace(self.target)
        return self.damaged

    def clear(self) -> None:
        """Forget the shards, once everything derived from the array is written, too."""
        for path in self.notes:
            path.unlink()

    def _opened(self, path: Path) -> IO[bytes]:
        """The file at the place of its first pixel, as long as it will be."""
        shape = (len(self.rows), self.size, self.size)
        file = path.open("r+b" if path.is_file() else "w+b")
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        start = file.tell()
        file.truncate(start + len(self.rows) * self.size**2)
        return file

    def _take_over(self, file: IO[bytes], start: int) -> None:
        """Read the notes; those about other images or other pixels do not count."""
        for path in self.notes:
            try:
                note = read_json(path)
            except UserError:
                note = None
            if is_sealed(note) and note["key"] == self.key:
                seen = hashlib.sha256()
                for name in note["names"]:
                    file.seek(start + self.rows[name] * self.size**2)
                    seen.update(file.read(self.size**2))
                if seen.hexdigest() == note["sha256"]:
                    self.done |= set(note["names"])
                    self.damaged |= note["damaged"]
                    self.shards = max(self.shards, int(path.stem.rpartition("-")[2]) + 1)
                    continue
            path.unlink()
        if self.done:
            log.info("%d of %d images are here already", len(self.done), len(self.rows))

    def _write(
        self,
        file: IO[bytes],
        start: int,
        images: Iterable[Encoded],
        decode: Callable[[Encoded, int], NDArray[np.uint8]],
        allowed: int,
    ) -> None:
        names: list[str] = []
        found: dict[str, str] = {}
        seen = hashlib.sha256()
        todo = (image for image in images if image.name not in self.done)
        for image, pixels in decoded(todo, decode, self.size):
            if isinstance(pixels, UserError):
                self._count_damage(image, pixels, found, allowed)
                pixels = np.zeros((self.size, self.size), np.uint8)
            content = pixels.tobytes()
            # Plain writes rather than a memory map, which a full disk would end with a bus error.
            file.seek(start + self.rows[image.name] * len(content))
            file.write(content)
            seen.update(content)
            names.append(image.name)
            if len(names) == SHARD:
                self._note(file, names, seen.hexdigest(), found)
                names, found, seen = [], {}, hashlib.sha256()
        if names:
            self._note(file, names, seen.hexdigest(), found)

    def _note(
        self, file: IO[bytes], names: list[str], checksum: str, found: dict[str, str]
    ) -> None:
        file.flush()
        os.fsync(file.fileno())
        note = {"key": self.key, "names": names, "sha256": checksum, "damaged": found}
        name = f"{self.target.name}.shard-{self.shards:05}.json"
        write_sealed(self.target.with_name(name), note)
        self.done |= set(names)
        self.shards += 1
        log.info("%d of %d images", len(self.done), len(self.rows))

    def _count_damage(
        self, image: Encoded, error: UserError, found: dict[str, str], allowed: int
    ) -> None:
        found[image.name] = error.what
        self.damaged[image.name] = error.what
        if not allowed:
            raise error
        if len(self.damaged) > allowed:
            raise UserError(
                f"{len(self.damaged)} images cannot be decoded and {allowed} may be: "
                + ", ".join(sorted(self.damaged)),
                where=error.where,
                remedy=error.remedy,
            ) from error
        log.warning("%s", error.what)


def decoded(
    images: Iterable[Encoded], decode: Callable[[Encoded, int], NDArray[np.uint8]], size: int
) -> Iterator[tuple[Encoded, NDArray[np.uint8] | UserError]]:
    """Every image with its pixels, or what is wrong with it, in order.

    Decoders release Python's lock, so threads use all cores.
    """

    def attempt(image: Encoded) -> NDArray[np.uint8] | UserError:
        try:
            return decode(image, size)
        except UserError as error:
            return error

    workers = cores()
    waiting: deque[tuple[Encoded, Future[NDArray[np.uint8] | UserError]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for image in images:
                waiting.append((image, pool.submit(attempt, image)))
                if len(waiting) > AHEAD * workers:
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def identity_of(raw: Path) -> str:
    """What raw files are, according to their marker; empty without one."""
    marker = raw / "source.json"
    return marker.read_text(encoding="utf-8") if marker.is_file() else ""


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
