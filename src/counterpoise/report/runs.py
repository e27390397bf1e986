"""Run cards: from a number of ours back to the cells, data, code and machine that made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from counterpoise import registry
from counterpoise.layout import RunPlan
from counterpoise.plan import Plan
from counterpoise.report.cells import CellCard, cell_card
from counterpoise.report.inputs import Inputs
from counterpoise.report.legend import RUNS, Term, common, mark
from counterpoise.report.numbers import duration, options_text, plural
from counterpoise.report.protocols import Setting, named, settings_of
from counterpoise.report.text import anchor
from counterpoise.reproduction.runs import marks_of
from counterpoise.reproduction.words import label_of
from counterpoise.spec.cell import Variation
from counterpoise.spec.experiment import Experiment, Run
from counterpoise.spec.names import SINGLE_TASK

SHAREABLE = (
    "reduced", "network", "data", "data options", "digest of the data", "split, sha256", "protocol",
    "commit", "machine", "software",
)  # fmt: skip
"""Facts that are said once of an experiment, where all of its trainings have them in common."""


Facts = tuple[tuple[str, str], ...]
"""Names and texts."""


@dataclass(frozen=True)
class RunCard:
    """One run of a paper.

    Attributes:
        protocol: what the run changes of its experiment's protocol.
        facts: what holds of the run as a whole.
        columns, rows: seeds of all cells together, where each cell has one task.
    """

    id: str
    paper: str
    experiment: str
    run: str
    label: str
    method: str
    method_id: str
    options: str
    protocol: str
    facts: Facts
    marks: tuple[Term, ...]
    state: Term
    brief: str
    may_diverge: bool
    cells: tuple[CellCard, ...]
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class ExperimentView:
    """An experiment of a paper with what this tier makes of it.

    Attributes:
        shared: facts that all of its trainings have in common; the cards do not repeat them.
    """

    id: str
    spec: Experiment
    planned: bool
    stand_in: bool
    settings: tuple[Setting, ...]
    runs: tuple[RunCard, ...]
    left_out: tuple[str, ...]
    shared: Facts


def experiment_views(plan: Plan, paper: str, inputs: Inputs) -> tuple[ExperimentView, ...]:
    """What ran for a paper."""
    experiments = plan.papers[paper].paper.experiments
    return tuple(_experiment(plan, paper, name, e, inputs) for name, e in experiments.items())


def _experiment(
    plan: Plan, paper: str, name: str, experiment: Experiment, inputs: Inputs
) -> ExperimentView:
    planned = {
        run: plan.runs[paper, name, run]
        for run in experiment.runs
        if (paper, name, run) in plan.runs
    }
    cell = None
    if planned:  # one with the experiment's own protocol, if there is one
        varied = [run for run in planned if experiment.runs[run].protocol != Variation()]
        chosen = next((run for run in planned if run not in varied), next(iter(planned)))
        cell = plan.trainings[planned[chosen].first].cell
    source = plan.project.datasets[experiment.dataset].sources[cell.source] if cell else None
    cards = [_run(plan, run, experiment.runs[key], inputs) for key, run in planned.items()]
    shared = _shared([(*run.facts, *cell.facts) for run in cards for cell in run.cells])
    return ExperimentView(
        id=anchor("shared", paper, name),
        spec=experiment,
        planned=bool(planned),
        stand_in=bool(source and source.stand_in),
        settings=settings_of(plan, experiment, cell),
        runs=tuple(_without(card, shared) for card in cards),
        left_out=tuple(
            label_of(plan.papers[paper].paper, name, key)
            for key in experiment.runs
            if key not in planned
        ),
        shared=shared,
    )


def _shared(facts: Sequence[Facts]) -> Facts:
    """What several have in common, of what may be said once; nothing if there is but one."""
    found = common(facts) if len(facts) > 1 else ()
    return tuple(fact for fact in found if fact[0] in SHAREABLE)


def _without(run: RunCard, shared: Facts) -> RunCard:
    """A card without what is said of the whole experiment, and once what its cells share."""
    own = _shared([cell.facts for cell in run.cells])
    cells = tuple(
        replace(cell, facts=tuple(fact for fact in cell.facts if fact not in (*shared, *own)))
        for cell in run.cells
    )
    facts = tuple(fact for fact in (*run.facts, *own) if fact not in shared)
    return replace(run, facts=facts, cells=cells)


def _together(cells: Sequence[CellCard]) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """One table of the seeds of networks that have a task each; nothing if they do not fit."""
    columns = {cell.columns for cell in cells if cell.rows}
    if len(cells) < 2 or len(columns) != 1 or any("," in cell.tasks for cell in cells):
        return (), ()
    rows = tuple((cell.tasks, *row) for cell in cells for row in cell.rows)
    return ("task", *columns.pop()), rows


def _run(plan: Plan, run: RunPlan, spec: Run, inputs: Inputs) -> RunCard:
    cards = tuple(cell_card(plan, run, inputs.cells[key]) for key in run.keys)
    words = {card.state.key for card in cards}
    state = RUNS[next(word for word in ("missing", "stale", "failed", "finished") if word in words)]
    records = [record for key in run.keys if (record := inputs.cells[key].record) is not None]
    cell = plan.trainings[run.first].cell
    brief = [plural(len(cell.seeds), "seed")]
    if len(cards) > 1:
        brief.insert(0, plural(len(cards), "cell"))
    if len(records) == len(cards):
        brief.append(duration(sum(record["seconds"] for record in records)))
    names = marks_of(run, spec)
    names += ["pulled"] * any(inputs.cells[key].pulled for key in run.keys)
    alone = spec.method == SINGLE_TASK
    columns, rows = _together(cards)
    return RunCard(
        id=anchor("run", run.paper, run.experiment, run.run),
        paper=run.paper,
        experiment=run.experiment,
        run=run.run,
        label=label_of(plan.papers[run.paper].paper, run.experiment, run.run),
        method="Single task" if alone else registry.method(spec.method).label,
        method_id=anchor("method", spec.method),
        options=_options(spec),
        protocol=options_text(spec.protocol.model_dump(exclude_unset=True)),
        facts=(("reduced", "; ".join(run.reductions)),) if run.reductions else (),
        marks=tuple(mark(name) for name in names),
        state=state,
        brief=", ".join(brief),
        may_diverge=spec.may_diverge,
        cells=tuple(replace(card, columns=(), rows=()) for card in cards) if rows else cards,
        columns=columns,
        rows=rows,
    )


def _options(spec: Run) -> str:
    """Options of a run's method, and the weights that its losses have before."""
    before = f"losses weighted by {named(spec.weighting)}" if spec.weighting else ""
    return ", ".join(text for text in (options_text(spec.options), before) if text)
