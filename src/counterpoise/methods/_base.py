"""The interface of a balancing method: a few pure functions over explicit state.

Notation (that of the RotoGrad submission): a batch of B samples has the shared representation
Z in R^{B x d}; task k of K sees z^k, computed from z by :meth:`Method.represent`, and has the
loss l_k (normalised if the protocol says so). g^k is the gradient of l_k, unweighted, with
respect to z^k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from counterpoise.lazy import torch
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.tasks import Task

State = dict[str, "Tensor"]
"""All that a method remembers. Tensors only: it is saved, resumed and moved with the network."""

SignalKind = Literal["losses", "features", "jacobian"]


@dataclass(frozen=True)
class Shape:
    """What a method knows of the problem when it is made.

    Attributes:
        tasks: K.
        features: d.
        parameters: P, the number of shared parameters.
        names: the tasks' names.
    """

    tasks: int
    features: int
    parameters: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Signal:
    """What the engine shows a method at each step. No tensor carries an autograd graph.

    Attributes:
        losses: (K,) losses l_k of the batch.
        z: (B, d) shared representation.
        representations: (K, B, d) task representations z^k.
        task_gradients: (K, B, d) g^k, at z^k.
        gradients: (K, B, d) the same at Z, by :meth:`Method.pull_back`.
        step: updates made before this one.
        epoch: full passes over the data made before this step.
        jacobian: (K, P) gradients of the l_k with respect to all shared parameters; only methods
            of that signal are shown it.
    """

    losses: Tensor
    z: Tensor
    representations: Tensor
    task_gradients: Tensor
    gradients: Tensor
    step: int
    epoch: int
    jacobian: Tensor | None = None


@dataclass(frozen=True)
class Epoch:
    """What the engine tells of an epoch that has ended, after its validation.

    Attributes:
        losses: (K,) mean unweighted training losses, counted in passing while weights change.
        accuracies: (K,) training accuracies, counted likewise; NaN for tasks without classes.
        validation_losses: (K,) unweighted losses on the validation part.
        validation_accuracies: (K,); NaN for tasks without classes.
        epoch: its number, from zero.
    """

    losses: Tensor
    accuracies: Tensor
    validation_losses: Tensor
    validation_accuracies: Tensor
    epoch: int


@dataclass(frozen=True)
class Combined:
    """What a method decides.

    Attributes:
        weights: (K,) task weights omega_k, which scale the heads' gradients too.
        shared: (B, d) gradient at Z that the trunk receives; None stands for
            sum_k omega_k grad_Z l_k, the gradient of the weighted loss.
        trunk: (P,) gradient of the shared parameters, from methods that see the Jacobian; it takes
            the place of ``shared``.
    """

    weights: Tensor
    shared: Tensor | None = None
    trunk: Tensor | None = None


class Method:
    """Base of all methods; by itself it leaves every function at its plainest form.

    Attributes:
        label: name for people.
        signal: the cheapest signal that the method needs. ``losses`` methods must not read
            ``gradients``, so that a cheaper engine may leave them out.
        kept: names of the state that :meth:`represent` reads; it is saved with the weights.
        options: validated hyper-parameters.
        shape: sizes of the problem.
    """

    label: ClassVar[str]
    signal: ClassVar[SignalKind]
    kept: ClassVar[tuple[str, ...]] = ()

    class Options(base.Options):
        """No hyper-parameters."""

    def __init__(self, options: base.Options, shape: Shape) -> None:
        self.options = options
        self.shape = shape

    @classmethod
    def problems(cls, options: base.Options, tasks: tuple[Task, ...]) -> list[str]:
        """Why these options do not fit these tasks, in words; asked before any job starts."""
        return []

    def initial_state(self) -> State:
        """State before the first step."""
        return {}

    def represent(self, state: State, z: Tensor) -> Tensor:
        """Z (B, d) to the task representations (K, B, d); also used in evaluation."""
        return z.expand(self.shape.tasks, *z.shape)

    def pull_back(self, state: State, gradients: Tensor) -> Tensor:
        """Gradients (K, B, d) at the task representations to gradients (K, B, d) at Z."""
        return gradients

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weigh the tasks for this step and return the state for the next one."""
        return Combined(torch.ones_like(signal.losses)), state

    def end_of_epoch(self, state: State, epoch: Epoch) -> State:
        """State for the next epoch."""
        return state
