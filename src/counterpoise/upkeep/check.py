"""``counterpoise check``: every result verified; what is stale, foreign, left over or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from counterpoise.files import read_json
from counterpoise.plan import Plan
from counterpoise.project import load_project
from counterpoise.reference import FOLDER, damage_to, stale_cells
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
    plans = all_plans(load_project(root))
    inventory = take_inventory(root, plans)
    damaged = verify(root, inventory)
    references, whole = _references(root, plans)
    sound = whole and not damaged and not inventory.of("foreign")
    return [*_lines(inventory, damaged), *references], sound


def _references(root: Path, plans: dict[str, Plan]) -> tuple[list[str], bool]:
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
        tier = read_json(folder / "reference.json")["tier"]
        stale, cells = stale_cells(folder, plans.get(tier))
        older = f", {stale} made with older code or settings" if stale else ""
        lines.append(f"sound     {FOLDER}/{folder.name}: {cells} cells{older}")
    return lines, whole


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
