"""Saliency maps of one finding over one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure as Canvas

from counterpoise.reproduction.drawings._maps import (
    WAYS,
    maps_of,
    show_overlay,
    show_picture,
    show_scale,
)
from counterpoise.reproduction.panels import grid
from counterpoise.spec.figure import SaliencyFigure
from counterpoise.spec.paper import Paper

if TYPE_CHECKING:
    from counterpoise.plan import Plan


def draw(
    root: Path, plan: Plan, paper: Paper, content: SaliencyFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """The picture, and each way's map over it; the region is outlined."""
    arrays = maps_of(root, plan, paper.id, content.explanation)
    ways = paper.explanations[content.explanation].ways
    picture, region = arrays[f"{content.task}/picture"], arrays[f"{content.task}/mask"]
    figure, axes = grid(1 + len(ways), 1 + len(ways), 1.75, 2.1)
    show_picture(axes[0], picture, region, "picture, region outlined")
    data = []
    for axis, way in zip(axes[1:], ways, strict=True):
        found = arrays[f"{content.task}/{way}"]
        show_overlay(axis, picture, found, WAYS[way], region)
        total = float(found.sum())
        share = float(found[region].sum()) / total if total > 0 else None
        data.append({"map": WAYS[way], "share in the region": share,
                     "region's share of the picture": float(region.mean())})  # fmt: skip
    show_scale(figure, axes, ("0", "largest"))
    return figure, data
