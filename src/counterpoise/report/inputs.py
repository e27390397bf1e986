"""Everything that the report reads. What cannot be read becomes a notice, never an error.

Where a paper's tables or claims are missing because one cell has crashed, they are put together
here from the scores that exist, so that one missing number does not hide the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from counterpoise.layout import PaperPlan
from counterpoise.plan import Plan
from counterpoise.provenance import commit
from counterpoise.reference import FOLDER, Reference, entries_of, read_references
from counterpoise.report.cell_files import CellFiles, Notice, read_cell
from counterpoise.report.incomplete import numbers_found, tables_from_scores
from counterpoise.report.shapes import is_record, read_object
from counterpoise.report.svg_check import is_drawing
from counterpoise.reproduction.claims import judge_claim, judge_trends
from counterpoise.reproduction.comparisons import rank_printed
from counterpoise.spec.paper import Paper
from counterpoise.spec.study import OWN


@dataclass(frozen=True)
class FigureFiles:
    """A figure as drawn, with the names of its data's columns in their order."""

    svg: str
    columns: list[str]
    data: list[dict[str, Any]]
    marks: list[str]


@dataclass(frozen=True)
class ViewFiles:
    """A view of an experiment's trade-offs as drawn.

    Attributes:
        of: the experiment's title.
        ran: network and data that stand in for those of the title; empty where nothing does.
    """

    experiment: str
    kind: str
    title: str
    of: str
    ran: str
    note: str
    drawn: FigureFiles


@dataclass
class PaperFiles:
    """What exists of a paper."""

    tables: dict[str, Any]
    claims: dict[str, dict[str, Any]]
    figures: dict[str, FigureFiles]
    views: list[ViewFiles] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    comparisons: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    descriptions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    trends: dict[str, dict[str, Any]] = field(default_factory=dict)
    rankings: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Inputs:
    """Everything that the report shows, besides the plan.

    Attributes:
        summaries: folder of prepared data to what its parts hold.
        references: committed results of larger runs.
        unreadable: references that are damaged.
    """

    commit: dict[str, Any]
    cells: dict[str, CellFiles]
    papers: dict[str, PaperFiles]
    summaries: dict[str, dict[str, Any]]
    references: tuple[Reference, ...] = ()
    unreadable: tuple[str, ...] = ()


def read_inputs(root: Path, plan: Plan) -> Inputs:
    """Read the results of a plan."""
    cells = {key: read_cell(root, training) for key, training in plan.trainings.items()}
    papers = {name: _paper(root, plan, made, cells) for name, made in plan.papers.items()}
    used = {training.data.folder: training.data for training in plan.every.values()}
    read = {folder: read_object(root / data.summary) for folder, data in used.items()}
    summaries = {folder: summary for folder, summary in read.items() if "parts" in summary}
    references, unreadable = _references(root, plan)
    return Inputs(commit(root), cells, papers, summaries, references, unreadable)


def _references(root: Path, plan: Plan) -> tuple[tuple[Reference, ...], tuple[str, ...]]:
    """Committed results, and one line on each whose files or records cannot be read."""
    if plan.tier_name == OWN:  # they speak of papers
        return (), ()
    found, unreadable = read_references(root, plan.project)
    odd = {
        reference.name: key
        for reference in found
        for key, record in reference.records.items()
        if not is_record(record)
    }
    lines = [
        f"{FOLDER}/{name}: the record of {key} does not have the expected form"
        for name, key in odd.items()
    ]
    return tuple(one for one in found if one.name not in odd), (*unreadable, *lines)


def _paper(root: Path, plan: Plan, made: PaperPlan, cells: dict[str, CellFiles]) -> PaperFiles:
    paper = made.paper
    notices = []
    tabled, judged = read_object(root / made.tables), read_object(root / made.claims)
    tables, rankings = tabled.get("tables"), tabled.get("rankings") or []
    pulled = {key for key, files in cells.items() if files.pulled}
    if tables is None or not _complete(paper, tables):
        if paper.tables:
            what = "its tables, assembled here from the scores that exist"
            told = f"{what}, without comparisons between methods"
            notices.append(Notice(told, made.log("tables")))
        tables = tables_from_scores(root, plan, paper, cells)
        rankings = [rank_printed(paper, ranked) for ranked in paper.rankings]
    for entry in entries_of(tables):
        if entry["ours"] is not None and pulled & {*entry["ours"]["cells"]}:
            entry["marks"].append("pulled")
    found, trends = judged.get("claims"), judged.get("figures") or {}
    if not isinstance(found, list) or len(found) != len(paper.claims):
        if paper.claims:
            told = "its claims, judged here from the tables that exist"
            notices.append(Notice(told, made.log("claims")))
        numbers = numbers_found(root, plan, paper, cells, tables)
        found = [judge_claim(claim, numbers) for claim in paper.claims]
        trends = judge_trends(paper, numbers)
    figures = {}
    for name in made.figure_digests:
        drawn = _drawn(root / made.figure(name))
        if drawn is None:
            notices.append(Notice(f"figure {name}", made.log("figures", name)))
        else:
            figures[name], _ = drawn
    views, unreadable = _views(root / made.views) if made.viewed else ([], [])
    if made.viewed and not views:
        unreadable = ["the views of its trade-offs"]
    notices += [Notice(what, made.log("views")) for what in unreadable]
    return PaperFiles(
        tables,
        {claim["id"]: claim for claim in found},
        figures,
        views,
        notices,
        tabled.get("comparisons") or {},
        tabled.get("descriptions") or {},
        trends,
        [ranked for ranked in rankings if ranked is not None],
    )


def _complete(paper: Paper, tables: Any) -> bool:
    """Whether every number of the paper has its entry."""
    try:
        return all(
            "verdict" in tables[table.id][row.id][column.id]
            for table in paper.tables
            for row, column in table.cells()
        )
    except (KeyError, TypeError):
        return False


def _drawn(path: Path) -> tuple[FigureFiles, dict[str, Any]] | None:
    """A drawing with all that its JSON says; None where a part is missing, or is more than that."""
    behind = read_object(path.with_suffix(".json"))
    try:
        svg = path.read_text(encoding="utf-8")
        lists = (list(behind[name]) for name in ("columns", "data", "marks"))
        figure = FigureFiles(svg, *lists)
    except (OSError, UnicodeDecodeError, KeyError, TypeError):
        return None
    return (figure, behind) if is_drawing(svg) else None


def _views(folder: Path) -> tuple[list[ViewFiles], list[str]]:
    """The views of a paper, as they are named in their files, and those that cannot be read."""
    found, unreadable = [], []
    for path in sorted({path.with_suffix(".svg") for path in folder.glob("[!.]*")}):
        drawn = _drawn(path)
        if drawn is None:
            unreadable.append(f"view {path.stem}")
            continue
        figure, behind = drawn
        names = ("experiment", "kind", "title", "of", "ran", "note")
        told = {name: str(behind.get(name, "")) for name in names}
        found.append(ViewFiles(**told, drawn=figure))
    return found, unreadable
