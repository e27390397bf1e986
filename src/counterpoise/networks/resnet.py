"""Residual networks as torchvision builds them, without their last layer.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016). Z is the globally pooled
feature: d = 512 for 18 and 34 layers, 2048 for 50, 101 and 152.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import nn


LIBRARIES = ("torchvision",)


class Options(base.Options):
    """Which of the five."""

    depth: Literal[18, 34, 50, 101, 152] = 18
    """Layers. DeepChest names 18 as its example, the thoracic paper uses 152."""


def features(options: Options, tasks: int) -> int:
    """Channels of the last stage: 512 or 2048."""
    return 512 if options.depth < 50 else 2048


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return ("stem", "layer1", "layer2", "layer3", "layer4", "pool")


def published(options: Options) -> str:
    """Name of its published weights in config/weights.yaml."""
    return f"resnet{options.depth}"


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """All convolutional stages and the global average."""
    from counterpoise.networks._torchvision import residual

    return residual(options.depth, shape)
