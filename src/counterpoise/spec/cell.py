"""What one training is: the resolved specification that its digest covers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from counterpoise.spec.base import Model, Name

Precision = Literal["float32", "tf32", "bfloat16"]
Selection = Literal["best_validation", "last"]


class Schedule(Model):
    """Learning rate of the network over epochs."""

    kind: Literal["constant", "step", "exponential", "cosine"] = "constant"
    every: Annotated[int, Field(ge=1)] = 1
    """Epochs between two steps of a step schedule."""
    factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor of a step, or of an epoch of an exponential schedule."""


class Protocol(Model):
    """How a network is trained, whatever the method."""

    epochs: Annotated[int, Field(ge=1, le=100_000)]
    batch_size: Annotated[int, Field(ge=1)]
    optimizer: Literal["adam", "sgd", "rmsprop"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    schedule: Schedule = Schedule()
    loss_normalisation: Literal["first_batch", "none"] = "none"
    """Divide each task's loss by its value on the first mini-batch, before any update."""
    selection: Selection = "best_validation"
    """Which epoch's weights are kept: the lowest mean (normalised) validation loss, or the last."""
    precision: Precision = "float32"
    """Of the trunk: products on a GPU's tensor cores (tf32), or all its layers (bfloat16)."""
    micro_batch: Annotated[int, Field(ge=1)] | None = None
    """Items that pass the trunk at once, for want of memory; none: the batch. Every method's update
    is that of the whole batch, at one more forward pass of the trunk; only normalisation over a
    batch sees these items alone."""
    trace_outputs: bool = False
    """Keep the mean network output on the validation part at every epoch (toy problems)."""


class Component(Model):
    """A network or method with its options, resolved to their full set."""

    name: Name
    options: dict[str, Any] = {}


class Candidate(Model):
    """A point of a grid: a cell that was trained to try it."""

    key: str
    """``name/digest`` of that cell."""
    options: dict[str, Any]
    """The method's full options there."""


class Cell(Model):
    """One distinct training of all its seeds. Tables and papers that need it share it.

    The single-task reference of K tasks is K cells of one task each.
    """

    dataset: Name
    source: Name
    """Which files the data come from: the published ones or a stand-in."""
    dataset_options: dict[str, Any]
    network: Component
    method: Component
    tasks: tuple[Name, ...]
    protocol: Protocol
    seeds: tuple[int, ...]
    candidates: tuple[Candidate, ...] = ()
    """Of a grid search: the training job takes the method's options from the best of them."""
    single_task: dict[Name, str] = {}
    """``name/digest`` of a network of its own by task, where the method's options wait for them."""

    @property
    def seeding(self) -> str:
        """What random draws depend on besides the seed: never the method or the protocol."""
        return f"{self.dataset}/{self.network.name}"
