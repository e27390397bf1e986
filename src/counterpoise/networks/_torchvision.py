"""torchvision's classifiers as shared trunks. Imported only when a network is built: needs torch.

torchvision takes seconds to import, so that only the networks that need it do.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from counterpoise.errors import UserError


class ThreeChannels(nn.Module):
    """Grey pictures as colour ones; colour ones unchanged."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) to (B, 3, H, W)."""
        return inputs.expand(-1, 3, -1, -1)


def trunk_of(name: str, head: str, shape: tuple[int, ...]) -> nn.Module:
    """A model of torchvision, from random weights, up to the features that its classifier gets.

    Args:
        name: torchvision's name of the model.
        head: attribute of its last layer, which is taken away.
        shape: shape of one input; grey pictures are repeated over the three channels, so that
            the model has torchvision's own parameters.

    Raises:
        UserError: inputs are not pictures of one or three channels.
    """
    from torchvision.models import get_model

    if len(shape) != 3 or shape[0] not in (1, 3):
        raise UserError(f"{name} needs pictures of 1 or 3 channels, not inputs of shape {shape}")
    model = get_model(name, weights=None)
    setattr(model, head, nn.Identity())
    return nn.Sequential(ThreeChannels(), model).to(memory_format=torch.channels_last)
