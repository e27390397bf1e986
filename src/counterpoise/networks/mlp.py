"""The two-layer network of RotoGrad's toy examples: no heads, the representation is the output."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.errors import UserError
from counterpoise.lazy import torch
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import nn


class Options(base.Options):
    """Sizes; the submission states ten hidden units."""

    hidden: Annotated[int, Field(ge=1)] = 10
    features: Annotated[int, Field(ge=1)] = 2


def features(options: Options, tasks: int) -> int:
    """Size of the output."""
    return options.features


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return ("hidden", "output")


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """One hidden ReLU layer."""
    if len(shape) != 1:
        raise UserError(f"mlp needs vectors, not inputs of shape {shape}")
    nn = torch.nn
    stages = OrderedDict(
        hidden=nn.Sequential(nn.Linear(shape[0], options.hidden), nn.ReLU()),
        output=nn.Linear(options.hidden, options.features),
    )
    return nn.Sequential(stages)


def head(options: Options, outputs: int, task: int, tasks: int) -> nn.Module:
    """No parameters: the first ``outputs`` coordinates of the task's representation."""
    from counterpoise.networks._heads import FirstOutputs

    if outputs > options.features:
        raise UserError(f"mlp gives {options.features} features, a task needs {outputs} outputs")
    return FirstOutputs(outputs)
