"""Numbers beside the points of a panel, where they cover the least."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes

Point = tuple[float, float]

SIZE = 7.0
"""Of a number, in points."""
PANEL = np.array([235.0, 165.0])
"""Width and height of a panel in points, about."""
NEAR = 8
"""Places close to a point; from the others a line leads to it."""
PLACES = np.array(
    [
        (far * np.cos(turn), far * np.sin(turn))
        for far in (8.0, 14.0, 21.0, 28.0)
        for turn in np.linspace(0, 2 * np.pi, NEAR, endpoint=False)
    ]
)
"""Where a number may stand, from its point."""
DENSE = 50
"""Places of a stretch of line that a number keeps clear of."""
GAP = 2.5
"""Between a number and what it keeps clear of."""
LEADER = {"arrowstyle": "-", "color": "#888888", "lw": 0.4, "shrinkA": 0, "shrinkB": 2}


def number_points(axis: Axes, points: dict[int, Point], lines: Sequence[Sequence[Point]]) -> None:
    """Write the number of each point beside it, clear of points, lines and other numbers.

    The axes keep the ends that they have.
    """
    ends = axis.get_xlim(), axis.get_ylim()  # asked for, they are settled
    scale = axis.transData + axis.transAxes.inverted()

    def placed(several: Sequence[Point]) -> np.ndarray:
        found: np.ndarray = PANEL * scale.transform(np.array(several).reshape(-1, 2))
        return found

    stretches = [
        np.linspace(one, other, DENSE) for line in lines for one, other in pairwise(placed(line))
    ]
    ink = np.vstack([np.empty((0, 2)), *stretches])
    taken = placed([*points.values()])
    for number, point in points.items():
        half = np.array([0.3 * SIZE * len(str(number)), 0.4 * SIZE])
        places = placed([point]) + PLACES
        covered, crossed = (
            (abs(there - places[:, None]) < half + GAP).all(axis=2).sum(axis=1)
            for there in (taken, ink)
        )
        beyond = ((places < half) | (places > PANEL - half)).any(axis=1)
        best = int(np.lexsort((crossed, covered, beyond))[0])
        axis.annotate(
            str(number), point, PLACES[best], textcoords="offset points", ha="center",
            va="center", size=SIZE, arrowprops=LEADER if best >= NEAR else None,
        )  # fmt: skip
        ends_of_it = [(-half[0], 0), (0, 0), (half[0], 0)]
        taken = np.vstack([taken, places[best] + ends_of_it])
    axis.set(xlim=ends[0], ylim=ends[1])
