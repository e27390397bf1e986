"""All configuration of a checkout, read and checked against the catalogue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from counterpoise import registry
from counterpoise.errors import UserError, UserErrors, nearest
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.load import Document, Path_, parse, read_yaml, validation_errors
from counterpoise.spec.paper import (
    ChangeTest,
    CompareTest,
    DecisionFigure,
    Experiment,
    HistoryFigure,
    LimitTest,
    Paper,
    Quantity,
    TrajectoriesFigure,
    TrendTest,
)
from counterpoise.spec.tier import Config, Tiers

SINGLE_TASK = "single_task"
"""Not a method but a plan: one network per task, each trained alone."""

DELTA_M = "delta_m"


@dataclass(frozen=True)
class Project:
    """The configuration of one checkout."""

    root: Path
    config: Config
    tiers: Tiers
    datasets: dict[str, Dataset]
    papers: dict[str, Paper]


_LISTS = ("papers", "methods")


def _words(value: Any) -> Any:
    """A command line's ``a`` or ``a,b`` as a list."""
    return value.split(",") if isinstance(value, str) and value != "all" else value


def read_config(root: Path, overrides: dict[str, Any] | None = None) -> Document:
    """``config/config.yaml`` with the overrides of a command line put in."""
    document = read_yaml(root / "config" / "config.yaml")
    if not isinstance(document.data, dict):
        raise UserError("must be a list of `key: value`", where=document.path)
    for key, value in (overrides or {}).items():
        if document.data.get(key, Config.model_fields) != value:
            document.data[key] = _words(value) if key in _LISTS else value
            document.lines[(key,)] = 0
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

    datasets: dict[str, Dataset] = {}
    for path in sorted((folder / "datasets").glob("*.yaml")):
        dataset, document = read(Dataset, path)
        if dataset is not None and document is not None:
            errors += _check_id(dataset.id, path, document) or _check_dataset(dataset, document)
            datasets[path.stem] = dataset
    papers: dict[str, Paper] = {}
    documents: dict[str, Document] = {}
    for path in sorted((folder / "papers").glob("*.yaml")):
        paper, document = read(Paper, path)
        if paper is not None and document is not None:
            errors += _check_id(paper.id, path, document)
            papers[path.stem], documents[path.stem] = paper, document
    tiers, tiers_document = read(Tiers, folder / "tiers.yaml")
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
        errors += check_paper(paper, documents[name], datasets)
    if tiers is not None and whole:
        errors += _check_tiers(tiers, tiers_document, datasets, papers)
    if config is not None and settings is not None and tiers is not None and whole:
        errors += _check_config(settings, config, tiers, papers)
    if errors or config is None:
        raise UserErrors(errors)
    return Project(root, config, tiers, datasets, papers)


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


def check_options(
    model: type[BaseModel], options: dict[str, Any], document: Document, at: Path_
) -> list[UserError]:
    """Problems of the options of a method, network or dataset."""
    try:
        model.model_validate(options)
    except ValidationError as error:
        return validation_errors(error, model, document, at)
    return []


def _entry(
    kind: registry.Kind, name: str, options: dict[str, Any], document: Document, at: Path_
) -> list[UserError]:
    """Problems of a reference to the catalogue, and of the options given with it."""
    key = {"methods": "method", "networks": "name", "datasets": "dataset"}[kind]
    try:
        if kind == "methods" and name == SINGLE_TASK:
            name = "uniform"
        model = (
            registry.method(name).Options
            if kind == "methods"
            else registry.find(kind, name).Options
        )
    except UserError as error:
        return [UserError(error.what, where=document.where((*at, key)), remedy=error.remedy)]
    if kind == "methods":
        lacking = [a for a in ("label", "signal") if not hasattr(registry.method(name), a)]
        if lacking:
            return [
                UserError(
                    f"method {name!r} has no `{'` and no `'.join(lacking)}`",
                    where=str(registry.find(kind, name).__file__),
                    remedy="set them in the class, as methods/gradnorm.py does",
                )
            ]
    last = "dataset_options" if kind == "datasets" else "options"
    return check_options(model, options, document, (*at, last))


