"""Every file below ``results/``, ``data/`` and ``work/``, held against the plans of all tiers."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from counterpoise.errors import UserError
from counterpoise.generators import local_folder
from counterpoise.layout import CELL_FILES
from counterpoise.plan import Plan, make_plan
from counterpoise.project import Project

Kind = Literal["cell", "scores", "exhibit", "raw", "prepared", "work"]
State = Literal["planned", "unfinished", "stale", "leftover", "foreign"]

_NAME = r"[a-z0-9][a-z0-9_.-]*"
_DIGEST = r"[0-9a-f]{12}"
_FILE = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
_CELL = rf"results/{_NAME}/cells/{_NAME}/{_DIGEST}"
_PAPER = rf"results/{_NAME}/papers/{_NAME}"
_TRAINED = "|".join(map(re.escape, CELL_FILES))
_OURS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("cell", re.compile(rf"({_CELL})/({_TRAINED})")),
    ("scores", re.compile(rf"({_CELL}/scores-[0-9a-f]{{8}}\.json)")),
    ("exhibit", re.compile(rf"({_PAPER}/(tables|claims)-{_DIGEST}\.json)")),
    ("exhibit", re.compile(rf"({_PAPER}/figures/{_NAME}-{_DIGEST})\.(svg|json)")),
    ("exhibit", re.compile(rf"({_PAPER}/explanations/{_NAME}-{_DIGEST})\.(parquet|npz|json)")),
    ("exhibit", re.compile(rf"({_PAPER}/views-{_DIGEST})/({_FILE}|\.snakemake_timestamp)")),
    ("raw", re.compile(rf"(data/raw/{_NAME}-[0-9a-f]{{8}})/({_FILE}|\.{_FILE}\.part(\.json)?)")),
    ("prepared", re.compile(rf"(data/prepared/{_NAME}/{_NAME}-{_DIGEST})/{_FILE}")),
    ("work", re.compile(rf"(work/{_NAME}/{_NAME}/{_DIGEST})/{_FILE}")),
)
"""Kind of a file, and in the first group the unit that it is part of: what a plan names. What has
arrived of a download is part of its folder."""

MARKERS: dict[Kind | None, str] = {"raw": "source.json", "prepared": "prepared.json"}
"""What is written last into a folder that takes more than a moment to fill."""

_BESIDE = re.compile(
    rf"work/{_NAME}/(plan|cells)\.json|data/(raw/)?({_FILE}\.dvc|\.gitignore)|data/records/{_FILE}"
    r"|data/own/.+"
)
"""Files that belong there and are no results: the lists of digests and of cells, DVC's pointers,
what is recorded of raw files, and the user's own images."""

_TEMPORARY = re.compile(
    r"(.*/)?\.[^/]{1,40}-[0-9a-f]{8}(\.[A-Za-z0-9_]+)?"
    rf"|{_PAPER}/\.views-{_DIGEST}-[a-z0-9_]{{8}}/.+"
)
"""What a killed process leaves: of a file, as :func:`counterpoise.files.atomic` names it, or of the
one folder that is written whole, a paper's views. A wider one would take in users' own files."""


@dataclass(frozen=True)
class Unit:
    """What belongs together: a cell's results, one exhibit, prepared data.

    Attributes:
        path: folder, or file (of a figure without its suffix), relative to the checkout.
        files: its files, relative to the checkout.
    """

    kind: Kind | None
    path: str
    state: State
    files: tuple[str, ...]


@dataclass(frozen=True)
class Inventory:
    """What is on disk, and how many of the planned units are not."""

    units: tuple[Unit, ...]
    missing: int

    def of(self, *states: State) -> list[Unit]:
        """Units in one of some states."""
        return [unit for unit in self.units if unit.state in states]


def all_plans(project: Project) -> dict[str, Plan]:
    """The plan of every tier, with all papers and methods: what the settings leave out is kept."""
    return {tier: make_plan(project, tier) for tier in project.tiers.tiers}


