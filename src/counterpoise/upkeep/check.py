"""``counterpoise check``: every result verified; what is stale, foreign, left over or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from counterpoise.project import load_project
from counterpoise.upkeep.inventory import Inventory, State, all_plans, take_inventory
from counterpoise.upkeep.verify import verify

_SHOWN: tuple[tuple[State, str], ...] = (
    ("stale", "in no plan: code, configuration, data or libraries have changed since"),
    ("leftover", "left by a process that was killed"),
    ("foreign", "not a file of ours"),
)


def check(root: Path) -> tuple[list[str], bool]:
    """Lines for people, and whether all that is here is ours and sound.

    Raises:
        UserError: the configuration cannot be read.
    """
    inventory = take_inventory(root, all_plans(load_project(root)))
    damaged = verify(root, inventory)
    return list(_lines(inventory, damaged)), not damaged and not inventory.of("foreign")


def _lines(inventory: Inventory, damaged: dict[str, list[str]]) -> Iterator[str]:
    for path, wrong in damaged.items():
        yield f"damaged   {path}"
        yield from (f"          {reason}" for reason in wrong)
    for state, _ in _SHOWN:
        yield from (f"{state:9} {unit.path}" for unit in inventory.of(state))
    sound = [unit for unit in inventory.of("planned") if unit.path not in damaged]
    yield f"{len(sound)} sound, {inventory.missing} planned and not made yet"
    if damaged:
        yield f"{len(damaged)} damaged. What to do: remove them and run `snakemake` again"
    for state, meaning in _SHOWN:
        if units := inventory.of(state):
            advice = "move it elsewhere" if state == "foreign" else "`counterpoise gc` removes it"
            yield f"{len(units)} {state} ({meaning}). What to do: {advice}"
