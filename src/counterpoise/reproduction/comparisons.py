"""A paper's methods against each other, table by table, as far as we have run them.

Each run of a table is compared with the paper's own method on the same data, seeds and items; the
p-values of one family are corrected together. The family is declared in the paper's file.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from counterpoise.evaluation.comparisons import (
    FEWEST_FOR_P,
    difference_of,
    holm,
    paired,
    profile,
    ranking,
    ranks,
)
from counterpoise.evaluation.statistics import relative_gains
from counterpoise.reproduction.ours import Ours, Scores, ours_of
from counterpoise.reproduction.runs import lower_is_better, marks_of, tasks_of_run
from counterpoise.spec.names import ALL_TASKS, DELTA_M
from counterpoise.spec.paper import Family, Paper, Quantity, Ranking, Table

SIGNIFICANT = 0.05
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(-10, 11))
"""Relative gains at which a performance profile is read."""


class Measurand(NamedTuple):
    """What the runs of one comparison share."""

    experiment: str
    task: str
    measured: str


class Scored(NamedTuple):
    """A run's number, by its row and column in the table."""

    row: str
    column: str
    quantity: Quantity
    ours: Ours


def _measurand(quantity: Quantity) -> Measurand | None:
    measured = quantity.measured
    if not (quantity.experiment and quantity.run and measured) or quantity.unavailable:
        return None
    if quantity.predictor == "constant" or quantity.cost is not None or quantity.epoch is not None:
        return None
    return Measurand(quantity.experiment, str(quantity.task or ""), measured)


def _scored(scores: Scores, paper: Paper, table: Table) -> dict[Measurand, dict[str, Scored]]:
    """By what is measured and by run, our numbers that came to a good end."""
    found: dict[Measurand, dict[str, Scored]] = defaultdict(dict)
    for row, column in table.cells():
        quantity = table.quantity(row, column)
        what = _measurand(quantity)
        if what is None or str(quantity.run) in found[what]:
            continue
        ours, _ = ours_of(scores, paper.id, quantity, table.baseline)
        if ours is not None and ours.measured.values and not ours.trouble:
            found[what][str(quantity.run)] = Scored(row.id, column.id, quantity, ours)
    return found


def family_of(paper: Paper, table: Table) -> Family | None:
    """The family of comparisons of a table: declared, or each run against the paper's own."""
    if table.family is not None:
        return table.family
    return Family(own=paper.own) if paper.own else None


def compare_methods(scores: Scores, paper: Paper, table: Table) -> list[dict[str, Any]]:
    """All comparisons of one table, with p-values after Holm."""
    family = family_of(paper, table)
    if family is None:
        return []
    entries = []
    for what, runs in _scored(scores, paper, table).items():
        if family.own not in runs:
            continue
        experiment, own = what.experiment, runs[family.own].ours
        own_marks = _marks(scores, paper, experiment, family.own, own)
        for run, (row, column, quantity, ours) in runs.items():
            if run == family.own or (family.others is not None and run not in family.others):
                continue
            found = paired(difference_of(ours.measured, own.measured))
            if found is None:
                continue
            marks = [*own_marks, *_marks(scores, paper, experiment, run, ours)]
            entries.append(
                {
                    "table": table.id, "row": row, "column": column, "run": f"{experiment}/{run}",
                    "own": f"{experiment}/{family.own}", "task": what.task,
                    "metric": what.measured, "better": quantity.better,
                    "marks": [*dict.fromkeys(marks)], "family": _family(family, what),
                    **asdict(found),
                }
            )  # fmt: skip
    return _corrected(entries)


def _marks(scores: Scores, paper: Paper, experiment: str, run: str, ours: Ours) -> list[str]:
    """What a side of a comparison is marked with, as in its table."""
    plan, spec = scores.plan.runs[paper.id, experiment, run], paper.experiments[experiment]
    return marks_of(plan, spec.runs[run]) + ["partial"] * bool(ours.undefined or ours.lost)


def _family(family: Family, what: Measurand) -> str:
    """What a comparison is corrected together with."""
    if family.together == "table":
        return "all of the table"
    return what.measured if family.together == "metric" else " ".join(what)


