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
from counterpoise.reproduction.claims import Numbers, judge_claim
from counterpoise.reproduction.ours import Scores
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
    """

    training: Training
    record: dict[str, Any] | None
    scores: dict[str, Any] | None
    missing: Notice | None


@dataclass(frozen=True)
class FigureFiles:
    """A figure as drawn."""

    svg: str
    data: list[dict[str, Any]]
    marks: list[str]


@dataclass
class PaperFiles:
    """What exists of a paper."""

    tables: dict[str, Any]
    claims: dict[str, dict[str, Any]]
    figures: dict[str, FigureFiles]
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
    """

    commit: dict[str, Any]
    cells: dict[str, CellFiles]
    papers: dict[str, PaperFiles]
    summaries: dict[str, dict[str, Any]]


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
    return Inputs(commit(root), cells, papers, summaries)


def log_of(training: Training, step: str) -> str:
    """The log of one step of a cell."""
    name = f"{training.name}-{training.digest}"
    scoring = f"-{training.scoring}" if step == "evaluate" else ""
    return f"logs/{training.tier}/{step}/{name}{scoring}.log"


def _read(path: Path, key: str) -> Any:
    """The entry ``key`` of a JSON file, or None."""
    try:
        return read_json(path)[key]
    except (UserError, KeyError, TypeError):
        return None


def _cell(root: Path, training: Training) -> CellFiles:
    path = root / training.file("record.json")
    record = read_json(path) if _read(path, "seeds") is not None else None
    scores = _read(root / training.scores, "scores")
    missing = None
    if record is None:
        missing = Notice(f"{training.name} is not trained", log_of(training, "train"))
    elif scores is None:
        missing = Notice(f"{training.name} is not scored", log_of(training, "evaluate"))
    return CellFiles(training, record, scores, missing)


def _paper(root: Path, plan: Plan, made: PaperPlan, cells: dict[str, CellFiles]) -> PaperFiles:
    paper, logs = made.paper, f"logs/{made.tier}"
    notices = []
    tables = _read(root / made.tables, "tables")
    if tables is None or not _complete(paper, tables):
        if paper.tables:
            log = f"{logs}/tables/{paper.id}-{made.tables_digest}.log"
            notices.append(Notice("its tables, put together here from the scores that exist", log))
        tables = _tables_from_scores(root, plan, paper, cells)
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
    return PaperFiles(
        tables,
        {claim["id"]: claim for claim in found},
        figures,
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


def _tables_from_scores(
    root: Path, plan: Plan, paper: Paper, cells: dict[str, CellFiles]
) -> dict[str, Any]:
    scores = Scores(root, plan)

    def entry(table: Table, row: Row, column: Column, text: str) -> dict[str, Any]:
        try:
            return make_entry(scores, paper, table, row, column, text)
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
