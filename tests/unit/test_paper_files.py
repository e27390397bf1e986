"""The five papers in ``config/papers`` against their texts and published numbers."""

from __future__ import annotations

import csv
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from counterpoise.project import Project
from counterpoise.spec.claim import ChangeTest, references
from counterpoise.spec.figure import (
    CoursesFigure,
    DecisionFigure,
    HistoryFigure,
    TrajectoriesFigure,
)
from counterpoise.spec.paper import Table, parse_printed, slug

from ..support import ROOT

TEXTS = {
    "rotograd": "rotograd-2021-submission",
    "thoracic": "thoracic-classification",
    "deepchest": "deepchest-2505.23595",
    "imbalance": "imbalance-2509.23915",
    "db-mtl": "db-mtl-2308.12029",
}
PAPERS = sorted(TEXTS)
Pair = tuple[Decimal | None, Decimal | None]


def test_all_five_papers_are_here() -> None:
    assert set(PAPERS) <= {p.stem for p in (ROOT / "config" / "papers").glob("*.yaml")}


def test_there_are_many_claims(project: Project) -> None:
    """Those that only split another do not count."""
    counted = [[c for c in project.papers[name].claims if c.part_of is None] for name in PAPERS]
    assert sum(map(len, counted)) >= 40 and all(counted)


@pytest.mark.parametrize("name", PAPERS)
def test_a_claim_within_another_says_so(project: Project, name: str) -> None:
    claims = project.papers[name].claims
    for claim in claims:
        around = [
            other.id
            for other in claims
            if other is not claim and squeezed(claim.sentence) in squeezed(other.sentence)
        ]
        assert ([claim.part_of] if claim.part_of else []) == around, claim.id
    sentences = [squeezed(claim.sentence) for claim in claims]
    assert len(sentences) == len(set(sentences))


@pytest.mark.parametrize("name", PAPERS)
def test_a_figure_of_numbers_has_its_trend_tested(project: Project, name: str) -> None:
    """Of the paper's own figures: what it says that they show, where this project has numbers."""
    for figure in project.papers[name].figures:
        said = figure.trend and figure.place != "ours"
        kinds = HistoryFigure | CoursesFigure | TrajectoriesFigure | DecisionFigure
        if said and isinstance(figure.content, kinds):
            assert figure.test is not None, figure.id


@pytest.mark.parametrize("name", PAPERS)
def test_what_is_compared_has_a_direction(project: Project, name: str) -> None:
    """ "Better" means nothing for a number whose better side is not stated."""
    paper = project.papers[name]
    tables = {table.id: table for table in paper.tables}
    for claim in paper.claims:
        for ref in references(claim.test):
            if claim.test.kind == "limit":
                continue
            table_id, row_id, column_id = ref.split("/")
            table = tables[table_id]
            row = next(row for row in table.rows if row.id == row_id)
            column = next(column for column in table.columns if column.id == column_id)
            assert table.quantity(row, column).better is not None, (claim.id, ref)


@pytest.mark.parametrize("name", PAPERS)
def test_a_number_that_is_not_the_authors_own_says_where_it_is_from(
    project: Project, name: str
) -> None:
    for table in project.papers[name].tables:
        for row in table.rows:
            assert bool(row.mark) == bool(row.origin), (table.id, row.id)


def squeezed(text: str) -> str:
    """Without line breaks and the asterisks by which the transcripts mark emphasis."""
    return " ".join(text.replace("*", "").split())


@pytest.mark.parametrize("name", PAPERS)
def test_claims_quote_the_paper_word_for_word(project: Project, name: str, shared: Path) -> None:
    text = (shared / "papers" / f"{TEXTS[name]}.txt").read_text(encoding="utf-8")
    # A figure with its caption may stand within a sentence.
    texts = [squeezed(text), squeezed(re.sub(r"\n\s*\nFigure \d+: .*\n\s*\n", " ", text))]
    wrong = [
        claim.id
        for claim in project.papers[name].claims
        if not any(squeezed(claim.sentence) in one for one in texts)
    ]
    assert wrong == []


def test_every_percentage_of_the_thoracic_paper_is_dealt_with(
    project: Project, shared: Path
) -> None:
    """By a claim that quotes it and tests it, or as what the protocol leaves open."""
    text = (shared / "papers" / f"{TEXTS['thoracic']}.txt").read_text(encoding="utf-8")
    paper = project.papers["thoracic"]
    told = " ".join(
        [*(c.sentence for c in paper.claims), *(a.paper_says for a in paper.assumptions)]
    )
    told = told.replace(" %", "%")
    found = set(re.findall(r"\d+%", text))
    assert found == {"28%", "15%", "20%", "12%", "10%", "80%"}
    assert [percent for percent in found if percent not in told] == []
    of_size = {c.test.claimed for c in paper.claims if isinstance(c.test, ChangeTest)}
    assert of_size == {28, 15, 20, 12}


def published(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.reader(handle))[1:]


def pairs(cells: list[str]) -> list[Pair]:
    """Columns of mean and deviation to pairs; empty cells are not printed."""
    values = [Decimal(cell) if cell else None for cell in cells]
    return list(zip(values[::2], values[1::2], strict=True))


def printed(table: Table) -> list[list[Pair]]:
    read = [[parse_printed(text) for text in row.printed] for row in table.rows]
    return [[(p.value, p.spread) if p else (None, None) for p in row] for row in read]


def table_of(project: Project, paper: str, name: str) -> Table:
    return next(table for table in project.papers[paper].tables if table.id == name)


@pytest.mark.parametrize(("number", "keys"), [(1, 1), (2, 2), (3, 1), (4, 1)])
def test_rotograd_prints_what_is_published(
    project: Project, shared: Path, number: int, keys: int
) -> None:
    rows = published(shared / "published" / f"rotograd_table{number}.csv")
    table = table_of(project, "rotograd", f"table-{number}")
    assert printed(table) == [pairs(row[keys:]) for row in rows]


def test_rotograd_rows_stand_under_their_names(project: Project, shared: Path) -> None:
    def names(number: int) -> list[list[str]]:
        return [row[:2] for row in published(shared / "published" / f"rotograd_table{number}.csv")]

    def rows(number: int) -> Any:
        return table_of(project, "rotograd", f"table-{number}").rows

    decays = [row.label for row in rows(1)]
    assert decays[:-1] == [row[0] for row in names(1)][:-1] and rows(1)[-1].id == "closed-form"
    assert [[row.group, row.label] for row in rows(2)] == names(2)
    assert [row.id for row in rows(3)] == [slug(row[0].replace("_", " ")) for row in names(3)]
    assert [row.task or "delta_m_percent" for row in rows(4)] == [row[0] for row in names(4)]


@pytest.mark.parametrize("number", [1, 2])
def test_thoracic_prints_what_is_published(project: Project, shared: Path, number: int) -> None:
    rows = published(shared / "published" / f"thoracic_table{number}.csv")
    table = table_of(project, "thoracic", f"table-{number}")
    assert [row.label for row in table.rows] == [row[0] for row in rows]
    assert printed(table) == [[(Decimal(cell), None) for cell in row[1:]] for row in rows]


def test_no_row_says_not_run_without_a_reason(project: Project) -> None:
    """A printed number either names the run that measures it, or says why there is none."""
    for paper in project.papers.values():
        for table in paper.tables:
            for row in table.rows:
                for column, text in zip(table.columns, row.printed, strict=True):
                    quantity = table.quantity(row, column)
                    measured = quantity.experiment and quantity.run and quantity.metric
                    told = measured or quantity.unavailable or parse_printed(text) is None
                    assert told, (paper.id, table.id, row.id, column.id)
