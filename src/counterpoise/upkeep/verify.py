"""Whether results on disk are what was written: each file against the digest that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.files import CHECKSUM, digest_of, is_sealed, read_json, sha256_file
from counterpoise.layout import CELL_FILES
from counterpoise.upkeep.inventory import Inventory, Unit, is_unfinished

UNSEALED = "carries no checksum"
"""As files of earlier versions: no damage where they are stale anyway."""


def verify(root: Path, inventory: Inventory) -> dict[str, list[str]]:
    """Path of a damaged unit to what is wrong with it. Resumable states check themselves."""
    problems = {
        "cell": _cell,
        "scores": _scores,
        "exhibit": _exhibit,
        "raw": _raw,
        "prepared": _prepared,
    }
    found = {}
    for unit in inventory.of("planned", "stale"):
        if unit.kind not in problems or is_unfinished(unit.kind, unit.path, unit.files):
            continue
        wrong = problems[unit.kind](root, unit)
        if unit.state == "stale":
            wrong = [reason for reason in wrong if not reason.endswith(UNSEALED)]
        if wrong:
            found[unit.path] = wrong
    return found


def _json(path: Path) -> tuple[dict[str, Any], list[str]]:
    """A JSON file and what is wrong with it."""
    try:
        value = read_json(path)
    except UserError as error:
        return {}, [f"{path.name}: {error.what}"]
    if not isinstance(value, dict):
        return {}, [f"{path.name} is not one of our files"]
    return value, []


def _sealed(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The same of a file that carries its own checksum."""
    value, wrong = _json(path)
    if not wrong and CHECKSUM not in value:
        wrong = [f"{path.name} {UNSEALED}"]
    elif not wrong and not is_sealed(value):
        wrong = [f"{path.name} has changed since it was written"]
    return value, wrong


def _against(folder: Path, checksums: Any) -> list[str]:
    """Files of a folder that are not what a list of checksums says."""
    if not isinstance(checksums, dict) or not all(
        isinstance(name, str) and Path(name).name == name for name in checksums
    ):
        return ["has no list of checksums"]
    wrong = []
    for name, checksum in checksums.items():
        try:
            if sha256_file(folder / name) != checksum:
                wrong.append(f"{name} has a different checksum than when it was written")
        except OSError as error:
            wrong.append(f"{name}: {error.strerror}")
    return wrong


def identity_of(record: dict[str, Any]) -> dict[str, Any] | None:
    """All that a record's digest covers; None if it is not what the digest says."""
    identity = record.get("identity")
    if not isinstance(identity, dict):
        return None
    covered = {"cell": record.get("cell"), **identity}
    try:
        return covered if digest_of(covered) == record.get("digest") else None
    except (ValueError, RecursionError):  # NaN, which is not JSON; nested too deeply
        return None


def _cell(root: Path, unit: Unit) -> list[str]:
    folder = root / unit.path
    absent = [name for name in CELL_FILES if not (folder / name).is_file()]
    if absent:
        return [f"{', '.join(absent)} is missing"]
    record, wrong = _sealed(folder / "record.json")
    if wrong:
        return wrong
    wrong = _against(folder, record.get("files"))
    if (record.get("name"), record.get("digest")) != (folder.parent.name, folder.name):
        wrong.append(f"belongs to another cell: {record.get('name')}/{record.get('digest')}")
    if identity_of(record) is None:
        wrong.append("its digest does not match what it was made from")
    return wrong


def _scores(root: Path, unit: Unit) -> list[str]:
    path = root / unit.path
    scores, wrong = _sealed(path)
    if wrong:
        return wrong
    if path.stem != f"scores-{digest_of(scores.get('code'), length=8)}":
        wrong.append("its digest does not match the code that made it")
    predictions = path.parent / "predictions.parquet"
    return wrong + _against(path.parent, {predictions.name: scores.get("predictions")})


def _exhibit(root: Path, unit: Unit) -> list[str]:
    if len(unit.files) == 1 and unit.files[0] == unit.path:
        return _sealed(root / unit.path)[1]
    if (root / unit.path).is_dir():
        views = sorted((root / unit.path).glob("*.json"))
        return [line for path in views for line in _drawing(path)]
    return _drawing(root / f"{unit.path}.json")


def _drawing(behind: Path) -> list[str]:
    content, wrong = _sealed(behind)
    made = content.get("files", {f"{behind.stem}.svg": content.get("svg")})
    return wrong or _against(behind.parent, made)


def _raw(root: Path, unit: Unit) -> list[str]:
    marker, wrong = _json(root / unit.path / "source.json")
    return wrong or _against(root / unit.path, marker.get("files"))


def _prepared(root: Path, unit: Unit) -> list[str]:
    folder = root / unit.path
    marker, wrong = _sealed(folder / "prepared.json")
    wrong = wrong or _against(folder, marker.get("files"))
    if (folder / "split.parquet").exists() and not (folder / "summary.json").exists():
        # A kill came between them. Snakemake asks for the split alone, and takes it for whole.
        remedy = "it is enough to remove split.parquet and run `snakemake` with target `data`"
        return [*wrong, f"summary.json is missing: {remedy}"]
    if (folder / "summary.json").exists():
        summary, damaged = _sealed(folder / "summary.json")
        wrong += damaged or _against(folder, {"split.parquet": summary.get("split")})
    return wrong
