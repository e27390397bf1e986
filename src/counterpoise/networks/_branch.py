"""Trunks of named stages: in sequence, or with an auxiliary branch. Needs torch."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

AUXILIARY = "auxiliary"
"""Name of the stage that is a branch: the next stage gets the same input as the branch."""


class Row(nn.Sequential):
    """Named stages, one after the other.

    Attributes:
        published: name of a tensor here to its name in the published network; empty if there is
            none.
    """

    def __init__(self, stages: OrderedDict[str, nn.Module]) -> None:
        super().__init__(stages)
        self.published: dict[str, str] = {}


class Branched(Row):
    """Named stages in sequence, of which the one named ``auxiliary`` is a branch.

    The features of the branch follow those of the last stage, in evaluation as well, so that a
    method that acts on the representation always sees the same width.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) to (B, d + e), e being the branch's features."""
        x, side = inputs, inputs
        for name, stage in self.named_children():
            if name == AUXILIARY:
                side = stage(x)
            else:
                x = stage(x)
        return torch.cat([x, side], dim=1)
