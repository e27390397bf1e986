"""The first screen: what holds, what does not, at what scale it was checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from counterpoise.plan import Plan
from counterpoise.reference import Reference
from counterpoise.report.cell_files import Notice
from counterpoise.report.claims import ClaimView, claim_views, count_words
from counterpoise.report.comparisons import (
    MethodsView,
    RankingView,
    TrendView,
    methods_views,
    ranking_views,
    trend_views,
)
from counterpoise.report.entries import state_of
from counterpoise.report.figures import FigureView, figure_views
from counterpoise.report.inputs import Inputs
from counterpoise.report.legend import CLAIMS, NUMBERS, Term
from counterpoise.report.numbers import count, plural
from counterpoise.report.questions import View, paper_questions
from counterpoise.report.runs import ExperimentView, experiment_views
from counterpoise.report.tables import TableView, table_view
from counterpoise.report.text import anchor
from counterpoise.reproduction.claims import ARGUMENT
from counterpoise.spec.paper import Paper

TELLING = 6
"""Findings on the first screen; the rest is one click away."""


@dataclass(frozen=True)
class Share:
    """A part of a bar."""

    term: Term
    number: int


@dataclass(frozen=True)
class Bar:
    """Counts as a bar with its text."""

    shares: tuple[Share, ...]
    total: int
    text: str


@dataclass(frozen=True)
class PaperView:
    """All that the page says of one paper."""

    id: str
    spec: Paper
    tables: tuple[TableView, ...]
    figures: tuple[FigureView, ...]
    views: tuple[View, ...]
    claims: tuple[ClaimView, ...]
    experiments: tuple[ExperimentView, ...]
    numbers_bar: Bar
    claims_bar: Bar
    notices: tuple[Notice, ...]
    methods: tuple[MethodsView, ...]
    trends: dict[str, TrendView]
    rankings: tuple[RankingView, ...]


@dataclass(frozen=True)
class ReferenceView:
    """Committed results of a larger run in one line."""

    id: str
    name: str
    tier: str
    numbers: Bar


@dataclass(frozen=True)
class Overview:
    """What the first screen says.

    Attributes:
        stand_in: whether this tier's numbers come from stand-in data: none, some, or all but those
            of toy problems.
        bases: what the words for claims rest on, each with its number of claims, in words.
        missing: what the cells of this tier lack.
        cells: how many cells the tier has.
        stale: cells that lack a result and show an older one.
        parts: claims that are part of another.
    """

    numbers: Bar
    claims: Bar
    stand_in: Literal["none", "some", "all"]
    bases: str
    headline: str
    missing: tuple[Notice, ...]
    cells: int
    stale: int
    findings: tuple[ClaimView, ...]
    further: tuple[ClaimView, ...]
    references: tuple[ReferenceView, ...]
    parts: int


def make_bar(counts: dict[str, int], terms: dict[str, Term], what: str) -> Bar:
    """Counts as a bar; what does not occur is left out."""
    shares = tuple(Share(terms[key], number) for key, number in counts.items() if number)
    words = ", ".join(f"{count(share.number)} {share.term.word}" for share in shares)
    total = sum(counts.values())
    return Bar(shares, total, f"{plural(total, what)}: {words}" if shares else f"no {what}s")


def add_counts(all_counts: Sequence[dict[str, int]], keys: Sequence[str]) -> dict[str, int]:
    """Sums by key."""
    return {key: sum(counts[key] for counts in all_counts) for key in keys}


def paper_views(plan: Plan, inputs: Inputs) -> tuple[PaperView, ...]:
    """All papers of the plan."""
    views = []
    for name, made in plan.papers.items():
        files, paper = inputs.papers[name], made.paper
        tables = tuple(
            table_view(paper, table, files.tables[table.id], inputs.references)
            for table in paper.tables
        )
        claims = claim_views(paper, files.claims, inputs.references)
        numbers = add_counts([table.counts for table in tables], list(NUMBERS))
        views.append(
            PaperView(
                id=anchor("paper", name),
                spec=paper,
                tables=tables,
                figures=figure_views(made, files),
                views=paper_questions(paper, files),
                claims=claims,
                experiments=experiment_views(plan, name, inputs),
                numbers_bar=make_bar(numbers, NUMBERS, "printed number"),
                claims_bar=make_bar(count_words(claims), CLAIMS, "claim"),
                notices=tuple(files.notices),
                methods=methods_views(paper, files),
                trends=trend_views(paper, files),
                rankings=ranking_views(paper, files),
            )
        )
    return tuple(views)


def overview(plan: Plan, papers: Sequence[PaperView], inputs: Inputs) -> Overview:
    """The first screen."""
    numbers = add_counts([t.counts for p in papers for t in p.tables], list(NUMBERS))
    claims = [claim for paper in papers for claim in paper.claims]
    words = count_words(claims)
    missing = [files.missing for files in inputs.cells.values() if files.missing is not None]
    contradicted = [c for c in claims if c.settled and c.word.key == "does not hold"]
    by_papers = count_words(contradicted)["does not hold"]
    findings = _telling(contradicted)
    return Overview(
        numbers=make_bar(numbers, NUMBERS, "printed number"),
        claims=make_bar(words, CLAIMS, "claim"),
        stand_in=_stand_in(plan),
        bases=_bases(claims),
        headline=_headline(numbers, words, by_papers),
        missing=tuple(missing),
        cells=len(plan.trainings),
        stale=sum(bool(files.older) for files in inputs.cells.values()),
        findings=tuple(findings),
        further=tuple(claim for claim in contradicted if claim not in findings),
        references=tuple(_reference(plan, reference) for reference in inputs.references),
        parts=sum(claim.spec.part_of is not None for claim in claims),
    )


def _stand_in(plan: Plan) -> Literal["none", "some", "all"]:
    found = [run for run in plan.runs.values() if run.mark == "demo"]
    others = [run for run in plan.runs.values() if run.mark != "demo"]
    cells = [plan.trainings[run.first].cell for run in others]
    # Toy problems are generated, too, and stand in for nothing.
    real = any(plan.source_of(cell).generator is None for cell in cells)
    return "none" if not found else "some" if real else "all"


def _bases(claims: Sequence[ClaimView]) -> str:
    """The most frequent first."""
    found = Counter(claim.basis for claim in claims if claim.spec.part_of is None and claim.basis)
    return ", ".join(f"{basis} ({count(number)})" for basis, number in found.most_common())


def _reference(plan: Plan, reference: Reference) -> ReferenceView:
    """What has become of the printed numbers that a reference has one of its own for."""
    found = [
        reference.entry(name, table.id, row.id, column.id)
        for name, made in plan.papers.items()
        for table in made.paper.tables
        for row, column in table.cells()
    ]
    states = Counter(state_of(entry) for entry in found if entry is not None)
    return ReferenceView(
        anchor("reference", reference.name),
        reference.name,
        reference.card.tier,
        make_bar({key: states[key] for key in NUMBERS}, NUMBERS, "printed number"),
    )


def _telling(claims: Sequence[ClaimView]) -> list[ClaimView]:
    """A few, from as many papers as possible, numbers before arguments; in the page's order."""
    ranked = sorted(claims, key=lambda claim: claim.basis == ARGUMENT)
    taken: list[ClaimView] = []
    while len(taken) < min(TELLING, len(claims)):
        seen: set[str] = set()
        for claim in ranked:
            if claim not in taken and claim.paper not in seen and len(taken) < TELLING:
                seen.add(claim.paper)
                taken.append(claim)
    return [claim for claim in claims if claim in taken]


