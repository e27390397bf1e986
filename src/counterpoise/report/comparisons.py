"""Methods against each other, and the words for figures' trends, as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from counterpoise.report.claims import CellLinks, reason_of
from counterpoise.report.inputs import PaperFiles
from counterpoise.report.legend import CLAIMS, Term, common, mark
from counterpoise.report.numbers import decimals_for, fixed, signed, significant
from counterpoise.report.text import anchor, row_name
from counterpoise.reproduction.words import label_of
from counterpoise.spec.paper import Paper


@dataclass(frozen=True)
class ComparisonView:
    """One paired difference, in printed units."""

    row: str
    column: str
    difference: str
    interval: str
    effect: str
    p: str
    seeds: int
    word: str
    marks: tuple[Term, ...]


@dataclass(frozen=True)
class DescriptionView:
    """Where a run stands among the others over tasks."""

    row: str
    rank: str
    first: str
    gains: str


@dataclass(frozen=True)
class MethodsView:
    """The comparisons of one table."""

    id: str
    title: str
    own: str
    comparisons: tuple[ComparisonView, ...]
    word: str
    """What holds of all comparisons, where that is one word; the rows do not repeat it."""
    marks: tuple[Term, ...]
    """Marks of all comparisons, which the rows do not repeat either."""
    descriptions: tuple[DescriptionView, ...]


@dataclass(frozen=True)
class TrendView:
    """The word for a figure's trend."""

    word: Term
    basis: str
    reason: Markup
    steps: tuple[Markup, ...]


@dataclass(frozen=True)
class RankingView:
    """Methods by their printed numbers over data sets."""

    id: str
    title: str
    rule: str
    methods: tuple[tuple[str, str, str], ...]
    """Label, mean rank, and whether it is told apart from the first."""


def ranking_views(paper: Paper, files: PaperFiles) -> tuple[RankingView, ...]:
    """The rankings of a paper."""
    # A row of the same name may be called otherwise in a table that is not ranked.
    labels = {
        ranked.id: {r.id: r.label for r in paper.table(ranked.over[0].partition("/")[0]).rows}
        for ranked in paper.rankings
    }
    return tuple(
        RankingView(
            anchor("ranking", paper.id, entry["id"]),
            entry["title"],
            f"{entry['datasets']} data sets; Friedman's test that all methods are alike: "
            f"p = {significant(entry['p'], 2)}; methods whose mean ranks differ by less than "
            f"{fixed(entry['critical'], 1)} are not told apart (Nemenyi, 5 %)",
            tuple(
                (
                    labels[entry["id"]][method["row"]],
                    fixed(method["mean_rank"], 1),
                    "told apart from the first" if method["apart"] else "",
                )
                for method in entry["methods"]
            ),
        )
        for entry in files.rankings
    )


def methods_views(paper: Paper, files: PaperFiles) -> tuple[MethodsView, ...]:
    """The comparisons of each table that has some."""
    found = []
    for table in paper.tables:
        compared = files.comparisons.get(table.id, [])
        described = files.descriptions.get(table.id, [])
        if not compared and not described:
            continue
        rows = {row.id: row_name(row.group, row.label) for row in table.rows}
        columns = {column.id: column.label for column in table.columns}
        shared = common(entry["marks"] for entry in compared)
        found.append(
            MethodsView(
                anchor("methods", paper.id, table.id),
                f"{table.place if table.place != 'ours' else 'Ours'}. {table.title}",
                _label(paper, compared[0]["own"]) if compared else "",
                tuple(
                    _comparison(entry, rows[entry["row"]], columns[entry["column"]], shared)
                    for entry in compared
                ),
                words.pop() if len(words := {entry["word"] for entry in compared}) == 1 else "",
                tuple(mark(name) for name in shared),
                tuple(_description(paper, entry) for entry in described),
            )
        )
    return tuple(found)


def _label(paper: Paper, run: str) -> str:
    """The name for people of ``experiment/run``."""
    experiment, _, name = run.partition("/")
    return label_of(paper, experiment, name)


def _comparison(
    entry: dict[str, Any], row: str, column: str, shared: Sequence[str]
) -> ComparisonView:
    decimals = decimals_for(entry["difference"], entry["sd"])
    interval = entry["interval"]
    return ComparisonView(
        row,
        column,
        signed(entry["difference"], decimals),
        f"{signed(interval[0], decimals)} to {signed(interval[1], decimals)}" if interval else "",
        fixed(entry["effect"], 2) if entry["effect"] is not None else "",
        significant(entry["p_holm"], 2) if entry["p_holm"] is not None else "",
        entry["n"],
        entry["word"],
        tuple(mark(name) for name in entry["marks"] if name not in shared),
    )


def _description(paper: Paper, entry: dict[str, Any]) -> DescriptionView:
    gains = entry["profile"]
    return DescriptionView(
        _label(paper, entry["run"]),
        f"{fixed(entry['mean_rank'], 1)} of {entry['methods']}",
        f"{entry['first']} of {entry['scores']}",
        _gains(gains) if gains else "",
    )


def _gains(profile: dict[str, Any]) -> str:
    undefined = f", {profile['undefined']} undefined" if profile["undefined"] else ""
    return f"{fixed(100 * profile['at_least_as_good'], 0)} % of {profile['values']}{undefined}"


def trend_views(paper: Paper, files: PaperFiles) -> dict[str, TrendView]:
    """The words for trends, by figure."""
    links = CellLinks(paper)
    return {
        name: TrendView(
            CLAIMS.get(result["word"], CLAIMS["missing"]),
            result["basis"],
            links.link(reason_of(result)),
            tuple(links.link(step) for step in _steps(result)),
        )
        for name, result in files.trends.items()
    }


def _steps(result: dict[str, Any]) -> list[str]:
    """Each comparison; one that is the reason already is not said twice."""
    steps = [step for source in ("printed", "runs") for step in result[source]["steps"]]
    return [] if steps == [result["reason"]] else steps
