"""A dataset as data: its card, its sources and what is split."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from counterpoise.spec.base import Model, Name, Text
from counterpoise.spec.cell import Component

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=128)]


class SourceFile(Model):
    """One file of a source."""

    name: FileName
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0)]


class DataSource(Model):
    """Where the raw files come from."""

    title: Text
    description: Text
    licence: Text
    citation: Text = "none"
    stand_in: bool = False
    """Made in place of the published data; every number from it is marked."""
    generator: Component | None = None
    """What writes the files, where they are not downloaded."""
    needs: tuple[str, ...] = ()
    """Libraries whose version decides what is generated."""
    mirrors: tuple[Annotated[str, Field(pattern=r"^https://.*/$")], ...] = ()
    """Addresses of folders, tried in order."""
    files: tuple[SourceFile, ...] = ()
    options: dict[str, Any] = {}
    """Dataset options that hold for this source."""

    @model_validator(mode="after")
    def _has_files(self) -> DataSource:
        if (self.generator is not None) == bool(self.files):
            raise ValueError("a source is either generated or lists its files")
        return self


class Card(Model):
    """What a reader must know before trusting a number from these data."""

    what: Text
    counts: Text
    labels: Text
    known_biases: Text


class Dataset(Model):
    """One dataset."""

    id: Name
    title: Text
    card: Card
    sources: dict[Name, DataSource]
    options: dict[str, Any] = {}
    split_seed: Annotated[int, Field(ge=0)] = 0
