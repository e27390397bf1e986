"""All configuration of a checkout, read and checked against the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        raise UserError("must be a list of `key: value`", where=document.path)
    for key, value in (overrides or {}).items():
        if document.data.get(key, Config.model_fields) != value:
            document.data[key] = _words(value) if key in _LISTS else value
            document.lines[(key,)] = 0
    for key in _LISTS:
        found = document.data.get(key, "all")
        if found != "all" and not (isinstance(found, list | tuple) and found and all(found)):
            raise UserError(
                f"{key}: neither 'all' nor names (got {found!r})",
                where=document.where((key,)),
                remedy="write all, or one name or more with commas between",
            )
    return document


def load_project(root: Path, overrides: dict[str, Any] | None = None) -> Project:
    """Read and check everything under ``config/``.

    Raises:
        UserErrors: every problem of every file.
    """
    errors: list[UserError] = []
    folder = root / "config"
    if not folder.is_dir():
        raise UserError(
            "no folder config/ here", where=root, remedy="run this in a checkout of counterpoise"
        )

    def read(model: type[BaseModel], path: Path) -> tuple[Any, Document | None]:
        try:
            document = read_yaml(path)
            return parse(model, document), document
        except UserErrors as several:
            errors.extend(several.errors)
        except UserError as error:
            errors.append(error)
        return None, None

    documents: dict[str, Document] = {}
    datasets: dict[str, Dataset] = {}
    for path in sorted((folder / "datasets").glob("*.yaml")):
        dataset, document = read(Dataset, path)
        if dataset is not None and document is not None:
            errors += _check_id(dataset.id, path, document) or check_dataset(dataset, document)
            datasets[path.stem] = dataset
            documents[f"datasets/{path.stem}"] = document
    registry.set_readers({name: found.reader or name for name, found in datasets.items()})
    papers: dict[str, Paper] = {}
    for path in sorted((folder / "papers").glob("*.yaml")):
        paper, document = read(Paper, path)
        if paper is not None and document is not None:
            errors += _check_id(paper.id, path, document)
            papers[path.stem], documents[path.stem] = paper, document
    studies: dict[str, Study] = {}
    for path in sorted((folder / "studies").glob("*.yaml")):
        study, document = read(Study, path)
        if study is not None and document is not None:
            errors += _check_id(study.id, path, document)
            studies[path.stem], documents[path.stem] = study, document
    tiers, tiers_document = read(Tiers, folder / "tiers.yaml")
    published: dict[str, Published] = {}
    if (folder / "weights.yaml").exists():
        weights, _ = read(Weights, folder / "weights.yaml")
        published = weights.weights if weights is not None else {}
    whole = not errors  # what refers to something broken would only add noise
    config, settings = None, None
    try:
        settings = read_config(root, overrides)
        config = parse(Config, settings)
    except UserErrors as several:
        errors.extend(several.errors)
    except UserError as error:
        errors.append(error)
    for name, paper in papers.items() if whole else ():
        errors += check_paper(paper, documents[name], datasets, published)
    if tiers is not None and whole:
        errors += check_tiers(tiers, tiers_document, datasets, papers, published)
    if whole:
        errors += check_sources(datasets, studies, documents)
    for name, study in studies.items() if whole else ():
        found = check_study(study, documents[name], datasets, papers, published)
        errors += found
        if not found:
            papers[name] = study.paper()
    if tiers is not None and not errors:
        tiers = tiers.resolved()
    if tiers is not None and studies:
        own = {OWN: tier_of(list(studies.values()))}
        tiers = tiers.model_copy(update={"tiers": {**tiers.tiers, **own}})
    if config is not None and settings is not None and tiers is not None and whole:
        errors += check_config(settings, config, tiers, papers, studies)
    if errors or config is None:
        raise UserErrors(errors)
    return Project(root, config, tiers, datasets, papers, published, frozenset(studies))


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