def _check_dataset(dataset: Dataset, document: Document) -> list[UserError]:
    try:
        model = registry.find("datasets", dataset.id).Options
    except UserError as error:
        return [UserError(error.what, where=document.where(("id",)), remedy=error.remedy)]
    errors = check_options(model, dataset.options, document, ("options",))
    for name, source in dataset.sources.items():
        merged = {**dataset.options, **source.options}
        errors += check_options(model, merged, document, ("sources", name, "options"))
    return errors


def check_paper(paper: Paper, document: Document, datasets: dict[str, Dataset]) -> list[UserError]:
    """Problems of what a paper file refers to: catalogue, runs, tables."""
    errors: list[UserError] = []

    def missing(what: str, name: str, choices: Any, at: Path_) -> None:
        errors.append(
            UserError(f"unknown {what} {name!r}", where=document.where(at),
                      remedy=nearest(name, choices) if choices else "define it first")
        )  # fmt: skip

    for name, experiment in paper.experiments.items():
        at: Path_ = ("experiments", name)
        if experiment.dataset not in datasets:
            missing("dataset", experiment.dataset, datasets, (*at, "dataset"))
            continue
        errors += _entry("datasets", experiment.dataset, experiment.dataset_options, document, at)
        network = experiment.network
        errors += _entry("networks", network.name, network.options, document, (*at, "network"))
        for run_name, run in experiment.runs.items():
            errors += _entry("methods", run.method, run.options, document, (*at, "runs", run_name))
    if errors:
        return errors
    for t, table in enumerate(paper.tables):
        for r, row in enumerate(table.rows):
            for c, column in enumerate(table.columns):
                quantity = table.quantity(row, column)
                if quantity.unavailable or not (quantity.experiment and quantity.run):
                    continue
                givers: list[tuple[Any, Path_]] = [
                    (column, ("columns", c)), (row, ("rows", r)), (table, ())
                ]  # fmt: skip

                def place(key: str, givers: Any = givers, t: int = t) -> Path_:
                    """Where the table, row or column that gives a key does so."""
                    found = (at for part, at in givers if getattr(part, key, None) is not None)
                    return ("tables", t, *next(found, ()), key)

                chosen = paper.experiments.get(quantity.experiment)
                if chosen is None:
                    at = place("experiment")
                    missing("experiment", quantity.experiment, paper.experiments, at)
                elif quantity.run not in chosen.runs:
                    missing("run", quantity.run, chosen.runs, place("run"))
                else:
                    errors += _check_quantity(chosen, quantity, document, place, table.baseline)
    tables = {table.id: table for table in paper.tables}
    for c, claim in enumerate(paper.claims):
        for ref in references(claim.test):
            table_id, row_id, column_id = ref.split("/")
            at = ("claims", c, "test")
            if table_id not in tables:
                missing("table", table_id, tables, at)
                continue
            found = tables[table_id]
            if row_id not in (ids := [row.id for row in found.rows]):
                missing(f"row of {table_id}", row_id, ids, at)
            if column_id not in (ids := [column.id for column in found.columns]):
                missing(f"column of {table_id}", column_id, ids, at)
    for f, figure in enumerate(paper.figures):
        content, at = figure.content, ("figures", f, "content")
        if isinstance(content, HistoryFigure | TrajectoriesFigure | DecisionFigure):
            chosen = paper.experiments.get(content.experiment)
            if chosen is None:
                missing("experiment", content.experiment, paper.experiments, at)
                continue
            for run_id in content.runs:
                if run_id not in chosen.runs:
                    missing("run", run_id, chosen.runs, at)
        elif content.kind == "bars" and content.table not in tables:
            missing("table", content.table, tables, at)
    return _unique(errors)


def _unique(errors: list[UserError]) -> list[UserError]:
    return list({str(error): error for error in errors}.values())


