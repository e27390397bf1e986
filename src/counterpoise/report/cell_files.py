"""What exists of a cell, made here or by older code, and what is missing of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.files import read_json
from counterpoise.layout import RunPlan, Training
from counterpoise.report.origin import is_pulled, older_result, read_older
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
        missing: the first step that has left no result, with its log.
        older: digest of the older result that is shown in its place.
        pulled: no log of its training lies here.
    """

    training: Training
    record: dict[str, Any] | None
    scores: dict[str, Any] | None
    missing: Notice | None
    older: str = ""
    pulled: bool = False


def read_entry(path: Path, key: str) -> Any:
    """The entry ``key`` of a JSON file, or None."""
    try:
        return read_json(path)[key]
    except (UserError, KeyError, TypeError):
        return None


def read_cell(root: Path, training: Training) -> CellFiles:
    """Record and scores of a cell; older ones where its own are missing."""
    tasks = training.cell.tasks
    trained, scored = root / training.file("record.json"), root / training.scores
    record, scores = read_cell_files(trained, scored, tasks)
    missing = None
    if record is None:
        lacks = "has a record that cannot be read" if trained.is_file() else "is not trained"
        missing = Notice(f"{training.name} {lacks}", training.log("train"))
    elif scores is None:
        lacks = "has scores that cannot be read" if scored.is_file() else "is not scored"
        missing = Notice(f"{training.name} {lacks}", training.log("evaluate"))
    folder = older_result(root, training) if missing is not None else None
    older = read_older(folder, tasks) if folder is not None else None
    if folder is None or older is None:
        return CellFiles(training, record, scores, missing, "", is_pulled(root, training))
    return CellFiles(training, *older, missing, folder.name)


def missing_of_run(run: RunPlan, cells: dict[str, CellFiles]) -> list[Notice]:
    """What a run lacks."""
    found = [cells[key].missing for key in dict.fromkeys(run.cells.values())]
    return [notice for notice in found if notice is not None]
