"""Any folder of images with a table of labels: each label column is a separate binary task.

The table, a CSV with a header, has one row per image: its file, its patient, and one column per
label with 1 (present), 0 (absent), -1 (uncertain) or nothing (unknown; so are NaN and NA). Unknown
labels are masked out of losses, signals and scores. The options declare how uncertain labels count,
for all labels or for individual ones. Images (PNG or JPEG, of any colour type) are resized to a
square once and stored as 8-bit grey; those of 16 bits have to use the whole range.

Images are split by patient: as given in the table, stratified by label, or at random.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from counterpoise.datasets._archives import MEMBER_BYTES, Encoded
from counterpoise.datasets._arrays import DAMAGED, Array, identity_of
from counterpoise.datasets._folder import NOTE, TABLE
from counterpoise.datasets._images import SIGNATURE, decode
from counterpoise.datasets._part import Part
from counterpoise.datasets._splits import divided, items_of
from counterpoise.datasets._tables import read_rows
from counterpoise.errors import UserError
from counterpoise.files import atomic, read_json, sha256_file
from counterpoise.lazy import np, pd, torch
from counterpoise.spec import base
from counterpoise.tasks import Task

LIBRARIES = ("pillow",)
PREPARED = (
    "size", "labels", "file", "prefix", "patient", "patient_pattern", "only", "uncertain",
    "uncertain_of", "empty", "split", "part", "damaged",
)  # fmt: skip
IMAGES = "images.npy"
GREY_MEAN, GREY_STD = 0.449, 0.226
"""Mean and standard deviation of ImageNet, averaged over its three channels, as for
ChestX-ray14."""
FORMATS = ("PNG", "JPEG")
DARK = 16
"""What 12 bits become at most, of 255, where 16 are expected."""

Policy = Literal["unknown", "positive", "negative"]
_VALUES = {"unknown": -1, "positive": 1, "negative": 0}
_UNKNOWN = {"", "nan", "na", "n/a", "none", "null"}
_PARTS = {
    "train": "train", "training": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test",
}  # fmt: skip
"""Names that a column of parts may use."""


_TAKEN = {"name", "patient", "part", "images", "patients", DAMAGED}
"""What the index and its counts contain beside the labels, with the same kind of names."""


class Options(base.Options):
    """What the table's columns mean, and how images are split."""

    size: Annotated[int, Field(ge=8, le=1024)] = 224
    """Pixels along each side of the prepared images."""
    labels: Annotated[tuple[str, ...], Field(min_length=1)] = ("label",)
    """Columns of labels, in the order of the tasks."""
    file: str = "file"
    """Column with the path of the image's file, relative to the folder."""
    prefix: str = ""
    """Prefix of the file names in the table that is not part of the names in the folder."""
    patient: str = "patient"
    """Column that identifies patients; no patient is in two parts."""
    patient_pattern: str = ""
    """Regular expression whose first group, found in that column, is the patient; if empty, the
    whole value is."""
    only: dict[str, str] = {}
    """Rows to be used: column to the value that it must have."""
    uncertain: Policy = "unknown"
    """How -1 counts."""
    uncertain_of: dict[str, Policy] = {}
    """The same for individual labels."""
    empty: Literal["unknown", "negative"] = "unknown"
    """How an empty field counts."""
    split: Literal["stratified", "random", "column"] = "stratified"
    """By patient: stratified by label, at random, or as given in a column of the table."""
    part: str = "part"
    """Column with train, validation or test, if it decides the split."""
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Of all images."""
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Of all images."""
    training_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the training patients that is used; smaller shares are subsets of larger ones."""
    damaged: Annotated[int, Field(ge=0)] = 0
    """Number of images that may be undecodable; they are left out and listed. One more is an
    error."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.split != "column" and self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing for training")
        names = [name_of(label) for label in self.labels]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"labels give the name {twice[0]!r} twice")
        if taken := sorted(set(names) & _TAKEN):
            raise ValueError(f"a label cannot be called {taken[0]!r}: rename its column")
        if stray := sorted(set(self.uncertain_of) - set(self.labels)):
            raise ValueError(f"uncertain_of names {stray[0]!r}, which is not a label")
        try:
            groups = re.compile(self.patient_pattern).groups
        except re.error as error:
            raise ValueError(f"patient_pattern is not a regular expression: {error}") from error
        if self.patient_pattern and not groups:
            raise ValueError("patient_pattern has no group, as in `patient([0-9]+)`")
        return self


