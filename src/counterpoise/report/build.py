"""Build the report: read what exists, put it in words, write one HTML page, JSON and CSV."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from counterpoise.files import write_json, write_text
from counterpoise.methods._catalogue import PROMISES
from counterpoise.plan import Plan
from counterpoise.report import legend, text
from counterpoise.report.cards import dataset_cards, method_cards, network_cards
from counterpoise.report.cells import reference_cells, reference_cost
from counterpoise.report.dvc import write_for_dvc
from counterpoise.report.export import results, write_tables
from counterpoise.report.inputs import Inputs, read_inputs
from counterpoise.report.numbers import count, duration, plural
from counterpoise.report.overview import PaperView, overview, paper_views
from counterpoise.report.questions import QUESTIONS, told_apart
from counterpoise.reproduction import verdicts
from counterpoise.spec.study import OWN
from counterpoise.templates import environment

FOLDER = Path(__file__).parent


@cache
def _environment() -> Environment:
    found = environment(FOLDER / "templates", html=True)
    found.filters |= {
        "prose": text.prose,
        "quoted": text.quoted,
        "label": text.label,
        "count": count,
        "plural": plural,
        "duration": duration,
    }
    found.globals["anchor"] = text.anchor
    return found


def page_context(plan: Plan, papers: tuple[PaperView, ...], inputs: Inputs) -> dict[str, Any]:
    """Everything that the templates show."""
    assets = FOLDER / "assets"
    return {
        "plan": plan,
        "tier": plan.tier,
        "tier_name": plan.tier_name,
        "own": plan.tier_name == OWN,
        "commit": inputs.commit,
        "overview": overview(plan, papers, inputs),
        "papers": papers,
        "questions": [
            {"ask": ask, "views": views, "told_apart": told_apart([view for _, view in views])}
            for ask in QUESTIONS.values()
            for views in [[(p, v) for p in papers for v in p.views if v.question is ask]]
        ],
        "references": inputs.references,
        "unreadable": inputs.unreadable,
        "reference_cells": reference_cells,
        "reference_cost": reference_cost,
        "methods": method_cards(plan),
        "promises": PROMISES.values(),
        "networks": network_cards(plan),
        "datasets": dataset_cards(plan, inputs),
        "number_terms": legend.NUMBERS.values(),
        "claim_terms": legend.CLAIMS.values(),
        "mark_terms": legend.MARKS.values(),
        "marks": legend.MARKS,
        "rules": text.blocks(verdicts.__doc__),
        "css": Markup((assets / "report.css").read_text(encoding="utf-8")),
        "js": Markup((assets / "report.js").read_text(encoding="utf-8")),
    }


def render(plan: Plan, papers: tuple[PaperView, ...], inputs: Inputs) -> str:
    """The page as text."""
    template = _environment().get_template("index.html.j2")
    return template.render(page_context(plan, papers, inputs)).rstrip() + "\n"


def build_report(root: Path, plan: Plan) -> None:
    """Write the report of a plan from what exists; what is missing shows as such.

    Writes ``reports/<tier>/index.html``, ``results.json`` beside it, ``tables/``, and what DVC
    compares. The same inputs give the same bytes.

    Raises:
        UserError: the files cannot be written.
    """
    inputs = read_inputs(root, plan)
    papers = paper_views(plan, inputs)
    page = render(plan, papers, inputs)
    found = results(plan, papers, inputs)
    write_tables(root, plan, papers, inputs, found["claims"])
    write_json(root / plan.results, found)
    write_for_dvc(root, plan, inputs, found["counts"])
    write_text(root / plan.report, page)
