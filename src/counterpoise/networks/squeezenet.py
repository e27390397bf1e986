"""SqueezeNet 1.1 as torchvision builds it, with a head that can give any logit.

Iandola et al., "SqueezeNet" (2016). torchvision's network ends in a ReLU, so no logit is below zero
and no probability below one half; here it is left out. Z is the average of the last map after its
dropout, d = 512; the trunk has 722,496 parameters. Made for images of 224 pixels; the minimum is
17.
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
    """Channels of the last map."""
    return 512


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return ("stem", "fire1", "fire2", "fire3", "pool")


def published(options: Options) -> str:
    """Name of its published weights in config/weights.yaml."""
    return "squeezenet1_1"


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """A convolution, eight fire modules, dropout and the global average."""
    from counterpoise.networks._torchvision import squeeze

    return squeeze(shape)
