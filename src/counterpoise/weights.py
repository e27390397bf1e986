"""Published weights: from a mirror folder or an address into ``data/raw``, checked.

They lie as sources of data do, ``data/raw/weights.NETWORK-DIGEST/``, with a marker that tells which
file came and its sha256.
"""

from __future__ import annotations

import logging
from pathlib import Path

from counterpoise.download import alone
from counterpoise.download.network import MIRROR
from counterpoise.errors import UserError
from counterpoise.files import make_folder, write_json
from counterpoise.layout import WEIGHTS
from counterpoise.spec.weights import Published, WeightsFile
from counterpoise.transfer import (
    Edition,
    Progress,
    Wanted,
    addresses,
    copied,
    fetch_all,
    folder_of,
)

log = logging.getLogger(__name__)

FOLDER = "weights"
"""Folder of a mirror."""


def fetch_weights(name: str, published: Published, marker: Path, mirror: str | None) -> None:
    """Bring one of the files that hold a network's weights beside ``marker``, then write that.

    Raises:
        UserError: there is none, or its content is not what its checksum says; nothing is trained
            from other weights instead.
    """
    make_folder(marker.parent)
    there = folder_of(mirror)
    with alone(marker.parent, [marker.name, *(file.name for file in published.files)]):
        if there is not None:
            file, sha256 = _copied(name, published, marker.parent, there)
        else:
            first = [f"{mirror.rstrip('/')}/{FOLDER}"] if mirror is not None else []
            file, sha256 = _downloaded(name, published, marker.parent, first)
        write_json(marker, {"source": f"{WEIGHTS}{name}", "files": {file: sha256}})


def _edition(file: WeightsFile) -> Edition:
    return Edition(file.bytes, file.sha256)


def _addresses(published: Published) -> str:
    found = [f"{file.folder}{file.name}" for file in published.files if file.folder]
    return " or ".join(found) or "no address"


def _remedy(published: Published) -> str:
    names = " or ".join(f"{FOLDER}/{file.name}" for file in published.files)
    return f"they are at {_addresses(published)}; or pass a folder that holds {names}: {MIRROR}"


def _copied(name: str, published: Published, folder: Path, mirror: Path) -> tuple[str, str]:
    for file in published.files:
        for path in (mirror / FOLDER / file.name, mirror / file.name):
            if not path.is_file():
                continue
            remedy = f"fetch it again from {_addresses(published)}"
            sha256 = copied(path, folder / file.name, (_edition(file),), remedy)
            log.info("copied %s", path)
            return file.name, sha256
    raise UserError(
        f"the mirror has no weights of {name} ({published.title})",
        where=mirror / FOLDER / published.files[0].name,
        remedy=_remedy(published),
    )


def _downloaded(name: str, published: Published, folder: Path, first: list[str]) -> tuple[str, str]:
    failures = []
    for file in published.files:
        tried = (*addresses(first, file.name), *addresses(_folders(file), file.name))
        if not tried:
            continue
        target = folder / file.name
        wanted = Wanted(target, tried, (_edition(file),))
        result = fetch_all([wanted], Progress(file.bytes, log.info))[file.name]
        if isinstance(result, str):
            log.info("fetched %s", file.name)
            return file.name, result
        failures.append(result.what)
    raise UserError(
        f"no weights of {name} ({published.title}): {'; '.join(failures)}",
        where=folder,
        remedy=_remedy(published),
    )


def _folders(file: WeightsFile) -> list[str]:
    return [file.folder] if file.folder else []
