"""DenseNet-121 as torchvision builds it, without its last layer: the network of CheXNet.

Huang et al., "Densely Connected Convolutional Networks" (CVPR 2017); Rajpurkar et al., "CheXNet"
(2017), whose model the RotoGrad submission uses for ChestX-ray14. Z is the globally pooled feature,
d = 1024; the trunk has 6,953,856 parameters.
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
    """Channels after the last dense block."""
    return 1024


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return ("stem", "block1", "block2", "block3", "block4", "pool")


def published(options: Options) -> str:
    """Name of its published weights in config/weights.yaml."""
    return "densenet121"


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """The dense blocks, the last normalisation and the global average."""
    from counterpoise.networks._torchvision import dense

    return dense(shape)
