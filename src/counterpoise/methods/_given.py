"""Tasks named in a paper file, and the numbers given to them there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.errors import nearest
from counterpoise.lazy import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from counterpoise.tasks import Task


Preference = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""How much a task matters relative to the others."""


def given_numbers(
    numbers: Mapping[str, float], names: tuple[str, ...], otherwise: float = 1.0
) -> Tensor:
    """(K,) numbers in the tasks' order, in float64; a default for a task that is not named."""
    return torch.tensor([numbers.get(name, otherwise) for name in names], dtype=torch.float64)


def preferred(given: Mapping[str, float], names: tuple[str, ...]) -> Tensor:
    """(K,) preferences in float64, normalised to sum to one; before that, 1 if not given."""
    found = given_numbers(given, names)
    return found / found.sum()


class Constant:
    """Numbers that follow from a method's options; sent to each device once, not at every step.

    Args:
        numbers: (K,), in the tasks' order.
    """

    def __init__(self, numbers: Sequence[float]) -> None:
        self.numbers = tuple(numbers)
        self._there: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def like(self, values: Tensor) -> Tensor:
        """(K,) on the device and in the dtype of other values."""
        key = (values.device, values.dtype)
        if key not in self._there:
            self._there[key] = torch.tensor(self.numbers, dtype=key[1], device=key[0])
        return self._there[key]


def unknown_tasks(option: str, given: Iterable[str], tasks: tuple[Task, ...]) -> list[str]:
    """Problems with an option that names tasks which the dataset lacks, in words."""
    names = [task.name for task in tasks]
    return [
        f"{option} names no task of this dataset with {name!r}; {nearest(name, names)}"
        for name in given
        if name not in names
    ]
