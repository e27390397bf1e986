"""Small stand-ins for AlexNet, ResNet-152 and Inception v3, with the same kinds of blocks.

``alexnet`` has five plain convolutions and a layer with dropout, ``resnet`` four bottleneck blocks
with batch normalisation, ``inception`` three Inception blocks and an auxiliary head that helps in
training and is not scored. Each has fewer than 0.2 million parameters and at 64 pixels a last map
of 8 x 8. They let the demo show what is done with the real networks; a number from them says
nothing about those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.errors import UserError
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import nn

SMALLEST = 32
STAGES = {
    "alexnet": ("conv1", "conv2", "conv3", "conv4", "conv5", "pool", "hidden"),
    "resnet": ("stem", "layer1", "layer2", "layer3", "layer4", "pool"),
    "inception": ("stem", "mixed5", "mixed6", "auxiliary", "mixed7", "pool"),
}


class Options(base.Options):
    """Which of the three."""

    family: Literal["alexnet", "resnet", "inception"] = "alexnet"
    """The family that it stands in for."""
    features: Annotated[int, Field(ge=4, multiple_of=4)] = 96
    """Units of AlexNet's last shared layer; channels of the last map of the others."""
    side: Annotated[int, Field(ge=1)] = 64
    """Units of the auxiliary branch; for the family inception only."""
    auxiliary_weight: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Weight of the auxiliary loss in training; for the family inception only."""


def features(options: Options, tasks: int) -> int:
    """Units of the last shared layer, with those of an auxiliary branch."""
    return options.features + (options.side if options.family == "inception" else 0)


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return STAGES[options.family]


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """Convolutions to an eighth of the size, then maxima of quarters and a layer, or the mean.

    Raises:
        UserError: inputs are not images, or are too small.
    """
    from counterpoise.networks import _families

    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        raise UserError(
            f"stand_in needs pictures of {SMALLEST} x {SMALLEST} or more, "
            f"not inputs of shape {shape}"
        )
    if options.family == "inception":
        return _families.inception(shape[0], options.features, options.side)
    make = _families.plain if options.family == "alexnet" else _families.residual
    return make(shape[0], options.features)


def head(options: Options, outputs: int, task: int, tasks: int) -> nn.Module:
    """A linear layer; with an auxiliary branch, one on each half of Z."""
    from counterpoise.lazy import torch
    from counterpoise.networks._heads import AuxiliaryLinear

    if options.family == "inception":
        return AuxiliaryLinear(options.features, options.side, outputs)
    return torch.nn.Linear(options.features, outputs)


def auxiliary_weight(options: Options) -> float:
    """Weight of the auxiliary loss in training."""
    return options.auxiliary_weight if options.family == "inception" else 0.0
