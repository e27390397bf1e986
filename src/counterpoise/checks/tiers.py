"""Tiers, and what the settings choose."""

from __future__ import annotations

from collections.abc import Container

from pydantic import ValidationError

from counterpoise import registry
from counterpoise.checks.catalogue import (
    check_entry,
    check_options,
    check_pretrained,
    no_weights,
    not_stages,
    unique,
    unknown,
)
from counterpoise.errors import UserError, nearest
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.experiment import Experiment
from counterpoise.spec.load import Document, Path_
from counterpoise.spec.names import SINGLE_TASK
from counterpoise.spec.paper import Paper
from counterpoise.spec.study import OWN
from counterpoise.spec.tier import Change, Config, Reduction, Tier, Tiers


def check_tiers(
    tiers: Tiers,
    document: Document,
    datasets: dict[str, Dataset],
    papers: dict[str, Paper],
    weights: Container[str] = (),
) -> list[UserError]:
    """Problems of what the tiers refer to: datasets, sources, experiments, runs."""
    errors: list[UserError] = []
    if OWN in tiers.tiers:
        errors.append(
            UserError(
                f"tier {OWN!r} is reserved for comparisons on your own data",
                where=document.where(("tiers", OWN)),
                remedy="choose another name",
            )
        )
    whole = [name for name, tier in tiers.tiers.items() if tier.like is None]
    for name, tier in tiers.tiers.items():
        at: Path_ = ("tiers", name)
        if tier.like is not None and tier.like not in whole:
            errors.append(
                UserError(
                    f"no tier {tier.like!r} with datasets of its own",
                    where=document.where((*at, "like")),
                    remedy=nearest(tier.like, whole) if whole else "give it `datasets`",
                )
            )
        for dataset, reduction in tier.datasets.items():
            here = (*at, "datasets", dataset)
            wrong = unknown("unknown dataset", dataset, datasets, document, here)
            errors += wrong or _check_reduction(
                reduction, datasets[dataset], document, here, datasets, papers, weights
            )
        errors += _check_runs(tier, document, (*at, "runs"), papers)
    return errors


def _check_reduction(
    reduction: Reduction,
    dataset: Dataset,
    document: Document,
    at: Path_,
    datasets: dict[str, Dataset],
    papers: dict[str, Paper],
    weights: Container[str],
) -> list[UserError]:
    """Problems of what a tier changes for one dataset."""
    source, sources = reduction.source, dataset.sources
    what = f"{dataset.id} has no source"
    if wrong := unknown(what, source, sources, document, (*at, "source")):
        return wrong
    errors = (
        _check_change(reduction, dataset.id, document, at, datasets)
        or _check_merged(reduction, dataset, papers, document, at)
        or _check_replaced(reduction, dataset.id, papers, weights, document, at)
    )
    named: list[tuple[Path_, str, Change | None]] = [
        *((("experiments", k), k, v) for k, v in reduction.experiments.items()),
        *((("without", n), k, None) for n, k in enumerate(reduction.without)),
    ]
    for place, key, change in named:
        here = (*at, *place)
        experiment = _experiment(key, papers)
        if experiment is None or experiment.dataset != dataset.id:
            errors.append(
                UserError(
                    f"no experiment {key!r} uses {dataset.id}",
                    where=document.where(here),
                    remedy="write paper/experiment as in config/papers",
                )
            )
        if change is not None:
            errors += _check_change(change, dataset.id, document, here, datasets)
    return errors


def _experiment(key: str, papers: dict[str, Paper]) -> Experiment | None:
    """That of ``paper/experiment`` or ``paper/experiment/run``; None where that is nothing."""
    paper, _, rest = key.partition("/")
    name, _, run = rest.partition("/")
    experiment = papers[paper].experiments.get(name) if paper in papers else None
    return None if experiment is None or (run and run not in experiment.runs) else experiment


def _check_runs(
    tier: Tier, document: Document, at: Path_, papers: dict[str, Paper]
) -> list[UserError]:
    """Runs that a tier is restricted to and no paper has."""
    return [
        UserError(
            f"there is no experiment or run {run!r}",
            where=document.where((*at, n)),
            remedy="write paper/experiment or paper/experiment/run as in config/papers",
        )
        for n, run in enumerate(tier.runs or ())
        if _experiment(run, papers) is None
    ]


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
    return unique(errors)


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
                    problems = not_stages(own.network, protocol.frozen)
                    starts = protocol.initial.kind == "imagenet" and not own.instead_of_imagenet
                    lacking = no_weights(own.network, weights) if starts else ""
                except (UserError, ValidationError):
                    continue  # reported where the network is given
                told = [problem for _, problem, _ in problems] + [lacking] * bool(lacking)
                errors += [UserError(f"{key}/{run_id}: {what}", where=where) for what in told]
    return unique(errors)


def _check_change(
    change: Change, dataset: str, document: Document, at: Path_, datasets: dict[str, Dataset]
) -> list[UserError]:
    model = registry.find("datasets", dataset).Options
    errors = check_options(model, change.dataset_options, document, (*at, "dataset_options"))
    if (network := change.network) is not None:
        where = (*at, "network")
        errors += check_entry("networks", network.name, network.options, document, where)
    if (instead := change.instead_of_imagenet) is not None:
        here = (*at, "instead_of_imagenet")
        errors += check_pretrained(instead, dataset, document, here, datasets)
    return errors


def check_config(
    document: Document,
    config: Config,
    tiers: Tiers,
    papers: dict[str, Paper],
    studies: Container[str] = (),
) -> list[UserError]:
    """Problems of what the settings refer to: tier, papers, methods."""
    errors = unknown("unknown tier", config.tier, tiers.tiers, document, ("tier",))
    for paper in config.papers if config.papers != "all" else ():
        errors += unknown("unknown paper", paper, papers, document, ("papers",))
    known = [SINGLE_TASK, *registry.names("methods")]
    for method in config.methods if config.methods != "all" else ():
        errors += unknown("unknown method", method, known, document, ("methods",))
    return errors or _check_kind(document, config, studies)


def _check_kind(document: Document, config: Config, studies: Container[str]) -> list[UserError]:
    """Papers of a tier that has studies only, and studies of another: nothing would be run."""
    own = config.tier == OWN
    kind, remedy = (
        ("a paper", "name another tier, or leave `papers` out to compare on all your own data")
        if own
        else (
            "a comparison on your own data",
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
