"""One part of a dataset in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from counterpoise.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def is_known(target: Tensor) -> Tensor:
    """(N,) whether each label is known: no negative class, no NaN."""
    return ~torch.isnan(target) if target.is_floating_point() else target >= 0


def mean_of_known(values: Tensor, known: Tensor | None) -> Tensor:
    """Mean of (B,) values over the items that are known, a scalar; zero where none is."""
    if known is None:
        return values.mean()
    return torch.where(known, values, 0.0).sum() / known.sum().clamp(min=1)


@dataclass
class Part:
    """Inputs and targets of the items of one part.

    Attributes:
        inputs: (N, ...) images as uint8, or points as float32; with ``rows``, those of all parts,
            of which a file may be mapped.
        targets: task name to (N,) int64 classes, -1 where unknown, or (N,) float32 values, NaN
            where unknown.
        mean, std: normalisation of images that are scaled to 0..1; floats pass unchanged.
        rows: (N,) places of the items in ``inputs``; None where these are the items.
    """

    inputs: Tensor
    targets: dict[str, Tensor]
    mean: float = 0.0
    std: float = 1.0
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.inputs if self.rows is None else self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[1:])

    @cached_property
    def known(self) -> dict[str, int]:
        """Of every task the number of items whose label is known; counted once."""
        return {name: int(is_known(target).sum()) for name, target in self.targets.items()}

    def masks(self, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Which labels of a batch are known, (B,) of bool, for the tasks that lack some anywhere.

        Empty for data whose labels are all known, which then take the plain path everywhere.
        """
        partial = [name for name, count in self.known.items() if count < len(self)]
        return {name: is_known(targets[name]) for name in partial}

    def to(self, device: torch.device) -> Part:
        """The same part on a device; inputs of which a part is needed are copied there."""
        if self.rows is not None and device.type != self.inputs.device.type:
            held = Part(self.inputs[self.rows], self.targets, self.mean, self.std)
            return held.to(device)
        targets = {name: target.to(device) for name, target in self.targets.items()}
        return Part(self.inputs.to(device), targets, self.mean, self.std, self.rows)

    def batch(
        self, index: Tensor, change: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Normalised inputs and targets of some items.

        Args:
            index: places of the items.
            change: of images between 0 and 1, made before they are normalised.
        """
        inputs = self.inputs[index if self.rows is None else self.rows[index]]
        if inputs.dtype == torch.uint8:
            inputs = inputs.float().div_(255.0)
            if change is not None:
                inputs = change(inputs)
            inputs = inputs.sub_(self.mean).div_(self.std)
        return inputs, {name: target[index] for name, target in self.targets.items()}
