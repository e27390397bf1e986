"""The figures of a paper, one model a kind."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from counterpoise.spec.base import Model, Name, Text
from counterpoise.spec.claim import ClaimTest

HistoryQuantity = Literal[
    "validation_metric", "training_loss", "weight", "gradient_norm", "cosine", "learning_rate"
]


class SchematicFigure(Model):
    """A drawing without data."""

    kind: Literal["schematic"]


class UnavailableFigure(Model):
    """A figure whose runs this project cannot make."""

    kind: Literal["unavailable"]
    reason: Text


class HistoryFigure(Model):
    """A quantity of training over epochs, one panel a task, one line a run."""

    kind: Literal["history"]
    experiment: Name
    runs: Annotated[tuple[Name, ...], Field(min_length=1)]
    quantity: HistoryQuantity


class Line(Model):
    """A run, of any experiment of the paper."""

    experiment: Name
    run: Name
    label: str = ""
    """Its name in the figure; the run's if absent."""


class CoursesFigure(Model):
    """A quantity of training over epochs, the mean over tasks; one line a run of any experiment."""

    kind: Literal["courses"]
    lines: Annotated[tuple[Line, ...], Field(min_length=1)]
    quantity: HistoryQuantity


class ReliabilityFigure(Model):
    """Share of positives by predicted probability, all findings together; one panel a run."""

    kind: Literal["reliability"]
    lines: Annotated[tuple[Line, ...], Field(min_length=1)]


class TrajectoriesFigure(Model):
    """Paths of the outputs over the landscape of each toy loss."""

    kind: Literal["trajectories"]
    experiment: Name
    runs: Annotated[tuple[Name, ...], Field(min_length=1)]


class DecisionFigure(Model):
    """Predicted classes of a toy classifier over its plane of inputs."""

    kind: Literal["decision"]
    experiment: Name
    runs: Annotated[tuple[Name, ...], Field(min_length=1)]


class RocFigure(Model):
    """Receiver operating characteristics, one panel a task, one line a run."""

    kind: Literal["roc"]
    experiment: Name
    runs: Annotated[tuple[Name, ...], Field(min_length=1)]


class ActivationsFigure(Model):
    """What an early, a middle and the last convolutional stage make of an example picture."""

    kind: Literal["activations"]
    explanation: Name
    task: Name
    layers: tuple[Text, Text, Text] | None = None
    """Early, middle and last: stages, or with ``[0]`` the first block of one; if absent, the first,
    the middle and the last stage."""


class SaliencyFigure(Model):
    """Saliency maps over an example picture, its region outlined."""

    kind: Literal["saliency"]
    explanation: Name
    task: Name


class LocalisationFigure(Model):
    """How often maps find the region, with intervals, beside maps that know nothing."""

    kind: Literal["localisation"]
    explanations: Annotated[tuple[Name, ...], Field(min_length=1)]


class BarsFigure(Model):
    """A table as grouped bars: printed beside ours."""

    kind: Literal["bars"]
    table: Name


RunsFigure = HistoryFigure | TrajectoriesFigure | DecisionFigure | RocFigure
"""A figure of some runs of one experiment."""

LinesFigure = CoursesFigure | ReliabilityFigure
"""A figure of runs of any experiments."""

ExplainedFigure = ActivationsFigure | SaliencyFigure | LocalisationFigure
"""A figure of what networks look at."""

FigureContent = Annotated[
    SchematicFigure | UnavailableFigure | RunsFigure | LinesFigure | ExplainedFigure | BarsFigure,
    Field(discriminator="kind"),
]


class Figure(Model):
    """A figure of the paper, or one of ours that the paper lacks (``place`` says which)."""

    id: Name
    title: Text
    place: Text
    trend: str = ""
    """What the paper says that the figure shows."""
    test: ClaimTest | None = None
    """How the trend is held against numbers: as a claim is."""
    content: FigureContent

    @property
    def lines(self) -> list[tuple[str, str]]:
        """Experiment and run of all that a figure of runs shows; nothing of other figures."""
        if isinstance(self.content, LinesFigure):
            return [(line.experiment, line.run) for line in self.content.lines]
        if isinstance(self.content, RunsFigure):
            return [(self.content.experiment, run) for run in self.content.runs]
        return []

    @property
    def explanations(self) -> tuple[str, ...]:
        """Those that it is drawn from."""
        if isinstance(self.content, LocalisationFigure):
            return self.content.explanations
        if isinstance(self.content, ActivationsFigure | SaliencyFigure):
            return (self.content.explanation,)
        return ()
