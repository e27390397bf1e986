"""Views that no paper shows, of the runs of one experiment: quality against cost, and why.

Each module of :data:`KINDS` defines ``TITLE`` and ``draw(facts)``, which gives a :class:`Drawn`,
or None where the experiment has nothing to show. They say what these runs did, with no verdict.
"""

from __future__ import annotations

from pathlib import Path

from counterpoise.files import sha256_file, write_sealed, write_text
from counterpoise.plan import Plan
from counterpoise.reproduction.style import house_style, to_svg
from counterpoise.reproduction.views import (
    conflict,
    equal,
    gains,
    imbalance,
    tradeoff,
    weights,
)
from counterpoise.reproduction.views.facts import read_facts

KINDS = {
    "equal": equal,
    "tradeoff": tradeoff,
    "gains": gains,
    "weights": weights,
    "conflict": conflict,
    "imbalance": imbalance,
}


def make_views(root: Path, plan: Plan, paper_name: str) -> None:
    """Write the views of all experiments of a paper: each as SVG, with its numbers as JSON.

    Raises:
        UserError: a result of one of its cells is missing or damaged.
    """
    made = plan.paper(paper_name)
    for experiment in made.viewed:
        facts = read_facts(root, plan, paper_name, experiment)
        for kind, view in KINDS.items():
            salt = f"{paper_name}-{experiment}-{kind}"
            with house_style(salt):
                drawn = view.draw(facts)
                if drawn is None:
                    continue
                svg = to_svg(drawn.canvas, salt, view.TITLE, f"{facts.name}. {drawn.note}")
            path = root / made.views / f"{experiment}-{kind}.svg"
            write_text(path, svg)
            write_sealed(
                path.with_suffix(".json"),
                {
                    "svg": sha256_file(path),
                    "experiment": experiment,
                    "kind": kind,
                    "title": view.TITLE,
                    "of": facts.title,
                    "ran": facts.ran,
                    "note": drawn.note,
                    "data": drawn.data,
                    "marks": facts.marks,
                    "cells": sorted({key for run in facts.runs for key in run.cells}),
                },
            )
