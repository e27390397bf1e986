"""Raw files: from a mirror folder, from addresses, or generated; checked before they count.

What is known of a source's files beside what is published stands in ``data/records``:
``SOURCE-RAW.checksums.json`` has the sha256 of files whose publisher gives no checksum, as of the
first time that all of the source was there, and holds from then on; ``SOURCE-RAW.verified.json``
tells by size, time and inode which files have been read and found right, so that tens of gigabytes
are not read again at each start.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from counterpoise import registry
from counterpoise.errors import UserError
from counterpoise.files import atomic, make_folder, sha256_file, write_json
from counterpoise.records import Verified, read_checksums, record_of
from counterpoise.spec.dataset import DataSource, SourceFile
from counterpoise.transfer import (
    DAMAGED,
    Edition,
    Progress,
    Wanted,
    addresses,
    digests_of,
    fetch_all,
)

log = logging.getLogger(__name__)

MIRROR = "`--config mirror=FOLDER` of snakemake, or `--mirror FOLDER` of counterpoise download"
ARCHIVES = (".tar.gz", ".zip")


def fetch_source(name: str, source: DataSource, marker: Path, mirror: str | None) -> None:
    """Bring all files of a source beside ``marker``, then write the marker with their checksums.

    Args:
        marker: ``data/raw/SOURCE-RAW/source.json``.

    Raises:
        UserError: a file is nowhere to be had, or its content is not what the publisher's checksum
            says, or what was recorded when it first came.
    """
    folder = marker.parent
    make_folder(folder)
    if source.generator is not None:
        module = registry.find("generators", source.generator.name)
        module.generate(folder, module.Options(**source.generator.options))
        files = {p.name: sha256_file(p) for p in sorted(folder.iterdir()) if p != marker}
        log.info("generated %s", ", ".join(files))
        write_json(marker, {"source": name, "files": files})
        return
    with _alone(folder):
        acquisition = _Acquisition(name, source, folder)
        is_address = mirror is not None and mirror.startswith(("https://", "http://"))
        if mirror is not None and not is_address:
            acquisition.take(Path(mirror).expanduser())
        else:
            acquisition.fetch([f"{mirror.rstrip('/')}/{name}"] if mirror else [])
        write_json(marker, {"source": name, **acquisition.finish()})


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a source's folder; two downloads at once would write the same parts."""
    path = record_of(folder, "lock")
    make_folder(path.parent)
    lock = FileLock(path)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("another process fetches this source; waiting for it")
            lock.acquire()
    except OSError as error:
        raise UserError(
            f"cannot lock: {error.strerror or error}",
            where=path,
            remedy="give yourself write permission to the folder",
        ) from error
    try:
        yield
    finally:
        lock.release()


