"""The files of one source as they come together in a folder: what each may be, and is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from counterpoise.files import write_json
from counterpoise.records import Verified, read_checksums, record_of
from counterpoise.spec.dataset import DataSource, SourceFile
from counterpoise.transfer import Edition, digests_of

log = logging.getLogger(__name__)


class Batch:
    """The files of one source as they come together in a folder.

    Args:
        name: of the source.
        folder: ``data/raw/SOURCE-RAW``.
        prepared: bytes that images prepared from it will take, by pixels along a side.
    """

    def __init__(
        self, name: str, source: DataSource, folder: Path, prepared: Mapping[int, int]
    ) -> None:
        self.name, self.source, self.folder, self.prepared = name, source, folder, prepared
        self.checksums = record_of(folder, "checksums.json")
        self.recorded = read_checksums(self.checksums)
        self.verified = Verified(record_of(folder, "verified.json"))
        self.files: dict[str, str] = {}
        self.folders: dict[str, Any] = {}

    def editions(self, file: SourceFile) -> tuple[Edition, ...]:
        """What a file may be."""
        first = Edition(file.bytes, file.sha256, file.md5)
        if not first.checked and file.name in self.recorded:
            first = Edition(file.bytes, self.recorded[file.name])
        return (first, *(Edition(other.bytes, other.sha256) for other in file.also))

    def is_here(self, file: SourceFile) -> bool:
        """Whether a file is in its place and right; read only if that is not known yet."""
        target = self.folder / file.name
        if not target.is_file():
            return False
        sha256 = self.verified.get(target)
        if sha256 is None or not self._accepts(file, target.stat().st_size, sha256):
            digests = digests_of(target, self.editions(file))
            if not digests.fit():
                return False
            sha256 = digests.sha256
        self.keep(file, sha256)
        log.info("%s is already here", file.name)
        return True

    def _accepts(self, file: SourceFile, size: int, sha256: str) -> bool:
        # An md5 was compared when the file was read, and the record says that it is the same file.
        return any(
            e.size in (None, size) and e.sha256 in (None, sha256) for e in self.editions(file)
        )

    def keep(self, file: SourceFile, sha256: str) -> None:
        """Note that a file is in its place and right."""
        self.files[file.name] = sha256
        self.verified.put(self.folder / file.name, sha256)

    def changed(self, file: SourceFile) -> str:
        """What to do where a recorded checksum is no longer met; nothing for other files."""
        if file.name not in self.recorded:
            return ""
        return (
            f"; if the publisher meant to change it, delete {self.checksums} and everything made "
            "from it"
        )

    def finish(self) -> dict[str, Any]:
        """What is there; records what nobody publishes, now that all of it has come."""
        unknown = {
            file.name: self.files[file.name]
            for file in self.source.files
            if file.checksum == "recorded" and file.name in self.files
        }
        unknown |= {f"{name}/": told["listing"] for name, told in self.folders.items()}
        if unknown.keys() - self.recorded.keys():
            write_json(self.checksums, {**unknown, **self.recorded})
        found: dict[str, Any] = {"files": dict(sorted(self.files.items()))}
        return found | ({"folders": self.folders} if self.folders else {})
