"""What ``counterpoise check`` and ``gc`` make of files that a run does not leave behind by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoise.files import sha256_file, write_sealed, write_text
from counterpoise.plan import Plan
from counterpoise.project import Project
from counterpoise.upkeep.inventory import all_plans, take_inventory
from counterpoise.upkeep.verify import verify


@pytest.fixture(scope="module")
def plans(project: Project) -> dict[str, Plan]:
    return all_plans(project)


@pytest.fixture
def prepared(tmp_path: Path, plans: dict[str, Plan]) -> Path:
    """A planned folder of prepared data, as a whole job leaves it before the split."""
    folder = tmp_path / next(iter(plans["smoke"].every.values())).data.folder
    write_text(folder / "images.npy", "arrays")
    write_sealed(
        folder / "prepared.json", {"files": {"images.npy": sha256_file(folder / "images.npy")}}
    )
    return folder


def test_a_split_without_its_summary_is_half_a_job(
    tmp_path: Path, plans: dict[str, Plan], prepared: Path
) -> None:
    assert verify(tmp_path, take_inventory(tmp_path, plans)) == {}
    write_text(prepared / "split.parquet", "items")
    ((path, wrong),) = verify(tmp_path, take_inventory(tmp_path, plans)).items()
    assert path == str(prepared.relative_to(tmp_path)) and "summary.json is missing" in wrong[0]
    write_sealed(prepared / "summary.json", {"split": sha256_file(prepared / "split.parquet")})
    assert verify(tmp_path, take_inventory(tmp_path, plans)) == {}
