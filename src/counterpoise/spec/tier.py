"""Tiers: how much of the published protocol is run; and the one file that a user edits."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from counterpoise.spec.augment import Augment
from counterpoise.spec.base import Model, Name, Text
from counterpoise.spec.cell import Component, Pretrained, Selection


class Change(Model):
    """What a tier changes of an experiment. What is not named stays as published."""

    dataset_options: dict[str, Any] = {}
    epochs: Annotated[int, Field(ge=1)] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    seeds: Annotated[int, Field(ge=1)] | None = None
    search_epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of each point of a grid search, at most those that its run names."""
    search_seeds: Annotated[int, Field(ge=1)] | None = None
    """Seeds of each point, likewise."""
    selection: Selection | None = None
    augment: Augment | None = None
    """Random changes of training images in place of the published ones; `{}` makes none."""
    network: Component | None = None
    """A network in place of the published one."""
    instead_of_imagenet: Pretrained | None = None
    """Where weights come from in place of ImageNet, for runs that start from there."""


class Reduction(Change):
    """What a tier changes for one dataset."""

    source: Name
    """Which of the dataset's sources is used."""
    experiments: dict[str, Change] = {}
    """``paper/experiment`` to what is changed for it besides, and instead."""

    without: tuple[str, ...] = ()
    """``paper/experiment``, or ``paper/experiment/run``, of what the tier leaves out."""

    def of(self, experiment: str) -> Reduction:
        """All that is changed for one experiment, ``paper/experiment``."""
        own = self.experiments.get(experiment)
        if own is None:
            return self
        given = {key: getattr(own, key) for key in own.model_fields_set}
        options = {**self.dataset_options, **own.dataset_options}
        return self.model_copy(update={**given, "dataset_options": options})


class Tier(Model):
    """One tier."""

    title: Text
    description: Text
    budget_minutes: Annotated[int, Field(ge=1)] | None = None
    """Wall time on two cores that it is meant to take at most, as `counterpoise plan` tells;
    docs/measurements.md has what it took, where that was measured."""
    datasets: dict[Name, Reduction] = {}
    like: Name | None = None
    """Another tier whose datasets this one has, for some of its runs by themselves."""
    runs: tuple[str, ...] | None = None
    """``paper/experiment`` or ``paper/experiment/run`` of the only runs to make; all if absent."""

    @model_validator(mode="after")
    def _has_datasets(self) -> Self:
        if bool(self.datasets) == bool(self.like):
            raise ValueError("give either `datasets` or `like`, a tier to take them from")
        return self


class Tiers(Model):
    """All tiers."""

    tiers: dict[Name, Tier]

    def resolved(self) -> Tiers:
        """The same with the datasets of each tier that is like another."""
        whole = {
            name: tier.model_copy(update={"datasets": self.tiers[tier.like].datasets, "like": None})
            for name, tier in self.tiers.items()
            if tier.like is not None
        }
        return Tiers(tiers={**self.tiers, **whole})


class Config(Model):
    """``config/config.yaml``."""

    tier: Name = "demo"
    """Which tier of config/tiers.yaml to run."""
    papers: Literal["all"] | tuple[Name, ...] = "all"
    """Papers to rebuild."""
    methods: Literal["all"] | tuple[Name, ...] = "all"
    """Methods to train, besides the single-task reference."""
    mirror: str | None = None
    """Folder to take the sources of data from instead of downloading them, or an address to try
    before the published mirrors."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train. It is recorded and does not enter a cell's identity."""
