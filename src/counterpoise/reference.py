"""Committed results of larger runs, shown beside those of the tier at hand.

``reports/reference/<name>/`` holds the numbers of a finished tier and how they were made, without
weights or predictions:

- ``reference.json``: :class:`Card`;
- ``cells/<cell>/<digest>/record.json`` and ``scores.json``: a cell's record and scores;
- ``papers/<paper>/tables.json`` and ``claims.json``: as under ``results/``.

``counterpoise reference NAME --tier TIER`` writes them, each sealed with a checksum of its content;
``counterpoise check`` verifies them.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from counterpoise.errors import UserError
from counterpoise.files import CHECKSUM, digest_of, is_sealed, read_json, write_sealed
from counterpoise.plan import Plan, make_plan
from counterpoise.project import Project
from counterpoise.provenance import commit
from counterpoise.spec.claim import Claim, references
from counterpoise.spec.study import OWN
from counterpoise.standing import Standing, claim_name, exhibits_of, standing_of, table_name

FOLDER = "reports/reference"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")


class Card(BaseModel):
    """What ``reference.json`` says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1, 2] = 1
    """Of the first there is no ``scoring`` and no ``exhibits``."""
    tier: str
    title: str
    """What the tier is called."""
    command: str
    """What made the results."""
    commit: str | None
    """Of the checkout from which they were saved; each record has that of its training."""
    dirty: bool | None
    note: str = ""
    scoring: dict[str, str] = {}
    """Each cell to the digest of the code that made its scores."""
    exhibits: dict[str, str] = {}
    """Each table and claim to a digest of how it was made (:mod:`counterpoise.standing`)."""
    files: tuple[str, ...]
    """All others of the folder."""
    checksum: str


@dataclass(frozen=True)
class Reference:
    """One folder of committed results.

    Attributes:
        tables: paper, table, row, column to an entry as of :mod:`counterpoise.reproduction.tables`.
        claims: paper and claim to what our runs say.
        records: cell to its record.
        standing: what of it would be made in the same way now; the rest is stale.
    """

    name: str
    card: Card
    tables: dict[str, Any]
    claims: dict[str, dict[str, Any]]
    records: dict[str, dict[str, Any]]
    standing: Standing

    def entry(self, paper: str, table: str, row: str, column: str) -> dict[str, Any] | None:
        """A number of the reference; None where it has none. A stale one is marked."""
        try:
            found: dict[str, Any] = self.tables[paper][table][row][column]
        except KeyError:
            return None
        if found["ours"] is None:
            return None
        older = table_name(paper, table) in self.standing.older
        stale = older or not self.standing.current.issuperset(found["ours"]["cells"])
        return {**found, "marks": [*found["marks"], *["stale"] * stale]}

    def claim(self, paper: str, claim: Claim) -> dict[str, Any] | None:
        """What its runs say of a claim; None where nothing. Stale if one of its numbers is."""
        found: dict[str, Any] | None = self.claims.get(paper, {}).get(claim.id)
        if found is None or found["runs"]["word"] is None:
            return None
        entries = [self.entry(paper, *ref.split("/")) for ref in references(claim.test)]
        stale = claim_name(paper, claim.id) in self.standing.older or any(
            "stale" in entry["marks"] for entry in entries if entry is not None
        )
        runs = found["runs"]
        return {**found, "runs": {**runs, "marks": [*runs["marks"], *["stale"] * stale]}}


def read_references(root: Path, project: Project) -> tuple[tuple[Reference, ...], tuple[str, ...]]:
    """All references, and one line on each that cannot be read."""
    found, unreadable = [], []
    for folder in _folders(root):
        try:
            found.append(_read(folder, project))
        except (UserError, ValidationError, KeyError, TypeError, AttributeError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            unreadable.append(f"{FOLDER}/{folder.name}: {first}")
    return tuple(found), tuple(unreadable)


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in (root / FOLDER).glob("*") if path.is_dir())


def standings(root: Path, plan: Plan) -> dict[str, str]:
    """Each reference that a plan's report shows to a digest of what of it is current.

    What cannot be read is left out.
    """
    found: dict[str, str] = {}
    if plan.tier_name == OWN:  # references speak of papers
        return found
    for folder in _folders(root):
        with suppress(UserError, ValidationError):
            standing = standing_in(folder, plan.project)
            found[folder.name] = digest_of([sorted(standing.current), sorted(standing.older)])
    return found


def standing_in(folder: Path, project: Project) -> Standing:
    """What of the reference in a folder would be made in the same way now.

    Raises:
        UserError: its card cannot be read.
        ValidationError: its card is none.
    """
    card, plan = _card(folder), None
    scoring = {key: card.scoring.get(key) for key in _cells(folder)}
    if card.tier in project.tiers.tiers:
        papers = {path.parent.name for path in folder.glob("papers/*/tables.json")}
        plan = make_plan(project, card.tier, papers)
        for key in scoring.keys() & plan.trainings.keys() if card.format == 1 else ():
            scoring[key] = _scoring_of(folder / "cells" / key / "scores.json")
    return standing_of(scoring, card.exhibits, plan)


def _card(folder: Path) -> Card:
    return Card.model_validate(read_json(folder / "reference.json"))


def _cells(folder: Path) -> list[str]:
    found = sorted(folder.glob("cells/*/*/record.json"))
    return [f"{path.parents[1].name}/{path.parent.name}" for path in found]


def _scoring_of(scores: Path) -> str | None:
    """Digest of the code that made scores; None where they do not tell."""
    try:
        return digest_of(read_json(scores)["code"], length=8)
    except (UserError, KeyError, TypeError):
        return None


