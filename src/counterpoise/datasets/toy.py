"""The synthetic problems of RotoGrad's Figure 3.

``conflict`` and ``magnitude``: one input, (0, 0), and two functions of the network's output whose
optima lie at (1.5, 1.5) and (-1.5, -1.5), each with value 0::

    L(z; s) = 6 - [sin(3(z_0+s))/(z_0+s) + sin(3(z_1+s))/(z_1+s)] + |z_0+s| + |z_1+s|

with s = -1.5 for the first task and +1.5 for the second. The submission prints no formula; this one
is from a later example by its author, the closest public source; the constant 6 is ours, so that no
loss is negative: GradNorm's relative training rates are not defined for negative losses.
``magnitude`` multiplies the second loss by ten: the submission says only that the magnitudes
differ.

``negation``: points in the plane with a binary label and the negation of that label.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from counterpoise.datasets._part import Part, mean_of_known
from counterpoise.files import atomic
from counterpoise.lazy import np, pd, torch
from counterpoise.metrics import Metric
from counterpoise.spec import base
from counterpoise.tasks import Task

if TYPE_CHECKING:
    from torch import Tensor

SHIFTS = {"first": -1.5, "second": 1.5}
COPIES = 256
GRID = 41
EXTENT = 3.0


class Options(base.Options):
    """Which of the three problems."""

    problem: Literal["conflict", "magnitude", "negation"] = "conflict"


def factor(problem: str, task: str) -> float:
    """Scale of a task's loss."""
    return 10.0 if problem == "magnitude" and task == "second" else 1.0


def tasks(options: Options) -> tuple[Task, ...]:
    """Two tasks that pull the shared output in opposite directions."""
    if options.problem == "negation":
        return (
            Task("label", "Label", 1, "bce", ("accuracy",), classes=2),
            Task("negated", "Negated label", 1, "bce", ("accuracy",), classes=2),
        )
    prefix = "landscape_steep" if options.problem == "magnitude" else "landscape"
    return (
        Task("first", "Optimum at (1.5, 1.5)", 2, "landscape_first", ("landscape_first",)),
        Task("second", "Optimum at (-1.5, -1.5)", 2, f"{prefix}_second", ("landscape_second",)),
    )


def landscape(z: Any, shift: float, sin: Any, absolute: Any) -> Any:
    """L(z; s) for outputs (..., 2); ``sin`` and ``absolute`` are numpy's or torch's."""
    moved = z + shift + 1e-12  # sin(3u)/u has the limit 3 at u = 0
    return 6.0 + (absolute(moved) - sin(3.0 * moved) / moved).sum(-1)


def _loss(shift: float, scale: float) -> Any:
    def loss(outputs: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
        each = landscape(outputs, shift, torch.sin, torch.abs)
        return scale * mean_of_known(each, known)

    return loss


LOSSES = {
    "landscape_first": _loss(SHIFTS["first"], 1.0),
    "landscape_second": _loss(SHIFTS["second"], 1.0),
    "landscape_steep_second": _loss(SHIFTS["second"], 10.0),
}


def _score(shift: float) -> Any:
    def score(outputs: np.ndarray, targets: np.ndarray) -> float | None:
        if len(targets) == 0:
            return None
        return float(landscape(outputs.astype(np.float64), shift, np.sin, np.abs).mean())

    return score


METRICS = {
    f"landscape_{name}": Metric("Loss", "lower", _score(shift)) for name, shift in SHIFTS.items()
}


def prepare(raw: Path, out: Path, options: Options) -> None:
    """Points (N, 2) of each part as one Parquet file."""
    if options.problem == "negation":
        rng = np.random.default_rng(5)
        frames = []
        for part in ("train", "validation"):
            label = np.arange(COPIES) % 2
            angle = rng.uniform(0, np.pi, COPIES) + np.pi * label
            centre = np.where(label[:, None] == 1, [0.5, 0.25], [-0.5, -0.25])
            points = np.stack([np.cos(angle), np.sin(angle)], axis=1) + centre
            points += rng.normal(0, 0.1, points.shape)
            frames.append(
                pd.DataFrame({"part": part, "x": points[:, 0], "y": points[:, 1], "label": label})
            )
        axis = np.linspace(-EXTENT, EXTENT, GRID)
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        inside = pd.DataFrame({"part": "test", "x": grid[:, 0], "y": grid[:, 1], "label": 0})
        points_frame = pd.concat([*frames, inside], ignore_index=True)
    else:
        one = {"x": 0.0, "y": 0.0, "label": 0}
        parts = ["train"] * COPIES + ["validation", "test"]
        points_frame = pd.DataFrame([{"part": part, **one} for part in parts])
    with atomic(out / "points.parquet") as temporary:
        points_frame.to_parquet(temporary, index=False)


def split(prepared: Path, options: Options, seed: int) -> pd.DataFrame:
    """The parts as prepared; the test part of ``negation`` is a grid over the plane."""
    points = pd.read_parquet(prepared / "points.parquet")
    items = points[["part"]].copy()
    items["item"] = items.groupby("part", sort=False).cumcount()
    items["point"] = np.arange(len(points))
    return items


def load(prepared: Path, items: pd.DataFrame, options: Options) -> Part:
    """Points (N, 2) as float32, with labels if the problem has any."""
    points = pd.read_parquet(prepared / "points.parquet").iloc[items["point"].to_numpy()]
    inputs = torch.from_numpy(points[["x", "y"]].to_numpy().astype(np.float32))
    label = points["label"].to_numpy().astype(np.int64)
    if options.problem == "negation":
        values = {"label": label, "negated": 1 - label}
    else:
        values = {name: np.zeros(len(points), np.float32) for name in SHIFTS}
    return Part(inputs, {name: torch.from_numpy(value) for name, value in values.items()})
