"""What an early, a middle and the last convolutional stage make of one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Canvas

from counterpoise.plan import Plan
from counterpoise.reproduction.drawings._maps import maps_of, show_map, show_picture
from counterpoise.reproduction.panels import grid
from counterpoise.spec.paper import ActivationsFigure, Paper


def draw(
    root: Path, plan: Plan, paper: Paper, content: ActivationsFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """The picture, and the mean size of each stage's channels; the region is outlined."""
    arrays = maps_of(root, plan, paper.id, content.explanation)
    prefix = f"{content.task}/layer/"
    stages = [key.removeprefix(prefix) for key in arrays if key.startswith(prefix)]
    chosen = dict.fromkeys((stages[0], stages[(len(stages) - 1) // 2], stages[-1]))
    picture, region = arrays[f"{content.task}/picture"], arrays[f"{content.task}/mask"]
    figure, axes = grid(1 + len(chosen), 1 + len(chosen), 2.2, 2.4)
    show_picture(axes[0], picture, region, "picture, region outlined")
    data = []
    for axis, stage in zip(axes[1:], chosen, strict=True):
        found = arrays[prefix + stage]
        show_map(axis, found, f"stage {stage}", region)
        inside = float(found[region].mean() / found.mean()) if found.mean() > 0 else None
        data.append({"stage": stage, "mean in the region over mean": inside})
    return figure, data
