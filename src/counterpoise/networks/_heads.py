"""Heads other than a single linear layer. Imported only when a network is built: needs torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class FirstOutputs(nn.Module):
    """A head without parameters: the first coordinates of the representation."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, z: Tensor) -> Tensor:
        """(B, d) to (B, outputs)."""
        return z[:, : self.outputs]


class SliceLinear(nn.Linear):
    """A linear layer that sees one slice of the representation.

    Args:
        features: width d of the slice.
        outputs: number of outputs.
        start: first coordinate of the slice.
    """

    def __init__(self, features: int, outputs: int, start: int) -> None:
        super().__init__(features, outputs)
        self.start = start

    def forward(self, z: Tensor) -> Tensor:
        """(B, at least start + d) to (B, outputs)."""
        return super().forward(z[:, self.start : self.start + self.in_features])


class AuxiliaryLinear(nn.Module):
    """A linear layer on the features, and in training another one on those of an auxiliary branch.

    Args:
        features: width d of the features.
        side: width e of the branch's features, which follow them.
        outputs: number of outputs.
    """

    def __init__(self, features: int, side: int, outputs: int) -> None:
        super().__init__()
        self.features = features
        self.main = nn.Linear(features, outputs)
        self.auxiliary = nn.Linear(side, outputs)

    def forward(self, z: Tensor) -> Tensor:
        """(B, d + e) to (B, outputs); in training (B, 2 outputs), those of the branch last."""
        outputs: Tensor = self.main(z[:, : self.features])
        if not self.training:
            return outputs
        return torch.cat([outputs, self.auxiliary(z[:, self.features :])], dim=1)
