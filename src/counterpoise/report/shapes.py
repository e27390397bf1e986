"""What the report relies on in records and scores. A file of another shape cannot be read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from counterpoise.errors import UserError
from counterpoise.files import read_json
from counterpoise.reproduction.ours import PART
from counterpoise.spec.cell import Component


class _Shape(BaseModel):
    """Other keys may stand beside those that are read."""

    model_config = ConfigDict(strict=True)


class _Trouble(_Shape):
    what: str
    task: str | None
    step: int


class _End(_Shape):
    status: str
    trouble: _Trouble | None
    selected_epoch: int | None = None
    steps: int | None = None
    seconds: float | None = None


class _Point(_Shape):
    key: str
    options: dict[str, Any]
    loss: float | None
    seconds: float


class _Environment(_Shape):
    libraries: dict[str, str] = {}


class _Commit(_Shape):
    id: str | None = None


class _Record(_Shape):
    seeds: dict[str, _End]
    seconds: float
    peak_memory_mib: float | None = None
    device_peak_memory_mib: float | None = None
    threads: int | None = None
    method: Component | None = None
    search: list[_Point] = []
    single_task: dict[str, float] = {}
    environment: _Environment = _Environment()
    commit: _Commit = _Commit()
    data: dict[str, str] = {}
    files: dict[str, str] = {}


class _Scores(_Shape):
    scores: dict[str, dict[str, dict[str, dict[str, float | None]]]]


def _fits(shape: type[_Shape], found: Any) -> bool:
    try:
        shape.model_validate(found)
    except ValidationError:
        return False
    return True


def is_record(found: Any) -> bool:
    """Whether this is the record of a training."""
    return _fits(_Record, found)


def is_scores(found: Any, tasks: Iterable[str]) -> bool:
    """Whether these are scores of each seed, on the test part, of all of these tasks."""
    if not _fits(_Scores, found):
        return False
    return all({*tasks} <= parts.get(PART, {}).keys() for parts in found["scores"].values())


def read_cell_files(
    record: Path, scores: Path, tasks: Iterable[str]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """A cell's record and scores; None for what is missing, damaged or of another shape.

    Scores come without their resamples: of all cells together these are hundreds of megabytes.
    """
    made, found = read_object(record), read_object(scores)
    found.pop("resamples", None)
    return made if is_record(made) else None, found if is_scores(found, tasks) else None


def read_object(path: Path) -> dict[str, Any]:
    """The object of a JSON file; an empty one where it cannot be read."""
    try:
        found = read_json(path)
    except UserError:
        return {}
    return found if isinstance(found, dict) else {}
