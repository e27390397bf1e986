"""Whether configuration files fit together and name what exists. Every problem has its line."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from counterpoise import registry
from counterpoise.errors import UserError, nearest
from counterpoise.spec.cell import Component, ImageNet, Pretrained, Protocol, Variation
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.load import Document, Path_, validation_errors
from counterpoise.spec.paper import (
    ALL_TASKS,
    DELTA_M,
    SINGLE_TASK,
    SPREADS,
    CompareTest,
    Experiment,
    ExplainedFigure,
    LinesFigure,
    LocalisationFigure,
    Paper,
    Quantity,
    Run,
    RunsFigure,
    Table,
    parse_printed,
    references,
)
from counterpoise.spec.study import EXPERIMENT, OWN, Study
from counterpoise.spec.tier import Change, Config, Reduction, Tiers
from counterpoise.tasks import Task
from counterpoise.together import TOGETHER


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
    keys = {"methods": "method", "networks": "name", "datasets": "dataset", "generators": "name"}
    key = keys[kind]
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


def check_dataset(dataset: Dataset, document: Document) -> list[UserError]:
    """Problems of a dataset: its module, its options and those of its sources."""
    try:
        model = registry.find("datasets", dataset.reader or dataset.id).Options
    except UserError as error:
        key = "id" if dataset.reader is None else "reader"
        return [UserError(error.what, where=document.where((key,)), remedy=error.remedy)]
    errors = check_options(model, dataset.options, document, ("options",))
    for name, source in dataset.sources.items():
        merged = {**dataset.options, **source.options}
        errors += check_options(model, merged, document, ("sources", name, "options"))
        if (maker := source.generator) is not None:
            at = ("sources", name, "generator")
            errors += _entry("generators", maker.name, maker.options, document, at)
    return errors


def check_paper(
    paper: Paper,
    document: Document,
    datasets: dict[str, Dataset],
    weights: Container[str] = (),
) -> list[UserError]:
    """Problems of what a paper file refers to: catalogue, runs, tables, published weights."""
    errors: list[UserError] = []
    paper = _with_datasets(paper, datasets)

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
        wrong = _entry("datasets", experiment.dataset, experiment.dataset_options, document, at)
        if wrong:  # its tasks follow from them
            errors += wrong
            continue
        network = experiment.network
        own = _entry("networks", network.name, network.options, document, (*at, "network"))
        errors += own
        errors += _check_views(experiment, document, at)
        wrong_tasks = _check_tasks(experiment, document, at)
        errors += wrong_tasks
        if wrong_tasks:
            continue
        if not own:
            errors += _check_starts(experiment, document, at, datasets, weights)
        for run_name, run in experiment.runs.items():
            run_at = (*at, "runs", run_name)
            unknown = _entry("methods", run.method, run.options, document, run_at)
            errors += unknown or _misfits(experiment, run, document, (*run_at, "options"))
            if run.weighting is not None and not unknown:
                errors += _check_weighting(experiment, run, document, (*run_at, "weighting"))
            if run.search is not None and not unknown:
                errors += _check_search(experiment, run, document, (*run_at, "search", "grid"))
    if not errors:
        errors += _check_explanations(paper, document, missing)
    if errors:
        return errors
    for t, table in enumerate(paper.tables):
        for r, row in enumerate(table.rows):
            for c, column in enumerate(table.columns):
                quantity = table.quantity(row, column)
                if quantity.explanation is not None:
                    errors += _check_maps(paper, quantity, document, ("tables", t, "rows", r))
                    continue
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
    known_runs = {run for experiment in paper.experiments.values() for run in experiment.runs}
    if paper.own is not None and paper.own not in known_runs:
        missing("run", paper.own, known_runs, ("own",))
    for t, table in enumerate(paper.tables):
        if (family := table.family) is not None:
            for name in (family.own, *(family.others or ())):
                if name not in known_runs:
                    missing("run", name, known_runs, ("tables", t, "family"))
    claims = {claim.id: claim for claim in paper.claims}
    for c, claim in enumerate(paper.claims):
        if claim.part_of is not None and (claim.part_of == claim.id or claim.part_of not in claims):
            missing("claim", claim.part_of, claims, ("claims", c, "part_of"))
    tables = {table.id: table for table in paper.tables}
    for k, ranked in enumerate(paper.rankings):
        for ref in ranked.over:
            table_id, column_id = ref.split("/")
            at = ("rankings", k, "over")
            if table_id not in tables:
                missing("table", table_id, tables, at)
            elif column_id not in (ids := [c.id for c in tables[table_id].columns]):
                missing(f"column of {table_id}", column_id, ids, at)
    tests: list[tuple[Path_, Any]] = [
        *((("claims", c, "test"), claim.test) for c, claim in enumerate(paper.claims)),
        *((("figures", f, "test"), figure.test) for f, figure in enumerate(paper.figures)),
    ]
    for at, test in tests:
        for ref in references(test):
            table_id, row_id, column_id = ref.split("/")
            if table_id not in tables:
                missing("table", table_id, tables, at)
                continue
            found = tables[table_id]
            if row_id not in (ids := [row.id for row in found.rows]):
                missing(f"row of {table_id}", row_id, ids, at)
            if column_id not in (ids := [column.id for column in found.columns]):
                missing(f"column of {table_id}", column_id, ids, at)
        if not errors:
            errors += _check_margins(paper, test, document, at)
    for f, figure in enumerate(paper.figures):
        content, at = figure.content, ("figures", f, "content")
        lines: list[tuple[str, str]] = []
        if isinstance(content, RunsFigure):
            lines = [(content.experiment, run) for run in content.runs]
        elif isinstance(content, LinesFigure):
            lines = [(line.experiment, line.run) for line in content.lines]
        for experiment_id, run_id in lines:
            chosen = paper.experiments.get(experiment_id)
            if chosen is None:
                missing("experiment", experiment_id, paper.experiments, at)
            elif run_id not in chosen.runs:
                missing("run", run_id, chosen.runs, at)
        if isinstance(content, RunsFigure | LinesFigure):
            continue
        if content.kind == "bars" and content.table not in tables:
            missing("table", content.table, tables, at)
        elif content.kind == "bars" and not _has_numbers(tables[content.table]):
            errors.append(
                UserError(
                    f"table {content.table!r} has neither printed numbers nor runs to draw as bars",
                    where=document.where(at),
                    remedy="fill in its numbers, name its runs, or take the figure out",
                )
            )
    return _unique(errors)


def _has_numbers(table: Table) -> bool:
    """Whether a cell of the table has a printed number, or may get one of ours."""
    quantities = [table.quantity(row, column) for row in table.rows for column in table.columns]
    return any(parse_printed(text) for row in table.rows for text in row.printed) or any(
        (quantity.run or quantity.explanation) and not quantity.unavailable
        for quantity in quantities
    )


def _check_margins(paper: Paper, test: Any, document: Document, at: Path_) -> list[UserError]:
    """Sides whose difference must be small, where nothing says how small."""
    if not isinstance(test, CompareTest):
        return []
    tables = {table.id: table for table in paper.tables}
    errors = []
    for number, comparison in enumerate(test.comparisons):
        if comparison.expect not in ("similar", "not_worse"):
            continue
        name, row_id, column_id = comparison.left.split("/")
        table = tables[name]
        row = next(row for row in table.rows if row.id == row_id)
        place, column = next(
            (n, column) for n, column in enumerate(table.columns) if column.id == column_id
        )
        printed = parse_printed(row.printed[place])
        if printed is None and table.quantity(row, column).margin is None:
            errors.append(
                UserError(
                    f"{comparison.left} is to be {comparison.expect.replace('_', ' ')}, but has "
                    "neither a printed number nor a margin",
                    where=document.where((*at, "comparisons", number)),
                    remedy="give its table, row or column a `margin`",
                )
            )
    return errors


def _with_datasets(paper: Paper, datasets: dict[str, Dataset]) -> Paper:
    """The paper with the options of its experiments' datasets under their own."""
    experiments = {
        name: experiment.model_copy(
            update={
                "dataset_options": {
                    **datasets[experiment.dataset].options,
                    **experiment.dataset_options,
                }
            }
        )
        for name, experiment in paper.experiments.items()
        if experiment.dataset in datasets
    }
    return paper.model_copy(update={"experiments": {**paper.experiments, **experiments}})


