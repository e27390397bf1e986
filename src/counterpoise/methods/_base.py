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

State = dict[str, "Tensor"]
"""All that a method remembers. Tensors only: it is saved, resumed and moved with the network."""

SignalKind = Literal["losses", "features"]


@dataclass(frozen=True)
class Shape:
    """What a method knows of the problem when it is made: K tasks, d features."""

    tasks: int
    features: int


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
    """

    losses: Tensor
    z: Tensor
    representations: Tensor
    task_gradients: Tensor
    gradients: Tensor
    step: int
    epoch: int


@dataclass(frozen=True)
class Combined:
    """What a method decides.

    Attributes:
        weights: (K,) task weights omega_k, which scale the heads' gradients too.
        shared: (B, d) gradient at Z that the trunk receives; None stands for
            sum_k omega_k grad_Z l_k, the gradient of the weighted loss.
    """

    weights: Tensor
    shared: Tensor | None = None


class Method:
    """Base of all methods; by itself it leaves every function at its plainest form.

    Attributes:
        label: name for people.
        signal: the cheapest signal that the method needs. ``losses`` methods must not read
            ``gradients``, so that a cheaper engine may leave them out.
        options: validated hyper-parameters.
        shape: sizes of the problem.
    """

    label: ClassVar[str]
    signal: ClassVar[SignalKind]

    class Options(base.Options):
        """No hyper-parameters."""

    def __init__(self, options: base.Options, shape: Shape) -> None:
        self.options = options
        self.shape = shape

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
