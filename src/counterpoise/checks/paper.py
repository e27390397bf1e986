"""A paper: what its explanations, tables, claims and figures refer to."""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from counterpoise.checks.catalogue import tasks_of, unique, unknown
from counterpoise.checks.experiment import check_experiment
from counterpoise.errors import UserError, nearest
from counterpoise.spec.claim import ClaimTest, CompareTest, references
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.experiment import Experiment
from counterpoise.spec.figure import (
    ActivationsFigure,
    BarsFigure,
    DecisionFigure,
    Figure,
    FigureContent,
    ReliabilityFigure,
    RocFigure,
    SaliencyFigure,
    TrajectoriesFigure,
)
from counterpoise.spec.load import Document, Path_
from counterpoise.spec.names import ALL_TASKS, DELTA_M, SINGLE_TASK
from counterpoise.spec.paper import SPREADS, Paper, Quantity, Table
from counterpoise.tasks import TOGETHER, Task


def check_paper(
    paper: Paper,
    document: Document,
    datasets: dict[str, Dataset],
    weights: Container[str] = (),
) -> list[UserError]:
    """Problems of what a paper file refers to: catalogue, runs, tables, published weights."""
    errors: list[UserError] = []
    paper = _with_datasets(paper, datasets)
    for name, experiment in paper.experiments.items():
        at = ("experiments", name)
        errors += check_experiment(experiment, document, at, datasets, weights)
    errors = errors or _check_explanations(paper, document)
    if errors:
        return errors
    for t, table in enumerate(paper.tables):
        errors += _check_table(paper, table, document, ("tables", t))
    runs = {run for experiment in paper.experiments.values() for run in experiment.runs}
    if paper.own is not None:
        errors += unknown("unknown run", paper.own, runs, document, ("own",))
    for t, table in enumerate(paper.tables):
        family = table.family
        for name in (family.own, *(family.others or ())) if family is not None else ():
            errors += unknown("unknown run", name, runs, document, ("tables", t, "family"))
    claims = [claim.id for claim in paper.claims]
    for c, claim in enumerate(paper.claims):
        if claim.part_of is not None:
            others = [name for name in claims if name != claim.id]
            at_whole = ("claims", c, "part_of")
            errors += unknown("unknown claim", claim.part_of, others, document, at_whole)
    for k, ranked in enumerate(paper.rankings):
        for ref in ranked.over:
            errors += _check_ref(paper, ref, document, ("rankings", k, "over"))
    tests: list[tuple[Path_, ClaimTest | None]] = [
        *((("claims", c, "test"), claim.test) for c, claim in enumerate(paper.claims)),
        *((("figures", f, "test"), figure.test) for f, figure in enumerate(paper.figures)),
    ]
    for place, test in tests:
        if test is None:
            continue
        for ref in references(test):
            errors += _check_ref(paper, ref, document, place)
        if not errors:
            errors += _check_margins(paper, test, document, place)
    return unique([*errors, *_check_figures(paper, document)])


def _check_named_run(
    paper: Paper, experiment: str, run: str, document: Document, at: Path_, at_run: Path_
) -> list[UserError]:
    """Problems of a run by its experiment and name."""
    known = paper.experiments
    if wrong := unknown("unknown experiment", experiment, known, document, at):
        return wrong
    return unknown("unknown run", run, known[experiment].runs, document, at_run)


def _check_ref(paper: Paper, ref: str, document: Document, at: Path_) -> list[UserError]:
    """Problems of ``table/column`` or ``table/row/column``."""
    name, *rows, column = ref.split("/")
    if wrong := unknown("unknown table", name, [t.id for t in paper.tables], document, at):
        return wrong
    table, errors = paper.table(name), []
    for row in rows:
        ids = [one.id for one in table.rows]
        errors += unknown(f"unknown row of {name}", row, ids, document, at)
    ids = [one.id for one in table.columns]
    return errors + unknown(f"unknown column of {name}", column, ids, document, at)


