"""What figures of explanations share: the saved maps, and pictures with a region outlined."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from counterpoise.errors import UserError
from counterpoise.plan import Plan

WAYS = {
    "grad_cam": "Grad-CAM",
    "grad_cam_pp": "Grad-CAM++",
    "smooth_grad": "SmoothGrad",
    "shap": "SHAP",
    "centre": "centre of the picture",
    "random": "random map",
}
COLOUR_MAP = "cividis"
"""Perceptually uniform, and the same to people who see red and green alike."""


def maps_of(root: Path, plan: Plan, paper: str, name: str) -> dict[str, np.ndarray]:
    """The arrays that an explanation has saved.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = (root / plan.papers[paper].explanation(name)).with_suffix(".npz")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise UserError(
            f"cannot read the maps ({error})",
            where=path,
            remedy="delete the file and run `snakemake` again",
        ) from error


def show_picture(axes: Axes, picture: np.ndarray, region: np.ndarray, title: str) -> None:
    """A picture in grey, its region outlined."""
    axes.imshow(picture, cmap="gray", interpolation="bilinear")
    _finish(axes, region, title)


def show_overlay(
    axes: Axes, picture: np.ndarray, found: np.ndarray, title: str, region: np.ndarray
) -> None:
    """A map over the picture: what it points out is opaque, the rest shows the picture."""
    axes.imshow(picture, cmap="gray", interpolation="bilinear")
    scaled = found / found.max() if found.max() > 0 else np.zeros_like(found)
    axes.imshow(
        scaled, cmap=COLOUR_MAP, alpha=0.15 + 0.6 * scaled, vmin=0, vmax=1, interpolation="bilinear"
    )
    _finish(axes, region, title)


def show_map(axes: Axes, found: np.ndarray, title: str, region: np.ndarray) -> None:
    """A map by itself, from its least to its largest value."""
    axes.imshow(found, cmap=COLOUR_MAP, interpolation="nearest")
    _finish(axes, region, title)


def _finish(axes: Axes, region: np.ndarray, title: str) -> None:
    axes.contour(region, levels=[0.5], colors="#E69F00", linewidths=1.2)
    axes.set_title(title, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