def _check_starts(
    experiment: Experiment,
    document: Document,
    at: Path_,
    datasets: dict[str, Dataset],
    weights: Container[str],
) -> list[UserError]:
    """Problems of where an experiment's networks start and of what is frozen."""
    errors: list[UserError] = []
    places: list[tuple[Path_, Variation | Protocol]] = [((*at, "protocol"), experiment.protocol)]
    places += [((*at, "runs", n, "protocol"), run.protocol) for n, run in experiment.runs.items()]
    for place, given in places:
        for stage, problem, remedy in _not_stages(experiment.network, given.frozen or ()):
            index = (given.frozen or ()).index(stage)
            where = document.where((*place, "frozen", index))
            errors.append(UserError(problem, where=where, remedy=remedy))
        here = (*place, "initial")
        if isinstance(given.initial, ImageNet):
            problem = _no_weights(experiment.network, weights)
            if problem:
                errors.append(UserError(problem, where=document.where(here)))
        if isinstance(given.initial, Pretrained):
            errors += _check_pretrained(given.initial, experiment.dataset, document, here, datasets)
    return errors


def _not_stages(network: Component, frozen: Sequence[str]) -> list[tuple[str, str, str]]:
    """Names that are no stages of a network: name, problem and remedy."""
    module = registry.find("networks", network.name)
    stages = module.stages(module.Options(**network.options))
    return [
        (name, f"network {network.name!r} has no stage {name!r}", nearest(name, stages))
        for name in frozen
        if name not in stages
    ]


