"""``counterpoise why CELL``: what has changed since a result was made, so that it is made anew."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.code import path_of
from counterpoise.errors import UserError, nearest
from counterpoise.files import read_json
from counterpoise.layout import Training
from counterpoise.plan import Plan, make_plan
from counterpoise.spec.study import OWN
from counterpoise.upkeep.verify import identity_of

KINDS = ("config", "data", "library", "code")


@dataclass(frozen=True)
class Change:
    """One thing that is no longer as it was.

    Attributes:
        kind: one of ``KINDS``.
        what: key, source, library or file.
    """

    kind: str
    what: str
    before: Any
    after: Any

    def __str__(self) -> str:
        if self.kind != "code":
            return f"{self.kind:8}{self.what}: {_shown(self.before)} -> {_shown(self.after)}"
        word = "new" if self.before is None else "gone" if self.after is None else "changed"
        return f"{self.kind:8}{self.what} ({word})"


def _shown(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[Change]:
    """What differs between two identities, each thing once."""
    old, new = dict(_leaves(before)), dict(_leaves(after))
    found = {
        (place := _named(path)): Change(*place, old.get(path), new.get(path))
        for path in (*old, *new)
        if old.get(path) != new.get(path)
    }
    return sorted(found.values(), key=lambda change: (KINDS.index(change.kind), change.what))


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    else:
        yield path, value


def _named(path: tuple[str, ...]) -> tuple[str, str]:
    """Kind and name of a place in an identity. Data have one of their own inside, so have files."""
    inner = list(path)
    while inner[0] in ("cell", "data", "raw") and len(inner) > 1:
        inner = inner[1:]
    first, rest = inner[0], ".".join(inner[1:])
    if first == "code" and rest:
        return "code", _file(rest)
    if first in ("libraries", "needs") and rest:
        return "library", rest
    if first == "files":
        return "data", rest or "files"
    if first == "options" and path[0] == "data":
        return "config", f"dataset_options.{rest}"
    return "config", ".".join(inner)


def _file(module: str) -> str:
    path = path_of(module)
    package = Path(__file__).parents[1]
    return f"src/counterpoise/{path.relative_to(package).as_posix()}"


@dataclass(frozen=True)
class Made:
    """A result on disk."""

    key: str
    record: dict[str, Any]
    identity: dict[str, Any]

    @property
    def commit(self) -> str:
        """The commit that made it, in short; empty where unknown."""
        commit = self.record.get("commit") or {}
        return f"{str(commit.get('id'))[:12]}" if commit.get("id") else ""


def read_made(root: Path, tier: str) -> list[Made]:
    """Trained cells of a tier whose record tells what they were made from."""
    found = []
    for path in sorted((root / "results" / tier / "cells").glob("*/*/record.json")):
        try:
            record = read_json(path)
        except UserError:
            continue
        identity = identity_of(record) if isinstance(record, dict) else None
        if identity is not None:
            found.append(Made(f"{path.parts[-3]}/{path.parts[-2]}", record, identity))
    return found


def identity(training: Training) -> dict[str, Any]:
    """What a planned cell would be made from."""
    return {"cell": training.cell.model_dump(mode="json"), **training.identity}


def tier_of(word: str) -> str | None:
    """The tier in a path below ``results``; None of a name."""
    _, results, below = word.rpartition("results/")
    return Path(below).parts[0] if results and below else None


def _cell_of(word: str) -> tuple[str, str]:
    """Name and digest, either empty, in a name, ``name/digest`` or path."""
    parts = Path(word.rpartition("cells/")[2]).parts
    return (parts[0] if parts else ""), (parts[1] if len(parts) > 1 else "")


def find_cells(plan: Plan, made: list[Made], word: str) -> list[Training]:
    """Planned cells that a name, a ``name/digest`` or a path to results stands for.

    A digest that no plan has any more stands for the planned cell most like its result.

    Raises:
        UserError: there is none.
    """
    name, digest = _cell_of(word)
    planned = plan.every
    if f"{name}/{digest}" in planned:
        return [planned[f"{name}/{digest}"]]
    old = [one for one in made if one.key == f"{name}/{digest}"]
    if old and planned:
        like = min(planned.values(), key=lambda t: len(changes(old[0].identity, identity(t))))
        return [like]
    named = [training for training in planned.values() if training.name == name]
    if not named or digest:
        raise UserError(
            f"tier {plan.tier_name} has no cell {word!r}, and no result for it",
            remedy=_elsewhere(plan, name)
            or (_like(name, {t.name for t in planned.values()}) if planned else ""),
        )
    return named


def _elsewhere(plan: Plan, name: str) -> str:
    """Which option finds a cell that other tiers have; empty if none has it."""
    found = []
    for tier in plan.project.tiers.tiers:
        with contextlib.suppress(UserError):  # images of one's own are not there
            every = make_plan(plan.project, tier).every.values()
            found += [tier] * any(training.name == name for training in every)
    return f"add {' or '.join(f'`--tier {tier}`' for tier in found)}" if found else ""


def _like(name: str, names: set[str]) -> str:
    """Names of cells are long: rather those that contain the word, and not a page of them."""
    return nearest(name, {one for one in names if name in one} or names, most=8)


def explain(root: Path, plan: Plan, word: str) -> Iterator[str]:
    """Lines that say of each cell meant whether it is made, and else what has changed.

    Raises:
        UserError: no such cell.
    """
    made = read_made(root, plan.tier_name)
    for training in find_cells(plan, made, word):
        key, own = training.key, identity(training)
        if (root / training.file("record.json")).is_file():
            yield f"{key} is made, and nothing that it was made from has changed since"
            if key in plan.trainings:  # others only set options
                yield from _of_scores(root, training)
            continue
        yield f"{key} is not made yet"
        old = [one for one in made if one.key == "/".join(_cell_of(word))] or made
        if not old:
            yield f"  tier {plan.tier_name} has no earlier result to compare it with"
            continue
        nearest_made = min(old, key=lambda one: (len(changes(one.identity, own)), one.key))
        found = changes(nearest_made.identity, own)
        by = f", made at commit {nearest_made.commit}" if nearest_made.commit else ""
        yield f"  the result most like it is {nearest_made.key}{by}; since then:"
        yield from (f"  {change}" for change in found)
        yield from _where_to_look(plan, training, found, nearest_made.commit)


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _of_scores(root: Path, training: Training) -> Iterator[str]:
    if (root / training.scores).is_file():
        return
    others = sorted((root / training.folder).glob("scores-*.json"), key=_age)
    yield "  its scores are not made yet" + ("; since the last ones:" if others else "")
    for path in others[-1:]:
        scores = read_json(path)
        before = (scores.get("code") if isinstance(scores, dict) else None) or {}
        yield from (f"  {c}" for c in changes({"code": before}, {"code": training.scoring_code}))


def _where_to_look(
    plan: Plan, training: Training, found: list[Change], commit: str
) -> Iterator[str]:
    """Files that hold the configuration, and the command that shows the code."""
    if any(change.kind == "config" for change in found):
        runs = [run for run in plan.runs.values() if training.key in run.keys]
        studies = plan.tier_name == OWN
        folder = "studies" if studies else "papers"
        files = sorted({f"config/{folder}/{run.paper}.yaml" for run in runs})
        last = f"config/datasets/{training.data.dataset}.yaml" if studies else "config/tiers.yaml"
        yield "  configuration: " + ", ".join([*files, last])
    code = [change.what for change in found if change.kind == "code"]
    if code and commit:
        yield f"  to see the code changes: git diff {commit} -- {' '.join(code)}"