def _check_table(paper: Paper, table: Table, document: Document, at: Path_) -> list[UserError]:
    """Problems of what the cells of a table measure."""
    errors: list[UserError] = []
    for r, row in enumerate(table.rows):
        for c, column in enumerate(table.columns):
            quantity = table.quantity(row, column)
            if quantity.explanation is not None:
                errors += _check_maps(paper, quantity, document, (*at, "rows", r))
                continue
            if quantity.unavailable or not (quantity.experiment and quantity.run):
                continue
            givers: list[tuple[Any, Path_]] = [
                (column, (*at, "columns", c)), (row, (*at, "rows", r)), (table, at)
            ]  # fmt: skip

            def place(key: str, givers: Any = givers) -> Path_:
                """Where the table, row or column that gives a key does so."""
                found = (here for part, here in givers if getattr(part, key, None) is not None)
                return (*next(found, at), key)

            name, run = quantity.experiment, quantity.run
            places = place("experiment"), place("run")
            wrong = _check_named_run(paper, name, run, document, *places)
            errors += wrong or _check_quantity(
                paper.experiments[name], quantity, document, place, table.baseline
            )
    return errors


def _check_figures(paper: Paper, document: Document) -> list[UserError]:
    """Runs and tables that figures show and the paper does not have."""
    errors: list[UserError] = []
    tables = [table.id for table in paper.tables]
    for f, figure in enumerate(paper.figures):
        at = ("figures", f, "content")
        wrong = [
            error
            for experiment, run in figure.lines
            for error in _check_named_run(paper, experiment, run, document, at, at)
        ]
        errors += wrong or _check_fit(paper, figure, document, at)
        if isinstance(figure.content, ReliabilityFigure) and not wrong:
            alone = [run for name, run in figure.lines if _is_alone(paper, name, run)]
            what = f"figure {figure.id!r} is of one network; single-task networks are many"
            remedy = "name runs whose network has all tasks"
            errors += [UserError(what, where=document.where(at), remedy=remedy)] * bool(alone)
        if isinstance(figure.content, BarsFigure):
            name = figure.content.table
            wrong = unknown("unknown table", name, tables, document, at)
            errors += wrong or _check_bars(paper.table(name), document, at)
    return errors


def _is_alone(paper: Paper, experiment: str, run: str) -> bool:
    return paper.experiments[experiment].runs[run].method == SINGLE_TASK


def _check_fit(paper: Paper, figure: Figure, document: Document, at: Path_) -> list[UserError]:
    """Problems of figures that not every dataset has."""
    return [
        UserError(
            f"figure {figure.id!r} cannot show experiment {name!r}, {lack}",
            where=document.where(at),
            remedy="name another experiment, or remove the figure",
        )
        for name in dict.fromkeys(experiment for experiment, _ in figure.lines)
        if (lack := _lacking(figure.content, paper.experiments[name]))
    ]


def _lacking(content: FigureContent, experiment: Experiment) -> str:
    """What an experiment has not that a figure of it needs; empty if there is nothing."""
    tasks = tasks_of(experiment)
    if isinstance(content, RocFigure):
        return "whose tasks do not all have an AUROC" * any("auroc" not in t.metrics for t in tasks)
    if isinstance(content, ReliabilityFigure):
        return "which does not have several findings" * (sum(map(_is_finding, tasks)) < 2)
    if isinstance(content, TrajectoriesFigure | DecisionFigure):
        names = ("label", "negated") if isinstance(content, DecisionFigure) else ("first", "second")
        if experiment.dataset == "toy" and {task.name for task in tasks} >= set(names):
            return ""
        return f"whose data are not the toy problem with tasks {' and '.join(names)}"
    return ""


def _is_finding(task: Task) -> bool:
    return task.classes == 2 and task.outputs == 1


def _check_bars(table: Table, document: Document, at: Path_) -> list[UserError]:
    """A problem of a table that has no bars: no printed number, and none that may come of ours."""
    quantities = [table.quantity(*cell) for cell in table.cells()]
    printed = any(table.printed(*cell) for cell in table.cells())
    if printed or any((q.run or q.explanation) and not q.unavailable for q in quantities):
        return []
    return [
        UserError(
            f"table {table.id!r} has neither printed numbers nor runs to draw as bars",
            where=document.where(at),
            remedy="fill in its numbers, name its runs, or remove the figure",
        )
    ]


