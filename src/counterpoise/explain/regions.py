"""Boxes of findings as masks of the prepared pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from counterpoise.errors import UserError
from counterpoise.files import read_parquet

FRAME = 1024
"""Boxes are given in pixels of the published pictures, which are 1024 x 1024."""


def read_boxes(prepared: Path) -> pd.DataFrame:
    """The boxes of prepared data: columns ``image``, ``task``, ``x``, ``y``, ``w``, ``h``.

    Raises:
        UserError: the data have none.
    """
    path = prepared / "boxes.parquet"
    if not path.exists():
        raise UserError(
            "these data have no boxes, so that nothing can be said of where a finding is",
            where=path,
            remedy="leave the explanation out of the tier, or add the file of boxes to the source",
        )
    return read_parquet(path, "boxes")


def mask(boxes: pd.DataFrame, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) of bool: every pixel that a box touches.

    Args:
        boxes: those of one finding in one picture.
        shape: of the prepared picture.
    """
    found = np.zeros(shape, bool)
    down, across = shape[0] / FRAME, shape[1] / FRAME
    for x, y, w, h in boxes[["x", "y", "w", "h"]].to_numpy():
        top, left = int(y * down), int(x * across)
        bottom, right = int(np.ceil((y + h) * down)), int(np.ceil((x + w) * across))
        found[top:bottom, left:right] = True
    return found
