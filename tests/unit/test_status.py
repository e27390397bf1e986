"""What ``counterpoise status`` reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from counterpoise import status
from counterpoise.files import write_json
from counterpoise.locks import is_held
from counterpoise.status import read_progress, remaining_seconds, show_status
from counterpoise.training.progress import Reporter


def progress(**changes: Any) -> dict[str, Any]:
    return {
        "cell": "name/digest", "pid": os.getpid(), "started": 100.0, "updated": 160.0,
        "before": 0, "done": 3, "total": 12, "message": "well", **changes,
    }  # fmt: skip


def write(root: Path, cell: str, **changes: Any) -> Path:
    path = root / "work" / cell / "progress.json"
    write_json(path, progress(cell=cell, **changes))
    return path


@pytest.mark.parametrize(
    ("changes", "seconds"),
    [
        ({}, 180.0),  # 3 epochs in 60 s, 9 to go
        ({"done": 12}, 0.0),
        ({"before": 2}, 540.0),  # a killed run made two of the three: one epoch in 60 s
        ({"done": 0}, None),
        ({"before": 3}, None),
        ({"updated": 40.0}, None),  # the clock was set back by a minute
    ],
)
def test_remaining_seconds(changes: dict[str, Any], seconds: float | None) -> None:
    assert remaining_seconds(progress(**changes)) == seconds


def test_all_cells_are_found_oldest_first(tmp_path: Path) -> None:
    write(tmp_path, "demo/one/aaa", started=20.0)
    write(tmp_path, "paper/two/bbb", started=10.0)
    (tmp_path / "work/demo/plan.json").write_text("{}", encoding="utf-8")
    found = read_progress(tmp_path)
    assert [(p["tier"], p["cell"]) for p in found] == [
        ("paper", "paper/two/bbb"),
        ("demo", "demo/one/aaa"),
    ]


def test_without_work_there_is_nothing(tmp_path: Path) -> None:
    assert read_progress(tmp_path) == []


def test_a_cell_that_ends_while_it_is_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = write(tmp_path, "demo/one/aaa")
    write(tmp_path, "demo/two/bbb")
    read = status.read_json

    def removed_first(path: Path) -> Any:
        gone.unlink(missing_ok=True)
        return read(path)

    monkeypatch.setattr(status, "read_json", removed_first)
    assert [p["cell"] for p in read_progress(tmp_path)] == ["demo/two/bbb"]


@pytest.mark.parametrize("content", ["{", "{}", "[]", "7", "[" * 100_000, "changed"])
def test_a_file_that_tells_no_progress_is_left_out(tmp_path: Path, content: str) -> None:
    damaged = write(tmp_path, "demo/one/aaa", started="at noon")
    if content != "changed":
        damaged.write_text(content, encoding="utf-8")
    write(tmp_path, "demo/two/bbb")
    assert [p["cell"] for p in read_progress(tmp_path)] == ["demo/two/bbb"]


def test_a_cell_runs_while_its_lock_is_held(tmp_path: Path) -> None:
    """Not while a process has the number that is written: after a restart that is another one."""
    path = write(tmp_path, "demo/one/aaa", pid=1)
    assert not read_progress(tmp_path)[0]["running"]
    with FileLock(path.with_name("lock")):
        assert read_progress(tmp_path)[0]["running"]
    assert not read_progress(tmp_path)[0]["running"]


def test_a_cell_that_ends_as_it_is_read_has_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = FileLock(write(tmp_path, "demo/one/aaa").with_name("lock"))
    read = status.read_json

    def ends(path: Path) -> Any:
        told = read(path)
        lock.release()
        return told

    monkeypatch.setattr(status, "read_json", ends)
    with lock:
        assert read_progress(tmp_path)[0]["running"]


def test_a_lock_is_asked_without_touching_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is made, and what may not be read counts as held."""
    path = tmp_path / "none" / "lock"
    assert not is_held(path) and not path.parent.exists()
    path = tmp_path / "lock"
    path.touch()
    with FileLock(path):
        assert is_held(path)
    assert not is_held(path)

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refuse)
    assert is_held(path)


def test_what_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show_status(tmp_path, watch=False)
    assert "No cell is being trained" in capsys.readouterr().out
    path = write(tmp_path, "demo/one/aaa")
    with FileLock(path.with_name("lock")):
        show_status(tmp_path, watch=False)
    shown = capsys.readouterr().out
    assert "3/12" in shown and "3 min" in shown and "running" in shown
    show_status(tmp_path, watch=False)
    assert "stopped" in capsys.readouterr().out


def test_the_pace_of_a_resumed_run_counts_its_own_epochs(tmp_path: Path) -> None:
    """A run that was killed after 6 of 12 epochs is taken over."""
    work = tmp_path / "work/demo/one/aaa"
    with Reporter("one/aaa", work, 12) as reporter:
        (first,) = read_progress(tmp_path)
        assert remaining_seconds(first) is None
        reporter.tell(0, 7, 12, 7, "one more")
        (second,) = read_progress(tmp_path)
    assert (second["done"], second["before"], second["total"]) == (7, 6, 12)
    assert second["message"] == "one more" and second["pid"] == os.getpid()