def _no_weights(network: Component, weights: Container[str]) -> str:
    """Why a network cannot start from ImageNet; empty if it can."""
    module = registry.find("networks", network.name)
    if not hasattr(module, "published"):
        return f"network {network.name!r} has no weights from ImageNet"
    name = module.published(module.Options(**network.options))
    return "" if name in weights else f"config/weights.yaml has no weights {name!r}"


def _check_pretrained(
    initial: Pretrained,
    dataset: str,
    document: Document,
    at: Path_,
    datasets: dict[str, Dataset],
) -> list[UserError]:
    chosen = initial.dataset or dataset
    if chosen not in datasets:
        where = document.where((*at, "dataset"))
        what = f"unknown dataset {chosen!r}"
        return [UserError(what, where=where, remedy=nearest(chosen, datasets))]
    sources = datasets[chosen].sources
    if initial.source is not None and initial.source not in sources:
        where = document.where((*at, "source"))
        what = f"{chosen} has no source {initial.source!r}"
        return [UserError(what, where=where, remedy=nearest(initial.source, sources))]
    model = registry.find("datasets", chosen).Options
    return check_options(model, initial.dataset_options, document, (*at, "dataset_options"))


def _check_explanations(
    paper: Paper, document: Document, missing: Callable[[str, str, Any, Path_], None]
) -> list[UserError]:
    """Problems of explanations: their run and tasks; and of figures that show them."""
    errors: list[UserError] = []
    for name, spec in paper.explanations.items():
        at: Path_ = ("explanations", name)
        experiment = paper.experiments.get(spec.experiment)
        if experiment is None:
            missing("experiment", spec.experiment, paper.experiments, (*at, "experiment"))
        elif spec.run not in experiment.runs:
            missing("run", spec.run, experiment.runs, (*at, "run"))
        elif experiment.runs[spec.run].method == SINGLE_TASK:
            errors.append(
                UserError(
                    "single-task networks are many; an explanation is of one",
                    where=document.where((*at, "run")),
                    remedy="name a run whose network has all tasks",
                )
            )
        else:
            known = [task.name for task in _tasks(experiment)]
            for task in set(spec.tasks) - set(known):
                missing("task", task, known, (*at, "tasks"))
    for f, figure in enumerate(paper.figures):
        content, at = figure.content, ("figures", f, "content")
        named: tuple[str, ...]
        shown: str | None = None
        if isinstance(content, LocalisationFigure):
            named = content.explanations
        elif isinstance(content, ExplainedFigure):
            named, shown = (content.explanation,), content.task
        else:
            continue
        unknown = [name for name in named if name not in paper.explanations]
        for name in unknown:
            missing("explanation", name, paper.explanations, at)
        if shown is not None and not unknown:
            kept = paper.explanations[named[0]].tasks
            if shown not in kept:
                missing("task", shown, kept, at)
    return errors


