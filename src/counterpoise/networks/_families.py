"""Small networks of the three families that the thoracic paper compares. Needs torch.

Each has the blocks of its family in a size that trains in seconds on one CPU thread: below 0.2
million parameters, and at 64 pixels a last map of 8 x 8. Each image is standardised individually,
as in :mod:`counterpoise.networks.small_cnn`.

As in the published networks, AlexNet's family ends in layers that are sensitive to position (the
maxima of the quarters: findings are small, and their side and height matter), the other two in the
mean over the map. Grad-CAM presupposes the mean: it gives a channel one weight for all positions.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from counterpoise.networks._branch import Branched, Row


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3 and 1 x 1 convolutions with normalisation, added to their input.

    He et al. (2016); the stride is in the 3 x 3 convolution, as in torchvision.
    """

    def __init__(self, channels: int, width: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.main = nn.Sequential(
            *_normalised(channels, width, 1),
            *_normalised(width, width, 3, stride),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        same = channels == outputs and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(
                nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, outputs, H / stride, W / stride)."""
        return torch.relu(self.main(x) + self.shortcut(x))


class Inception(nn.Module):
    """Parallel convolutions of several sizes, and a pooling (Szegedy et al. 2016).

    Branches: 1 x 1; 1 x 1 and 3 x 3; 1 x 1 and two 3 x 3 in place of 5 x 5; average and 1 x 1. Each
    branch gives a quarter of the outputs.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        part = outputs // 4
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*_normalised(channels, part, 1)),
                nn.Sequential(*_normalised(channels, part, 1), *_normalised(part, part, 3)),
                nn.Sequential(
                    *_normalised(channels, part, 1),
                    *_normalised(part, part, 3),
                    *_normalised(part, part, 3),
                ),
                nn.Sequential(nn.AvgPool2d(3, 1, 1), *_normalised(channels, part, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, outputs, H, W)."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def plain(channels: int, features: int) -> nn.Module:
    """Five convolutions with pooling and ReLU, then a layer with dropout, as in AlexNet.

    Args:
        channels: of an image.
        features: units of the last shared layer.
    """
    return _row(
        conv1=nn.Sequential(
            _standardised(channels), nn.Conv2d(channels, 16, 5, 2, 2), nn.ReLU(inplace=True)
        ),
        conv2=nn.Sequential(nn.MaxPool2d(2), *_plain(16, 32)),
        conv3=nn.Sequential(nn.MaxPool2d(2), *_plain(32, 64)),
        conv4=nn.Sequential(*_plain(64, 64)),
        conv5=nn.Sequential(*_plain(64, 64)),
        pool=_quarters(),
        hidden=nn.Sequential(nn.Dropout(0.1), nn.Linear(4 * 64, features), nn.ReLU(inplace=True)),
    )


def residual(channels: int, features: int) -> nn.Module:
    """A stem and four stages of one bottleneck block each, and their mean, as in ResNet-152."""
    return _row(
        stem=_stem(channels),
        layer1=Bottleneck(16, 8, 32),
        layer2=Bottleneck(32, 16, 64, stride=2),
        layer3=Bottleneck(64, 24, 96),
        layer4=Bottleneck(96, 24, features),
        pool=Mean(),
    )


def inception(channels: int, features: int, side: int) -> nn.Module:
    """A stem, three stages of Inception blocks and an auxiliary branch, as in Inception v3."""
    stages: dict[str, nn.Module] = {
        "stem": _stem(channels),
        "mixed5": nn.Sequential(Inception(16, 32), nn.MaxPool2d(2)),
        "mixed6": Inception(32, 64),
        "auxiliary": nn.Sequential(
            *_normalised(64, 16, 1), *_quarters(), nn.Linear(4 * 16, side), nn.ReLU()
        ),
        "mixed7": Inception(64, features),
        "pool": Mean(),
    }
    return _drawn(Branched(OrderedDict(stages)))


def _standardised(channels: int) -> nn.Module:
    return nn.GroupNorm(1, channels, affine=False)


def _stem(channels: int) -> nn.Module:
    return nn.Sequential(_standardised(channels), *_normalised(channels, 16, 5, 2), nn.MaxPool2d(2))


def _normalised(channels: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, outputs, size, stride, size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _plain(channels: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(inplace=True)]


def _quarters() -> nn.Sequential:
    return nn.Sequential(nn.AdaptiveMaxPool2d(2), nn.Flatten())


class Mean(nn.Module):
    """The mean over the map. torch's adaptive average is slow over an axis of replicates."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C)."""
        return x.mean((2, 3))


def _row(**stages: nn.Module) -> nn.Module:
    return _drawn(Row(OrderedDict(stages)))


def _drawn(trunk: nn.Module) -> nn.Module:
    """He initialisation of the convolutions, and weights in channels-last format."""
    for layer in trunk.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    return trunk.to(memory_format=torch.channels_last)
