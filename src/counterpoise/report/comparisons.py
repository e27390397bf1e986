"""Methods against each other, and the words for figures' trends, as the page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from counterpoise.report.claims import References
from counterpoise.report.inputs import PaperFiles
from counterpoise.report.legend import CLAIMS, Term
from counterpoise.report.numbers import decimals_for, fixed, signed, significant
from counterpoise.report.text import anchor
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
    descriptions: tuple[DescriptionView, ...]


@dataclass(frozen=True)
class TrendView:
    """The word for a figure's trend."""

    word: Term
    basis: str
    reason: str
    steps: tuple[str, ...]


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
    labels = {row.id: row.label for table in paper.tables for row in table.rows}
    return tuple(
        RankingView(
            anchor("ranking", paper.id, entry["id"]),
            entry["title"],
            f"{entry['datasets']} data sets; Friedman's test that all are alike: "
            f"p = {significant(entry['p'], 2)}; mean ranks less than "
            f"{fixed(entry['critical'], 1)} apart are not told apart (Nemenyi, 5 %)",
            tuple(
                (
                    labels[method["row"]],
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
        rows = {row.id: row.label for row in table.rows}
        columns = {column.id: column.label for column in table.columns}
        found.append(
            MethodsView(
                anchor("methods", paper.id, table.id),
                f"{table.place if table.place != 'ours' else 'Ours'}. {table.title}",
                compared[0]["own"].rpartition("/")[2].replace("_", " ") if compared else "",
                tuple(
                    _comparison(entry, rows[entry["row"]], columns[entry["column"]])
                    for entry in compared
                ),
                tuple(_description(entry) for entry in described),
            )
        )
    return tuple(found)


def _comparison(entry: dict[str, Any], row: str, column: str) -> ComparisonView:
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
    )


def _description(entry: dict[str, Any]) -> DescriptionView:
    gains = entry["profile"]
    return DescriptionView(
        entry["run"].replace("_", " "),
        f"{fixed(entry['mean_rank'], 1)} of {entry['methods']}",
        f"{entry['first']} of {entry['tasks']}",
        f"{fixed(100 * gains['at_least_as_good'], 0)} % of {gains['values']}" if gains else "",
    )


def trend_views(paper: Paper, files: PaperFiles) -> dict[str, TrendView]:
    """The words for trends, by figure."""
    references = References(paper)
    return {
        name: TrendView(
            CLAIMS.get(result["word"], CLAIMS["missing"]),
            result["basis"],
            result["reason"],
            tuple(
                references.link(step)
                for source in ("printed", "runs")
                for step in result[source]["steps"]
            ),
        )
        for name, result in files.trends.items()
    }
