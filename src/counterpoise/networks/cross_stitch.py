"""Cross-stitch networks: one tower per task, joined by small trainable matrices.

Misra et al., "Cross-stitch Networks for Multi-task Learning" (CVPR 2016). ``form`` chooses between
the network of the paper and what the public code of DeepChest runs under that name:

- ``true``: K towers, each a copy of another network's trunk with initial weights of its own. After
  each stage that has parameters, x^k <- sum_j A_kj x^j over the towers' activations, with A trained
  along with the rest. (A stage without parameters, a global average, commutes with A; a second unit
  there would only add another factor to the product.) The paper has a matrix for each channel,
  which is ``per_channel``; starts from towers trained separately; and gives the matrices a larger
  learning rate. Here all weights are initially random and share one learning rate.
- ``deepchest_code``: one trunk, its features copied K times and passed through three successive K x
  K matrices that start as the identity, with nothing in between. As all copies are equal, task t
  receives the features times one number, (A_3 A_2 A_1 1)_t: an ordinary shared trunk under equal
  weighting, with one learnable gain per task. The code stores the transposes of these matrices, and
  has a shared layer of 512 units before them, which is left out here.

Z is the towers' features side by side, (B, K d), and head k, a linear layer, reads only slice k.

The shared parameters are all towers and all matrices, as each task's gradient reaches all of them
through the units; so the trunk grows with K. At Z, tasks have disjoint slices: their gradients
there are orthogonal and never conflict, and methods that look at Z see only their norms. The last
shared layer W, by the rule that it is the module defined last, is the matrix of the last unit, of
which task k moves only row k (in the other form it is the third matrix).

With one task both forms are the base network times gains that start at 1. The towers are
initialised one after the other under one seed: a single-task reference starts from the first tower,
whatever the task.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from counterpoise.networks import densenet, lenet, resnet, small_cnn
from counterpoise.spec.base import Options as AnyOptions

if TYPE_CHECKING:
    from torch import nn

LIBRARIES = ("torchvision",)

BASES: dict[str, ModuleType] = {
    "densenet": densenet,
    "lenet": lenet,
    "resnet": resnet,
    "small_cnn": small_cnn,
}


class Options(AnyOptions):
    """The towers and how they are joined."""

    form: Literal["true", "deepchest_code"] = "true"
    """The network of the paper, or that of DeepChest's code."""
    base: Literal["densenet", "lenet", "resnet", "small_cnn"] = "lenet"
    """The network whose trunk a tower is."""
    base_options: dict[str, Any] = {}
    """Options of that network."""
    self_weight: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Initial diagonal of the matrices; the rest of each row is split among the other tasks. 0.9 is
    among the values that the paper tries for two tasks. For the true form only."""
    per_channel: bool = False
    """One matrix per channel, as in the paper, instead of one per stage. For the true form only."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        """Options of the base network are valid, and options of the true form belong to it only."""
        try:
            _options(self)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in ("base_options", *first["loc"]))
            raise ValueError(f"{place} of {self.base}: {first['msg']}") from error
        for name in ("self_weight", "per_channel"):
            default = type(self).model_fields[name].default
            if self.form == "deepchest_code" and getattr(self, name) != default:
                raise ValueError(f"{name} belongs to form true, not to deepchest_code")
        return self


def features(options: Options, tasks: int) -> int:
    """K times the features of a tower."""
    return tasks * _width(options)


def stages(options: Options) -> tuple[str, ...]:
    """Names of the stages, in order."""
    return ("towers", "units") if options.form == "true" else ("trunk", "units")


def trunk(options: Options, shape: tuple[int, ...], tasks: int) -> nn.Module:
    """K towers and the units between them, or one trunk and three matrices."""
    from counterpoise.networks import _stitches

    if options.form == "deepchest_code":
        return _stitches.CopiedFeatures(_tower(options, shape), tasks)
    towers = [_tower(options, shape) for _ in range(tasks)]
    return _stitches.stitched(towers, shape, options.self_weight, per_channel=options.per_channel)


def head(options: Options, outputs: int, task: int, tasks: int) -> nn.Module:
    """A linear layer on slice ``task`` of Z."""
    from counterpoise.networks._heads import SliceLinear

    width = _width(options)
    return SliceLinear(width, outputs, task * width)


def _options(options: Options) -> AnyOptions:
    """Options of the base network."""
    chosen: AnyOptions = BASES[options.base].Options(**options.base_options)
    return chosen


def _width(options: Options) -> int:
    """Features d of one tower."""
    width: int = BASES[options.base].features(_options(options), 1)
    return width


def _tower(options: Options, shape: tuple[int, ...]) -> nn.Module:
    """A trunk of the base network with new initial weights."""
    tower: nn.Module = BASES[options.base].trunk(_options(options), shape, 1)
    return tower
