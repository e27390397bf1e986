"""Everything that the report reads. What cannot be read becomes a notice, never an error.

Where a paper's tables or claims are missing because one cell has crashed, they are put together
here from the scores that exist, so that one missing number does not hide the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.files import read_json
from counterpoise.layout import PaperPlan, RunPlan, Training
from counterpoise.plan import Plan
from counterpoise.provenance import commit
from counterpoise.report.origin import (
    FoundScores,
    is_pulled,
    log_of,
    older_result,
    read_older,
)
from counterpoise.report.reference import Reference, read_references
from counterpoise.reproduction.claims import Numbers, judge_claim
from counterpoise.reproduction.tables import make_entry
from counterpoise.spec.paper import Column, Paper, Row, Table, parse_printed

# Whatever is more than a drawing: scripts, handlers, foreign content, pictures from elsewhere.
_ACTIVE = re.compile(
    r"<(script|foreignobject|iframe)\b|<[^>]*\son[a-z]+\s*=|javascript:"
    r'|<image\b(?![^>]*href="data:image/png;base64,)',
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Notice:
    """Something that should be there and is not, with the log that may say why."""

    what: str
    log: str


@dataclass(frozen=True)
class CellFiles:
    """What exists of a cell.

    Attributes:
        missing: the first step that has left no result, with its log.
        older: digest of the older result that is shown in its place.
        pulled: no log of its training lies here.
    """

    training: Training
    record: dict[str, Any] | None
    scores: dict[str, Any] | None
    missing: Notice | None
    older: str = ""
    pulled: bool = False


@dataclass(frozen=True)
class FigureFiles:
    """A figure as drawn."""

    svg: str
    data: list[dict[str, Any]]
    marks: list[str]


@dataclass(frozen=True)
class ViewFiles:
    """A view of an experiment's trade-offs as drawn; ``of`` is the experiment's title."""

    experiment: str
    kind: str
    title: str
    of: str
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
    cells = {key: _cell(root, training) for key, training in plan.trainings.items()}
    papers = {name: _paper(root, plan, made, cells) for name, made in plan.papers.items()}
    used = {training.data.folder: training.data for training in plan.trainings.values()}
    summaries = {
        folder: read_json(root / data.summary)
        for folder, data in used.items()
        if _read(root / data.summary, "parts") is not None
    }
    references, unreadable = read_references(root, plan.project)
    return Inputs(commit(root), cells, papers, summaries, references, unreadable)


def _read(path: Path, key: str) -> Any:
    """The entry ``key`` of a JSON file, or None."""
    try:
        return read_json(path)[key]
    except (UserError, KeyError, TypeError):
        return None


def _cell(root: Path, training: Training) -> CellFiles:
    path = root / training.file("record.json")
    record = read_json(path) if _read(path, "seeds") is not None else None
    path = root / training.scores
    scores = read_json(path) if _read(path, "scores") is not None else None
    missing = None
    if record is None:
        missing = Notice(f"{training.name} is not trained", log_of(training, "train"))
    elif scores is None:
        missing = Notice(f"{training.name} is not scored", log_of(training, "evaluate"))
    folder = older_result(root, training) if missing is not None else None
    older = read_older(folder) if folder is not None else None
    if folder is None or older is None:
        return CellFiles(training, record, scores, missing, "", is_pulled(root, training))
    return CellFiles(training, *older, missing, folder.name)


def _paper(root: Path, plan: Plan, made: PaperPlan, cells: dict[str, CellFiles]) -> PaperFiles:
    paper, logs = made.paper, f"logs/{made.tier}"
    notices = []
    tables = _read(root / made.tables, "tables")
    pulled = {key for key, files in cells.items() if files.pulled}
    if tables is None or not _complete(paper, tables):
        if paper.tables:
            log = f"{logs}/tables/{paper.id}-{made.tables_digest}.log"
            notices.append(Notice("its tables, put together here from the scores that exist", log))
        tables = _tables_from_scores(root, plan, paper, cells)
    for entry in (
        entry for rows in tables.values() for row in rows.values() for entry in row.values()
    ):
        if entry["ours"] is not None and pulled & {*entry["ours"]["cells"]}:
            entry["marks"].append("pulled")
    found = _read(root / made.claims, "claims")
    if not isinstance(found, list) or len(found) != len(paper.claims):
        if paper.claims:
            log = f"{logs}/claims/{paper.id}-{made.claims_digest}.log"
            notices.append(Notice("its claims, judged here from the tables that exist", log))
        numbers = Numbers(tables)
        found = [judge_claim(claim, numbers) for claim in paper.claims]
    figures = {}
    for name, digest in made.figure_digests.items():
        drawn = _figure(root / made.figure(name))
        if drawn is None:
            log = f"{logs}/figures/{paper.id}-{name}-{digest}.log"
            notices.append(Notice(f"figure {name}", log))
        else:
            figures[name] = drawn
    views = _views(root / made.views) if made.viewed else []
    if made.viewed and not views:
        log = f"{logs}/views/{paper.id}-{made.views_digest}.log"
        notices.append(Notice("the views of its trade-offs", log))
    return PaperFiles(
        tables,
        {claim["id"]: claim for claim in found},
        figures,
        views,
        notices,
        _read(root / made.tables, "comparisons") or {},
        _read(root / made.tables, "descriptions") or {},
        _read(root / made.claims, "figures") or {},
        [found for found in _read(root / made.tables, "rankings") or [] if found is not None],
    )


def _complete(paper: Paper, tables: Any) -> bool:
    """Whether every number of the paper has its entry."""
    try:
        return all(
            "verdict" in tables[table.id][row.id][column.id]
            for table in paper.tables
            for row in table.rows
            for column in table.columns
        )
    except (KeyError, TypeError):
        return False


def _figure(path: Path) -> FigureFiles | None:
    """A drawn figure; None where a part is missing, or is more than a drawing."""
    try:
        svg = path.read_text(encoding="utf-8")
        behind = read_json(path.with_suffix(".json"))
        figure = FigureFiles(svg, list(behind["data"]), list(behind["marks"]))
    except (OSError, UnicodeDecodeError, UserError, KeyError, TypeError):
        return None
    return figure if svg.startswith("<svg") and not _ACTIVE.search(svg) else None


def _views(folder: Path) -> list[ViewFiles]:
    """The views of a paper, as they are named in their files."""
    found = []
    for path in sorted(folder.glob("*.svg")):
        drawn = _figure(path)
        if drawn is not None:
            behind = read_json(path.with_suffix(".json"))
            names = ("experiment", "kind", "title", "of", "note")
            told = {name: str(behind.get(name, "")) for name in names}
            found.append(ViewFiles(**told, drawn=drawn))
    return found


def _tables_from_scores(
    root: Path, plan: Plan, paper: Paper, cells: dict[str, CellFiles]
) -> dict[str, Any]:
    older = {k: (files.record, files.scores) for k, files in cells.items() if files.older}
    scores = FoundScores(root, plan, older)

    def entry(table: Table, row: Row, column: Column, text: str) -> dict[str, Any]:
        try:
            found = make_entry(scores, paper, table, row, column, text)
            if found["ours"] is not None and older.keys() & {*found["ours"]["cells"]}:
                found["marks"].append("stale")
            return found
        except (UserError, KeyError, TypeError):
            return missing_entry(plan, paper, table, row, column, text, cells)

    return {
        table.id: {
            row.id: {
                column.id: entry(table, row, column, text)
                for column, text in zip(table.columns, row.printed, strict=True)
            }
            for row in table.rows
        }
        for table in paper.tables
    }


def missing_entry(
    plan: Plan,
    paper: Paper,
    table: Table,
    row: Row,
    column: Column,
    text: str,
    cells: dict[str, CellFiles],
) -> dict[str, Any]:
    """An entry of a table whose number should exist and does not, in the form of the others."""
    quantity, printed = table.quantity(row, column), parse_printed(text)
    names = (quantity.run, table.baseline)
    runs = [plan.runs.get((paper.id, str(quantity.experiment), str(name))) for name in names]
    logs = [
        f"{notice.what}, see {notice.log}"
        for run in runs
        if run is not None
        for notice in missing_of_run(run, cells)
    ]
    return {
        "printed": text if printed is not None else None,
        "printed_value": float(printed.value) if printed is not None else None,
        "printed_spread": float(printed.spread) if printed and printed.spread else None,
        "ours": None,
        "difference": None,
        "interval": None,
        "margin": None,
        "marks": [row.mark] if row.mark else [],
        "verdict": "missing",
        "rule": "the job that makes our number has failed or has not run",
        "reason": "; ".join(dict.fromkeys(logs)) or "its scores cannot be read",
        "better": quantity.better,
        "metric": quantity.metric,
        "run": f"{quantity.experiment}/{quantity.run}" if runs[0] is not None else None,
        "reductions": list(runs[0].reductions) if runs[0] is not None else [],
    }


def missing_of_run(run: RunPlan, cells: dict[str, CellFiles]) -> list[Notice]:
    """What a run lacks."""
    found = [cells[key].missing for key in dict.fromkeys(run.cells.values())]
    return [notice for notice in found if notice is not None]