WITHOUT_OURS = ("not run", "missing", "undefined", "failed")
"""What becomes of a printed number that has none of ours beside it to be held against."""


def _headline(numbers: dict[str, int], words: dict[str, int], contradicted: int) -> str:
    total, judged = sum(numbers.values()), sum(numbers[k] for k in ("agrees", "differs"))
    with_ours = total - sum(numbers[key] for key in WITHOUT_OURS)
    if judged:
        parts = [
            f"Of {plural(total, 'printed number')}, {count(with_ours)} were measured again: "
            f"{count(numbers['agrees'])} agree and {count(numbers['differs'])} differ."
        ]
    elif with_ours and with_ours == numbers["marked"]:
        parts = [
            f"{count(with_ours)} of {plural(total, 'printed number')} have a counterpart "
            "from our runs; all are marked, so none has a verdict."
        ]
    else:
        parts = [
            f"{count(with_ours)} of {plural(total, 'printed number')} have a counterpart from "
            "our runs."
        ]
    if numbers["failed"]:
        parts.append(f"Runs behind another {count(numbers['failed'])} failed.")
    claims = plural(sum(words.values()), "claim")
    if sum(words.values()) and not words["does not hold"]:
        parts.append(f"None of the {claims} is refuted.")
    elif sum(words.values()):
        decided = "all" if contradicted == words["does not hold"] else count(contradicted)
        parts.append(
            f"{count(words['does not hold'])} of {claims} do not "
            f"hold, {decided} judged by the papers' own numbers or by an argument."
        )
    return " ".join(parts)
