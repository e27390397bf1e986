"""A small convolutional trunk for small radiographs, fast on one CPU thread.

Each image is standardised individually, as exposures differ more than findings do. There is no
other normalisation: with He initialisation the network learns as fast without it, and an item's
features do not depend on any other item, even in training. The last pooling keeps the strongest
response in each quarter of the image: findings are small, and their side and height matter.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.errors import UserError
from counterpoise.lazy import torch
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import nn

SMALLEST = 16


class Options(base.Options):
    """Size of the trunk."""

    width: Annotated[int, Field(ge=1)] = 16
    """Channels of the first convolution; the second has twice and the other two four times as
    many."""
    features: Annotated[int, Field(ge=1)] = 64
    """Units of the last shared layer."""


def features(options: Options, tasks: int) -> int:
    """Units of the last shared layer."""
    return options.features


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return ("conv1", "conv2", "conv3", "conv4", "last")


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """Four convolutions to an eighth of the size, maxima of the quarters, one layer with ReLU.

    Images may have any size from 16 x 16. Weights are stored channels-last, which is faster on a
    CPU for so few channels.

    Raises:
        UserError: inputs are not images, or are too small.
    """
    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        raise UserError(
            f"small_cnn needs pictures of {SMALLEST} x {SMALLEST} or more, "
            f"not inputs of shape {shape}"
        )
    nn = torch.nn
    width = options.width
    stages: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Sequential(
            nn.GroupNorm(1, shape[0], affine=False),
            nn.Conv2d(shape[0], width, 5, stride=2, padding=2),
            nn.ReLU(),
        ),
        conv2=nn.Sequential(nn.Conv2d(width, 2 * width, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()),
        conv3=nn.Sequential(
            nn.Conv2d(2 * width, 4 * width, 3, padding=1), nn.MaxPool2d(2), nn.ReLU()
        ),
        conv4=nn.Sequential(nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.ReLU()),
        last=nn.Sequential(
            nn.AdaptiveMaxPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * 4 * width, options.features),
            nn.ReLU(),
        ),
    )
    layers = nn.Sequential(stages)
    for layer in layers.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return layers.to(memory_format=torch.channels_last)