def _corrected(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    families: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in entries:
        families[entry["family"]].append(entry)
    for family in families.values():
        for entry, p in zip(family, holm([entry["p"] for entry in family]), strict=True):
            entry["p_holm"] = p
            entry["size"] = sum(other["p"] is not None for other in family)
            entry["word"] = _word(entry)
    return entries


def _word(entry: dict[str, Any]) -> str:
    """What the comparison says of the run."""
    if entry["p_holm"] is None:
        seeds = f"{entry['n']} of {FEWEST_FOR_P} seeds"
        return f"no test: {seeds if entry['n'] < FEWEST_FOR_P else entry['open']}"
    if entry["p_holm"] >= SIGNIFICANT:
        return "not told apart"
    if entry["better"] is None:
        return "higher" if entry["difference"] > 0 else "lower"
    return "better" if (entry["difference"] > 0) == (entry["better"] == "higher") else "worse"


def describe_runs(scores: Scores, paper: Paper, table: Table) -> list[dict[str, Any]]:
    """Mean ranks over tasks and performance profiles of a table's runs, by experiment.

    Ranks describe: tasks of one data set share its pictures, so that no test is made of them. They
    are over scores that any run has, and of runs that have all of these.
    """
    by_experiment: dict[str, dict[Measurand, dict[str, Scored]]] = defaultdict(dict)
    for what, runs in _scored(scores, paper, table).items():
        score = all(one.quantity.metric is not None for one in runs.values())
        if runs and score and what.task not in ("", ALL_TASKS) and what.measured != DELTA_M:
            by_experiment[what.experiment][what] = runs
    found = []
    for experiment, by_what in by_experiment.items():
        every = [*by_what.values()]
        names = [run for run in every[0] if all(run in runs for runs in every)]
        tasks = {what.task for what in by_what}
        if len(tasks) < 3 or len(names) < 2:
            continue
        means = np.array([[runs[n].ours.measured.sample.mean for runs in every] for n in names])
        lower = [next(iter(runs.values())).quantity.better == "lower" for runs in every]
        ranked = ranks(means, lower)
        found += [
            {
                "experiment": experiment,
                "run": f"{experiment}/{name}",
                "row": every[0][name].row,
                "scores": len(every),
                "tasks": len(tasks),
                "methods": len(names),
                "mean_rank": float(place.mean()),
                "first": int((place == 1).sum()),
                "profile": _profile(scores, paper, table, experiment, name),
            }
            for name, place in zip(names, ranked, strict=True)
        ]
    return found


def _profile(
    scores: Scores, paper: Paper, table: Table, experiment: str, name: str
) -> dict[str, Any] | None:
    """Relative gains over the table's baseline by task and seed.

    None without a baseline, and where a run of either has come to a bad end, as for Delta_m. A gain
    over a reference of zero is none; ``undefined`` counts those.
    """
    run = scores.plan.runs[paper.id, experiment, name]
    reference = scores.plan.runs.get((paper.id, experiment, str(table.baseline)))
    if reference is None or name == table.baseline:
        return None
    if scores.trouble([*run.keys, *reference.keys]):
        return None
    found = []
    for task in tasks_of_run(scores.plan, run):
        ours, theirs = (
            scores.values(side, task.name, task.metrics[0]) for side in (run, reference)
        )
        pairs = np.array([(ours[seed], theirs[seed]) for seed in ours if seed in theirs])
        own, other = pairs.reshape(-1, 2).T[:, None]
        found.append(relative_gains(own, other, [lower_is_better(scores.plan, run, task)])[0])
    every = np.concatenate(found)
    gains = every[np.isfinite(every)]
    if not len(gains):
        return None
    return {
        "thresholds": list(THRESHOLDS),
        "shares": profile(gains, THRESHOLDS),
        "at_least_as_good": profile(gains, [0.0])[0],
        "values": len(gains),
        "undefined": len(every) - len(gains),
    }


def rank_printed(paper: Paper, wanted: Ranking) -> dict[str, Any] | None:
    """A paper's methods by their printed numbers over data sets, with a critical difference.

    None where fewer than three methods have a number on all of them.
    """
    columns, lower = [], []
    for ref in wanted.over:
        name, _, column_id = ref.partition("/")
        table = paper.table(name)
        column = table.column(column_id)
        printed = {row.id: table.printed(row, column) for row in table.rows}
        columns.append({row: float(one.value) for row, one in printed.items() if one is not None})
        lower.append(table.quantity(table.rows[0], column).better == "lower")
    names = [row for row in columns[0] if all(row in numbers for numbers in columns)]
    scores = np.array([[numbers[name] for numbers in columns] for name in names])
    found = ranking(scores.reshape(len(names), len(columns)), lower)
    if found is None:
        return None
    places = sorted(zip(found.mean_ranks, names, strict=True))
    return {
        "id": wanted.id,
        "title": wanted.title,
        "datasets": len(columns),
        "p": found.p,
        "critical": found.critical,
        "methods": [
            {"row": name, "mean_rank": rank, "apart": rank - places[0][0] > found.critical}
            for rank, name in places
        ],
    }
