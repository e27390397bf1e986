"""Runs that are trained alike: an experiment of a paper, with the searches of its options."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from counterpoise.spec.base import Model, Name, Text
from counterpoise.spec.cell import Component, Protocol, Variation
from counterpoise.spec.names import SINGLE_TASK

MOST_POINTS = 64


class GridSearch(Model):
    """Options of a method that are chosen on the validation part, before the run itself is trained.

    Every point of the grid is a cell of its own, so that its cost is counted and points that two
    searches share are trained once. The point with the lowest validation loss wins: the mean over
    tasks of the unweighted (normalised) loss of the weights that are kept, averaged over seeds. One
    that diverges never does, and the test part has no say.
    """

    grid: Annotated[dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]], Field(min_length=1)]
    """Option to the values that are tried; all combinations are. ``weights.left`` is the entry
    *left* of the option *weights*."""
    epochs: Annotated[int, Field(ge=1)] | None = None
    """Epochs of each candidate: at most the experiment's, which it is if absent."""
    seeds: Annotated[int, Field(ge=1)] = 1
    """Seeds of each candidate: at most the experiment's."""

    @model_validator(mode="after")
    def _is_small(self) -> GridSearch:
        count = math.prod(len(values) for values in self.grid.values())
        if count > MOST_POINTS:
            raise ValueError(f"the grid has {count} points, more than {MOST_POINTS}")
        return self

    def points(self, options: dict[str, Any]) -> list[dict[str, Any]]:
        """All combinations, each with the run's other options."""
        found = []
        for values in itertools.product(*self.grid.values()):
            point = copy.deepcopy(options)
            for name, value in zip(self.grid, values, strict=True):
                option, _, entry = name.partition(".")
                if entry:
                    point.setdefault(option, {})[entry] = value
                else:
                    point[option] = value
            found.append(point)
        return found


class Run(Model):
    """One row's training: a method with its options, on the experiment's data and network."""

    method: Name
    options: dict[str, Any] = {}
    weighting: Component | None = None
    """A method of losses, whose weights the losses have before the method above sees them and their
    gradients: `scale_invariant` takes logarithms, `deepchest` is added to a gradient method."""
    search: GridSearch | None = None
    """Options that are searched on the validation part instead of given."""
    protocol: Variation = Variation()
    """What differs from the experiment's protocol."""
    label: str = ""
    role: Literal["primary", "sensitivity"] = "primary"
    """Only the primary reading of a paper gets verdicts."""
    calibrated: bool = False
    """The printed numbers of this row helped to fix the protocol; it gets no verdict."""
    may_diverge: bool = False
    """A bad end is expected here (the paper says so), and does not fail the gate."""


class Experiment(Model):
    """Runs that share data, network and protocol, so that their seeds can be compared in pairs."""

    title: Text
    dataset: Name
    dataset_options: dict[str, Any] = {}
    tasks: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """Those of the dataset's tasks that are trained, in its order; all if absent."""
    network: Component
    protocol: Protocol
    repeats: Annotated[int, Field(ge=1)] = 1
    """Training runs (seeds) of each row: the paper's number, or ours where it gives none."""
    runs: dict[Name, Run]
    views: tuple[Name, ...] | None = None
    """Runs whose trade-offs the report draws, beside single-task networks; all if absent."""

    def shows(self, run: str) -> bool:
        """Whether a run is part of the drawings of trade-offs."""
        return self.views is None or run in self.views or self.runs[run].method == SINGLE_TASK
