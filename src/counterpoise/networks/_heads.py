"""Heads other than a single linear layer. Imported only when a network is built: needs torch."""

from __future__ import annotations

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
