"""Where a result comes from: made here, pulled from elsewhere, or left by older code."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from counterpoise.layout import Training
from counterpoise.report.shapes import read_cell_files


def is_pulled(root: Path, training: Training) -> bool:
    """Whether the cell has a result and no log of its training lies here."""
    return (root / training.file("record.json")).is_file() and not (
        root / training.log("train")
    ).is_file()


def older_result(root: Path, training: Training) -> Path | None:
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


def read_older(folder: Path, tasks: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Record and scores of an older result; None where they cannot be read."""
    newest = max(folder.glob("scores-*.json"), key=lambda path: path.stat().st_mtime)
    record, scores = read_cell_files(folder / "record.json", newest, tasks)
    return None if record is None or scores is None else (record, scores)
