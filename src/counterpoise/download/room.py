"""Room on the disk: told before hours of download that cannot end well."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise import registry
from counterpoise.errors import UserError
from counterpoise.wording import size

if TYPE_CHECKING:
    from counterpoise.layout import Data

log = logging.getLogger(__name__)


def to_prepare(root: Path, source: str, every: Iterable[Data]) -> dict[int, int]:
    """What is still to be prepared from a source, where it declares how many images it holds.

    Args:
        root: the checkout.
        source: its name.
        every: the data that a plan wants, of all sources.

    Returns:
        Bytes by pixels along a side: a byte a pixel, for data that differ in their split only once.
    """
    wanted: dict[str, tuple[int, int]] = {}
    done = set()
    for data in every:
        side, images = data.options.get("size"), data.counts.get("images")
        if data.source != source or not isinstance(side, int) or images is None:
            continue
        deciding = getattr(registry.find("datasets", data.dataset), "PREPARED", data.options)
        arrays = repr([data.dataset, *(data.options[name] for name in deciding)])
        wanted[arrays] = side, images * side**2
        if (root / data.prepared).is_file():
            done.add(arrays)
    found: dict[int, int] = {}
    for arrays in wanted.keys() - done:
        side, needed = wanted[arrays]
        found[side] = found.get(side, 0) + needed
    return dict(sorted(found.items()))


def check_room(title: str, folder: Path, coming: int | None, prepared: Mapping[int, int]) -> None:
    """Say what a source needs, and refuse what the disk cannot hold.

    Args:
        title: of the source.
        folder: ``data/raw/SOURCE-RAW``, which is there.
        coming: bytes of its files that are still to come; None where some size is unknown.
        prepared: of :func:`to_prepare`; counts where ``data/prepared`` is on the same disk.

    Raises:
        UserError: more is needed than is free.
    """
    other = folder.parent.parent / "prepared"
    if other.is_dir() and other.stat().st_dev != folder.stat().st_dev:
        prepared = {}
    needed = (coming or 0) + sum(prepared.values())
    if coming == 0 and not prepared:
        return
    shares = ["files of unknown size"] if coming is None else []
    if coming:
        shares.append(f"{size(coming)} of files")
    if prepared:
        *first, last = (f"{side}" for side in prepared)
        sides = f"{', '.join(first)} and {last}" if first else last
        shares.append(f"{size(sum(prepared.values()))} of images prepared at {sides} pixels")
    least = "at least " if coming is None else ""
    told = f"{title} needs {least}{size(needed)} ({' and '.join(shares)})"
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"{told} and the disk has {size(free)} free",
            where=folder,
            remedy="free space on the disk, or put data/ on another one; docs/data.md says what "
            "takes less",
        )
    log.info("%s; the disk has %s free", told, size(free))
