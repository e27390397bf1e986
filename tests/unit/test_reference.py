"""Committed results: what of them is stale once code or settings have changed, and who learns it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from counterpoise import code
from counterpoise.code import module_digest
from counterpoise.files import write_json, write_sealed
from counterpoise.plan import Plan, load_plan
from counterpoise.reference import (
    Reference,
    damage_to,
    read_references,
    save_reference,
    standings,
)
from counterpoise.reproduction.tables import tables_of
from counterpoise.upkeep.check import check

from ..support import edit

PAPER = "rotograd"
LINE = "reports/reference/kept: 2 cells"


def plan_of(root: Path, tier: str = "smoke") -> Plan:
    return load_plan(root, {"tier": tier, "papers": "all", "methods": "all"})


def entry(key: str | None) -> dict[str, Any]:
    """A number of one cell; of none without one."""
    names = ("verdict", "difference", "interval", "printed", "margin", "run")
    ours = {"cells": [key]} if key else None
    return {**dict.fromkeys(names), "ours": ours, "marks": [], "rule": "", "reason": ""}


def keys_of(plan: Plan) -> dict[str, str]:
    """Run to the key of its cell, in the smoke tier, where each has one."""
    runs = (run for run in plan.runs.values() if run.paper == PAPER)
    return {run.run: next(iter(run.cells.values())) for run in runs}


@pytest.fixture
def kept(config_copy: Path) -> Path:
    """A checkout with a reference made of results that have the form of real ones."""
    keep(config_copy, plan_of(config_copy))
    return config_copy


def keep(root: Path, plan: Plan) -> None:
    for training in plan.trainings.values():
        write_sealed(root / training.file("record.json"), {"seeds": {}})
        write_sealed(root / training.scores, {"code": training.scoring_code})
    made, keys = plan.papers[PAPER], keys_of(plan)

    def ours(table: Any, row: Any, column: Any, text: str) -> dict[str, Any]:
        experiment, run = made.paper.run_of(table.quantity(row, column))
        return entry(keys.get(run) if experiment == "reduced" else None)

    write_sealed(root / made.tables, {"tables": tables_of(made.paper, ours)})
    runs = {"word": "holds", "steps": [], "marks": [], "missing": []}
    claims = [{"id": claim.id, "basis": "", "runs": runs} for claim in made.paper.claims]
    write_sealed(root / made.claims, {"claims": claims})
    save_reference(root, plan, "kept")


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a module look edited."""

    def simulate(module: str) -> None:
        assert code.path_of(module).is_file(), module
        monkeypatch.setattr(
            code, "module_digest", lambda name: "edited" if name == module else module_digest(name)
        )

    return simulate


def reference(root: Path) -> Reference:
    (found,), unreadable = read_references(root, plan_of(root).project)
    assert not unreadable
    return found


def stale(root: Path) -> tuple[set[str], set[str]]:
    """Cells whose numbers are stale, or "none" of them; and stale claims."""
    found = reference(root)
    numbers = [
        (entry["ours"]["cells"][0], "stale" in entry["marks"])
        for table, rows in found.tables[PAPER].items()
        for row, columns in rows.items()
        for column in columns
        if (entry := found.entry(PAPER, table, row, column)) is not None
    ]
    assert numbers
    paper = plan_of(root).project.papers[PAPER]
    said = {claim.id: found.claim(PAPER, claim) for claim in paper.claims}
    claims = {name for name, one in said.items() if one and "stale" in one["runs"]["marks"]}
    return {cell.rpartition("-")[2].partition("/")[0] for cell, old in numbers if old}, claims


def test_nothing_is_stale_at_first(kept: Path) -> None:
    assert stale(kept) == (set(), set())


def test_a_cell_that_is_made_anew_makes_its_own_numbers_stale(
    kept: Path, edited: Callable[[str], None]
) -> None:
    edited("counterpoise.methods.rotograd")
    cells, claims = stale(kept)
    assert cells == {"rotograd"}
    every = {claim.id for claim in plan_of(kept).project.papers[PAPER].claims}
    assert claims and claims < every, "those that read one of its numbers"
    assert check(kept)[0][-1].endswith(f"{LINE}, 1 made with older code or settings")


