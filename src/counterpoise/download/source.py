"""One source of raw files, brought beside its marker by one process at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

from counterpoise import registry
from counterpoise.download.alone import alone
from counterpoise.download.batch import Batch
from counterpoise.download.folder import take
from counterpoise.download.network import fetch
from counterpoise.files import make_folder, sha256_file, write_json
from counterpoise.spec.dataset import DataSource
from counterpoise.transfer import Wanted, folder_of

log = logging.getLogger(__name__)


def fetch_source(
    name: str,
    source: DataSource,
    marker: Path,
    mirror: str | None,
    prepared: Mapping[int, int] | None = None,
) -> None:
    """Bring all files of a source beside ``marker``, then write the marker with their checksums.

    Args:
        marker: ``data/raw/SOURCE-RAW/source.json``.
        mirror: folder that all files are taken from, or address that is tried first.
        prepared: bytes that images prepared from them will take, by pixels along a side.

    Raises:
        UserError: the disk is too small, a file is nowhere to be had, or its content is not what
            the publisher's checksum says, or what was recorded when it first came.
    """
    folder = marker.parent
    make_folder(folder)
    if source.generator is not None:
        module = registry.find("generators", source.generator.name)
        module.generate(folder, module.Options(**source.generator.options))
        made = [p for p in sorted(folder.iterdir()) if p != marker and not p.name.startswith(".")]
        files = {p.name: sha256_file(p) for p in made}
        log.info("generated %s", ", ".join(files))
        write_json(marker, {"source": name, "files": files})
        return
    with alone(folder, [marker.name, *_written(source)]):
        batch = Batch(name, source, folder, prepared or {})
        there = folder_of(mirror)
        if there is not None:
            take(batch, there)
        else:
            fetch(batch, [f"{mirror.rstrip('/')}/{name}"] if mirror else [])
        write_json(marker, {"source": name, **batch.finish()})


def _written(source: DataSource) -> Iterator[str]:
    """Names of the files that are written whole: copies, and what is known of their parts."""
    for file in source.files:
        yield file.name
        yield Wanted(Path(file.name), (), ()).state.name
