"""From configuration to jobs: cells, targets, digests. Everything that the Snakefile asks.

Pure but for reading ``config/`` and the source files whose digests it needs; it imports neither
Snakemake nor torch nor pandas. The identity of every result is in its path, so that an edit asks
for exactly the files that it changes, in a fresh clone too, and going back finds the old ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from counterpoise import registry
from counterpoise.code import code_digests
from counterpoise.errors import UserError, nearest
from counterpoise.files import digest_of, sha256_file
from counterpoise.layout import CELL_FILES, Data, PaperPlan, RunMark, RunPlan, Training
from counterpoise.planning.cells import plan_training
from counterpoise.planning.exhibits import plan_paper
from counterpoise.planning.preliminary import plan_candidates, plan_pretraining, plan_single_tasks
from counterpoise.planning.reductions import reductions_of
from counterpoise.planning.tier_run import TierRun
from counterpoise.project import Project, load_project
from counterpoise.spec.cell import Candidate, Cell, Pretrained
from counterpoise.spec.dataset import DataSource
from counterpoise.spec.figure import DecisionFigure, Figure
from counterpoise.spec.names import SINGLE_TASK
from counterpoise.spec.paper import Paper
from counterpoise.spec.study import ALL, OWN
from counterpoise.spec.tier import Tier

REPORT = "counterpoise.report.build"
GATE = "counterpoise.reproduction.gate"


@dataclass
class Plan:
    """Everything to be made for one tier."""

    project: Project
    tier_name: str
    trainings: dict[str, Training] = field(default_factory=dict)
    preliminary: dict[str, Training] = field(default_factory=dict)
    """Cells that others take options from: points of a grid search, networks of one task. They are
    trained, and scored on the test part only where a run asks for them too."""
    runs: dict[tuple[str, str, str], RunPlan] = field(default_factory=dict)
    papers: dict[str, PaperPlan] = field(default_factory=dict)

    @property
    def tier(self) -> Tier:
        """The tier's specification."""
        return self.project.tiers.tiers[self.tier_name]

    # Targets ---------------------------------------------------------------------------------

    @property
    def plan_file(self) -> str:
        """The list of digests that the report depends on."""
        return f"work/{self.tier_name}/plan.json"

    @property
    def report_folder(self) -> str:
        """Where the report and its parts are.

        A comparison on one's own data has a folder of its own: comparing other data leaves it.
        """
        if self.tier_name != OWN:
            return f"reports/{self.tier_name}"
        return f"reports/{OWN}/{next(iter(self.papers)) if len(self.papers) == 1 else ALL}"

    @property
    def report(self) -> str:
        """The report."""
        return f"{self.report_folder}/index.html"

    @property
    def results(self) -> str:
        """The report's numbers for machines."""
        return f"{self.report_folder}/results.json"

    @property
    def metrics(self) -> str:
        """The report's main numbers, as few as DVC can compare."""
        return f"{self.report_folder}/metrics.json"

    @property
    def plots_folder(self) -> str:
        """Curves that DVC draws, as CSV."""
        return f"{self.report_folder}/plots"

    @property
    def csv_folder(self) -> str:
        """Each table of the report as CSV."""
        return f"{self.report_folder}/tables"

    @property
    def gate(self) -> str:
        """The last check."""
        return f"{self.report_folder}/gate.json"

    @property
    def every(self) -> dict[str, Training]:
        """All cells by key: those that runs show, and before them those that others start from."""
        return {**self.preliminary, **self.trainings}

    @property
    def data_files(self) -> list[str]:
        """Splits of all data that the tier's cells use."""
        return sorted({training.data.split for training in self.every.values()})

    @property
    def cell_files(self) -> list[str]:
        """Every cell's files."""
        cells = self.trainings.values()
        return [t.file(name) for t in cells for name in CELL_FILES] + [t.scores for t in cells]

    @property
    def exhibits(self) -> list[str]:
        """Tables, claims, figures and views of all papers."""
        plans = self.papers.values()
        found = [path for p in plans for path in (p.tables, p.claims, *p.figures)]
        return found + [p.views for p in plans if p.viewed]

    # Inputs of rules -------------------------------------------------------------------------

    def training(self, name: str, digest: str) -> Training:
        """A cell by its name and digest.

        Raises:
            UserError: the plan has no such cell.
        """
        key = f"{name}/{digest}"
        planned = self.every
        if key in planned:
            return planned[key]
        if same := [training.key for training in planned.values() if training.name == name]:
            raise UserError(
                f"cell {key} is now planned with another digest: code or configuration has "
                "changed since",
                remedy=f"run `snakemake` again; it is now {' or '.join(same)}",
            )
        raise UserError(
            f"tier {self.tier_name} has no cell {key}",
            remedy=nearest(key, planned) if planned else "",
        )

    def paper(self, name: str) -> PaperPlan:
        """What is made for a paper.

        Raises:
            UserError: the plan has no such paper.
        """
        if name not in self.papers:
            raise UserError(f"no paper {name!r} in this plan", remedy=nearest(name, self.papers))
        return self.papers[name]

    def source_of(self, cell: Cell) -> DataSource:
        """Where a cell's data come from."""
        return self.project.datasets[cell.dataset].sources[cell.source]

    def data(self, digest: str) -> Data:
        """Prepared data by digest."""
        for training in self.every.values():
            if training.data.digest == digest:
                return training.data
        raise UserError(f"tier {self.tier_name} uses no data with digest {digest}")

    def cells_of(self, paper: str) -> list[Training]:
        """All cells that a paper's runs use."""
        keys = {k for r in self.runs.values() if r.paper == paper for k in r.keys}
        return [self.trainings[key] for key in sorted(keys)]

    def cells_of_figure(self, paper: str, figure: str) -> list[Training]:
        """All cells that a figure shows."""
        keys: dict[str, None] = {}
        for experiment, run in _figure(self.papers[paper].paper, figure).lines:
            plan = self.runs.get((paper, experiment, run))
            keys |= dict.fromkeys(plan.keys if plan else ())
        names = self.explanations_of_figure(paper, figure)
        explained = [self.explained(paper, name) for name in names]
        return [self.trainings[key] for key in keys] + explained

    def explanations_of_figure(self, paper: str, figure: str) -> list[str]:
        """Those of a paper's explanations that a figure shows and this tier makes."""
        made = self.papers[paper]
        named = _figure(made.paper, figure).explanations
        return [name for name in named if name in made.explanation_digests]

    def inputs_of_figure(self, paper: str, figure: str) -> list[str]:
        """Files that a figure is drawn from: explanations, files of cells, or else the tables."""
        made = self.papers[paper]
        if named := self.explanations_of_figure(paper, figure):
            return [made.explanation(name) for name in named]
        cells = self.cells_of_figure(paper, figure)
        points = isinstance(_figure(made.paper, figure).content, DecisionFigure)
        data = sorted({cell.data.split for cell in cells}) if points else []
        names = ("history.parquet", "predictions.parquet")
        return _files(cells, names) + data or [made.tables]

    def inputs_of_views(self, paper: str) -> list[str]:
        """Files that the views of a paper's experiments are drawn from."""
        return _files(self.cells_of(paper), ("history.parquet", "record.json"))

    def explained(self, paper: str, name: str) -> Training:
        """The cell that an explanation is of.

        Raises:
            UserError: the tier does not make this explanation.
        """
        made = self.paper(paper)
        if name not in made.explanation_digests:
            raise UserError(
                f"{paper} has no explanation {name!r} that can be made in this tier",
                remedy=nearest(name, made.explanation_digests),
            )
        spec = made.paper.explanations[name]
        return self.trainings[self.runs[paper, spec.experiment, spec.run].first]

    @cached_property
    def digests(self) -> dict[str, Any]:
        """What the report is made of: rewritten to :attr:`plan_file` when it changes."""
        package = Path(__file__).parent
        every = (package / "report").rglob("*")
        shown = [p for p in every if p.is_file() and p.suffix not in {".py", ".pyc"}]
        # Their texts are shown, which digests of code leave out.
        for folder in ("methods", "networks", "datasets"):
            shown += (package / folder).rglob("*.py")
        shown.append(package / "reproduction" / "verdicts.py")
        return {
            "tier": self.tier_name,
            "specification": digest_of(self.tier.model_dump(mode="json")),
            "cells": sorted(self.trainings),
            "exhibits": sorted(self.exhibits),
            "papers": {
                name: digest_of(plan.paper.model_dump(mode="json"))
                for name, plan in self.papers.items()
            },
            "datasets": {
                name: digest_of(dataset.model_dump(mode="json"))
                for name, dataset in self.project.datasets.items()
            },
            "code": digest_of(code_digests([REPORT, GATE])),
            "shown": {
                str(path.relative_to(package)): sha256_file(path)[:12] for path in sorted(shown)
            },
        }