def name_of(label: str) -> str:
    """The task's name of a label column: small letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") or "label"


def tasks(options: Options) -> tuple[Task, ...]:
    """One task per label, in their order."""
    metrics = ("auroc", "auprc", "accuracy", "f1", "bce")
    return tuple(
        Task(name_of(label), label, 1, "bce", metrics, classes=2) for label in options.labels
    )


def prepare(raw: Path, out: Path, options: Options) -> None:
    """Read the table and decode the images.

    Writes ``images.npy`` (N, size, size) uint8 and ``index.parquet``: ``name``, ``patient``,
    ``part`` (as in the table, or empty) and 0, 1, or -1 where unknown, for each task, in order of
    the table; and ``damaged.parquet`` with the images that are left out, if some may be. A run that
    was killed continues where it stopped.

    Raises:
        UserError: the table or an image is wrong; the line or the file is named.
    """
    note = read_json(raw / NOTE)
    folder, table = Path(note["folder"]), Path(note["table"])
    _check_copy(raw, table, note["sha256"])
    index, lines = _read_table(raw / TABLE, options, table)
    rows = {name: row for row, name in enumerate(index["name"])}
    array = Array(out / IMAGES, rows, options.size, identity_of(raw))
    damaged = array.fill(_read_images(folder, lines, table), _decode, options.damaged)
    if damaged:
        index[DAMAGED] = index["name"].isin(damaged)
        told = pd.DataFrame(sorted(damaged.items()), columns=["name", "reason"])
        with atomic(out / "damaged.parquet") as temporary:
            told.to_parquet(temporary, index=False)
    with atomic(out / "index.parquet") as temporary:
        index.to_parquet(temporary, index=False)
    array.clear()


def _decode(image: Encoded, size: int) -> np.ndarray:
    try:
        pixels = decode(image, size, FORMATS)
    except UserError as error:
        raise UserError(
            error.what,
            where=image.archive / image.name,
            remedy="replace the file, remove its row, or write `damaged: 1` under the dataset's "
            "options to leave one such image out",
        ) from error
    if pixels.max() <= DARK and _is_16_bit(image.content):
        raise UserError(
            "has 16 bits a pixel and no value above a sixteenth of the range 0 to 65535, as "
            "radiographs of 12 bits are often stored: it would be almost black",
            where=image.archive / image.name,
            remedy="window your images to the whole range, or save them with 8 bits a pixel",
        )
    return pixels


def _is_16_bit(content: bytes) -> bool:
    """Whether a file is a PNG with 16 bits a value."""
    return content.startswith(SIGNATURE) and content[24] == 16


def _check_copy(raw: Path, table: Path, checksum: str) -> None:
    """Refuse a copy that was edited: its results would stand under the identity of the old one."""
    copy = raw / TABLE
    if sha256_file(copy) != checksum:
        raise UserError(
            "this copy of your table has changed since it was made",
            where=copy,
            remedy=f"make corrections in {table}; delete the folder {raw} and run again",
        )


def header_of(table: Path) -> list[str] | None:
    """Names of a table's columns; None where it cannot be read, which reading its rows tells."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            return [name.strip() for name in next(csv.reader(file), [])]
    except (OSError, UnicodeError, csv.Error):
        return None


def check_once(header: Iterable[str], columns: Iterable[str], table: Path) -> None:
    """Refuse a table in which two columns have the name of one that is read.

    Raises:
        UserError: it names the column.
    """
    names = list(header)
    for column in columns:
        if names.count(column) > 1:
            what = f"has {names.count(column)} columns called {column!r}"
            raise UserError(what, where=f"{table}:1", remedy="rename or remove all but one of them")


def _rows(
    copy: Path, columns: tuple[str, ...], remedy: str, table: Path
) -> Iterator[tuple[int, list[str]]]:
    """As :func:`read_rows` of the copy, with errors that name the user's own table."""
    try:
        yield from read_rows(copy, columns, remedy)
    except UserError as error:
        where = error.where.replace(str(copy), str(table), 1)
        raise UserError(error.what, where=where, remedy=error.remedy) from error


