"""``counterpoise gc``: remove what no plan names, after having shown it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.locks import is_held
from counterpoise.project import load_project
from counterpoise.upkeep.inventory import Unit, all_plans, take_inventory


@dataclass(frozen=True)
class Garbage:
    """Units that no plan names, and their size on disk."""

    units: tuple[Unit, ...]
    bytes: int


def find_garbage(root: Path) -> Garbage:
    """Stale and left-over units of all tiers. What is foreign is not ours to remove.

    Raises:
        UserError: the configuration cannot be read.
    """
    inventory = take_inventory(root, all_plans(load_project(root)))
    units = tuple(inventory.of("stale", "leftover"))
    return Garbage(units, sum((root / f).lstat().st_size for unit in units for f in unit.files))


def refuse_while_running(root: Path) -> None:
    """A job writes where garbage is looked for.

    Raises:
        UserError: a training, a download or a workflow runs in this checkout, or seems to.
    """
    held = [
        ("a training is running here", "wait for it: `counterpoise status`", "work/*/*/*/lock"),
        ("data are being fetched or prepared here", "wait for it", "data/records/*.lock"),
    ]
    for what, remedy, pattern in held:
        for path in sorted(root.glob(pattern)):
            if is_held(path):
                raise UserError(what, where=path, remedy=remedy)
    locks = root / ".snakemake" / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        raise UserError(
            "a workflow is running here, or was killed",
            where=locks,
            remedy="wait for it; if none is running, run `snakemake --unlock`",
        )


def remove(root: Path, garbage: Garbage) -> None:
    """Remove the units, and folders that are empty then.

    Raises:
        UserError: something cannot be removed, or jobs are running.
    """
    refuse_while_running(root)
    for unit in garbage.units:
        try:
            for file in unit.files:
                (root / file).unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot remove: {error.strerror}",
                where=unit.path,
                remedy="give yourself write permission to the folder",
            ) from error
        for file in unit.files:
            _remove_empty(root, (root / file).parent)


def _remove_empty(root: Path, folder: Path) -> None:
    """Remove a folder below ``results/``, ``data/`` or ``work/``, and those above it, if empty."""
    while folder.parent != root and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
