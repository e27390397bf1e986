"""What is made of a paper's runs, by what it shows: tables, claims, figures, views, explanations.

An exhibit's digest covers what the paper's file says of it, the cells and scores of the runs that
it shows, and its own code: an edit makes what shows it anew, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.code import code_digests, library_version
from counterpoise.files import digest_of
from counterpoise.layout import PaperPlan, RunPlan, Training
from counterpoise.planning.identity import DISPLAY
from counterpoise.project import Project
from counterpoise.spec.figure import BarsFigure, Figure
from counterpoise.spec.names import SINGLE_TASK
from counterpoise.spec.paper import Paper

TABLES = "counterpoise.reproduction.tables"
CLAIMS = "counterpoise.reproduction.claims"
FIGURES = "counterpoise.reproduction.figures"
DRAWINGS = "counterpoise.reproduction.drawings"
VIEWS = "counterpoise.reproduction.views"
EXPLAIN = "counterpoise.explain.job"

FEWEST_RUNS = 3
"""Ways of balancing in an experiment from which on its trade-offs are shown."""

Shown = dict[str, dict[str, Any]]
"""By ``experiment/run``, what exhibits show of it."""


def plan_paper(
    paper: Paper,
    tier: str,
    made: Sequence[RunPlan],
    trainings: Mapping[str, Training],
    project: Project,
) -> PaperPlan:
    """What is made for a paper in a tier.

    Args:
        made: those of the paper's runs that the tier makes.
        trainings: their cells by key.
    """
    runs = {run.name: _shown(run, trainings, project) for run in made}
    explained = _explained(paper, {run.name: run for run in made})
    tables = digest_of(
        {
            "tables": [table.model_dump(mode="json") for table in paper.tables],
            "own": paper.own,
            "rankings": [ranking.model_dump(mode="json") for ranking in paper.rankings],
            "experiments": {k: v.model_dump(mode="json") for k, v in paper.experiments.items()},
            "runs": runs,
            "explanations": {n: explained[n] for n in paper.tabled if n in explained},
            "code": code_digests([TABLES], DISPLAY),
        }
    )
    claims = digest_of(
        {
            "claims": [claim.model_dump(mode="json") for claim in paper.claims],
            "trends": {f.id: f.test.model_dump(mode="json") for f in paper.figures if f.test},
            "tables": tables,
            "code": code_digests([CLAIMS], DISPLAY),
        }
    )
    figures = {}
    for figure in paper.figures:
        if drawn := _drawn(paper, figure, runs, explained, tables):
            figures[figure.id] = digest_of(
                {
                    "figure": figure.model_dump(mode="json"),
                    "shown": drawn,
                    "code": code_digests([FIGURES, f"{DRAWINGS}.{figure.content.kind}"], DISPLAY),
                }
            )
    viewed = _viewed(paper, made)
    views = _views(paper, viewed, runs) if viewed else ""
    return PaperPlan(paper, tier, tables, claims, figures, views, explained, viewed)


def _shown(run: RunPlan, trainings: Mapping[str, Training], project: Project) -> dict[str, Any]:
    cells = [trainings[key] for key in run.keys]
    sources = [project.datasets[one.cell.dataset].sources[one.cell.source] for one in cells]
    return {
        "cells": run.cells,
        "scores": sorted({one.scoring for one in cells}),
        "mark": run.mark,
        "reductions": run.reductions,
        "other network": run.other_network,
        "leaks": run.leaks,
        "data": {source.title: source.stand_in for source in sources},
    }


def _explained(paper: Paper, made: Mapping[str, RunPlan]) -> dict[str, str]:
    """Digests of the explanations whose runs the tier has."""
    code = code_digests([EXPLAIN], DISPLAY)
    found = {}
    for name, spec in paper.explanations.items():
        if (run := made.get(f"{spec.experiment}/{spec.run}")) is not None:
            found[name] = digest_of(
                {
                    "explanation": spec.model_dump(mode="json"),
                    "cell": run.first,
                    "captum": library_version("captum"),
                    "code": code,
                }
            )
    return found


def _drawn(
    paper: Paper, figure: Figure, runs: Shown, explained: Mapping[str, str], tables: str
) -> Any:
    """What a figure is drawn from; nothing where the tier makes none of it."""
    if isinstance(figure.content, BarsFigure):
        return tables
    if lines := figure.lines:
        found = {f"{name}/{run}": runs.get(f"{name}/{run}") for name, run in lines}
        if not any(found.values()):
            return None
        named = {name: paper.experiments[name] for name, _ in lines}
        return [found, {k: v.model_dump(mode="json") for k, v in named.items()}]
    there = {name: explained[name] for name in figure.explanations if name in explained}
    if not there:
        return None
    of = [paper.explanations[name] for name in there]
    own = [paper.experiments[one.experiment].runs[one.run].label for one in of]
    labels = [one.label or label for one, label in zip(of, own, strict=True)]
    return [there, [runs.get(f"{one.experiment}/{one.run}") for one in of], labels]


def _viewed(paper: Paper, made: Sequence[RunPlan]) -> tuple[str, ...]:
    """Experiments whose trade-offs are shown: those that compare methods."""
    compared: dict[str, set[str]] = {name: set() for name in paper.experiments}
    for plan in made:
        experiment = paper.experiments[plan.experiment]
        run = experiment.runs[plan.run]
        if run.method != SINGLE_TASK and experiment.shows(plan.run):
            way = f"{run.method} {run.options} {run.weighting} {run.search}"
            compared[plan.experiment].add(way)
    return tuple(name for name, ways in compared.items() if len(ways) >= FEWEST_RUNS)


def _views(paper: Paper, viewed: Sequence[str], runs: Shown) -> str:
    shown = [
        {name: run for name, run in runs.items() if name.startswith(f"{experiment}/")}
        | {"experiment": paper.experiments[experiment].model_dump(mode="json")}
        for experiment in viewed
    ]
    return digest_of({"shown": shown, "code": code_digests([VIEWS], DISPLAY)})
