"""What is asked about where a network looks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from counterpoise.spec.base import Model, Name

Way = Literal["grad_cam", "grad_cam_pp", "smooth_grad", "shap"]
"""How a saliency map is made."""

Localisation = Literal[
    "pointing", "energy", "overlap.0.25", "overlap.0.5", "overlap.0.75", "empty"
]  # fmt: skip
"""How well maps find the region of a finding, and how many are empty
(:mod:`counterpoise.explain.localisation`)."""

CENTRE, RANDOM = "centre", "random"
"""Maps that know nothing of the network: a blob in the middle of the picture, and noise."""
UNTRAINED = "untrained/"
"""Before the name of a way: maps of the network with weights drawn anew."""


class Explanation(Model):
    """Where a run's network looks: maps of example pictures, and how often they find the region."""

    experiment: Name
    run: Name
    label: str = ""
    """Its network's name in figures; the run's if absent."""
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Findings of which an example is kept: the first test picture with the label and a box."""
    ways: Annotated[tuple[Way, ...], Field(min_length=1)] = (
        "grad_cam", "grad_cam_pp", "smooth_grad", "shap",
    )  # fmt: skip
    most: Annotated[int, Field(ge=1)] = 50
    """Pictures a finding that are scored, at most."""
    untrained: Annotated[int, Field(ge=1)] = 3
    """Networks with weights drawn anew, to be scored beside."""

    @property
    def maps(self) -> tuple[str, ...]:
        """All maps that it scores."""
        return (*self.ways, CENTRE, RANDOM, *(f"{UNTRAINED}{way}" for way in self.ways))