def planned_units(plans: dict[str, Plan]) -> dict[str, Kind]:
    """Every unit that some plan names."""
    units: dict[str, Kind] = {}
    for plan in plans.values():
        for training in plan.every.values():
            units[training.folder] = "cell"
            units[training.work] = "work"
            units[str(Path(training.data.raw).parent)] = "raw"
            units[training.data.folder] = "prepared"
            if training.weights is not None:
                units[str(Path(training.weights).parent)] = "raw"
        units |= {training.scores: "scores" for training in plan.trainings.values()}
        for paper in plan.papers.values():
            files = (paper.tables, paper.claims, *((paper.views,) if paper.viewed else ()))
            units |= dict.fromkeys(files, "exhibit")
            units |= {made.removesuffix(".parquet"): "exhibit" for made in paper.explanations}
            units |= {figure.removesuffix(".svg"): "exhibit" for figure in paper.figures}
    return units


def take_inventory(root: Path, plans: dict[str, Plan]) -> Inventory:
    """Look at every file. Links to folders are not followed.

    A unit is *planned*, or *stale*: ours, and of no plan. *Unfinished* are planned data that the
    next run goes on with. *Leftover* is what a killed process has left, *foreign* what is not ours.
    """
    planned = planned_units(plans)
    found: dict[tuple[Kind | None, str], list[str]] = {}
    for path in _files(root):
        found.setdefault(_unit_of(path), []).append(path)
    own = _own_folders(root, plans)
    units = []
    for (kind, path), files in found.items():
        if kind is None and any((root / path).is_relative_to(folder) for folder in own):
            continue  # the user's own images, in a checkout as elsewhere
        state: State = "planned" if path in planned else "stale"
        if kind is None:
            state = "leftover" if _TEMPORARY.fullmatch(path) else "foreign"
        elif kind == "work" and state == "planned":
            state = _of_work(root, path, plans)
        elif state == "planned" and is_unfinished(kind, path, files):
            state = "unfinished"
        units.append(Unit(kind, path, state, tuple(files)))
    here = {unit.path for unit in units}
    wanted = {
        path
        for plan in plans.values()
        if (root / "results" / plan.tier_name).is_dir()
        for path in planned_units({plan.tier_name: plan})
        if path.startswith("results/")
    }
    return Inventory(tuple(sorted(units, key=lambda unit: unit.path)), len(wanted - here))


def is_unfinished(kind: Kind | None, path: str, files: Collection[str]) -> bool:
    """Whether a download or a preparation has not come to its end in a unit."""
    return kind in MARKERS and f"{path}/{MARKERS[kind]}" not in files


def _own_folders(root: Path, plans: dict[str, Plan]) -> set[Path]:
    """Folders that datasets of the user's own name."""
    found = set()
    datasets = [d for plan in plans.values() for d in plan.project.datasets.values()]
    for maker in (source.generator for d in datasets for source in d.sources.values()):
        if maker is not None and maker.name == "local_folder":
            with contextlib.suppress(UserError):  # in the home of nobody
                folder = local_folder.folder_of(local_folder.Options(**maker.options), root)
                found.add(Path(os.path.normpath(folder)))
    return found


def _of_work(root: Path, path: str, plans: dict[str, Plan]) -> State:
    """A state is of no more use once the whole cell is there."""
    _, tier, name, digest = path.split("/")
    training = plans[tier].training(name, digest)
    whole = all((root / training.file(file)).is_file() for file in CELL_FILES)
    return "leftover" if whole else "planned"


def _unit_of(path: str) -> tuple[Kind | None, str]:
    for kind, pattern in _OURS:
        if (match := pattern.fullmatch(path)) is not None:
            return kind, match[1]
    return None, path


def _refuse(error: OSError) -> None:
    """What cannot be looked into must not be taken for empty; a folder may be gone meanwhile."""
    if not isinstance(error, FileNotFoundError):
        raise UserError(
            f"cannot read it: {error.strerror}",
            where=str(error.filename),
            remedy="give yourself permission to read the folder",
        ) from error


def _files(root: Path) -> Iterator[str]:
    for top in ("results", "data", "work"):
        for folder, folders, names in os.walk(root / top, onerror=_refuse):
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in (*links, *names):
                path = Path(folder, name).relative_to(root).as_posix()
                if not _BESIDE.fullmatch(path):
                    yield path