def _read(folder: Path, project: Project) -> Reference:
    card = _card(folder)
    tables = {
        path.parent.name: read_json(path)["tables"]
        for path in sorted(folder.glob("papers/*/tables.json"))
    }
    for entry in (entry for paper in tables.values() for entry in entries_of(paper)):
        _has(entry, _ENTRY, "an entry in its tables")
    claims = {
        path.parent.name: {claim["id"]: claim for claim in read_json(path)["claims"]}
        for path in sorted(folder.glob("papers/*/claims.json"))
    }
    for claim in (claim for paper in claims.values() for claim in paper.values()):
        _has(claim, {"basis", "runs"}, "a claim")
        _has(claim["runs"], {"word", "steps", "marks", "missing"}, "what its runs say of a claim")
    records = {key: read_json(folder / "cells" / key / "record.json") for key in _cells(folder)}
    standing = standing_in(folder, project)
    return Reference(folder.name, card, tables, claims, records, standing)


_ENTRY = {
    "ours", "marks", "verdict", "rule", "difference", "interval", "printed", "margin", "run",
    "reason",
}  # fmt: skip


def _has(found: dict[str, Any], keys: set[str], what: str) -> None:
    if missing := keys - found.keys():
        raise UserError(f"{what} lacks {', '.join(sorted(missing))}")


def entries_of(tables: dict[str, Any]) -> list[dict[str, Any]]:
    """All entries of a paper's tables."""
    return [entry for table in tables.values() for row in table.values() for entry in row.values()]


def save_reference(root: Path, plan: Plan, name: str, note: str = "") -> Path:
    """Copy the numbers of a finished tier to ``reports/reference/<name>``.

    Raises:
        UserError: the name is not one or holds another tier, the tier is not finished, or a result
            is not as written.
    """
    if not _NAME.fullmatch(name):
        raise UserError(
            f"{name!r} is not a valid name for a reference",
            remedy="use lower-case letters, digits, dots, dashes and underscores",
        )
    folder = root / FOLDER / name
    _keep_other_tiers(folder, plan.tier_name)
    made = commit(root)
    files: dict[str, dict[str, Any]] = {}
    for key, training in plan.trainings.items():
        files[f"cells/{key}/record.json"] = _as_written(root / training.file("record.json"))
        scores = _as_written(root / training.scores)
        # Resamples are large.
        files[f"cells/{key}/scores.json"] = {k: v for k, v in scores.items() if k != "resamples"}
    papers = {run.paper for run in plan.runs.values()}
    for paper in papers:
        planned = plan.papers[paper]
        files[f"papers/{paper}/tables.json"] = _as_written(root / planned.tables)
        files[f"papers/{paper}/claims.json"] = _as_written(root / planned.claims)
    files["reference.json"] = {
        "format": 2,
        "tier": plan.tier_name,
        "title": plan.tier.title,
        "command": command_of(plan),
        "commit": made["id"],
        "dirty": made["dirty"],
        "note": note,
        "scoring": {key: training.scoring for key, training in plan.trainings.items()},
        # As it will be planned when that is asked for, whatever methods the settings leave out.
        "exhibits": exhibits_of(make_plan(plan.project, plan.tier_name, papers)),
        "files": sorted(files),
    }
    for path, content in files.items():
        write_sealed(folder / path, {k: v for k, v in content.items() if k != CHECKSUM})
    for old in sorted(folder.rglob("*"), reverse=True):  # of what was saved by this name before
        if old.is_dir() and not any(old.iterdir()):
            old.rmdir()
        elif old.is_file() and str(old.relative_to(folder)) not in files:
            old.unlink()
    return folder


def _keep_other_tiers(folder: Path, tier: str) -> None:
    """Refuse to write over the numbers of another tier, which may have taken days."""
    path = folder / "reference.json"
    if not path.exists():
        return
    told = read_json(path)
    held = told.get("tier") if isinstance(told, dict) else None
    if held != tier:
        raise UserError(
            f"holds tier {held}, not {tier}",
            where=folder,
            remedy=f"choose another name, or write `--tier {held}` if that is meant, or remove "
            "the folder",
        )


def command_of(plan: Plan) -> str:
    """What makes the tier's results; with a folder of one's own where data are not published."""
    used = {training.data.source for training in plan.trainings.values()}
    sources = [
        source
        for dataset in plan.project.datasets.values()
        for name, source in dataset.sources.items()
        if name in used
    ]
    own = any(
        not source.generator and not source.mirrors and not any(file.urls for file in source.files)
        for source in sources
    )
    return f"snakemake --cores all --config tier={plan.tier_name}{' mirror=FOLDER' * own}"


def _as_written(path: Path) -> dict[str, Any]:
    """A result whose checksum is that of its content; what is damaged must not be sealed anew."""
    content: dict[str, Any] = read_json(path)
    if not is_sealed(content):
        raise UserError(
            "has changed since it was written",
            where=path,
            remedy="delete it and make it again; `counterpoise check` lists all such files",
        )
    return content


def damage_to(folder: Path) -> list[str]:
    """What of a reference is not as it was written."""
    try:
        card = _card(folder)
    except (UserError, ValidationError):
        return ["reference.json cannot be read"]
    there = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    wrong = [f"{name} is missing" for name in card.files if name not in there]
    for name in sorted(there):
        if name not in (*card.files, "reference.json"):
            wrong.append(f"{name} does not belong to it")
            continue
        try:
            if not is_sealed(read_json(folder / name)):
                wrong.append(f"{name} has changed since it was written")
        except UserError as error:
            wrong.append(f"{name}: {error.what}")
    return wrong
