"""The tables for authors, as LaTeX and Markdown, with the texts of the page: the same digits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import get_args

from jinja2 import Environment

from counterpoise.report.entries import Number
from counterpoise.report.legend import Term
from counterpoise.report.tables import Line, TableView
from counterpoise.spec.paper import Mark, Paper
from counterpoise.templates import environment

_TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "%": r"\%", "_": r"\_", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "\N{MINUS SIGN}": "$-$", "±": r"$\pm$", "≈": r"$\approx$", "×": r"$\times$", "<": r"$<$",
    ">": r"$>$", "\N{EN DASH}": "--", "Δ": r"$\Delta$", "α": r"$\alpha$", "β": r"$\beta$",
    "γ": r"$\gamma$", "λ": r"$\lambda$", "ω": r"$\omega$", "σ": r"$\sigma$", "→": r"$\to$",
    "√": r"$\surd$",
}  # fmt: skip
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#])")


def tex(text: str) -> str:
    """Text that LaTeX sets as it stands."""
    return "".join(_TEX.get(letter, letter) for letter in comment(text))


def comment(text: str) -> str:
    """Text on one line."""
    return " ".join(text.split())


def markdown(text: str) -> str:
    """Text that Markdown shows as it stands."""
    return _MARKDOWN.sub(r"\\\1", comment(text))


def _with_spread(value: str, spread: str) -> str:
    return f"{value} {spread}" if spread else value


def _difference(number: Number) -> str:
    word = number.verdict.word if number.verdict and number.verdict.key != "marked" else ""
    return " ".join(part for part in (number.difference, word, number.toward) if part)


def words(marks: Sequence[Term]) -> str:
    """Marks behind what they are of: nothing where there are none."""
    return f" ({', '.join(term.word for term in marks)})" if marks else ""


def shared_marks(table: TableView) -> str:
    """What all numbers of a table are marked with: printed ones, ours, those of each reference."""
    printed = [term for term in table.marks if term.key in get_args(Mark)]
    own = [term for term in table.marks if term not in printed]
    sources = [("paper", printed), ("ours", own)]
    sources += [(name, list(marks)) for name, _, marks in table.beside]
    return "; ".join(f"{of}: {', '.join(term.word for term in ms)}" for of, ms in sources if ms)


def rows(line: Line) -> Iterator[tuple[str, list[str]]]:
    """What stands in a line of a table, kind by kind, as on the page."""
    if line.has_printed or not line.has_ours:
        kind = "paper" if line.has_printed else "ours"
        yield kind, [_with_spread(n.printed, n.printed_spread) for n in line.numbers]
    if line.has_ours:
        yield "ours", [_with_spread(n.ours, n.ours_spread) for n in line.numbers]
    if line.has_difference:
        yield "difference", [_difference(n) for n in line.numbers]
    for reference in line.references:
        cells = [_with_spread(n.ours, n.ours_spread) if n else "" for n in reference.numbers]
        yield f"{reference.name}, tier {reference.tier}{words(reference.marks)}", cells


@cache
def _environment() -> Environment:
    # Neither format is HTML: every text passes through a filter of its own.
    found = environment(Path(__file__).parent / "templates", html=False)
    found.filters |= {
        "tex": tex,
        "comment": comment,
        "md": markdown,
        "rows": rows,
        "words": words,
        "shared_marks": shared_marks,
    }
    return found


def render_table(paper: Paper, table: TableView, tier_name: str, suffix: str) -> str:
    """A table as ``tex`` or ``md``."""
    template = _environment().get_template(f"table.{suffix}.j2")
    return template.render(paper=paper, table=table, tier_name=tier_name)
