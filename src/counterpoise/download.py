"""Raw files: from a mirror folder, from an address, or generated; checked before they count."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from counterpoise import registry
from counterpoise.errors import UserError
from counterpoise.files import atomic, make_folder, sha256_file, write_json
from counterpoise.spec.dataset import DataSource, SourceFile

log = logging.getLogger(__name__)

CHUNK = 1024
"""Bytes that pooch reads at once."""
MIRROR = "`--config mirror=FOLDER` of snakemake, or `--mirror FOLDER` of counterpoise download"


def fetch_source(name: str, source: DataSource, marker: Path, mirror: str | None) -> None:
    """Bring all files of a source beside ``marker``, then write the marker with their checksums.

    Raises:
        UserError: a file is nowhere to be had, or its content is not what the publisher's checksum
            says.
    """
    folder = marker.parent
    make_folder(folder)
    if source.generator is not None:
        module = registry.find("generators", source.generator.name)
        module.generate(folder, module.Options(**source.generator.options))
        files = {p.name: sha256_file(p) for p in sorted(folder.iterdir()) if p != marker}
        log.info("generated %s", ", ".join(files))
    else:
        for file in source.files:
            _fetch_file(name, source, file, folder / file.name, mirror)
        files = {file.name: file.sha256 for file in source.files}
    write_json(marker, {"source": name, "files": files})


def _fetch_file(
    name: str, source: DataSource, file: SourceFile, target: Path, mirror: str | None
) -> None:
    if target.is_file() and sha256_file(target) == file.sha256:
        log.info("%s is here already", file.name)
        return
    if mirror is not None and not mirror.startswith(("https://", "http://")):
        _copy(Path(mirror).expanduser(), name, source, file, target)
        return
    if mirror is None and not source.mirrors:
        raise UserError(
            f"{source.title} is read from a folder only",
            where=target,
            remedy=f"pass a folder that holds its files in {name}/: {MIRROR}",
        )
    addresses = [f"{mirror.rstrip('/')}/{name}/"] if mirror else []
    failures = []
    for address in [*addresses, *source.mirrors]:
        try:
            _retrieve(address + file.name, file, target)
        except UserError as error:
            failures.append(error.what)
            log.warning("%s", error.what)
        else:
            log.info("fetched %s from %s", file.name, address)
            return
    raise UserError(
        f"no mirror gave {file.name} of {source.title}: " + "; ".join(failures),
        where=target,
        remedy="check the connection, or pass a folder that holds the files: "
        f"{MIRROR} (with {name}/{file.name} in it)",
    )


def _copy(mirror: Path, name: str, source: DataSource, file: SourceFile, target: Path) -> None:
    candidates = [mirror / name / file.name, mirror / file.name]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise UserError(
            f"the mirror has no {file.name}"
            if mirror.is_dir()
            else "the mirror folder does not exist",
            where=candidates[0] if mirror.is_dir() else mirror,
            remedy=f"put the files of source {name!r} into a folder {name}/ of the mirror"
            + (", or leave `mirror` out to download them" if source.mirrors else ""),
        )
    with atomic(target) as temporary:
        shutil.copyfile(found, temporary)
        _check(temporary, file, found)
    log.info("copied %s", found)


def _check(path: Path, file: SourceFile, origin: Path | str) -> None:
    if path.stat().st_size != file.bytes or sha256_file(path) != file.sha256:
        raise UserError(
            f"damaged or altered file: {path.stat().st_size} bytes of {file.bytes}, or another "
            "checksum than published",
            where=origin,
            remedy="fetch the file again from its publisher",
        )


class _Limit:
    """Ends a download that is longer than the file can be; pooch takes it for a progress bar."""

    total = 0

    def __init__(self, size: int) -> None:
        self.left = size + CHUNK

    def update(self, count: int) -> None:
        """So many bytes more, or a few less: pooch counts whole chunks."""
        self.left -= count
        if self.left < 0:
            raise UserError("damaged or altered file: longer than published")

    def reset(self) -> None:
        """The download is whole; pooch shows it once more."""
        self.left = self.total + CHUNK

    def close(self) -> None:
        """Nothing is shown."""


def _retrieve(address: str, file: SourceFile, target: Path) -> None:
    import pooch
    import requests

    try:
        with atomic(target) as temporary:
            limit = _Limit(file.bytes)
            pooch.HTTPDownloader(progressbar=limit, timeout=30)(address, str(temporary), None)
            _check(temporary, file, address)
    except requests.RequestException as error:
        raise UserError(f"{address}: {str(error)[:200] or type(error).__name__}") from error
    except UserError as error:
        raise UserError(f"{address}: {error.what}") from error
