"""All configuration of a checkout, read and checked against the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from counterpoise import registry
from counterpoise.checks import (
    check_config,
    check_dataset,
    check_paper,
    check_sources,
    check_study,
    check_tiers,
)
from counterpoise.errors import UserError, UserErrors
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.load import Document, parse, read_yaml
from counterpoise.spec.paper import Paper
from counterpoise.spec.study import OWN, Study, tier_of
from counterpoise.spec.tier import Config, Tiers
from counterpoise.spec.weights import Published, Weights


@dataclass(frozen=True)
class Project:
    """The configuration of one checkout."""

    root: Path
    config: Config
    tiers: Tiers
    datasets: dict[str, Dataset]
    papers: dict[str, Paper]
    """With the studies, which are planned and reported as papers are."""
    weights: dict[str, Published] = field(default_factory=dict)
    """Weights that others have published, by name."""
    studies: frozenset[str] = frozenset()
    """Those of the papers that are comparisons on data of one's own."""


_LISTS = ("papers", "methods")


def _words(value: Any) -> Any:
    """A command line's ``a`` or ``a,b`` as a list."""
    if not isinstance(value, str) or value == "all":
        return value
    return [word.strip() for word in value.split(",")]


def read_config(root: Path, overrides: dict[str, Any] | None = None) -> Document:
    """``config/config.yaml`` with the overrides of a command line put in."""
    document = read_yaml(root / "config" / "config.yaml")
    if not isinstance(document.data, dict):
        raise UserError("must consist of `key: value` lines", where=document.path)
    for key, value in (overrides or {}).items():
        if key not in document.data or document.data[key] != value:
            document.data[key] = _words(value) if key in _LISTS else value
            document.lines[(key,)] = 0
    for key in _LISTS:
        found = document.data.get(key, "all")
        if found != "all" and not (isinstance(found, list | tuple) and found and all(found)):
            raise UserError(
                f"{key}: neither 'all' nor names (got {found!r})",
                where=document.where((key,)),
                remedy="write all, or one or more names separated by commas",
            )
    return document


def load_project(root: Path, overrides: dict[str, Any] | None = None) -> Project:
    """Read and check everything under ``config/``.

    Raises:
        UserErrors: every problem of every file.
    """
    folder = root / "config"
    if not folder.is_dir():
        raise UserError(
            "no config/ folder here", where=root, remedy="run this in a checkout of counterpoise"
        )
    errors: list[UserError] = []
    datasets = _read_folder(Dataset, folder / "datasets", errors)
    for name, (dataset, document) in datasets.items():
        if dataset.id == name:
            errors += check_dataset(dataset, document)
    known = {name: dataset for name, (dataset, _) in datasets.items()}
    registry.set_readers({name: dataset.reader or name for name, dataset in known.items()})
    written = _read_folder(Paper, folder / "papers", errors)
    studies = _read_folder(Study, folder / "studies", errors)
    tiers = _read(Tiers, folder / "tiers.yaml", errors)
    published: dict[str, Published] = {}
    if (folder / "weights.yaml").exists():
        weights = _read(Weights, folder / "weights.yaml", errors)
        published = weights[0].weights if weights is not None else {}
    whole = not errors  # what refers to something broken would only add noise
    settings: tuple[Config, Document] | None = None
    try:
        document = read_config(root, overrides)
        settings = parse(Config, document), document
    except UserError as error:
        errors += error.errors
    papers = {name: paper for name, (paper, _) in written.items()}
    if whole and tiers is not None:
        for paper, document in written.values():
            errors += check_paper(paper, document, known, published)
        errors += check_tiers(*tiers, known, papers, published)
        errors += check_sources(datasets, studies)
        for name, (study, document) in studies.items():
            found = check_study(study, document, known, papers, published)
            errors += found
            if not found:
                papers[name] = study.paper()
        if settings is not None:
            config, document = settings
            every = _with_own(tiers[0], [study for study, _ in studies.values()])
            errors += check_config(document, config, every, papers, studies)
    if errors or tiers is None or settings is None:
        raise UserErrors(errors)
    every = _with_own(tiers[0].resolved(), [study for study, _ in studies.values()])
    return Project(root, settings[0], every, known, papers, published, frozenset(studies))


M = TypeVar("M", bound=BaseModel)
Named = TypeVar("Named", Dataset, Paper, Study)


def _read(model: type[M], path: Path, errors: list[UserError]) -> tuple[M, Document] | None:
    """A file and its lines; None if it has errors, which are added to those before."""
    try:
        document = read_yaml(path)
        return parse(model, document), document
    except UserError as error:
        errors += error.errors
        return None


def _read_folder(
    model: type[Named], folder: Path, errors: list[UserError]
) -> dict[str, tuple[Named, Document]]:
    """All files of a folder by name, as :func:`_read` reads them."""
    found = {}
    for path in sorted(folder.glob("*.yaml")):
        if (read := _read(model, path, errors)) is not None:
            errors += _check_id(read[0].id, path, read[1])
            found[path.stem] = read
    return found


def _with_own(tiers: Tiers, studies: list[Study]) -> Tiers:
    """The tiers, and that of the studies if there are any."""
    own = {OWN: tier_of(studies)} if studies else {}
    return tiers.model_copy(update={"tiers": {**tiers.tiers, **own}})


def _check_id(name: str, path: Path, document: Document) -> list[UserError]:
    if name == path.stem:
        return []
    return [
        UserError(
            f"id is {name!r} but the file is {path.name}",
            where=document.where(("id",)),
            remedy=f"write `id: {path.stem}`",
        )
    ]
