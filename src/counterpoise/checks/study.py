"""Comparisons on data of one's own, and the sources that they share."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from pydantic import ValidationError

from counterpoise.checks.catalogue import unknown
from counterpoise.checks.paper import check_paper
from counterpoise.errors import UserError
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.load import Document, Path_
from counterpoise.spec.paper import Paper
from counterpoise.spec.study import ALL, ALWAYS, BASELINE, EXPERIMENT, Study

_OURS = {
    BASELINE: "equal weights always run under this name",
    ALWAYS: "the row that always answers with the prevalence has this name",
}
"""Names of what every study has besides its methods."""


def check_study(
    study: Study,
    document: Document,
    datasets: dict[str, Dataset],
    papers: dict[str, Paper],
    weights: Container[str] = (),
) -> list[UserError]:
    """Problems of what a study refers to: dataset, source, network, methods."""
    errors = unknown("unknown dataset", study.dataset, datasets, document, ("dataset",))
    if not errors:
        sources = datasets[study.dataset].sources
        errors = unknown("unknown source", study.source, sources, document, ("source",))
    if study.id in papers or study.id == ALL:
        what = f"there is already a paper {study.id!r}"
        if study.id == ALL:
            what = f"a study cannot be called {ALL!r}, which means all of them"
        errors.append(UserError(what, where=document.where(("id",)), remedy="choose another id"))
    errors += [
        UserError(
            f"a method cannot be named {name!r}: {why}",
            where=document.where(("methods", name)),
            remedy="choose another name",
        )
        for name, why in _OURS.items()
        if name in study.methods
    ]
    if errors:
        return errors
    try:
        paper = study.paper()
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        what = f"is not a valid comparison ({told})"
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
    datasets: dict[str, tuple[Dataset, Document]], studies: dict[str, tuple[Study, Document]]
) -> list[UserError]:
    """One name for two things: sources of several datasets, and of studies of one dataset."""
    errors: list[UserError] = []
    first: dict[str, tuple[str, Any]] = {}
    for name, (dataset, document) in datasets.items():
        for source_name, source in dataset.sources.items():
            files = (source.files, source.needs, source.generator)
            other, known = first.setdefault(source_name, (name, files))
            if files != known:
                errors.append(
                    UserError(
                        f"{other} has a different source named {source_name!r}",
                        where=document.where(("sources", source_name)),
                        remedy="choose another name; `counterpoise download` finds it by its name",
                    )
                )
    chosen: dict[str, Study] = {}
    for study, document in studies.values():
        before = chosen.setdefault(study.dataset, study)
        if study.source != before.source:
            errors.append(
                UserError(
                    f"study {before.id!r} takes {study.dataset} from {before.source!r}, and all "
                    "studies of a dataset must use one source",
                    where=document.where(("source",)),
                    remedy=f"write `source: {before.source}`, or give the other source a dataset "
                    "of its own in config/datasets",
                )
            )
    return errors
