"""Small stand-ins for AlexNet, ResNet-152 and Inception v3, with the same kinds of blocks.

``alexnet`` has five plain convolutions and a layer with dropout, ``resnet`` four bottleneck blocks
with batch normalisation, ``inception`` three Inception blocks and an auxiliary head that helps in
training and is not scored. Each has fewer than 0.2 million parameters and at 64 pixels a last map
of 8 x 8, so that the demo shows what is done with the real ones. A number from them says nothing
of those.
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
    "resnet": ("stem", "layer1", "layer2", "layer3", "layer4", "pool", "hidden"),
    "inception": ("stem", "mixed5", "mixed6", "auxiliary", "mixed7", "pool", "hidden"),
}


class Options(base.Options):
    """Which of the three."""

    family: Literal["alexnet", "resnet", "inception"] = "alexnet"
    """The family that it stands for."""
    features: Annotated[int, Field(ge=1)] = 64
    """Units of the last shared layer, and of that of the auxiliary head."""
    auxiliary_weight: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Of the auxiliary loss in training; of the family inception only."""


def features(options: Options, tasks: int) -> int:
    """Units of the last shared layer, twice as many with an auxiliary branch."""
    return options.features * (2 if options.family == "inception" else 1)


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return STAGES[options.family]


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """Convolutions to an eighth of the size, maxima of the quarters, one layer with ReLU.

    Raises:
        UserError: inputs are not pictures, or too small.
    """
    from counterpoise.networks import _families

    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        raise UserError(
            f"stand_in needs pictures of {SMALLEST} x {SMALLEST} or more, "
            f"not inputs of shape {shape}"
        )
    makers = {
        "alexnet": _families.plain,
        "resnet": _families.residual,
        "inception": _families.inception,
    }
    return makers[options.family](shape[0], options.features)


def head(options: Options, outputs: int, task: int, tasks: int) -> nn.Module:
    """A linear layer; with an auxiliary branch, one on each half of Z."""
    from counterpoise.lazy import torch
    from counterpoise.networks._heads import AuxiliaryLinear

    if options.family == "inception":
        return AuxiliaryLinear(options.features, options.features, outputs)
    return torch.nn.Linear(options.features, outputs)


def auxiliary_weight(options: Options) -> float:
    """Weight of the auxiliary loss in training."""
    return options.auxiliary_weight if options.family == "inception" else 0.0