def _read_table(copy: Path, options: Options, table: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """The rows that count, and the line of each image.

    Args:
        table: what the user would correct, and messages name.
    """
    fields = [options.file, options.patient, *options.labels, *options.only]
    fields += [options.part] * (options.split == "column")
    remedy = "name its columns under `options` of the dataset's file, or correct the table"
    check_once(header_of(copy) or (), fields, table)
    lines: dict[str, int] = {}
    found = []
    for line, row in _rows(copy, tuple(fields), remedy, table):
        where = f"{table}:{line}"
        count = len(options.labels)
        name, patient, texts = row[0], row[1], row[2 : 2 + count]
        conditions = row[2 + count : 2 + count + len(options.only)]
        if conditions != list(options.only.values()):
            continue
        name = _file_name(name, options.prefix, where)
        if name in lines:
            raise UserError(
                f"the image {name!r} has a row already in line {lines[name]}",
                where=where,
                remedy="remove one of the two rows",
            )
        lines[name] = line
        part = _part(row[-1], where) if options.split == "column" else ""
        values = [
            _label(text, label, options, where)
            for text, label in zip(texts, options.labels, strict=True)
        ]
        found.append((name, _patient(patient, options, where), part, *values))
    if not found:
        raise UserError("no row is left", where=table, remedy="correct `only` under the options")
    names = [name_of(label) for label in options.labels]
    index = pd.DataFrame(found, columns=["name", "patient", "part", *names])
    return index.astype(dict.fromkeys(names, np.int8)), lines


def _file_name(text: str, prefix: str, where: str) -> str:
    """A file below the folder, never one outside it."""
    name = text.removeprefix(prefix).lstrip("/") if prefix else text
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or set(name) & {"\\", "\0", ":"}:
        raise UserError(
            f"{text!r} is not a file in the folder",
            where=where,
            remedy="write names that start from the folder, or give their `prefix`",
        )
    return name


def _patient(text: str, options: Options, where: str) -> str:
    if not options.patient_pattern:
        found = text
    else:
        match = re.search(options.patient_pattern, text)
        found = (match[1] or "") if match else ""
    if not found:
        raise UserError(
            f"{text!r} does not name a patient",
            where=where,
            remedy="correct the row, or `patient` and `patient_pattern` under the options",
        )
    return found


def _part(text: str, where: str) -> str:
    if text.lower() not in _PARTS:
        raise UserError(
            f"{text!r} is not a part", where=where, remedy="write train, validation or test"
        )
    return _PARTS[text.lower()]


def _label(text: str, label: str, options: Options, where: str) -> int:
    if text.lower() in _UNKNOWN:
        return _VALUES[options.empty]
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if value == -1:
        return _VALUES[options.uncertain_of.get(label, options.uncertain)]
    if value not in (0, 1):
        raise UserError(
            f"{label} is {text!r}, not 1, 0, -1 (uncertain) or nothing (unknown)",
            where=where,
            remedy="correct the row, or leave the column out of `labels`",
        )
    return int(value)


def _read_images(folder: Path, lines: dict[str, int], table: Path) -> Iterator[Encoded]:
    """The files in order of the table.

    Raises:
        UserError: one is missing, is outside the folder, or is too large.
    """
    inside = folder.resolve()
    for name, line in lines.items():
        path = folder / name
        if not path.is_file():
            raise UserError(
                f"names the image {name!r}, which is not in {folder}",
                where=f"{table}:{line}",
                remedy="add the file, or remove the row",
            )
        if not path.resolve().is_relative_to(inside):
            raise UserError(
                f"names {name!r}, a link to a file outside of the folder",
                where=f"{table}:{line}",
                remedy="put the file itself there",
            )
        if path.stat().st_size > MEMBER_BYTES:
            raise UserError(
                f"{path.stat().st_size} bytes are too many for an image; at most {MEMBER_BYTES} "
                "are allowed",
                where=path,
                remedy="reduce it, or remove its row",
            )
        yield Encoded(name, path.read_bytes(), folder)


def split(prepared: Path, options: Options, seed: int) -> pd.DataFrame:
    """Images of each part, by patient.

    Returns:
        Columns ``part``, ``item``, ``image`` (row in ``images.npy``), ``name``, ``patient``.
    """
    index = pd.read_parquet(prepared / "index.parquet")
    if options.split == "column":
        return items_of(index, index["part"].to_numpy(str))
    names = [task.name for task in tasks(options)]
    return divided(
        index,
        names,
        {"validation": options.validation_share, "test": options.test_share},
        options.training_share,
        np.random.default_rng(seed),
        stratified=options.split == "stratified",
    )


def counts(prepared: Path, options: Options) -> dict[str, int]:
    """Images, patients and positives of each task."""
    index = pd.read_parquet(prepared / "index.parquet")
    held = {"images": len(index), "patients": index["patient"].nunique()}
    return held | {task.name: int((index[task.name] == 1).sum()) for task in tasks(options)}


def labels(prepared: Path, items: pd.DataFrame, options: Options) -> pd.DataFrame:
    """Each item's labels: 0 or 1, -1 where unknown, one column per task."""
    names = [task.name for task in tasks(options)]
    known = pd.read_parquet(prepared / "index.parquet", columns=names)
    return known.iloc[items["image"].to_numpy()].reset_index(drop=True)


def load(prepared: Path, items: pd.DataFrame, options: Options) -> Part:
    """Images (1, size, size) as bytes, with 0, 1 or -1 for each label.

    They stay in their file, from which a batch reads what it needs.
    """
    images = np.load(prepared / IMAGES, mmap_mode="c")
    known = labels(prepared, items, options)
    return Part(
        torch.from_numpy(images)[:, None],
        {str(name): torch.from_numpy(known[name].to_numpy(np.int64)) for name in known},
        GREY_MEAN,
        GREY_STD,
        torch.tensor(items["image"].to_numpy(np.int64)),
    )
