"""Inception v3 as torchvision builds it, with its auxiliary head and without its last layers.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision" (CVPR 2016). Z is the
globally pooled feature after its dropout (2,048 numbers), followed by that of the auxiliary branch
(768). A task's head is one linear layer on each; in training its loss is that of the first plus 0.4
times that of the second, in validation and scoring that of the first only. Methods see the
gradients of both parts of Z. The trunk has 24,343,264 parameters. Made for images of 299 pixels, as
the branch applies a 5 x 5 convolution to a 5 x 5 map.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import nn

LIBRARIES = ("torchvision",)
FEATURES, SIDE = 2048, 768


class Options(base.Options):
    """The weight of the auxiliary loss."""

    auxiliary_weight: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Weight of the auxiliary loss in training. torchvision's reference training uses 0.4; the
    paper gives no number, and the one before it (GoogLeNet) gives 0.3."""


def features(options: Options, tasks: int) -> int:
    """Channels of the last stage, and those of the auxiliary branch."""
    return FEATURES + SIDE


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order; the auxiliary branch leaves before the last mixed blocks."""
    return ("stem", "mixed5", "mixed6", "auxiliary", "mixed7", "pool")


def published(options: Options) -> str:
    """Name of its published weights in config/weights.yaml."""
    return "inception_v3"


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """All convolutional stages and the global average, with the auxiliary branch."""
    from counterpoise.networks._torchvision import inception

    return inception(shape)


def head(options: Options, outputs: int, task: int, tasks: int) -> nn.Module:
    """A linear layer on the features, and one on those of the auxiliary branch."""
    from counterpoise.networks._heads import AuxiliaryLinear

    return AuxiliaryLinear(FEATURES, SIDE, outputs)


def auxiliary_weight(options: Options) -> float:
    """Weight of the auxiliary loss in training."""
    return options.auxiliary_weight
