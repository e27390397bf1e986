"""Nothing to generate: a dataset that is a formula reads no files."""

from __future__ import annotations

from pathlib import Path

from counterpoise.files import write_text
from counterpoise.spec import base


class Options(base.Options):
    """There are no options."""


def generate(folder: Path, options: Options) -> None:
    """Write a note, so that the source has a file like the others."""
    write_text(folder / "formula.txt", "The data are computed by the dataset's module.\n")
