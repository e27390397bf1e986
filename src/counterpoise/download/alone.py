"""One process at a time in the folder of a source, which it finds as whole as files come."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from counterpoise.errors import UserError
from counterpoise.files import make_folder, sweep
from counterpoise.records import record_of

log = logging.getLogger(__name__)


@contextmanager
def alone(folder: Path, names: Iterable[str]) -> Iterator[None]:
    """Hold a source's folder; two downloads at once would write the same parts.

    Args:
        folder: ``data/raw/SOURCE-RAW``.
        names: files that are written there whole. What killed processes left of them is removed.

    Raises:
        UserError: the lock cannot be written.
    """
    path = record_of(folder, "lock")
    make_folder(path.parent)
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process is fetching this source; waiting for it")
            lock.acquire()
    except OSError as error:
        raise UserError(
            f"cannot lock: {error.strerror or error}",
            where=path,
            remedy="give yourself write permission to the folder",
        ) from error
    try:
        # Such a copy may have the size of an archive.
        sweep(folder, names)
        yield
    finally:
        lock.release()
