"""What ``counterpoise check`` and ``gc`` make of files that a run does not leave behind by itself."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from counterpoise.files import atomic, sha256_file, write_json, write_sealed, write_text
from counterpoise.plan import Plan
from counterpoise.project import Project
from counterpoise.reproduction.views import _whole
from counterpoise.upkeep.check import check
from counterpoise.upkeep.collect import find_garbage, remove
from counterpoise.upkeep.inventory import all_plans, take_inventory
from counterpoise.upkeep.verify import verify

from ..support import error_of, files_in


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


# Downloads and preparations -----------------------------------------------------------------------


@pytest.fixture
def archives(config_copy: Path, plans: dict[str, Plan]) -> Path:
    """The folder of a download of many archives that was stopped at its second one."""
    data = (one.data for one in plans["paper"].every.values() if one.data.source == "nih")
    folder = (config_copy / next(data).raw).parent
    write_text(folder / "images_001.tar.gz", "whole and verified")
    for name in (".images_002.tar.gz.part", ".images_002.tar.gz.part.json"):
        write_text(folder / name, "half")
    return folder


def test_a_download_that_was_stopped_is_to_be_kept(config_copy: Path, archives: Path) -> None:
    """Up to 45 GB, which the next run goes on with."""
    lines, sound = check(config_copy)
    assert sound and f"unfinished {archives.relative_to(config_copy)}" in lines
    assert "the next run goes on" in lines[-1] and "remove" not in "".join(lines)
    assert find_garbage(config_copy).units == ()


def test_a_preparation_that_was_stopped_is_to_be_kept(
    tmp_path: Path, plans: dict[str, Plan], prepared: Path
) -> None:
    (prepared / "prepared.json").unlink()
    inventory = take_inventory(tmp_path, plans)
    assert [unit.state for unit in inventory.units] == ["unfinished"]
    assert verify(tmp_path, inventory) == {}


def test_a_download_of_no_plan_is_stale(config_copy: Path, archives: Path) -> None:
    old = archives.rename(archives.with_name("nih-00000000"))
    lines, sound = check(config_copy)
    assert sound and f"stale     {old.relative_to(config_copy)}" in lines
    remove(config_copy, find_garbage(config_copy))
    assert not old.exists()


def test_what_may_not_be_removed_is_named(
    config_copy: Path, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = archives.rename(archives.with_name("nih-00000000"))
    garbage = find_garbage(config_copy)

    def refused(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    error = error_of(lambda: remove(config_copy, garbage))
    assert error.what == "cannot remove: Permission denied" and "write permission" in error.remedy
    assert error.where == str(old.relative_to(config_copy))
    assert len(files_in(old)) == 3


def test_what_arrives_beside_whole_raw_data_is_no_damage(config_copy: Path, archives: Path) -> None:
    whole = archives / "images_001.tar.gz"
    write_json(archives / "source.json", {"files": {whole.name: sha256_file(whole)}})
    lines, sound = check(config_copy)
    assert sound and lines[0].startswith("1 sound")


# Left over, or the user's own ---------------------------------------------------------------------

LONG = "a" * 60
VIEWS = "results/demo/papers/rotograd/views-0123456789ab"


@pytest.mark.parametrize(
    "name",
    [
        "results/demo/cells/a/0123456789ab/weights.safetensors",
        f"results/demo/papers/p/figures/{LONG}-0123456789ab.svg",
        "data/raw/x-01234567/train-images-idx3-ubyte.gz",
        "data/raw/x-01234567/.images.tar.gz.part.json",
        "data/raw/x-01234567/LIST.TXT",
        "data/records/x",
        "work/demo/plan.json",
    ],
)
def test_what_a_killed_process_leaves_of_a_file_is_left_over(
    tmp_path: Path, plans: dict[str, Plan], name: str
) -> None:
    with atomic(tmp_path / name) as temporary:
        temporary.write_text("half")
        (unit,) = take_inventory(tmp_path, plans).units
    assert unit.state == "leftover"


def test_what_a_killed_process_leaves_of_views_is_left_over(
    tmp_path: Path, plans: dict[str, Plan]
) -> None:
    with _whole(tmp_path / VIEWS) as folder:
        write_text(folder / "reduced-gains.svg", "picture")
        (unit,) = take_inventory(tmp_path, plans).units
    assert unit.state == "leftover"


@pytest.mark.parametrize(
    "name",
    [
        "results/.keep-december",
        "results/.notes-february/a.txt",
        "results/demo/cells/.mine-deadbeef/a.txt",
        "data/.old-pictures.zip",
        f"data/.{LONG}-deadbeef.npy",
    ],
)
def test_a_hidden_file_of_the_users_is_not_ours_to_remove(
    tmp_path: Path, plans: dict[str, Plan], name: str
) -> None:
    write_text(tmp_path / name, "mine")
    (unit,) = take_inventory(tmp_path, plans).units
    assert unit.state == "foreign"
