"""``counterpoise check``: every result verified; what is stale, foreign, left over or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from counterpoise.project import Project, load_project
from counterpoise.reference import FOLDER, damage_to, standing_in
from counterpoise.standing import Standing
from counterpoise.upkeep.inventory import Inventory, State, all_plans, take_inventory
from counterpoise.upkeep.verify import verify

_GC = "`counterpoise gc` removes it"
_SHOWN: tuple[tuple[State, str, str], ...] = (
    ("unfinished", "a download or a preparation that was stopped", "nothing: the next run goes on"),
    ("stale", "in no plan: code, configuration, data or libraries have changed since", _GC),
    ("leftover", "left by a process that was killed", _GC),
    ("foreign", "not one of our files", "move it elsewhere"),
)
"""States, what they mean, and what to do about them."""


def check(root: Path) -> tuple[list[str], bool]:
    """Lines for people, and whether all that is here is ours and sound.

    Raises:
        UserError: the configuration cannot be read.
    """
    project = load_project(root)
    inventory = take_inventory(root, all_plans(project))
    damaged = verify(root, inventory)
    references, whole = _references(root, project)
    sound = whole and not damaged and not inventory.of("foreign")
    return [*_lines(inventory, damaged), *references], sound


def _references(root: Path, project: Project) -> tuple[list[str], bool]:
    """Lines on the committed results, and whether they are as they were written."""
    lines, whole = [], True
    for folder in sorted(path for path in (root / FOLDER).glob("*") if path.is_dir()):
        wrong = damage_to(folder)
        if wrong:
            whole = False
            lines.append(f"damaged   {FOLDER}/{folder.name}")
            lines += [f"          {reason}" for reason in wrong]
            lines.append("          What to do: `git checkout` the folder")
            continue
        lines.append(f"sound     {FOLDER}/{folder.name}: {_age(standing_in(folder, project))}")
    return lines, whole


def _age(standing: Standing) -> str:
    """The number of a reference's cells, and what of it is stale."""
    said = [f"{len(standing.current | standing.stale)} cells"]
    if standing.stale:
        said.append(f"{len(standing.stale)} made with older code or settings")
    if standing.older:
        said.append(f"{len(standing.older)} of its tables and claims with older code or settings")
    return ", ".join(said)


def _lines(inventory: Inventory, damaged: dict[str, list[str]]) -> Iterator[str]:
    for path, wrong in damaged.items():
        yield f"damaged   {path}"
        yield from (f"          {reason}" for reason in wrong)
    for state, _, _ in _SHOWN:
        yield from (f"{state:9} {unit.path}" for unit in inventory.of(state))
    sound = [unit for unit in inventory.of("planned") if unit.path not in damaged]
    yield f"{len(sound)} sound, {inventory.missing} planned but not made yet"
    if damaged:
        yield f"{len(damaged)} damaged. What to do: remove them and run `snakemake` again"
    for state, meaning, advice in _SHOWN:
        if units := inventory.of(state):
            yield f"{len(units)} {state} ({meaning}). What to do: {advice}"
