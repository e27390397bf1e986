"""Claims as the page shows them: the word first, then why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from counterpoise.reference import Reference
from counterpoise.report.legend import CLAIMS, Term, mark
from counterpoise.report.numbers import count
from counterpoise.report.text import NOTHING, anchor, first_sentence, linked_refs, row_name
from counterpoise.reproduction.claims import ARGUMENT, PRINTED, tendency
from counterpoise.spec.claim import ChangeTest, Claim, CompareTest, TrendTest
from counterpoise.spec.paper import Paper

SETTLED = (ARGUMENT, PRINTED)
"""Bases that need no run of ours."""


@dataclass(frozen=True)
class EvidenceView:
    """What one source of numbers says."""

    title: str
    word: Term | None
    steps: tuple[Markup, ...]
    marks: tuple[Term, ...]
    missing: tuple[Markup, ...]


@dataclass(frozen=True)
class Beside:
    """What the runs of committed results say of a claim.

    Attributes:
        tendency: a mark of theirs leaves the claim inconclusive.
    """

    name: str
    id: str
    word: Term
    marks: tuple[Term, ...]
    tendency: bool


@dataclass(frozen=True)
class ClaimView:
    """One claim."""

    id: str
    paper: str
    spec: Claim
    word: Term
    basis: str = ""
    reason: Markup = NOTHING
    short: Markup = NOTHING
    """The reason in one line."""
    settled: bool = False
    """The word needs no run of ours."""
    evidence: tuple[EvidenceView, ...] = ()
    beside: tuple[Beside, ...] = ()


class CellLinks:
    """Readable names and addresses of ``table/row/column``."""

    def __init__(self, paper: Paper) -> None:
        self._paper = paper
        self._known = {
            f"{table.id}/{row.id}/{column.id}": (
                anchor("table", paper.id, table.id),
                f"{table.place if len(table.place) < 20 else table.title}, "
                f"{row_name(row.group, row.label)}, {column.label}",
            )
            for table in paper.tables
            for row, column in table.cells()
        }
        self._printed = {table.id for table in paper.tables if table.place != "ours"}

    def printed(self, refs: Sequence[str]) -> list[str]:
        """Those in the paper's own tables: of ours it prints none."""
        return [ref for ref in refs if ref.partition("/")[0] in self._printed]

    def resolve(self, ref: str) -> tuple[str, str] | None:
        """Address and name of a reference."""
        return self._known.get(ref)

    def link(self, text: str) -> Markup:
        """Text with its references as links."""
        return linked_refs(text, self.resolve)


def claim_views(
    paper: Paper, results: dict[str, Any], others: Sequence[Reference] = ()
) -> tuple[ClaimView, ...]:
    """All claims of a paper; ``others`` are committed results that have judged them, too."""
    links = CellLinks(paper)
    return tuple(
        _view(paper, claim, results.get(claim.id), links, others) for claim in paper.claims
    )


def count_words(claims: Sequence[ClaimView]) -> dict[str, int]:
    """Claims by word, in the legend's order; without those that only split another."""
    found = Counter(claim.word.key for claim in claims if claim.spec.part_of is None)
    return {key: found[key] for key in CLAIMS}


def _view(
    paper: Paper,
    claim: Claim,
    result: dict[str, Any] | None,
    links: CellLinks,
    others: Sequence[Reference],
) -> ClaimView:
    name = anchor("claim", paper.id, claim.id)
    if result is None:
        return ClaimView(name, paper.id, claim, CLAIMS["missing"])
    printed = {**result["printed"], "missing": links.printed(result["printed"]["missing"])}
    evidence = [
        _evidence(title, source, links)
        for title, source in (("The paper's numbers", printed), ("Our runs", result["runs"]))
        # One step that is the reason already need not be said twice.
        if source["steps"] != [result["reason"]] or source["missing"]
    ]
    beside = []
    for other in others:
        found = other.claim(paper.id, claim)
        if found is not None:
            title = f"Reference {other.name}, tier {other.card.tier}: {found['basis']}"
            told = _evidence(title, found["runs"], links)
            evidence.append(told)
            if told.word is not None:
                at = anchor("reference", other.name)
                lesser = bool(tendency(found["runs"]["marks"]))
                beside.append(Beside(other.name, at, told.word, told.marks, lesser))
    return ClaimView(
        name,
        paper.id,
        claim,
        CLAIMS.get(result["word"], CLAIMS["missing"]),
        basis=result["basis"],
        reason=links.link(reason_of(result)),
        short=_short(claim, result, links),
        settled=result["basis"] in SETTLED,
        evidence=tuple(found for found in evidence if found.steps or found.missing),
        beside=tuple(beside),
    )


def _short(claim: Claim, result: dict[str, Any], links: CellLinks) -> Markup:
    """One line. Where several numbers decide, the paper file's comment says it best."""
    several = isinstance(claim.test, CompareTest | TrendTest | ChangeTest) or not result["reason"]
    if several and claim.comment and result["basis"] in SETTLED:
        return links.link(first_sentence(claim.comment))
    return links.link(first_sentence(reason_of(result)) or result["basis"])


def reason_of(result: dict[str, Any]) -> str:
    """The reason as a sentence; a tendency names its marks by their words.

    What several comparisons leave open together has none of its own.
    """
    runs, reason = result["runs"], str(result["reason"])
    lesser = tendency(runs["marks"])
    if result["basis"] not in SETTLED and runs["word"] and lesser:
        marks = ", ".join(mark(name).word for name in lesser)
        return f"Our runs show only a tendency ({marks}): {runs['word']}."
    steps = result["printed" if result["basis"] in SETTLED else "runs"]["steps"]
    if result["word"] == "inconclusive" and not reason and steps:
        return (
            f"Not all of its {count(len(steps))} comparisons come out, and none clearly comes out "
            "the other way."
        )
    if reason and "/" not in reason.split(" ", maxsplit=1)[0]:
        reason = reason[0].upper() + reason[1:]
    return reason if not reason or reason.endswith((".", "?", "!")) else f"{reason}."


def _evidence(title: str, found: dict[str, Any], links: CellLinks) -> EvidenceView:
    return EvidenceView(
        title,
        CLAIMS.get(found["word"]) if found["word"] else None,
        tuple(links.link(step) for step in found["steps"]),
        tuple(mark(name) for name in found["marks"]),
        tuple(links.link(ref) for ref in found["missing"]),
    )
