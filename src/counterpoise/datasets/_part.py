"""One part of a dataset in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from counterpoise.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass
class Part:
    """Inputs and targets of the items of one part.

    Attributes:
        inputs: (N, ...) images as uint8, or points as float32.
        targets: task name to (N,) int64 classes or (N,) float32 values.
        mean, std: normalisation of images that are scaled to 0..1; floats pass unchanged.
    """

    inputs: Tensor
    targets: dict[str, Tensor]
    mean: float = 0.0
    std: float = 1.0

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.inputs.shape[1:])

    def to(self, device: torch.device) -> Part:
        """The same part on a device."""
        targets = {name: target.to(device) for name, target in self.targets.items()}
        return Part(self.inputs.to(device), targets, self.mean, self.std)

    def batch(self, index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Normalised inputs and targets of some items."""
        inputs = self.inputs[index]
        if inputs.dtype == torch.uint8:
            inputs = inputs.float().div_(255.0).sub_(self.mean).div_(self.std)
        return inputs, {name: target[index] for name, target in self.targets.items()}
