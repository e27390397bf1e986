"""AlexNet as torchvision builds it, without its last layer.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014), the
single-device form of Krizhevsky et al. (NeurIPS 2012). Z is the second hidden layer, d = 4096; the
trunk has 57,003,840 parameters. Made for images of 224 pixels; the minimum is 63.
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
    """Units of the second hidden layer."""
    return 4096


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return ("conv1", "conv2", "conv3", "conv4", "conv5", "pool", "hidden")


def published(options: Options) -> str:
    """Name of its published weights in config/weights.yaml."""
    return "alexnet"


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """Five convolutions and two hidden layers with dropout."""
    from counterpoise.networks._torchvision import alexnet

    return alexnet(shape)
