"""Prepared arrays and splits on disk, and the parts read back from them."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

from filelock import FileLock

from counterpoise import registry
from counterpoise.datasets._part import Part
from counterpoise.errors import UserError
from counterpoise.files import (
    atomic,
    digest_of,
    is_sealed,
    make_folder,
    read_json,
    read_parquet,
    sha256_file,
    sweep,
    write_sealed,
)
from counterpoise.lazy import pd

log = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")
PATIENT = "patient"
"""Column of a split that names the unit which must not be in two parts."""
SUMMARY = "summary.json"


def prepare(
    dataset: str,
    options: dict[str, Any],
    raw: Path,
    marker: Path,
    counts: dict[str, int] | None = None,
    made_by: Any = None,
) -> None:
    """Decode the raw files into arrays beside ``marker``, which lists their checksums.

    Where the module says which options decide the arrays (``PREPARED``), those of a folder beside
    this one that differ in others only, such as the split's, are linked: a release is decoded once.

    Args:
        counts: what the source's file declares: images, patients, positives by task.
        made_by: code and libraries that decide the arrays; None links nothing.

    Raises:
        UserError: a file is wrong, or there is more or less than declared.
    """
    module = registry.find("datasets", dataset)
    chosen = module.Options(**options)
    source = read_json(raw / "source.json")
    arrays = None
    if made_by is not None and hasattr(module, "PREPARED"):
        deciding = {name: options[name] for name in module.PREPARED}
        arrays = digest_of([dataset, deciding, source, made_by])
    with _alone(marker, arrays):
        sweep(marker.parent)
        if arrays is None or not _linked(marker, arrays):
            module.prepare(raw, marker.parent, chosen)
        if counts:
            _refuse_other_counts(counts, module.counts(marker.parent, chosen), raw)
        about = {"dataset": dataset, "options": options, "raw": source, "arrays": arrays}
        write_sealed(marker, {**about, "files": _checksums(marker.parent)})


def _checksums(folder: Path) -> dict[str, str]:
    """Sha256 of the files that a preparation gives; the split comes later."""
    return {
        path.name: sha256_file(path)
        for path in sorted(folder.iterdir())
        if path.suffix in {".npy", ".parquet"}
        and path.name != "split.parquet"
        and not path.name.startswith(".")
    }


def _alone(marker: Path, arrays: str | None) -> FileLock:
    """Let one process at a time make the same arrays, which the others then link where they may.

    Of those that nobody links it is one process a folder: another would sweep up what this one is
    writing there.
    """
    marker = marker.resolve()
    path = marker.parents[3] / "records" / f"{arrays or digest_of(str(marker))}.prepare.lock"
    make_folder(path.parent)
    return FileLock(path)


def _linked(marker: Path, arrays: str) -> bool:
    """Whether the same arrays lay in a folder beside this one, and are now in this one too."""
    for other in sorted(marker.parent.parent.glob(f"*/{marker.name}")):
        try:
            told = read_json(other)
        except UserError:
            continue
        if other == marker or not is_sealed(told) or told.get("arrays") != arrays:
            continue
        files = {other.parent / name: checksum for name, checksum in told["files"].items()}
        if any(not p.is_file() or sha256_file(p) != checksum for p, checksum in files.items()):
            continue
        make_folder(marker.parent)
        for path in files:
            _link(path, marker.parent / path.name)
        log.info("linked from %s", other.parent)
        return True
    return False


def _link(path: Path, target: Path) -> None:
    """Give a file a second place; a copy where the disk has no links."""
    with atomic(target) as temporary:
        temporary.unlink()
        try:
            os.link(path, temporary)
        except OSError:
            shutil.copyfile(path, temporary)


def _refuse_other_counts(declared: dict[str, int], found: dict[str, int], raw: Path) -> None:
    wrong = [
        f"{name} {found[name]} in place of {count}"
        for name, count in declared.items()
        if name in found and found[name] != count
    ]
    if wrong:
        raise UserError(
            f"these files hold other numbers than their source declares: {', '.join(wrong)}",
            where=raw,
            remedy="take the files of that source, or correct `counts` in its dataset's file",
        )


def split(dataset: str, options: dict[str, Any], seed: int, target: Path) -> None:
    """Write the items of each part, and beside them ``summary.json`` with what is in them.

    Raises:
        UserError: a part is empty, or a patient is in two.
    """
    module = registry.find("datasets", dataset)
    chosen = module.Options(**options)
    items = module.split(target.parent, chosen, seed)
    counts = items["part"].value_counts()
    for part in PARTS:
        if counts.get(part, 0) == 0:
            raise UserError(f"the {part} part of {dataset} is empty", where=target)
    leak: dict[str, Any] = {}
    if registry.leak_of(dataset, options):
        leak = {"leak": leak_in(items)}
    elif PATIENT in items.columns:
        _refuse_leaks(items, dataset, target)
    has_labels = hasattr(module, "labels")
    labels = module.labels(target.parent, items, chosen) if has_labels else None
    with atomic(target) as temporary:
        items.to_parquet(temporary, index=False)
    people: dict[str, Any] = {}
    if hasattr(module, "people"):
        people = {"people": describe(module.people(target.parent, items, chosen), items)}
    summary = {**summarise(items, labels), **people, **leak, "split": sha256_file(target)}
    write_sealed(target.parent / SUMMARY, summary)


def _refuse_leaks(items: pd.DataFrame, dataset: str, target: Path) -> None:
    """Two images of one patient are near duplicates: a patient on two sides is a leak."""
    parts = items.groupby(PATIENT)["part"].nunique()
    if (shared := parts[parts > 1]).size:
        first = shared.index[0]
        where = " and ".join(sorted(items.loc[items[PATIENT] == first, "part"].unique()))
        raise UserError(
            f"{shared.size} patients of {dataset} are in more than one part; patient {first} is in "
            f"{where}",
            where=target,
            remedy="split by patient",
        )


def describe(people: pd.DataFrame, items: pd.DataFrame) -> dict[str, Any]:
    """Whose items a split holds, by part.

    Args:
        people: one row an item; columns of words are counted, of numbers get their quartiles.
        items: all parts' items.

    Returns:
        Part to column to the count of each word, most frequent first, or to ``quartiles``.
    """
    told: dict[str, Any] = {}
    for name in PARTS:
        rows = people[(items["part"] == name).to_numpy()]
        told[name] = {
            column: {"quartiles": [float(q) for q in rows[column].quantile([0.25, 0.5, 0.75])]}
            if pd.api.types.is_numeric_dtype(rows[column])
            else {str(word): int(n) for word, n in rows[column].value_counts().items()}
            for column in rows
        }
    return told


def leak_in(items: pd.DataFrame) -> dict[str, int]:
    """How much of what is tested was trained on.

    Returns:
        ``patients``: those with items in several parts; ``test``: items of the test part;
        ``seen``: those of a patient who has items in the training part.
    """
    parts = items.groupby(PATIENT)["part"].nunique()
    test = items[items["part"] == "test"]
    trained = set(items.loc[items["part"] == "train", PATIENT])
    return {
        "patients": int((parts > 1).sum()),
        "test": len(test),
        "seen": int(test[PATIENT].isin(trained).sum()),
    }


def summarise(items: pd.DataFrame, labels: pd.DataFrame | None) -> dict[str, Any]:
    """What a split holds: items and patients of each part; how often labels occur, and together.

    Args:
        items: all parts' items.
        labels: 0 or 1, negative or NaN where unknown, one row an item and one column a task, or
            None.

    Returns:
        ``parts``: of each its ``items``, ``patients`` and ``positives``; ``together``: how many
        items have both labels of a pair; ``none``: how many have no label. Where some are unknown,
        also the numbers that these are shares of: ``known`` labels of each part; ``compared``, how
        many items have the label of the row and a known one of the column; ``complete``, how many
        have all labels known, which ``none`` is counted among.
    """
    partial = labels is not None and not bool((labels >= 0).to_numpy().all())
    parts: dict[str, Any] = {}
    for name in PARTS:
        rows = (items["part"] == name).to_numpy()
        entry: dict[str, Any] = {"items": int(rows.sum())}
        if PATIENT in items.columns:
            entry["patients"] = int(items.loc[rows, PATIENT].nunique())
        if labels is not None:
            entry["positives"] = {k: int(v) for k, v in (labels[rows] == 1).sum().items()}
            if partial:
                entry["known"] = {k: int(v) for k, v in (labels[rows] >= 0).sum().items()}
        parts[name] = entry
    summary: dict[str, Any] = {"parts": parts}
    if labels is not None:
        there = (labels == 1).to_numpy().astype(int)
        known = (labels >= 0).to_numpy().astype(int)
        complete = known.all(axis=1)
        summary["labels"] = list(labels.columns)
        summary["together"] = (there.T @ there).tolist()
        summary["none"] = int((complete & (there.sum(axis=1) == 0)).sum())
        if partial:
            summary["compared"] = (there.T @ known).tolist()
            summary["complete"] = int(complete.sum())
    return summary


def load_items(split_file: Path) -> pd.DataFrame:
    """The items of all parts.

    Raises:
        UserError: the file is missing or damaged.
    """
    return read_parquet(split_file, "split")


def load_part(dataset: str, options: dict[str, Any], split_file: Path, part: str) -> Part:
    """Inputs and targets of one part."""
    module = registry.find("datasets", dataset)
    items = load_items(split_file)
    chosen = items[items["part"] == part]
    try:
        loaded: Part = module.load(split_file.parent, chosen, module.Options(**options))
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the prepared data ({error})",
            where=split_file.parent,
            remedy="delete this folder and run `snakemake` again",
        ) from error
    return loaded