def _files(cells: list[Training], names: tuple[str, ...]) -> list[str]:
    """Files of cells by name, and their scores."""
    found = [training.file(name) for training in cells for name in names]
    return found + [training.scores for training in cells]


def _figure(paper: Paper, name: str) -> Figure:
    return next(figure for figure in paper.figures if figure.id == name)


def load_plan(root: Path, overrides: dict[str, Any] | None = None) -> Plan:
    """Read a checkout's configuration and plan its tier."""
    project = load_project(root, overrides)
    return make_plan(project, project.config.tier, project.config.papers, project.config.methods)


def make_plan(
    project: Project,
    tier_name: str,
    papers: Iterable[str] | Literal["all"] = "all",
    methods: Iterable[str] | Literal["all"] = "all",
) -> Plan:
    """Plan one tier, for some papers and methods or for all.

    All papers are those of ``config/papers``; in the tier of one's own data, those of
    ``config/studies``.
    """
    plan = Plan(project, tier_name)
    raws: dict[str, dict[str, Any]] = {}
    studies = tier_name == OWN
    every = [name for name in project.papers if (name in project.studies) is studies]
    chosen = every if papers == "all" else [p for p in project.papers if p in papers]
    for name in chosen:
        paper = project.papers[name]
        for experiment_name, experiment in paper.experiments.items():
            reduction = plan.tier.datasets.get(experiment.dataset)
            if reduction is None:
                continue
            for run_name, run in experiment.runs.items():
                full = f"{name}/{experiment_name}"
                names = {full, f"{full}/{run_name}"}
                if names.intersection(reduction.without):
                    continue
                if plan.tier.runs is not None and names.isdisjoint(plan.tier.runs):
                    continue
                if methods != "all" and run.method not in {*methods, SINGLE_TASK}:
                    continue
                own = reduction.of(full)
                planned = TierRun(project, tier_name, experiment, run, own, raws)
                _add_run(plan, name, experiment_name, run_name, planned)
    for name in chosen:
        made = [run for run in plan.runs.values() if run.paper == name]
        plan.papers[name] = plan_paper(
            project.papers[name], tier_name, made, plan.trainings, project
        )
    return plan