def _check_explanations(paper: Paper, document: Document) -> list[UserError]:
    """Problems of explanations: their run and tasks; and of figures that show them."""
    errors: list[UserError] = []
    for name, spec in paper.explanations.items():
        at: Path_ = ("explanations", name)
        places = ((*at, "experiment"), (*at, "run"))
        if wrong := _check_named_run(paper, spec.experiment, spec.run, document, *places):
            errors += wrong
            continue
        experiment = paper.experiments[spec.experiment]
        if experiment.runs[spec.run].method == SINGLE_TASK:
            errors.append(
                UserError(
                    "an explanation is of one network, and single-task runs have several",
                    where=document.where((*at, "run")),
                    remedy="name a run whose network has all tasks",
                )
            )
            continue
        known = [task.name for task in tasks_of(experiment)]
        for task in spec.tasks:
            errors += unknown("unknown task", task, known, document, (*at, "tasks"))
    for f, figure in enumerate(paper.figures):
        content, at = figure.content, ("figures", f, "content")
        wrong = []
        for name in figure.explanations:
            wrong += unknown("unknown explanation", name, paper.explanations, document, at)
        if isinstance(content, ActivationsFigure | SaliencyFigure) and not wrong:
            kept = paper.explanations[content.explanation].tasks
            wrong = unknown("unknown task", content.task, kept, document, at)
        errors += wrong
    return errors


def _check_margins(paper: Paper, test: ClaimTest, document: Document, at: Path_) -> list[UserError]:
    """Sides whose difference must be small, where nothing says how small."""
    if not isinstance(test, CompareTest):
        return []
    errors = []
    for number, comparison in enumerate(test.comparisons):
        if comparison.expect not in ("similar", "not_worse"):
            continue
        table, row, column = paper.at(comparison.left)
        if table.printed(row, column) is None and table.quantity(row, column).margin is None:
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


def _check_quantity(
    experiment: Experiment,
    quantity: Quantity,
    document: Document,
    place: Callable[[str], Path_],
    baseline: str | None,
) -> list[UserError]:
    tasks = {task.name: task for task in tasks_of(experiment)}

    def wrong(key: str, what: str, remedy: str) -> list[UserError]:
        return [UserError(what, where=document.where(place(key)), remedy=remedy)]

    if quantity.metric == DELTA_M and quantity.predictor is not None:
        return wrong(
            "predictor", "delta_m is for networks, not for other predictors", "leave it out"
        )
    if quantity.metric == DELTA_M:
        if baseline in experiment.runs:
            return []
        what = f"delta_m needs a `baseline` run of the experiment, not {baseline!r}"
        return wrong("baseline", what, f"write `baseline: {SINGLE_TASK}`")
    given = [key for key in ("metric", "history", "cost") if getattr(quantity, key) is not None]
    if len(given) > 1:
        return wrong(given[1], f"{' and '.join(given)} for one number", "give only one of them")
    if quantity.cost is not None:
        return []
    if quantity.history in SPREADS and quantity.task != ALL_TASKS:
        what = f"{quantity.history} is for all tasks, not for {quantity.task!r}"
        return wrong("history", what, f"write `task: {ALL_TASKS}`")
    chosen = tasks if quantity.task == ALL_TASKS else {str(quantity.task)}
    for task in chosen:
        if task not in tasks:
            return wrong("task", f"unknown task {task!r}", nearest(task, [*tasks, ALL_TASKS]))
        if quantity.history is not None:
            continue
        metrics = tasks[task].metrics
        binary = [t for t in tasks.values() if _is_finding(t)]
        if quantity.task == ALL_TASKS and len(binary) > 1 and quantity.metric in TOGETHER:
            continue
        if quantity.metric not in metrics:
            name = str(quantity.metric)
            what = f"task {task!r} has no metric {name!r}"
            return wrong("metric", what, nearest(name, metrics))
    return []


def _check_maps(paper: Paper, quantity: Quantity, document: Document, at: Path_) -> list[UserError]:
    """Problems of a quantity that is of an explanation's maps."""
    name = str(quantity.explanation)
    if wrong := unknown("unknown explanation", name, paper.explanations, document, at):
        return wrong
    spec = paper.explanations[name]
    if quantity.localisation is None:
        remedy = "write `localisation: pointing`, for example"
        where = document.where(at)
        return [UserError("maps without `localisation`", where=where, remedy=remedy)]
    what = f"explanation {name!r} has no maps"
    if wrong := unknown(what, str(quantity.maps), spec.maps, document, at):
        return wrong
    if quantity.task is None:
        return []
    tasks = [task.name for task in tasks_of(paper.experiments[spec.experiment])]
    return unknown("unknown task", quantity.task, [ALL_TASKS, *tasks], document, at)