def _check_quantity(
    experiment: Experiment,
    quantity: Quantity,
    document: Document,
    place: Callable[[str], Path_],
    baseline: str | None,
) -> list[UserError]:
    module = registry.find("datasets", experiment.dataset)
    tasks = {task.name: task for task in module.tasks(module.Options(**experiment.dataset_options))}

    def wrong(key: str, what: str, remedy: str) -> list[UserError]:
        return [UserError(what, where=document.where(place(key)), remedy=remedy)]

    if quantity.metric == DELTA_M:
        if baseline in experiment.runs:
            return []
        what = f"delta_m needs a `baseline` run of the experiment, not {baseline!r}"
        return wrong("baseline", what, f"write `baseline: {SINGLE_TASK}`")
    if quantity.task not in tasks:
        name = str(quantity.task)
        return wrong("task", f"unknown task {name!r}", nearest(name, tasks))
    metrics = tasks[quantity.task].metrics
    if quantity.metric not in metrics:
        name = str(quantity.metric)
        what = f"task {quantity.task!r} has no metric {name!r}"
        return wrong("metric", what, nearest(name, metrics))
    return []


def references(test: Any) -> list[str]:
    """All table cells that a claim's test reads."""
    if isinstance(test, CompareTest):
        sides = [side for c in test.comparisons for side in (c.left, c.right)]
        return [side for side in sides if isinstance(side, str)]
    if isinstance(test, TrendTest):
        return list(test.along)
    if isinstance(test, ChangeTest):
        return [test.start, test.end]
    if isinstance(test, LimitTest):
        return list(test.trivial)
    return []


def _check_tiers(
    tiers: Tiers, document: Document | None, datasets: dict[str, Dataset], papers: dict[str, Paper]
) -> list[UserError]:
    assert document is not None
    errors: list[UserError] = []
    for name, tier in tiers.tiers.items():
        for dataset_id, reduction in tier.datasets.items():
            at: Path_ = ("tiers", name, "datasets", dataset_id)
            if dataset_id not in datasets:
                errors.append(
                    UserError(
                        f"unknown dataset {dataset_id!r}",
                        where=document.where(at),
                        remedy=nearest(dataset_id, datasets),
                    )
                )
                continue
            sources = datasets[dataset_id].sources
            if reduction.source not in sources:
                errors.append(
                    UserError(
                        f"{dataset_id} has no source {reduction.source!r}",
                        where=document.where((*at, "source")),
                        remedy=nearest(reduction.source, sources),
                    )
                )
            model = registry.find("datasets", dataset_id).Options
            where = (*at, "dataset_options")
            errors += check_options(model, reduction.dataset_options, document, where)
        for r, run in enumerate(tier.runs or ()):
            paper_id, _, rest = run.partition("/")
            experiment_id, _, run_id = rest.partition("/")
            paper = papers.get(paper_id)
            experiment = paper.experiments.get(experiment_id) if paper else None
            if experiment is None or run_id not in experiment.runs:
                errors.append(
                    UserError(
                        f"there is no run {run!r}",
                        where=document.where(("tiers", name, "runs", r)),
                        remedy="write paper/experiment/run as in config/papers",
                    )
                )
    return errors


def _check_config(
    document: Document, config: Config, tiers: Tiers, papers: dict[str, Paper]
) -> list[UserError]:
    chosen: list[tuple[str, str, list[str]]] = [("tier", config.tier, list(tiers.tiers))]
    if config.papers != "all":
        chosen += [("paper", paper, list(papers)) for paper in config.papers]
    if config.methods != "all":
        known = [SINGLE_TASK, *registry.names("methods")]
        chosen += [("method", method, known) for method in config.methods]
    return [
        UserError(
            f"unknown {kind} {name!r}",
            where=document.where((kind if kind == "tier" else f"{kind}s",)),
            remedy=nearest(name, choices),
        )
        for kind, name, choices in chosen
        if name not in choices
    ]
