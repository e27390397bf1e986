"""torchvision's classifiers as shared trunks. Imported only when a network is built: needs torch.

torchvision takes seconds to import, so that only the networks that need it do.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.errors import UserError


class ThreeChannels(nn.Module):
    """Grey pictures as colour ones; colour ones unchanged."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) to (B, 3, H, W)."""
        return inputs.expand(-1, 3, -1, -1)


def residual(depth: int, shape: tuple[int, ...]) -> nn.Module:
    """A residual network up to the features that its classifier gets.

    Args:
        depth: layers, as in torchvision's name.
        shape: shape of one input.
    """
    model = _model(f"resnet{depth}", shape)
    return _trunk(
        stem=nn.Sequential(ThreeChannels(), model.conv1, model.bn1, model.relu, model.maxpool),
        layer1=model.layer1,
        layer2=model.layer2,
        layer3=model.layer3,
        layer4=model.layer4,
        pool=nn.Sequential(model.avgpool, nn.Flatten()),
    )


def dense(shape: tuple[int, ...]) -> nn.Module:
    """DenseNet-121 up to the features that its classifier gets; a block ends with its transition.

    Args:
        shape: shape of one input.
    """
    layers = _model("densenet121", shape).features
    return _trunk(
        stem=nn.Sequential(ThreeChannels(), layers.conv0, layers.norm0, layers.relu0, layers.pool0),
        block1=nn.Sequential(layers.denseblock1, layers.transition1),
        block2=nn.Sequential(layers.denseblock2, layers.transition2),
        block3=nn.Sequential(layers.denseblock3, layers.transition3),
        block4=nn.Sequential(layers.denseblock4, layers.norm5, nn.ReLU(inplace=True)),
        pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def _model(name: str, shape: tuple[int, ...]) -> Any:
    """The model that torchvision has by this name, from random weights.

    Grey pictures are repeated over the three channels, so that the model has torchvision's own
    parameters.

    Raises:
        UserError: inputs are not pictures of one or three channels.
    """
    from torchvision.models import get_model

    if len(shape) != 3 or shape[0] not in (1, 3):
        raise UserError(f"{name} needs pictures of 1 or 3 channels, not inputs of shape {shape}")
    return get_model(name, weights=None)


def _trunk(**stages: nn.Module) -> nn.Module:
    """Named stages in a row, with weights channels-last."""
    return nn.Sequential(OrderedDict(stages)).to(memory_format=torch.channels_last)
