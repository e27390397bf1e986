"""What an early, a middle and the last convolutional stage make of one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure as Canvas

from counterpoise.reproduction.drawings._maps import (
    maps_of,
    show_map,
    show_picture,
    show_scale,
)
from counterpoise.reproduction.panels import grid
from counterpoise.spec.figure import ActivationsFigure
from counterpoise.spec.paper import Paper

if TYPE_CHECKING:
    from counterpoise.plan import Plan


def draw(
    root: Path, plan: Plan, paper: Paper, content: ActivationsFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """The picture, and the mean size of each stage's channels; the region is outlined."""
    arrays = maps_of(root, plan, paper.id, content.explanation)
    prefix = f"{content.task}/layer/"
    chosen = _chosen([k.removeprefix(prefix) for k in arrays if k.startswith(prefix)], content)
    picture, region = arrays[f"{content.task}/picture"], arrays[f"{content.task}/mask"]
    figure, axes = grid(1 + len(chosen), 1 + len(chosen), 2.0, 2.3)
    show_picture(axes[0], picture, region, "picture, region outlined")
    data = []
    for axis, (stage, word) in zip(axes[1:], chosen.items(), strict=True):
        found = arrays[prefix + stage]
        show_map(axis, found, f"{word}: {stage}", region)
        inside = float(found[region].mean() / found.mean()) if found.mean() > 0 else None
        data.append({"stage": stage, "mean in the region over mean": inside})
    show_scale(figure, axes, ("least", "largest"))
    return figure, data


def _chosen(kept: list[str], content: ActivationsFigure) -> dict[str, str]:
    """Of the layers that are kept, the three to show, each with its word.

    A stand-in whose stage is a single block has no first one besides: there the stage is shown. A
    network that has no such stage at all shows its first, middle and last one.
    """
    stages = [name for name in kept if "[" not in name]
    found = [name if name in kept else name.partition("[")[0] for name in content.layers or ()]
    if not found or not set(found) <= set(kept):
        found = [stages[0], stages[(len(stages) - 1) // 2], stages[-1]]
    return dict(zip(found, ("early", "middle", "last"), strict=True))
