"""What is known of raw files beside what is published: ``data/records``."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.files import read_json, write_json


def record_of(folder: Path, what: str) -> Path:
    """The record of a kind about a source's folder ``data/raw/SOURCE-RAW``."""
    return folder.parent.parent / "records" / f"{folder.name}.{what}"


def read_checksums(path: Path) -> dict[str, str]:
    """Recorded checksums by name; none where there is no record.

    Raises:
        UserError: the record is damaged.
    """
    if not path.exists():
        return {}
    found = read_json(path)
    if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
        return found
    raise UserError(
        "holds no checksums",
        where=path,
        remedy="delete it; the files that come next are then taken as right",
    )


class Verified:
    """Which files have been read and found right, until they change."""

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        try:
            found = read_json(path)
        except UserError:
            found = {}  # all are read again
        self._known: dict[str, Any] = found if isinstance(found, dict) else {}

    def get(self, file: Path) -> str | None:
        """Sha256 of a file that is unchanged since it was read."""
        entry = self._known.get(file.name)
        return str(entry[-1]) if isinstance(entry, list) and entry[:-1] == _stamp(file) else None

    def put(self, file: Path, sha256: str) -> None:
        """Note that a file is right."""
        entry = [*_stamp(file), sha256]
        with self._lock:
            if self._known.get(file.name) != entry:
                self._known[file.name] = entry
                write_json(self._path, self._known)


def _stamp(file: Path) -> list[int]:
    found = file.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ino]