def test_an_edit_of_scoring_makes_all_numbers_stale(
    kept: Path, edited: Callable[[str], None]
) -> None:
    edited("counterpoise.evaluation.evaluate")
    assert stale(kept)[0] == {"rotograd", "uniform"}
    assert reference(kept).standing.current == frozenset()


def test_an_edit_of_tables_makes_numbers_stale_whose_cells_are_not(
    kept: Path, edited: Callable[[str], None]
) -> None:
    edited("counterpoise.reproduction.verdicts")
    assert stale(kept)[0] == {"rotograd", "uniform"}
    assert len(reference(kept).standing.current) == 2
    assert "of its tables and claims with older code or settings" in check(kept)[0][-1]


def test_an_edit_of_claims_makes_claims_stale_and_no_number(
    kept: Path, edited: Callable[[str], None]
) -> None:
    edited("counterpoise.reproduction.by_runs")
    cells, claims = stale(kept)
    assert cells == set()
    assert claims == {claim.id for claim in plan_of(kept).project.papers[PAPER].claims}


@pytest.mark.parametrize(
    ("old", "new", "concerned"),
    [
        ('"89.46 ±00.57"', '"89.47 ±00.57"', True),
        ("label: uniform, calibrated: true", "label: uniform", True),
        ("label: uniform, calibrated: true", "label: equal, calibrated: true", False),
    ],
)
def test_an_edit_of_a_papers_file(kept: Path, old: str, new: str, concerned: bool) -> None:
    """What a reader would take for the same number is not stale: a label is not shown from here."""
    edit(kept / f"config/papers/{PAPER}.yaml", old, new)
    assert bool(stale(kept)[0]) == concerned


def test_methods_that_the_settings_leave_out_are_no_change(kept: Path) -> None:
    plan = load_plan(kept, {"tier": "smoke", "papers": "all", "methods": ["uniform"]})
    keep(kept, plan)
    assert stale(kept) == (set(), set())


def test_an_older_reference_tells_by_its_scores(kept: Path, edited: Callable[[str], None]) -> None:
    """Its card has neither digest; of tables and claims nothing is known then."""
    card = kept / "reports/reference/kept/reference.json"
    content = json.loads(card.read_text(encoding="utf-8"))
    new = {"scoring": None, "exhibits": None, "checksum": None}
    write_sealed(card, {k: v for k, v in content.items() if k not in new} | {"format": 1})
    assert stale(kept) == (set(), set()) and damage_to(card.parent) == []
    edited("counterpoise.evaluation.evaluate")
    assert stale(kept)[0] == {"rotograd", "uniform"}
    for scores in kept.glob("reports/reference/kept/cells/*/*/scores.json"):
        write_json(scores, {})
    assert stale(kept)[0] == set(), "unknown"


def test_other_tiers_reports_learn_what_has_become_stale(
    kept: Path, edited: Callable[[str], None]
) -> None:
    """A report's only other inputs are the reference's files, which stay as they are."""
    demo = plan_of(kept, "demo")
    before = standings(kept, demo)
    assert before.keys() == {"kept"} and standings(kept, plan_of(kept, "demo")) == before
    edit(kept / "config/tiers.yaml", "        epochs: 2\n", "        epochs: 3\n")
    after = plan_of(kept, "demo")
    assert after.trainings.keys() == demo.trainings.keys()
    cells = standings(kept, after)
    assert cells != before
    edit(kept / "config/tiers.yaml", "        epochs: 3\n", "        epochs: 2\n")
    assert standings(kept, plan_of(kept, "demo")) == before
    edited("counterpoise.reproduction.by_runs")
    assert standings(kept, plan_of(kept, "demo")) not in (before, cells)


def test_a_reference_that_cannot_be_read_does_not_stop_a_plan(kept: Path) -> None:
    (kept / "reports/reference/kept/reference.json").write_text("{", encoding="utf-8")
    assert standings(kept, plan_of(kept, "demo")) == {}