def check_study(
    study: Study,
    document: Document,
    datasets: dict[str, Dataset],
    papers: dict[str, Paper],
    weights: Container[str] = (),
) -> list[UserError]:
    """Problems of what a study refers to: dataset, source, network, methods."""
    choices = [("dataset", study.dataset, list(datasets))]
    if study.dataset in datasets:
        choices.append(("source", study.source, list(datasets[study.dataset].sources)))
    errors = [
        UserError(
            f"unknown {kind} {name!r}",
            where=document.where((kind,)),
            remedy=nearest(name, known) if known else "define it first",
        )
        for kind, name, known in choices
        if name not in known
    ]
    if study.id in papers:
        what = f"there is a paper {study.id!r}"
        errors.append(UserError(what, where=document.where(("id",)), remedy="choose another id"))
    if errors:
        return errors
    try:
        paper = study.paper()
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        what = f"does not make a comparison ({told})"
        return [UserError(what, where=document.path, remedy="change that name or label")]
    # Where the paper that it is read as has its parts, for the lines of messages.
    start: Path_ = ("experiments", EXPERIMENT)
    moved = {(): 1, start[:1]: 1, start: 1}
    for at, line in document.lines.items():
        key = ("runs", *at[1:]) if at[:1] == ("methods",) else at
        moved[(*start, *key)] = line
    dataset = datasets[study.dataset]
    options = {**dataset.options, **dataset.sources[study.source].options}
    seen = {**datasets, study.dataset: dataset.model_copy(update={"options": options})}
    return check_paper(paper, Document(document.path, document.data, moved), seen, weights)


def check_sources(
    datasets: dict[str, Dataset], studies: dict[str, Study], documents: dict[str, Document]
) -> list[UserError]:
    """One name for two things: sources of several datasets, and of studies of one dataset.

    Args:
        documents: of the datasets, ``datasets/NAME``, and of the studies.
    """
    errors: list[UserError] = []
    first: dict[str, tuple[str, Any]] = {}
    for name, dataset in datasets.items():
        for source_name, source in dataset.sources.items():
            files = (source.files, source.needs, source.generator)
            other, known = first.setdefault(source_name, (name, files))
            if files != known:
                errors.append(
                    UserError(
                        f"{other} has another source of the name {source_name!r}",
                        where=documents[f"datasets/{name}"].where(("sources", source_name)),
                        remedy="choose another name; `counterpoise download` knows it by its name",
                    )
                )
    chosen: dict[str, Study] = {}
    for name, study in studies.items():
        before = chosen.setdefault(study.dataset, study)
        if study.source != before.source:
            errors.append(
                UserError(
                    f"study {before.id!r} compares on {study.dataset} from {before.source!r}, and "
                    "all studies of a dataset must take one source",
                    where=documents[name].where(("source",)),
                    remedy=f"write `source: {before.source}`, or give the other source a dataset "
                    "of its own in config/datasets",
                )
            )
    return errors


def _tasks(experiment: Experiment) -> tuple[Task, ...]:
    module = registry.find("datasets", experiment.dataset)
    tasks: tuple[Task, ...] = module.tasks(module.Options(**experiment.dataset_options))
    return tuple(t for t in tasks if experiment.tasks is None or t.name in experiment.tasks)


def _check_views(experiment: Experiment, document: Document, at: Path_) -> list[UserError]:
    """Runs to draw that the experiment does not have."""
    return [
        UserError(
            f"unknown run {name!r}",
            where=document.where((*at, "views", n)),
            remedy=nearest(name, experiment.runs),
        )
        for n, name in enumerate(experiment.views or ())
        if name not in experiment.runs
    ]


def _check_tasks(experiment: Experiment, document: Document, at: Path_) -> list[UserError]:
    """Tasks that the dataset does not have."""
    known = [task.name for task in _tasks(experiment.model_copy(update={"tasks": None}))]
    return [
        UserError(
            f"unknown task {name!r}",
            where=document.where((*at, "tasks", n)),
            remedy=nearest(name, known),
        )
        for n, name in enumerate(experiment.tasks or ())
        if name not in known
    ]