def _add_run(plan: Plan, paper: str, name: str, run_name: str, planned: TierRun) -> None:
    experiment, data, tasks = planned.experiment, planned.data, planned.tasks
    cells: dict[str, str] = {}
    pretraining = None
    if isinstance(initial := planned.protocol.initial, Pretrained):
        before = plan_pretraining(planned, initial)
        plan.preliminary[before.key] = before
        pretraining = before.key
    for group in [(task,) for task in tasks] if planned.alone else [tasks]:
        references = plan_single_tasks(planned, group, pretraining)
        reached = {task: reference.key for task, reference in references.items()}
        tried = plan_candidates(planned, group, reached, pretraining)
        plan.preliminary |= {first.key: first for first in [*references.values(), *tried]}
        options = [(point.key, point.cell.method.options) for point in tried]
        points = tuple(Candidate(key=key, options=values) for key, values in options)
        training = plan_training(planned, group, points, reached, pretraining)
        plan.trainings[training.key] = training
        cells |= dict.fromkeys(group, training.key)
    source = plan.project.datasets[experiment.dataset].sources[data.source]
    reductions = reductions_of(planned)
    mark: RunMark | None = "demo" if source.stand_in else "reduced" if reductions else None
    plan.runs[paper, name, run_name] = RunPlan(
        paper, name, run_name, cells, mark, reductions, planned.run.may_diverge,
        planned.reduction.network not in (None, experiment.network),
        bool(registry.leak_of(data.dataset, data.options)),
    )  # fmt: skip
