"""One part of a dataset in memory, or with inputs in a file from which batches are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from counterpoise.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

BLOCK_BYTES = 1 << 26
"""Bytes of inputs that are gathered on the host at a time on their way to a device."""


def is_known(target: Tensor) -> Tensor:
    """(N,) whether each label is known: neither a negative class nor NaN."""
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
        rows: (N,) positions of the items in ``inputs``; None if ``inputs`` are just the items.
        streamed: whether inputs stay where they are and each batch goes to the device of the
            targets, which :mod:`counterpoise.training.prefetch` does ahead of the step.
    """

    inputs: Tensor
    targets: dict[str, Tensor]
    mean: float = 0.0
    std: float = 1.0
    rows: Tensor | None = None
    streamed: bool = False

    def __len__(self) -> int:
        return len(self.inputs if self.rows is None else self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[1:])

    @cached_property
    def known(self) -> dict[str, int]:
        """For every task the number of items whose label is known; counted once."""
        return {name: int(is_known(target).sum()) for name, target in self.targets.items()}

    def masks(self, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Which labels of a batch are known, (B,) of bool, for the tasks that lack some anywhere.

        Empty for data whose labels are all known, which then take the simple path everywhere.
        """
        partial = [name for name, count in self.known.items() if count < len(self)]
        return {name: is_known(targets[name]) for name in partial}

    @property
    def device(self) -> torch.device:
        """Where batches are; targets are there, and inputs too unless they are streamed."""
        return next(iter(self.targets.values()), self.inputs).device

    @property
    def nbytes(self) -> int:
        """Bytes of the inputs of all items."""
        return len(self) * math.prod(self.shape) * self.inputs.element_size()

    def to(self, device: torch.device, *, resident: bool = True) -> Part:
        """The same part for batches on a device.

        Args:
            device: of the batches.
            resident: copy the inputs there, too, block by block and of a larger file only those of
                this part; else they stay where they are.
        """
        targets = {name: target.to(device) for name, target in self.targets.items()}
        if not resident:
            return Part(self.inputs, targets, self.mean, self.std, self.rows, streamed=True)
        if device.type != self.inputs.device.type:
            return Part(self._copied(device), targets, self.mean, self.std)
        return Part(self.inputs.to(device), targets, self.mean, self.std, self.rows)

    def _copied(self, device: torch.device) -> Tensor:
        """(N, ...) the inputs of the items on another device, without a second copy of all here."""
        count = len(self)
        made = torch.empty((count, *self.shape), dtype=self.inputs.dtype, device=device)
        size = max(1, BLOCK_BYTES * count // max(1, self.nbytes))
        for start in range(0, count, size):
            block = slice(start, start + size)
            made[block] = self.inputs[block if self.rows is None else self.rows[block]]
        return made

    def batch(
        self, index: Tensor, change: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Normalised inputs and targets of some items.

        Args:
            index: positions of the items, on any device.
            change: of images between 0 and 1, made before they are normalised.
        """
        return self.finished(self.gathered(index).to(self.device), index, change)

    def gathered(self, index: Tensor, out: Tensor | None = None) -> Tensor:
        """The inputs of (...) items as they are stored, (..., *shape), where they are stored.

        Args:
            index: positions of the items.
            out: memory to gather into, of the result's shape and type.
        """
        index = index.to(self.inputs.device)
        places = index if self.rows is None else self.rows[index]
        if out is None:
            return self.inputs[places]
        torch.index_select(self.inputs, 0, places.flatten(), out=out.view(-1, *self.shape))
        return out

    def finished(
        self, inputs: Tensor, index: Tensor, change: Callable[[Tensor], Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What :meth:`batch` gives, from gathered inputs that are on the device of batches."""
        if inputs.dtype == torch.uint8:
            inputs = inputs.float().div_(255.0)
            if change is not None:
                inputs = change(inputs)
            inputs = inputs.sub_(self.mean).div_(self.std)
        index = index.to(self.device)
        return inputs, {name: target[index] for name, target in self.targets.items()}