def _check_weighting(
    experiment: Experiment, run: Run, document: Document, at: Path_
) -> list[UserError]:
    """Problems of weights that losses have before a run's method sees them."""
    assert run.weighting is not None
    name, options = run.weighting.name, run.weighting.options
    unknown = _entry("methods", name, options, document, at)
    if unknown:
        return unknown
    kind = registry.method(name)
    given = kind.Options(**options)
    why = ""
    if name == SINGLE_TASK or kind.signal != "losses":
        why = f"{name!r} gives no weights that follow from losses alone"
    elif kind.trained or kind.looks_back:
        why = f"{name!r} trains its weights or looks at losses again, which only a run's method may"
    elif kind.needs_single_task(given):
        why = "its options wait for single-task networks, which only a run's method may"
    elif run.method == SINGLE_TASK or registry.method(run.method).second_order:
        why = f"{run.method!r} cannot be given weighted losses"
    problems = [why] if why else kind.problems(given, _tasks(experiment))
    return [UserError(problem, where=document.where(at)) for problem in problems]


def _check_search(
    experiment: Experiment, run: Run, document: Document, at: Path_
) -> list[UserError]:
    """Problems of a grid: each option must be the method's, each point must be valid for it."""
    assert run.search is not None
    if run.method == SINGLE_TASK:
        return [UserError("single_task has nothing to search", where=document.where(at))]
    method = registry.method(run.method)
    for name in run.search.grid:
        option = name.partition(".")[0]
        if option not in (known := method.Options.model_fields):
            what = f"method {run.method!r} has no option {option!r}"
            remedy = nearest(option, known) if known else "it has no options at all"
            return [UserError(what, where=document.where((*at, name)), remedy=remedy)]
    for options in run.search.points(run.options):
        try:
            chosen = method.Options(**options)
        except ValidationError as error:
            return [
                UserError(
                    f"a point of the grid is not valid: {'.'.join(map(str, first['loc']))}: "
                    f"{first['msg']}",
                    where=document.where(at),
                    remedy="mend that value",
                )
                for first in error.errors()[:1]
            ]
        if problems := method.problems(chosen, _tasks(experiment)):
            return [UserError(problems[0], where=document.where(at))]
    return []


def _misfits(experiment: Experiment, run: Run, document: Document, at: Path_) -> list[UserError]:
    """Options of a method that do not fit the experiment's tasks."""
    if run.method == SINGLE_TASK:
        return []
    method = registry.method(run.method)
    problems = method.problems(method.Options(**run.options), _tasks(experiment))
    return [UserError(problem, where=document.where(at)) for problem in problems]


def _unique(errors: list[UserError]) -> list[UserError]:
    return list({str(error): error for error in errors}.values())


def _check_quantity(
    experiment: Experiment,
    quantity: Quantity,
    document: Document,
    place: Callable[[str], Path_],
    baseline: str | None,
) -> list[UserError]:
    tasks = {task.name: task for task in _tasks(experiment)}

    def wrong(key: str, what: str, remedy: str) -> list[UserError]:
        return [UserError(what, where=document.where(place(key)), remedy=remedy)]

    if quantity.metric == DELTA_M and quantity.predictor is not None:
        return wrong(
            "predictor", "delta_m is of a network, not of another predictor", "leave it out"
        )
    if quantity.metric == DELTA_M:
        if baseline in experiment.runs:
            return []
        what = f"delta_m needs a `baseline` run of the experiment, not {baseline!r}"
        return wrong("baseline", what, f"write `baseline: {SINGLE_TASK}`")
    given = [key for key in ("metric", "history", "cost") if getattr(quantity, key) is not None]
    if len(given) > 1:
        return wrong(given[1], f"{' and '.join(given)} of one number", "give one of them")
    if quantity.cost is not None:
        return []
    if quantity.history in SPREADS and quantity.task != ALL_TASKS:
        what = f"{quantity.history} is of all tasks, not of {quantity.task!r}"
        return wrong("history", what, f"write `task: {ALL_TASKS}`")
    chosen = tasks if quantity.task == ALL_TASKS else {str(quantity.task)}
    for task in chosen:
        if task not in tasks:
            return wrong("task", f"unknown task {task!r}", nearest(task, [*tasks, ALL_TASKS]))
        if quantity.history is not None:
            continue
        metrics = tasks[task].metrics
        binary = [t for t in tasks.values() if t.classes == 2 and t.outputs == 1]
        if quantity.task == ALL_TASKS and len(binary) > 1 and quantity.metric in TOGETHER:
            continue
        if quantity.metric not in metrics:
            name = str(quantity.metric)
            what = f"task {task!r} has no metric {name!r}"
            return wrong("metric", what, nearest(name, metrics))
    return []


