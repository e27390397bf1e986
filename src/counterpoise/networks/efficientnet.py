"""EfficientNet-B0 as torchvision builds it, without its last layer.

Tan and Le, "EfficientNet" (ICML 2019), which the thoracic paper names for future work. Z is the
globally pooled feature after its dropout, d = 1280; the trunk has 4,007,548 parameters. Made for
images of 224 pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import nn

LIBRARIES = ("torchvision",)


class Options(base.Options):
    """There are no options."""


def features(options: Options, tasks: int) -> int:
    """Channels of the last convolution."""
    return 1280


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return ("stem", *(f"block{i}" for i in range(1, 8)), "top", "pool")


def published(options: Options) -> str:
    """Name of its published weights in config/weights.yaml."""
    return "efficientnet_b0"


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """All convolutional stages, the global average and dropout."""
    from counterpoise.networks._torchvision import efficient

    return efficient(shape)
