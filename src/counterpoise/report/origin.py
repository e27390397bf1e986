"""Where a result comes from: made here, pulled from elsewhere, or left by older code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.files import read_json
from counterpoise.layout import Training
from counterpoise.plan import Plan
from counterpoise.reproduction.ours import Scores


def log_of(training: Training, step: str) -> str:
    """The log of one step of a cell."""
    name = f"{training.name}-{training.digest}"
    scoring = f"-{training.scoring}" if step == "evaluate" else ""
    return f"logs/{training.tier}/{step}/{name}{scoring}.log"


def is_pulled(root: Path, training: Training) -> bool:
    """Whether the cell has a result and no log of its training lies here."""
    return (root / training.file("record.json")).is_file() and not (
        root / log_of(training, "train")
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


def read_older(folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Record and scores of an older result; None where they cannot be read."""
    newest = max(folder.glob("scores-*.json"), key=lambda path: path.stat().st_mtime)
    try:
        record, scores = read_json(folder / "record.json"), read_json(newest)
    except UserError:
        return None
    if not isinstance(record, dict) or not isinstance(scores, dict):
        return None
    return (record, scores) if "seeds" in record and "scores" in scores else None


class FoundScores(Scores):
    """Scores of a plan, with older results where the present ones are missing."""

    def __init__(self, root: Path, plan: Plan, older: dict[str, tuple[Any, Any]]) -> None:
        super().__init__(root, plan)
        for key, (record, scores) in older.items():
            self._records[key], self._files[key] = record, scores
