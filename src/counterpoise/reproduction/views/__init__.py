"""Views that no paper shows, of the runs of one experiment: quality against cost, and why.

Each module of :data:`KINDS` defines ``TITLE`` and ``draw(facts)``, which gives a :class:`Drawn`,
or None where the experiment has nothing to show. They say what these runs did, with no verdict.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from counterpoise.files import make_folder, sha256_file, unwritable, write_sealed, write_text
from counterpoise.reproduction.panels import columns_of
from counterpoise.reproduction.style import house_style, to_svg
from counterpoise.reproduction.views import (
    conflict,
    equal,
    gains,
    imbalance,
    tradeoff,
    weights,
)
from counterpoise.reproduction.views.facts import Facts, read_facts

if TYPE_CHECKING:
    from counterpoise.plan import Plan

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
    with _whole(root / plan.paper(paper_name).views) as folder:
        for experiment in plan.paper(paper_name).viewed:
            facts = read_facts(root, plan, paper_name, experiment)
            _write_views(folder, paper_name, experiment, facts)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Yield a folder that takes the place of another once the block ends well.

    Snakemake takes a folder that is there for finished, whatever is in it.
    """
    make_folder(folder.parent)
    try:
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        yield temporary
        temporary.chmod(folder.parent.stat().st_mode)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_views(folder: Path, paper: str, experiment: str, facts: Facts) -> None:
    """The views of one experiment."""
    for kind, view in KINDS.items():
        salt = f"{paper}-{experiment}-{kind}"
        with house_style(salt):
            drawn = view.draw(facts)
            if drawn is None:
                continue
            svg = to_svg(drawn.canvas, salt, view.TITLE, f"{facts.name}. {drawn.note}")
        path = folder / f"{experiment}-{kind}.svg"
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
                "columns": columns_of(drawn.data),
                "data": drawn.data,
                "marks": facts.marks,
                "cells": sorted({key for run in facts.runs for key in run.cells}),
            },
        )
