"""Random changes of training images, as a protocol names them."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from counterpoise.spec.base import Model


class ResizedCrop(Model):
    """A window of the image of random area and shape, enlarged to the image's size."""

    scale: tuple[float, float] = (0.08, 1.0)
    """Smallest and largest share of the area."""
    ratio: tuple[float, float] = (0.75, 1.3333333333333333)
    """Smallest and largest width by height."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError("scale must be two shares of the area, the smaller one first")
        if not 0 < self.ratio[0] <= self.ratio[1] < float("inf"):
            raise ValueError("ratio must be two positive numbers, the smaller one first")
        return self

    def __str__(self) -> str:
        """In words, for people."""
        return f"resized crop of {self.scale[0]:.3g} to {self.scale[1]:.3g} of the area"


class Augment(Model):
    """Random changes of training images, in this order. None is made of what is not named.

    Images of the validation and test parts are never changed.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """Degrees, at most, in either direction about the middle."""
    resized_crop: ResizedCrop | None = None
    crop: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Padding of a random crop of the image's own size, as a share of the side: how far the image
    moves, at most, in each direction."""
    flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability of a horizontal flip."""
    brightness: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Intensities are multiplied by a factor between one minus and one plus this."""

    def __str__(self) -> str:
        """In words, for people."""
        words = {
            f"rotation up to {self.rotation:g} degrees": self.rotation,
            str(self.resized_crop): self.resized_crop,
            f"crop with padding of {self.crop:.3g} of the side": self.crop,
            f"horizontal flip of {self.flip:.3g}": self.flip,
            f"brightness up to {self.brightness:.3g}": self.brightness,
        }
        return ", ".join(text for text, given in words.items() if given) or "none"
