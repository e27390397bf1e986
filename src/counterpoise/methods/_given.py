"""Tasks that a paper file names, and weights that it gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.errors import nearest
from counterpoise.lazy import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from counterpoise.tasks import Task


def given_weights(weights: Mapping[str, float], names: tuple[str, ...]) -> Tensor:
    """(K,) weights in the tasks' order; one for a task that is not named."""
    return torch.tensor([weights.get(name, 1.0) for name in names])


def unknown_tasks(option: str, given: Iterable[str], tasks: tuple[Task, ...]) -> list[str]:
    """Problems of an option that names tasks which the dataset lacks, in words."""
    names = [task.name for task in tasks]
    return [
        f"{option} names no task of this dataset with {name!r}; {nearest(name, names)}"
        for name in given
        if name not in names
    ]
