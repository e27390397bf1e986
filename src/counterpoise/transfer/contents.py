"""What a file's content may be, and whether it is that."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from counterpoise.errors import UserError
from counterpoise.files import atomic, sha256_file

UNKNOWN_LIMIT = 16 << 30
"""Bytes after which a file whose size nobody publishes is cut off."""
DAMAGED = "damaged or altered file"


@dataclass(frozen=True)
class Edition:
    """What a file's content may be; what is None is not known.

    A checksum may be shorter than sha256's 64 digits; then the content's begins so.
    """

    size: int | None
    sha256: str | None = None
    md5: str | None = None

    @property
    def checked(self) -> bool:
        """Whether there is a checksum."""
        return self.sha256 is not None or self.md5 is not None


class Digests:
    """Checksums of content that is read once, by which it is one of some editions or is not.

    An md5, which takes longer than the sha256, is computed only where an edition has one.
    """

    def __init__(self, editions: tuple[Edition, ...]) -> None:
        self.size = 0
        self._editions, self._sha256 = editions, hashlib.sha256()
        asked = any(edition.md5 is not None for edition in editions)
        self._md5 = hashlib.md5(usedforsecurity=False) if asked else None

    def update(self, content: bytes) -> None:
        """Further content."""
        self.size += len(content)
        self._sha256.update(content)
        if self._md5 is not None:
            self._md5.update(content)

    @property
    def sha256(self) -> str:
        """Hexadecimal sha256 so far."""
        return self._sha256.hexdigest()

    def fit(self) -> bool:
        """Whether all that is known of one of the editions is so."""
        md5 = self._md5.hexdigest() if self._md5 is not None else None
        return any(
            edition.size in (None, self.size)
            and (edition.sha256 is None or self.sha256.startswith(edition.sha256))
            and edition.md5 in (None, md5)
            for edition in self._editions
        )


def digests_of(path: Path, editions: tuple[Edition, ...]) -> Digests:
    """Checksums of a file, to be held to its editions."""
    digests = Digests(editions)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digests.update(chunk)
    return digests


def sha256_of(
    path: Path, editions: tuple[Edition, ...], remedy: str, copy: Path | None = None
) -> str:
    """Sha256 of a file that is one of the editions, as read from itself or from its copy.

    Raises:
        UserError: it is none of them.
    """
    digests = digests_of(copy or path, editions)
    if not digests.fit():
        raise UserError(damage(digests.size, editions), where=path, remedy=remedy)
    return digests.sha256


def copied(found: Path, target: Path, editions: tuple[Edition, ...], remedy: str) -> str:
    """Copy a file to its place if the copy is one of the editions; its sha256.

    Where a checksum of one of them is not known, the copy is held to what it was copied from.

    Raises:
        UserError: it is none of them, or another than that.
    """
    with atomic(target) as temporary:
        shutil.copyfile(found, temporary)
        sha256 = sha256_of(found, editions, remedy, temporary)
        known = all(edition.checked for edition in editions)
        if not known and sha256_file(found) != sha256:
            raise UserError(
                f"{DAMAGED}: its copy differs from the file itself",
                where=found,
                remedy="make sure that nothing writes to it, and run the same command again",
            )
        return sha256


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
        addresses: in the order in which they are tried.
        editions: contents that are accepted, at least one.
        page: where a person may get it.
    """

    target: Path
    addresses: tuple[str, ...]
    editions: tuple[Edition, ...]
    page: str | None = None

    @property
    def part(self) -> Path:
        """Where it grows."""
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def state(self) -> Path:
        """What is known of its part."""
        return self.target.with_name(f".{self.target.name}.part.json")

    @property
    def checked(self) -> bool:
        """Whether its content can be told from another."""
        return all(edition.checked for edition in self.editions)

    @property
    def limit(self) -> int:
        """Bytes that it cannot be longer than."""
        sizes = [edition.size for edition in self.editions]
        return max(UNKNOWN_LIMIT if size is None else size for size in sizes)

    def drop(self) -> None:
        """Forget what has arrived."""
        self.part.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)

    def may_have(self, size: int) -> bool:
        """Whether an edition may have so many bytes."""
        return any(edition.size in (None, size) for edition in self.editions)


def problem(wanted: Wanted, digests: Digests) -> str | None:
    """What is wrong with a complete part."""
    if not digests.fit():
        return damage(digests.size, wanted.editions)
    if wanted.checked:
        return None
    try:  # nobody says what it should be: at least it has to be whole
        if wanted.target.suffix == ".zip":
            zipfile.ZipFile(wanted.part).close()
        elif wanted.target.suffix == ".gz":
            with gzip.open(wanted.part) as file:
                while file.read(1 << 20):
                    pass
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, ValueError) as error:
        return f"{DAMAGED}: not a complete archive ({error})"
    return None


def damage(size: int, editions: tuple[Edition, ...]) -> str:
    """What is wrong with content of a size that is none of the editions."""
    sizes = sorted({edition.size for edition in editions if edition.size is not None})
    if sizes and size not in sizes:
        than = "longer" if size > sizes[-1] else "shorter" if size < sizes[0] else "size other"
        known = " or ".join(map(str, sizes))
        return f"{DAMAGED}: {than} than published ({size} bytes, {known} published)"
    return f"{DAMAGED}: not the checksum published or recorded"


def folder_of(mirror: str | None) -> Path | None:
    """The folder that a mirror is; None of an address, and without any.

    Raises:
        UserError: it names the home of a user that is unknown, or is an address without a host.
    """
    if mirror is None:
        return None
    if mirror.startswith(("https://", "http://")):
        try:
            host = urlsplit(mirror).hostname
        except ValueError as error:
            raise UserError(f"not a valid address ({error})", where=mirror) from error
        if not host:
            raise UserError("not a valid address (it names no host)", where=mirror)
        return None
    try:
        return Path(mirror).expanduser()
    except RuntimeError as error:
        raise UserError(f"no such folder ({error})", where=mirror) from error


def addresses(folders: Iterable[str], name: str) -> tuple[str, ...]:
    """Addresses of a file in folders."""
    return tuple(f"{folder.rstrip('/')}/{name}" for folder in folders)
