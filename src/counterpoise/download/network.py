"""Files of a source from addresses: its own mirror's first, then the published ones."""

from __future__ import annotations

import logging

from counterpoise.download.batch import Batch
from counterpoise.download.room import check_room
from counterpoise.errors import UserError
from counterpoise.spec.dataset import SourceFile
from counterpoise.transfer import Progress, Wanted, addresses, fetch_all

log = logging.getLogger(__name__)

MIRROR = "`--config mirror=FOLDER` for snakemake, or `--mirror FOLDER` for counterpoise download"


def fetch(batch: Batch, first: list[str]) -> None:
    """Download what is not here, from ``first`` and then from the published addresses."""
    missing = [file for file in batch.source.files if not batch.is_here(file)]
    wanted = {}
    for file in missing:
        tried = (
            *addresses(first, file.name),
            *file.urls,
            *addresses(batch.source.mirrors, file.name),
        )
        if not tried:
            raise UserError(
                f"{batch.source.title} can only be read from a folder",
                where=batch.folder / file.name,
                remedy=f"pass a folder that holds its files in {batch.name}/: {MIRROR}",
            )
        (batch.folder / file.name).unlink(missing_ok=True)
        wanted[file.name] = Wanted(
            batch.folder / file.name, tried, batch.editions(file), batch.source.page
        )
    sizes = [file.bytes for file in missing if file.bytes or file.needed != "never"]
    total = None if None in sizes else sum(size or 0 for size in sizes)
    here = sum(one.part.stat().st_size for one in wanted.values() if one.part.exists())
    coming = None if total is None else max(total - here, 0)
    check_room(batch.source.title, batch.folder, coming, batch.prepared)

    def arrived(name: str, sha256: str) -> None:
        batch.verified.put(batch.folder / name, sha256)
        log.info("fetched %s", name)

    failed = []
    results = fetch_all(list(wanted.values()), Progress(total, log.info), arrived)
    for file in missing:
        result = results[file.name]
        if isinstance(result, str):
            batch.files[file.name] = result
        elif file.needed == "never":
            log.warning("continuing without %s: %s", file.name, result.what)
        else:
            failed.append(file)
    if failed:
        result = results[failed[0].name]
        assert isinstance(result, UserError)
        raise _without(batch, failed, result)


def _without(batch: Batch, failed: list[SourceFile], error: UserError) -> UserError:
    """One message, though a dozen files may have failed for one reason."""
    file, others = failed[0], [other.name for other in failed[1:]]
    also = f"; also not found: {', '.join(others)}" if others else ""
    page = f"; {batch.source.page} has the terms and the files" if batch.source.page else ""
    return UserError(
        f"{error.what} ({batch.source.title}){also}",
        where=error.where,
        remedy=error.remedy
        or "check the connection and run again (what has arrived is kept), or pass a folder "
        f"that holds the files: {MIRROR} (with {batch.name}/{file.name} in it){page}"
        + batch.changed(file),
    )
