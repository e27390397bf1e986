"""Fetch what a name stands for: a source of raw files, or published weights."""

from __future__ import annotations

from counterpoise.download import fetch_source, to_prepare
from counterpoise.errors import UserError, nearest
from counterpoise.layout import WEIGHTS, raw_marker, weights_marker
from counterpoise.plan import load_plan
from counterpoise.planning.identity import raw_digest
from counterpoise.project import Project
from counterpoise.weights import fetch_weights


def fetch(project: Project, name: str, mirror: str | None, tier: str | None, papers: str) -> None:
    """Bring the files of a source, or of ``weights.NAME``, to where plans look for them.

    Args:
        mirror: folder to take all files from, or address to try first.
        tier: whose prepared images, as its ``papers`` need them, must fit on the disk, too.

    Raises:
        UserError: nothing has that name, or the files cannot be had.
    """
    if name.startswith(WEIGHTS):
        _fetch_weights(project, name.removeprefix(WEIGHTS), mirror)
        return
    sources = {key: one for data in project.datasets.values() for key, one in data.sources.items()}
    if name not in sources:
        raise UserError(f"unknown source {name!r}", remedy=nearest(name, sources))
    root, source = project.root, sources[name]
    marker = root / raw_marker(name, raw_digest(name, source, root))
    prepared = {}
    if tier is not None and source.files:
        plan = load_plan(root, {"tier": tier, "papers": papers, "methods": "all"})
        prepared = to_prepare(root, name, [training.data for training in plan.every.values()])
    fetch_source(name, source, marker, mirror, prepared)


def _fetch_weights(project: Project, name: str, mirror: str | None) -> None:
    if name not in project.weights:
        remedy = nearest(name, project.weights)
        raise UserError(f"no weights {name!r} in config/weights.yaml", remedy=remedy)
    published = project.weights[name]
    marker = project.root / weights_marker(name, published)
    fetch_weights(name, published, marker, mirror)
