"""LeNet-5 as a shared trunk, in its original and a greatly reduced size.

The RotoGrad submission names "LeNet", a "greatly reduced" version with d = 25 and one layer per
task, and specifies neither network. ``original`` is LeNet-5 with ReLU and max pooling (60,856
parameters, d = 84); ``reduced`` keeps the graph with 2 and 4 filters and 30 and 25 units (4,061
parameters).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from counterpoise.errors import UserError
from counterpoise.lazy import torch
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import nn

WIDTHS = {"original": (6, 16, 120, 84), "reduced": (2, 4, 30, 25)}


class Options(base.Options):
    """Size of the trunk."""

    size: Literal["original", "reduced"] = "original"
    """Filters and units: 6, 16, 120, 84 or 2, 4, 30, 25."""


def features(options: Options, tasks: int) -> int:
    """Units of the last shared layer: 84 or 25."""
    return WIDTHS[options.size][3]


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return ("conv1", "conv2", "hidden", "last")


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """Convolutions 5 x 5 (the first padded by 2), max pooling, two fully connected layers.

    Pooling comes before the ReLU, which gives the same function with a quarter of the work, and
    weights are stored channels-last, which is twice as fast on a CPU for so few channels.
    """
    if len(shape) != 3:
        raise UserError(f"lenet needs images, not inputs of shape {shape}")
    channels, height, width = shape
    first, second, hidden, last = WIDTHS[options.size]
    rows, columns = (height // 2 - 4) // 2, (width // 2 - 4) // 2
    nn = torch.nn
    stages: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Sequential(nn.Conv2d(channels, first, 5, padding=2), nn.MaxPool2d(2), nn.ReLU()),
        conv2=nn.Sequential(nn.Conv2d(first, second, 5), nn.MaxPool2d(2), nn.ReLU()),
        hidden=nn.Sequential(nn.Flatten(), nn.Linear(second * rows * columns, hidden), nn.ReLU()),
        last=nn.Sequential(nn.Linear(hidden, last), nn.ReLU()),
    )
    return nn.Sequential(stages).to(memory_format=torch.channels_last)
