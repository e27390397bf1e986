"""Labels, lists and boxes in the layout of the NIH release of ChestX-ray14.

``Data_Entry_2017_v2020.csv`` (or the one of 2017), ``train_val_list.txt``, ``test_list.txt``,
``BBox_List_2017.csv``, and ``sample_list.txt`` where only some of the images are present. The lists
and the boxes may name images that are not present.
"""

from __future__ import annotations

import re
from pathlib import Path

from counterpoise.datasets._tables import read_names, read_rows
from counterpoise.errors import UserError, nearest
from counterpoise.lazy import np, pd
from counterpoise.tasks import Task

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
"""In the spelling and order of the release."""
TASKS = {finding: finding.lower() for finding in FINDINGS}
NO_FINDING = "No Finding"
BOX_SYNONYMS = {"Infiltrate": "Infiltration"}
"""Names in the file of boxes that differ from those in the file of labels."""

EDITIONS = {2020: "Data_Entry_2017_v2020.csv", 2017: "Data_Entry_2017.csv"}
"""File of labels by year. That of 2020 adds 188 labels in 181 images and removes none."""
SEX = ("Patient Gender", "Patient Sex")
"""Names of one column in the editions of the label file and in copies of them."""
OFFICIAL = {"train_val": "train_val_list.txt", "test": "test_list.txt"}
PRESENT = "sample_list.txt"
BOXES = "BBox_List_2017.csv"

_AGE = re.compile(r"(\d{1,6})([YMD]?)")  # the first release has 058Y, 013M, 001D
_AGE_UNITS = {"": 1, "Y": 1, "M": 12, "D": 365}


def tasks() -> tuple[Task, ...]:
    """The findings in the order of the release, each a binary task of one logit."""
    metrics = ("auroc", "auprc", "accuracy", "f1", "bce")
    return tuple(
        Task(name, finding.replace("_", " ").capitalize(), 1, "bce", metrics, classes=2)
        for finding, name in TASKS.items()
    )


def read_index(raw: Path, edition: int | None = None) -> pd.DataFrame:
    """What is known about each image that is present, in order of its name.

    Args:
        edition: year of the label file, 2020 or 2017, of :data:`EDITIONS`; None for the later of
            those that are present.

    Returns:
        Columns ``name``, ``patient``, ``follow_up``, ``age`` (years), ``sex``, ``view``,
        ``official`` (train_val or test), and 0 or 1 for each task.

    Raises:
        UserError: a file is missing or damaged, or the files contradict each other.
    """
    entries_file = _entries_file(raw, edition)
    index, lines = _read_entries(entries_file)
    if (raw / PRESENT).exists():
        present = read_names(raw / PRESENT)
        for name, line in present.items():
            if name not in lines:
                raise UserError(
                    f"names the image {name!r}, which has no row in {entries_file.name}",
                    where=f"{raw / PRESENT}:{line}",
                    remedy="remove the line, or add the row",
                )
        index = index[index["name"].isin(present)]
    index = index.sort_values("name", ignore_index=True)
    lists = {part: read_names(raw / file) for part, file in OFFICIAL.items()}
    index.insert(6, "official", _official_parts(index, lists, raw, entries_file, lines))
    return index


def listed_in(raw: Path, edition: int | None = None) -> Path:
    """The file that names the images that are present."""
    return raw / PRESENT if (raw / PRESENT).exists() else _entries_file(raw, edition)


def _entries_file(raw: Path, edition: int | None) -> Path:
    if edition is None:
        names = tuple(EDITIONS.values())
        return next((raw / name for name in names if (raw / name).exists()), raw / names[0])
    path = raw / EDITIONS[edition]
    others = [year for year, name in EDITIONS.items() if (raw / name).exists()]
    if path.exists() or not others:
        return path
    raise UserError(
        "no such file",
        where=path,
        remedy=f"add it from NIH, or write `label_file: {others[0]}` under dataset_options of "
        "the tier for the labels that are there",
    )


def _read_entries(path: Path) -> tuple[pd.DataFrame, dict[str, int]]:
    """All rows of the file of labels, and the line of each image."""
    columns = {
        "name": "Image Index",
        "labels": "Finding Labels",
        "follow_up": "Follow-up #",
        "patient": "Patient ID",
        "age": "Patient Age",
        "sex": _sex_column(path),
        "view": "View Position",
    }
    lines: dict[str, int] = {}
    rows = []
    for line, (name, labels, follow_up, patient, age, sex, view) in read_rows(
        path, tuple(columns.values())
    ):
        where = f"{path}:{line}"
        if name in lines:
            raise UserError(
                f"the image {name!r} has a row already in line {lines[name]}",
                where=where,
                remedy="remove one of the two rows",
            )
        lines[name] = line
        found = _findings(labels, where)
        rows.append(
            (
                name,
                _number(patient, columns["patient"], where),
                _number(follow_up, columns["follow_up"], where),
                _years(age, where),
                sex,
                view,
                *(finding in found for finding in FINDINGS),
            )
        )
    fields = ["name", "patient", "follow_up", "age", "sex", "view", *TASKS.values()]
    frame = pd.DataFrame(rows, columns=fields)
    return frame.astype(dict.fromkeys(TASKS.values(), np.int8)), lines