def _check_maps(paper: Paper, quantity: Quantity, document: Document, at: Path_) -> list[UserError]:
    """Problems of a quantity that is of an explanation's maps."""
    where = document.where(at)
    spec = paper.explanations.get(str(quantity.explanation))
    if spec is None:
        name = str(quantity.explanation)
        what, remedy = f"unknown explanation {name!r}", nearest(name, paper.explanations)
        return [UserError(what, where=where, remedy=remedy)]
    if quantity.localisation is None:
        what = "maps without `localisation`"
        return [UserError(what, where=where, remedy="write `localisation: pointing`, say")]
    if quantity.maps not in (known := spec.maps):
        what = f"explanation {quantity.explanation!r} has no maps {quantity.maps!r}"
        return [UserError(what, where=where, remedy=nearest(str(quantity.maps), known))]
    tasks = [task.name for task in _tasks(paper.experiments[spec.experiment])]
    if quantity.task not in (None, ALL_TASKS, *tasks):
        what = f"unknown task {quantity.task!r}"
        return [UserError(what, where=where, remedy=nearest(str(quantity.task), tasks))]
    return []


def check_tiers(
    tiers: Tiers,
    document: Document | None,
    datasets: dict[str, Dataset],
    papers: dict[str, Paper],
    weights: Container[str] = (),
) -> list[UserError]:
    """Problems of what the tiers refer to: datasets, sources, experiments, runs."""
    assert document is not None
    errors: list[UserError] = []
    if OWN in tiers.tiers:
        errors.append(
            UserError(
                f"tier {OWN!r} is that of comparisons on data of one's own",
                where=document.where(("tiers", OWN)),
                remedy="choose another name",
            )
        )
    whole = [name for name, tier in tiers.tiers.items() if tier.like is None]
    for name, tier in tiers.tiers.items():
        if tier.like is not None and tier.like not in whole:
            errors.append(
                UserError(
                    f"no tier {tier.like!r} with datasets of its own",
                    where=document.where(("tiers", name, "like")),
                    remedy=nearest(tier.like, whole) if whole else "give it `datasets`",
                )
            )
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
                continue
            wrong = _check_change(reduction, dataset_id, document, at, datasets)
            wrong = wrong or _check_merged(reduction, datasets[dataset_id], papers, document, at)
            errors += wrong or _check_replaced(reduction, dataset_id, papers, weights, document, at)
            named: list[tuple[Path_, str, Change | None]] = [
                *((("experiments", k), k, v) for k, v in reduction.experiments.items()),
                *((("without", n), k, None) for n, k in enumerate(reduction.without)),
            ]
            for place, key, change in named:
                here = (*at, *place)
                paper_id, _, rest = key.partition("/")
                experiment_id, _, run_id = rest.partition("/")
                chosen = papers[paper_id].experiments if paper_id in papers else {}
                fitting = chosen.get(experiment_id)
                absent = fitting is None or fitting.dataset != dataset_id
                if absent or (run_id and fitting is not None and run_id not in fitting.runs):
                    errors.append(
                        UserError(
                            f"no experiment {key!r} uses {dataset_id}",
                            where=document.where(here),
                            remedy="write paper/experiment as in config/papers",
                        )
                    )
                if change is not None:
                    errors += _check_change(change, dataset_id, document, here, datasets)
        for r, run in enumerate(tier.runs or ()):
            paper_id, _, rest = run.partition("/")
            experiment_id, _, run_id = rest.partition("/")
            paper = papers.get(paper_id)
            experiment = paper.experiments.get(experiment_id) if paper else None
            if experiment is None or (run_id and run_id not in experiment.runs):
                errors.append(
                    UserError(
                        f"there is no experiment or run {run!r}",
                        where=document.where(("tiers", name, "runs", r)),
                        remedy="write paper/experiment or paper/experiment/run as in config/papers",
                    )
                )
    return errors