class _Acquisition:
    """The files of one source as they come together in a folder."""

    def __init__(self, name: str, source: DataSource, folder: Path) -> None:
        self.name, self.source, self.folder = name, source, folder
        self.checksums = record_of(folder, "checksums.json")
        self.seen = record_of(folder, "verified.json")
        self.recorded = read_checksums(self.checksums)
        self.verified = Verified(self.seen)
        self.files: dict[str, str] = {}
        self.folders: dict[str, Any] = {}

    # Contents ----------------------------------------------------------------------------------

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
            digests = digests_of(target)
            if not any(digests.fits(edition) for edition in self.editions(file)):
                return False
            sha256 = digests.sha256
        self._keep(file, sha256)
        log.info("%s is here already", file.name)
        return True

    def _accepts(self, file: SourceFile, size: int, sha256: str) -> bool:
        # An md5 was compared when the file was read, and the record says that it is the same file.
        return any(
            e.size in (None, size) and e.sha256 in (None, sha256) for e in self.editions(file)
        )

    def _keep(self, file: SourceFile, sha256: str) -> None:
        self.files[file.name] = sha256
        self.verified.put(self.folder / file.name, sha256)

    # From a folder -----------------------------------------------------------------------------

    def take(self, mirror: Path) -> None:
        """Copy all files from a folder, or link them where the source says so."""
        unpacked = self._unpacked(mirror) if self.source.in_place else {}
        for file in self.source.files:
            if self.is_here(file):
                continue
            if unpacked and file.name.endswith(ARCHIVES):
                continue
            found = next((p / file.name for p in self._places(mirror)
                          if (p / file.name).is_file()), None)  # fmt: skip
            if found is not None:
                self._take(file, found)
            elif file.needed == "always":
                raise self._lacks(mirror, file)
            else:
                log.info("%s is not there; it is not always needed", file.name)
        for name, images in unpacked.items():
            self._link_folder(name, images)

    def _places(self, mirror: Path) -> tuple[Path, Path]:
        return mirror / self.name, mirror

    def _lacks(self, mirror: Path, file: SourceFile) -> UserError:
        if not mirror.is_dir():
            what, where = "the mirror folder does not exist", mirror
        else:
            what, where = f"the mirror has no {file.name}", mirror / self.name / file.name
        remote = self.source.mirrors or file.urls
        return UserError(
            what,
            where=where,
            remedy=f"put the files of source {self.name!r} into a folder {self.name}/ of the mirror"
            + (", or leave `mirror` out to download them" if remote else ""),
        )

    def _take(self, file: SourceFile, found: Path) -> None:
        digests = digests_of(found)
        if not any(digests.fits(edition) for edition in self.editions(file)):
            raise UserError(
                f"{DAMAGED}: {digests.size} bytes of {file.bytes or 'unknown'}, or another "
                "checksum than published or recorded",
                where=found,
                remedy="fetch the file again from its publisher" + self._changed(file),
            )
        target = self.folder / file.name
        if self.source.in_place:
            _link(found, target)
        else:
            with atomic(target) as temporary:
                shutil.copyfile(found, temporary)
                if sha256_file(temporary) != digests.sha256:
                    raise UserError(f"{DAMAGED}: it changed while it was copied", where=found)
        self._keep(file, digests.sha256)
        log.info("%s %s", "linked" if self.source.in_place else "copied", found)

    def _changed(self, file: SourceFile) -> str:
        if file.name not in self.recorded:
            return ""
        return (
            f"; if the publisher has changed it and that is meant, delete {self.checksums} and all "
            "that was made from it"
        )

    def _unpacked(self, mirror: Path) -> dict[str, Path]:
        """Folders of unpacked images by name, in the layout of the release or of Kaggle."""
        for place in self._places(mirror):
            if any((place / file.name).is_file() for file in self.source.files
                   if file.name.endswith(ARCHIVES)):  # fmt: skip
                return {}
            numbered = sorted(p for p in place.glob("images_*") if (p / "images").is_dir())
            if numbered:
                return {path.name: path for path in numbered}
            if (place / "images").is_dir():
                return {"images": place / "images"}
        return {}

    def _link_folder(self, name: str, found: Path) -> None:
        """Link a folder of images; its names and sizes stand for its content."""
        images = found if name == "images" else found / "images"
        lines = sorted(
            f"{entry.name} {entry.stat().st_size}\n"
            for entry in os.scandir(images)
            if entry.name.endswith(".png")
        )
        listing = hashlib.sha256("".join(lines).encode()).hexdigest()
        key = f"{name}/"
        if self.recorded.get(key, listing) != listing:
            raise UserError(
                "holds other images than when it was used first",
                where=found,
                remedy="bring back the images that were there, or, if the change is meant, delete "
                f"{self.checksums} and all that was made from them",
            )
        _link(found, self.folder / name)
        self.folders[name] = {"images": len(lines), "listing": listing}
        log.info("linked %s with %d images", found, len(lines))

    # From addresses ----------------------------------------------------------------------------

    def fetch(self, first: list[str]) -> None:
        """Download what is not here, from ``first`` and then from the published addresses."""
        missing = [file for file in self.source.files if not self.is_here(file)]
        if not missing:
            return
        wanted = {}
        for file in missing:
            tried = (
                *addresses(first, file.name),
                *file.urls,
                *addresses(self.source.mirrors, file.name),
            )
            if not tried:
                raise UserError(
                    f"{self.source.title} is read from a folder only",
                    where=self.folder / file.name,
                    remedy=f"pass a folder that holds its files in {self.name}/: {MIRROR}",
                )
            (self.folder / file.name).unlink(missing_ok=True)
            wanted[file.name] = Wanted(
                self.folder / file.name, tried, self.editions(file), self.source.page
            )
        sizes = [file.bytes for file in missing if file.bytes or file.needed != "never"]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        self._check_room(total, wanted)
        failed = []
        progress = Progress(total, log.info)
        results = fetch_all(list(wanted.values()), progress, self._arrived)
        for file in missing:
            result = results[file.name]
            if isinstance(result, str):
                self.files[file.name] = result
            elif file.needed == "never":
                log.warning("went on without %s: %s", file.name, result.what)
            else:
                failed.append(file)
        if failed:
            result = results[failed[0].name]
            assert isinstance(result, UserError)
            raise self._without(failed, result)

    def _arrived(self, name: str, sha256: str) -> None:
        self.verified.put(self.folder / name, sha256)
        log.info("fetched %s", name)

    def _check_room(self, total: int | None, wanted: dict[str, Wanted]) -> None:
        """Tell before hours of download that they cannot end well."""
        here = sum(one.part.stat().st_size for one in wanted.values() if one.part.exists())
        free = shutil.disk_usage(self.folder).free
        if total is not None and total - here > free:
            raise UserError(
                f"{self.source.title} needs {(total - here) / 1e9:.1f} GB and the disk has "
                f"{free / 1e9:.1f} GB free",
                where=self.folder,
                remedy="free space on the disk, or let data/ be on another one",
            )

    def _without(self, failed: list[SourceFile], error: UserError) -> UserError:
        """One message, though a dozen files may have failed for one reason."""
        file, others = failed[0], [other.name for other in failed[1:]]
        also = f"; nor was there {', '.join(others)}" if others else ""
        page = f"; {self.source.page} has the terms and the files" if self.source.page else ""
        return UserError(
            f"{error.what} ({self.source.title}){also}",
            where=error.where,
            remedy=error.remedy
            or "check the connection and run again (what has arrived is kept), or pass a folder "
            f"that holds the files: {MIRROR} (with {self.name}/{file.name} in it){page}"
            + self._changed(file),
        )

    # The end -----------------------------------------------------------------------------------

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


def _link(found: Path, target: Path) -> None:
    """A symbolic link in place of whatever link or file is there."""
    try:
        if target.is_symlink() or target.is_file():
            target.unlink()
        target.symlink_to(found.resolve())
    except OSError as error:
        raise UserError(
            f"cannot link: {error.strerror or error}",
            where=target,
            remedy="let data/ be on a disk whose file system knows symbolic links",
        ) from error
