"""What figures of explanations share: the saved maps, and pictures with a region outlined."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas

from counterpoise.errors import UserError

if TYPE_CHECKING:
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
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"cannot read the maps ({error})",
            where=path,
            remedy="delete the file and run `snakemake` again",
        ) from error


# Each panel is one picture of the data's own size, which the reader's program enlarges: a page with
# many stays small.


def _grey(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) of 0 to 1, from the least to the largest value."""
    scaled = (picture - picture.min()) / max(float(np.ptp(picture)), 1e-12)
    return np.repeat(scaled[..., None], 3, axis=2)


def _show(axes: Axes, colours: np.ndarray, region: np.ndarray, title: str) -> None:
    bytes_ = (255 * colours[..., :3]).round().astype(np.uint8)
    axes.imshow(bytes_, interpolation="none")
    _finish(axes, region, title)


def show_picture(axes: Axes, picture: np.ndarray, region: np.ndarray, title: str) -> None:
    """A picture in grey, its region outlined."""
    _show(axes, _grey(picture), region, title)


def show_overlay(
    axes: Axes, picture: np.ndarray, found: np.ndarray, title: str, region: np.ndarray
) -> None:
    """A map over the picture: what it points out is opaque, the rest shows the picture."""
    empty = not found.max() > 0
    scaled = np.zeros_like(found) if empty else found / found.max()
    share = 0.85 * scaled[..., None]
    colours = mpl.colormaps[COLOUR_MAP](scaled)[..., :3]
    _show(axes, share * colours + (1 - share) * _grey(picture), region, title)
    if empty:
        axes.set_xlabel("empty: no evidence for it")


def show_map(axes: Axes, found: np.ndarray, title: str, region: np.ndarray) -> None:
    """A map by itself, from its least to its largest value."""
    _show(axes, mpl.colormaps[COLOUR_MAP](_grey(found)[..., 0]), region, title)


def _finish(axes: Axes, region: np.ndarray, title: str) -> None:
    # A dark line with a light one around it is seen on every ground.
    for colour, width in (("#ffffff", 2.4), ("#000000", 1.0)):
        axes.contour(region, levels=[0.5], colors=colour, linewidths=width)
    axes.set_title(title, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def show_scale(canvas: Canvas, axes: list[Axes], ends: tuple[str, str]) -> None:
    """The colours of the maps in these panels, from the least to the largest value."""
    colours = ScalarMappable(Normalize(0, 1), COLOUR_MAP)
    bar = canvas.colorbar(colours, ax=axes, location="right", shrink=0.75, aspect=16, pad=0.01)
    bar.set_ticks([0, 1], labels=list(ends))
    bar.outline.set_visible(False)
