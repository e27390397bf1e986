"""What a task is: its name, its outputs, its loss and how it is scored."""

from __future__ import annotations

from dataclasses import dataclass

TOGETHER = (
    "focal",
    "bce_twice",
    *(
        f"f1_{average}{best}"
        for average in ("macro", "micro", "weighted")
        for best in ("", "_best")
    ),
    "auroc_micro",
    "sensitivity_90",
    "sensitivity_90_rare",
    "ece",
    "focal_twice",
)
"""Scores of several binary tasks together, for checks that load no numpy: the keys of
:data:`counterpoise.evaluation.joint.JOINT`, in its order."""


@dataclass(frozen=True)
class Task:
    """One task of a dataset.

    Attributes:
        name: identifier in files and tables.
        label: name for people.
        outputs: numbers that its head gives per sample.
        loss: key of :data:`counterpoise.training.losses.LOSSES` or of the dataset's own losses.
        metrics: keys of :data:`counterpoise.metrics.METRICS`; the first is the main one.
        classes: number of classes of a classification target, else None.
    """

    name: str
    label: str
    outputs: int
    loss: str
    metrics: tuple[str, ...]
    classes: int | None = None
