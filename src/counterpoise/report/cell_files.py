"""What exists of a cell, made here or by older code, and what is missing of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.layout import RunPlan, Training
from counterpoise.report.shapes import read_cell_files


@dataclass(frozen=True)
class Notice:
    """Something that should be there and is not, with the log that may say why."""

    what: str
    log: str


@dataclass(frozen=True)
class CellFiles:
    """What exists of a cell.

    Attributes:
        scores: without their resamples, which are most of the file.
        scored: where the scores lie.
        missing: the first step that has left no result, with its log.
        older: digest of the older result that is shown in its place.
        pulled: no log of its training lies here.
    """

    training: Training
    record: dict[str, Any] | None
    scores: dict[str, Any] | None
    scored: Path
    missing: Notice | None
    older: str = ""
    pulled: bool = False


def read_cell(root: Path, training: Training) -> CellFiles:
    """Record and scores of a cell; older ones where its own are missing."""
    tasks = training.cell.tasks
    trained, scored = root / training.file("record.json"), root / training.scores
    record, scores = read_cell_files(trained, scored, tasks)
    pulled = trained.is_file() and not (root / training.log("train")).is_file()
    missing = None
    if record is None:
        lacks = "has a record that cannot be read" if trained.is_file() else "is not trained"
        missing = Notice(f"{training.name} {lacks}", training.log("train"))
    elif scores is None:
        lacks = "has scores that cannot be read" if scored.is_file() else "is not scored"
        missing = Notice(f"{training.name} {lacks}", training.log("evaluate"))
    if missing is not None and (older := _older_result(root, training)) is not None:
        newest = max(older.glob("scores-*.json"), key=lambda path: path.stat().st_mtime)
        before = read_cell_files(older / "record.json", newest, tasks)
        if None not in before:
            return CellFiles(training, *before, newest, missing, older.name)
    return CellFiles(training, record, scores, scored, missing, pulled=pulled)


def _older_result(root: Path, training: Training) -> Path | None:
    """Folder of the newest result under the cell's name that other code or settings have made."""
    folder = (root / training.folder).parent
    found = [
        path
        for path in folder.glob("*")
        if path.name != training.digest
        and (path / "record.json").is_file()
        and any(path.glob("scores-*.json"))
    ]
    return max(found, key=lambda path: (path / "record.json").stat().st_mtime, default=None)


def missing_of_run(run: RunPlan, cells: dict[str, CellFiles]) -> list[Notice]:
    """What a run lacks."""
    found = [cells[key].missing for key in run.keys]
    return [notice for notice in found if notice is not None]
