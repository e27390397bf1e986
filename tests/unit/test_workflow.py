"""The report that is built outside Snakemake, from what a failed run has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoise.files import write_text
from counterpoise.workflow import report_of_a_failed_run

NAMES = ("index.html", "results.json", "metrics.json", "tables/table-1.csv", "plots/a.csv")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole report."""
    for name in (*NAMES, "gate.json", "tables/.snakemake_timestamp"):
        write_text(tmp_path / name, "whole")
    return tmp_path


def build(folder: Path, changed: str = "", names: tuple[str, ...] = NAMES) -> None:
    with report_of_a_failed_run(folder / "results.json", folder / "gate.json"):
        assert not (folder / "results.json").exists(), "building may be killed"
        for name in names:
            write_text(folder / name, "a run is missing" if name == changed else "whole")


@pytest.mark.parametrize("changed", NAMES)
def test_a_report_that_has_become_another_is_to_be_made_anew(folder: Path, changed: str) -> None:
    build(folder, changed)
    assert not (folder / "results.json").exists() and not (folder / "gate.json").exists()
    assert (folder / "index.html").exists()


def test_a_whole_report_keeps_its_results(folder: Path) -> None:
    """As when only the gate has failed: a run that has diverged is a result."""
    build(folder)
    assert (folder / "results.json").read_text() == "whole"
    assert not (folder / "gate.json").exists()


def test_a_report_that_cannot_be_built_is_to_be_made_anew(folder: Path) -> None:
    build(folder, names=())
    assert not (folder / "results.json").exists() and not (folder / "gate.json").exists()


def test_a_report_whose_building_is_stopped_is_to_be_made_anew(folder: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        report_of_a_failed_run(folder / "results.json", folder / "gate.json"),
    ):
        write_text(folder / "results.json", "a run is missing")
        raise KeyboardInterrupt
    assert not (folder / "results.json").exists() and not (folder / "gate.json").exists()


def test_a_first_run_that_fails_has_no_results(tmp_path: Path) -> None:
    build(tmp_path)
    assert (tmp_path / "index.html").exists() and not (tmp_path / "results.json").exists()