def _sex_column(path: Path) -> str:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as handle:
            header = handle.readline(10_000)
    except OSError:
        return SEX[0]  # read_rows tells
    return next((name for name in SEX if name in header), SEX[0])


def _findings(labels: str, where: str) -> set[str]:
    found = set(labels.split("|"))
    if found == {NO_FINDING}:
        return set()
    if NO_FINDING in found:
        raise UserError(
            f"{labels!r} says {NO_FINDING!r} together with a finding",
            where=where,
            remedy=f"keep either {NO_FINDING!r} or the findings",
        )
    for label in sorted(found - set(FINDINGS)):
        raise UserError(
            f"unknown finding {label!r}",
            where=where,
            remedy=nearest(label, (*FINDINGS, NO_FINDING)),
        )
    return found


def _number(text: str, column: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise UserError(
            f"{column} is {text!r}, not a whole number", where=where, remedy="correct the row"
        )
    return int(text)


def _years(text: str, where: str) -> int:
    match = _AGE.fullmatch(text)
    if match is None:
        raise UserError(
            f"Patient Age is {text!r}, not a number of years", where=where, remedy="correct the row"
        )
    return int(match[1]) // _AGE_UNITS[match[2]]


def _official_parts(
    index: pd.DataFrame,
    lists: dict[str, dict[str, int]],
    raw: Path,
    entries_file: Path,
    lines: dict[str, int],
) -> list[str]:
    """The official part of each image; a patient with images in both is an error."""
    train_val, test = lists["train_val"], lists["test"]
    parts = []
    seen: dict[int, tuple[str, str]] = {}
    for name, patient in zip(index["name"], index["patient"].tolist(), strict=True):
        if name in train_val and name in test:
            raise UserError(
                f"the image {name!r} is also in line {train_val[name]} of {OFFICIAL['train_val']}",
                where=f"{raw / OFFICIAL['test']}:{test[name]}",
                remedy="remove it from one of the two lists",
            )
        if name not in train_val and name not in test:
            raise UserError(
                f"the image {name!r} is neither in {OFFICIAL['train_val']} nor in "
                f"{OFFICIAL['test']}",
                where=f"{entries_file}:{lines[name]}",
                remedy="add it to one of the two lists, or remove its row",
            )
        part = "test" if name in test else "train_val"
        first, other = seen.setdefault(patient, (part, name))
        if first != part:
            inside, outside = (name, other) if part == "test" else (other, name)
            raise UserError(
                f"patient {patient} is in both official lists: {inside!r} here, {outside!r} in "
                f"line {train_val[outside]} of {OFFICIAL['train_val']}",
                where=f"{raw / OFFICIAL['test']}:{test[inside]}",
                remedy="keep all images of a patient in one list",
            )
        parts.append(part)
    return parts


def boxes(raw: Path) -> pd.DataFrame | None:
    """The boxes that radiologists drew, or None if the file is missing.

    Returns:
        Columns ``name`` (of the image), ``task``, and ``x``, ``y``, ``w``, ``h`` in pixels of the
        published images (1024 x 1024), from the top left corner.

    Raises:
        UserError: the file is damaged or names an unknown finding.
    """
    path = raw / BOXES
    if not path.exists():
        return None
    columns = ("Image Index", "Finding Label", "Bbox [x", "y", "w", "h]")
    rows = []
    for line, (name, label, *numbers) in read_rows(path, columns):
        where = f"{path}:{line}"
        finding = BOX_SYNONYMS.get(label, label)
        if finding not in FINDINGS:
            raise UserError(
                f"unknown finding {label!r}", where=where, remedy=nearest(label, FINDINGS)
            )
        try:
            x, y, w, h = map(float, numbers)
        except ValueError:
            x = y = w = h = np.nan
        if not (0 <= x < np.inf and 0 <= y < np.inf and 0 < w < np.inf and 0 < h < np.inf):
            raise UserError(
                f"not a box: x, y, w, h = {', '.join(numbers)}",
                where=where,
                remedy="give numbers of pixels, width and height above 0",
            )
        rows.append((name, TASKS[finding], x, y, w, h))
    return pd.DataFrame(rows, columns=["name", "task", "x", "y", "w", "h"])