def _check_merged(
    reduction: Reduction, dataset: Dataset, papers: dict[str, Paper], document: Document, at: Path_
) -> list[UserError]:
    """Options of data that only do not fit together: dataset's, source's, experiment's, tier's."""
    errors: list[UserError] = []
    model = registry.find("datasets", dataset.id).Options
    under = {**dataset.options, **dataset.sources[reduction.source].options}
    for paper in papers.values():
        for name, experiment in paper.experiments.items():
            key = f"{paper.id}/{name}"
            if experiment.dataset != dataset.id or key in reduction.without:
                continue
            published = {**dataset.options, **experiment.dataset_options}
            if check_options(model, published, document, at):
                continue  # reported where the paper gives them
            own = reduction.of(key).dataset_options
            options = {**under, **experiment.dataset_options, **own}
            here = (*at, *(("experiments", key) if key in reduction.experiments else ()))
            found = check_options(model, options, document, (*here, "dataset_options"))
            errors += [
                UserError(f"{key}: {one.what}", where=one.where, remedy=one.remedy) for one in found
            ]
    return _unique(errors)


def _check_replaced(
    reduction: Reduction,
    dataset: str,
    papers: dict[str, Paper],
    weights: Container[str],
    document: Document,
    at: Path_,
) -> list[UserError]:
    """Whether a network in place of the published one has its stages, and weights if they ask."""
    errors = []
    for paper in papers.values():
        for name, experiment in paper.experiments.items():
            key = f"{paper.id}/{name}"
            own = reduction.of(key)
            if experiment.dataset != dataset or own.network is None or key in reduction.without:
                continue
            given = reduction.experiments.get(key)
            has = given is not None and given.network is not None
            where = document.where((*at, *(("experiments", key) if has else ()), "network"))
            for run_id, run in experiment.runs.items():
                if f"{key}/{run_id}" in reduction.without:
                    continue
                protocol = run.protocol.of(experiment.protocol)
                try:
                    problems = _not_stages(own.network, protocol.frozen)
                    starts = protocol.initial.kind == "imagenet" and not own.instead_of_imagenet
                    lacking = _no_weights(own.network, weights) if starts else ""
                except (UserError, ValidationError):
                    continue  # reported where the network is given
                told = [problem for _, problem, _ in problems] + [lacking] * bool(lacking)
                errors += [UserError(f"{key}/{run_id}: {what}", where=where) for what in told]
    return _unique(errors)


def _check_change(
    change: Change, dataset: str, document: Document, at: Path_, datasets: dict[str, Dataset]
) -> list[UserError]:
    model = registry.find("datasets", dataset).Options
    errors = check_options(model, change.dataset_options, document, (*at, "dataset_options"))
    if (network := change.network) is not None:
        where = (*at, "network")
        errors += _entry("networks", network.name, network.options, document, where)
    if (instead := change.instead_of_imagenet) is not None:
        here = (*at, "instead_of_imagenet")
        errors += _check_pretrained(instead, dataset, document, here, datasets)
    return errors


def check_config(
    document: Document,
    config: Config,
    tiers: Tiers,
    papers: dict[str, Paper],
    studies: Container[str] = (),
) -> list[UserError]:
    """Problems of what the settings refer to: tier, papers, methods."""
    chosen: list[tuple[str, str, list[str]]] = [("tier", config.tier, list(tiers.tiers))]
    if config.papers != "all":
        chosen += [("paper", paper, list(papers)) for paper in config.papers]
    if config.methods != "all":
        known = [SINGLE_TASK, *registry.names("methods")]
        chosen += [("method", method, known) for method in config.methods]
    errors = [
        UserError(
            f"unknown {kind} {name!r}",
            where=document.where((kind if kind == "tier" else f"{kind}s",)),
            remedy=nearest(name, choices),
        )
        for kind, name, choices in chosen
        if name not in choices
    ]
    return errors or _check_kind(document, config, studies)


def _check_kind(document: Document, config: Config, studies: Container[str]) -> list[UserError]:
    """Papers of a tier that has studies only, and studies of another: nothing would be run."""
    own = config.tier == OWN
    kind, remedy = (
        ("a paper", "name another tier, or leave `papers` out to compare on all data of your own")
        if own
        else (
            "a comparison on data of your own",
            f"write `tier={OWN}`, as `counterpoise compare` does",
        )
    )
    return [
        UserError(
            f"{name!r} is {kind}, which tier {config.tier!r} does not run",
            where=document.where(("papers",)),
            remedy=remedy,
        )
        for name in (config.papers if config.papers != "all" else ())
        if (name in studies) is not own
    ]
