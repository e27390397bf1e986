"""A dataset as data: its card, its sources and what is split."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from counterpoise.spec.base import Model, Name, Text
from counterpoise.spec.cell import Component

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=128)]


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Md5 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Address = Annotated[str, Field(pattern=r"^https://[^\s/]+/\S*$", max_length=500)]
Folder = Annotated[str, Field(pattern=r"^https://[^\s/]+/(\S*/)?$", max_length=500)]


class OtherEdition(Model):
    """Another file with the same content for all that is read from it."""

    bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class SourceFile(Model):
    """One file of a source."""

    name: FileName
    bytes: Annotated[int, Field(ge=0)] | None = None
    """Size, where the publisher tells it."""
    sha256: Sha256 | None = None
    md5: Md5 | None = None
    """Where the publisher gives neither checksum, that of the first full success is kept in
    data/records/ and holds from then on."""
    also: tuple[OtherEdition, ...] = ()
    """Other editions that are as good."""
    urls: tuple[Address, ...] = ()
    """Addresses of this file, tried before the folders of ``mirrors``."""
    needed: Literal["always", "download", "never"] = "always"
    """Where it must be: ``download`` allows that a folder of one's own lacks it."""

    @property
    def checksum(self) -> str:
        """What is published of its content, for the identity of data."""
        return self.sha256 or (f"md5:{self.md5}" if self.md5 else "recorded")


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
    page: Address | None = None
    """Where a person reads the terms, and finds the files if no program may fetch them."""
    mirrors: tuple[Folder, ...] = ()
    """Addresses of folders, tried in order."""
    in_place: bool = False
    """Too large to keep twice: files of a mirror folder are linked, not copied, and their archives
    of images may be unpacked there."""
    files: tuple[SourceFile, ...] = ()
    options: dict[str, Any] = {}
    """Dataset options that hold for this source."""
    counts: dict[str, Annotated[int, Field(ge=0)]] = {}
    """How many images, patients and positives of each task there must be. Preparing anything else
    is an error; the card shows them beside what was found."""
    whole: bool = False
    """All of the dataset, whose published counts it must have."""

    @model_validator(mode="after")
    def _has_files(self) -> DataSource:
        if (self.generator is not None) == bool(self.files):
            raise ValueError("a source is either generated or lists its files")
        names = [file.name for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError("a source lists a file twice")
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
    reader: Name | None = None
    """Module of ``counterpoise.datasets`` that reads it; the one of its own name if absent."""
    card: Card
    sources: Annotated[dict[Name, DataSource], Field(min_length=1)]
    options: dict[str, Any] = {}
    split_seed: Annotated[int, Field(ge=0)] = 0
    counts: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Published numbers of images, patients and positives of each task, which the card shows beside
    those of each source."""

    def counts_of(self, source: str) -> dict[str, int]:
        """What a source declares to hold."""
        chosen = self.sources[source]
        return {**(self.counts if chosen.whole else {}), **chosen.counts}
