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
