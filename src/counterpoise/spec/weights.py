"""Published weights as data: config/weights.yaml."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from counterpoise.spec.base import Model, Name, Text
from counterpoise.spec.dataset import FileName, Folder


class WeightsFile(Model):
    """One file with the weights of a network."""

    name: FileName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{8,64}$")]
    """Of its content, or how it begins: torchvision's file names tell eight digits."""
    bytes: Annotated[int, Field(ge=0)] | None = None
    """Size, where it is known."""
    folder: Folder | None = None
    """Address of the folder that it is downloaded from; without one it is read from a mirror."""


class Published(Model):
    """Weights that others have trained."""

    title: Text
    licence: Text
    files: Annotated[tuple[WeightsFile, ...], Field(min_length=1)]
    """Files that hold them, each all of them; the first that is there is taken."""

    @property
    def identity(self) -> dict[str, Any]:
        """What decides about results that start from them."""
        return {file.name: file.sha256 for file in self.files}


class Weights(Model):
    """All published weights."""

    weights: dict[Name, Published]
