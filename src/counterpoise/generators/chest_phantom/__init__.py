"""A chest phantom: generated radiographs with the fourteen findings, in place of ChestX-ray14.

Bodies, positions and exposures vary, and findings run from mild ones that the healthy resemble to
plain ones, so that telling them takes a look at the picture. Who has what follows the frequencies
and joint frequencies of ChestX-ray14; patients come back, and their findings tend to stay. What is
learnt on the phantom says nothing of medicine: it exercises what is done with real radiographs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from counterpoise.generators.chest_phantom.cohort import FINDINGS, Scene, scenes
from counterpoise.generators.chest_phantom.release import write
from counterpoise.generators.chest_phantom.render import radiograph
from counterpoise.spec import base

__all__ = ["FINDINGS", "Options", "Scene", "generate", "radiograph", "scenes"]


class Options(base.Options):
    """What can be chosen about the phantom."""

    images: Annotated[int, Field(ge=1)] = 3000
    """Number of images; a smaller cohort is the beginning of a larger one."""
    size: Annotated[int, Field(ge=32, le=256)] = 64
    """Width and height in pixels."""
    prevalence: Literal["raised", "published"] = "raised"
    """Findings as often as in ChestX-ray14, or in the same order but each in 5 % of images or
    more, of patients with at most six images, so that a small cohort has examples of all."""
    label_noise: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of the labels that are wrong."""
    domain: Literal["first", "second"] = "first"
    """The second is another hospital: heavier patients, harder exposures, more noise."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Another seed makes other patients."""


def generate(folder: Path, options: Options) -> None:
    """Write the phantom in the layout of the NIH release.

    ``images_001.tar.gz`` (``images/00000001_000.png`` and so on, 8-bit grey),
    ``Data_Entry_2017_v2020.csv``, ``train_val_list.txt`` and ``test_list.txt`` (a quarter of the
    patients), and ``BBox_List_2017.csv`` with the boxes of all findings in all images.
    """
    cohort = scenes(options.images, options.seed, options.domain, options.prevalence)
    write(folder, list(cohort), options.size, options.label_noise)
