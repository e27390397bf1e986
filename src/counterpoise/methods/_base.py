"""The interface of a balancing method: a few pure functions over explicit state.

Notation (that of the RotoGrad submission): a batch of B samples has the shared representation
Z in R^{B x d}; task k of K sees z^k, computed from z by :meth:`Method.represent`, and has the
loss l_k (normalised if the protocol says so). g^k is the gradient of l_k, unweighted, with
respect to z^k.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from counterpoise.lazy import torch
from counterpoise.spec import base

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from counterpoise.tasks import Task

State = dict[str, "Tensor"]
"""Everything that a method remembers. Tensors only: it is saved, resumed and moved with the
network."""

SignalKind = Literal["losses", "features", "last_layer", "gramian", "jacobian"]
"""What a method needs to see, from cheap to expensive. The last three are shown only to methods
that ask for them; ``losses`` methods must not read gradients."""


Property = Literal[
    "neutral_start",
    "weighted_loss",
    "weights_sum_to_tasks",
    "weights_sum_to_one",
    "equal_tasks_equal_weights",
    "plain_with_one_task",
    "blind_to_gradient_scale",
    "blind_to_loss_scale",
    "never_conflicts",
    "never_lengthens",
]
"""What a method promises; each selects a contract test, and `_catalogue` has the wording."""


@dataclass(frozen=True)
class Shape:
    """What a method knows about the problem when it is constructed.

    Attributes:
        tasks: K.
        features: d.
        tensors: number of elements of each shared parameter tensor, in the order of the columns of
            the Jacobian.
        names: the tasks' names.
        regressions: names of those without classes.
    """

    tasks: int
    features: int
    tensors: tuple[int, ...]
    names: tuple[str, ...]
    regressions: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """P, the number of shared parameters."""
        return sum(self.tensors)


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
        epochs: those of the whole training.
        known: (K,) of bool, whether the batch has a known label for the task; None if it has for
            all tasks. The loss of a task without a known label keeps its last value, or is 1 if
            there was none before.
        correct: (K,) correct answers in the batch; NaN for tasks without classes.
        head_norms: (K,) norms of the gradients of the l_k with respect to their own heads.
        last_layer: (K, p) gradients of the l_k with respect to the last shared layer W.
        gramian: (K, K) inner products of the gradients with respect to all shared parameters, in
            float64.
        jacobian: (K, P) those gradients themselves, in memory that a method may overwrite.
        draws: what :meth:`Method.draw` returned for this step.
    """

    losses: Tensor
    z: Tensor
    representations: Tensor
    task_gradients: Tensor
    gradients: Tensor
    step: int
    epoch: int
    epochs: int = 1
    known: Tensor | None = None
    correct: Tensor | None = None
    head_norms: Tensor | None = None
    last_layer: Tensor | None = None
    gramian: Tensor | None = None
    jacobian: Tensor | None = None
    draws: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Epoch:
    """What the engine reports about an epoch that has ended, after its validation.

    Attributes:
        losses: (K,) mean unweighted training losses, accumulated during the epoch while weights
            change.
        accuracies: (K,) training accuracies, accumulated likewise; NaN for tasks without classes.
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
    """What a method decides: the heads' weights, and what the shared parameters receive.

    At most one of ``mixing``, ``shared`` and ``trunk`` is given; if none is, the shared parameters
    receive the gradient of the weighted loss, sum_k omega_k grad l_k.

    Attributes:
        weights: (K,) task weights omega_k, by which the heads' gradients are scaled.
        mixing: (K,) v_k; the shared parameters receive sum_k v_k grad l_k.
        shared: (B, d) gradient at Z, from which the trunk's gradient follows.
        trunk: (P,) gradient of the shared parameters.
        gradients: gradients with respect to the state that :attr:`Method.trained` names.
        through_gradients: (K, B, d) a^k, for methods that set :attr:`Method.second_order`; in
            addition Z and the heads receive, unweighted, the derivative of sum_k <a^k, g^k>.
    """

    weights: Tensor
    mixing: Tensor | None = None
    shared: Tensor | None = None
    trunk: Tensor | None = None
    gradients: dict[str, Tensor] = field(default_factory=dict)
    through_gradients: Tensor | None = None


class Method:
    """Base of all methods; every function has its simplest form here.

    Attributes:
        label: display name.
        signal: the cheapest signal that is sufficient for the method; an instance may set its own,
            where an option decides.
        kept: names of the state that :meth:`represent` reads; it is saved with the weights.
        trained: names of the state that the network's optimizer trains, without weight decay, by
            :attr:`Combined.gradients`.
        second_order: the method acts on the network through the gradients g^k themselves; the heads
            are passed backward twice.
        descends: the gradient of the shared parameters is the step itself; it is multiplied by the
            learning rate without passing through an optimizer.
        looks_back: the method is shown the losses of the same batch after the update.
        passes_again: the trunk's gradient is computed by a separate backward pass, although it
            follows from the Gramian's rows; this reproduces the cost of public code, not a
            different result.
        on_host: which part of a step runs on the host, in words, so that each step waits for the
            device; empty if nothing does.
        host_draws: names of the draws that it reads there: they are not sent to the device.
        draws_once: only the draws of the first step are used; no later ones are made.
        sequential: why the method's functions cannot run under torch.func.vmap over an axis of
            replicates, in words; empty if they can, with the same results as each replicate has
            alone.
        ordered: why the order of the tasks matters, in words; empty if it does not.
        properties: what the method promises; an instance may set its own, where an option decides.
        variants: sets of options that the contract tests try in addition to the defaults.
        options: validated hyper-parameters.
        shape: sizes of the problem.
    """

    label: ClassVar[str]
    signal: SignalKind
    kept: ClassVar[tuple[str, ...]] = ()
    trained: ClassVar[tuple[str, ...]] = ()
    second_order: ClassVar[bool] = False
    descends: ClassVar[bool] = False
    looks_back: ClassVar[bool] = False
    passes_again: bool = False
    on_host: ClassVar[str] = ""
    host_draws: ClassVar[tuple[str, ...]] = ()
    draws_once: ClassVar[bool] = False
    sequential: ClassVar[str] = ""
    ordered: ClassVar[str] = ""
    properties: frozenset[Property] = frozenset()
    variants: ClassVar[tuple[dict[str, Any], ...]] = ()

    class Options(base.Options):
        """No hyper-parameters."""

    def __init__(self, options: base.Options, shape: Shape) -> None:
        self.options = options
        self.shape = shape

    @classmethod
    def option_sets(cls) -> list[dict[str, Any]]:
        """The defaults and the variants."""
        return [{}, *cls.variants]

    @classmethod
    def problems(cls, options: base.Options, tasks: tuple[Task, ...]) -> list[str]:
        """Why these options do not fit these tasks, in words; checked before any job starts."""
        return []

    @classmethod
    def needs_single_task(cls, options: base.Options) -> bool:
        """Whether these options depend on what single-task networks reach."""
        return False

    @classmethod
    def with_single_task(
        cls, options: base.Options, accuracies: Mapping[str, float]
    ) -> base.Options:
        """The options with the single-task results filled in.

        Args:
            options: those for which :meth:`needs_single_task` is true.
            accuracies: by task, the accuracy of its single-task network on the validation part.
        """
        return options

    def usable(self, losses: Tensor) -> Tensor:
        """(K,) of bool, for which losses the method's rule is defined (for a logarithm: positive).

        A loss for which it is not ends the run; this is recorded as its result, with the name of
        the task. What :meth:`combine` returns for it does not matter.
        """
        return torch.ones_like(losses, dtype=torch.bool)

    def initial_state(self) -> State:
        """State before the first step."""
        return {}

    def represent(self, state: State, z: Tensor) -> Tensor:
        """Map Z (B, d) to the task representations (K, B, d); also used in evaluation."""
        return z.expand(self.shape.tasks, *z.shape)

    def pull_back(self, state: State, gradients: Tensor) -> Tensor:
        """Map gradients (K, B, d) at the task representations to gradients (K, B, d) at Z."""
        return gradients

    def draw(self, generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        """Random numbers for one step, from the replicate's own generator."""
        return {}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weigh the tasks for this step and return the state for the next one."""
        return Combined(torch.ones_like(signal.losses)), state

    def after_step(self, state: State, losses: Tensor) -> State:
        """State after an update, from (K,) losses l_k of the same batch under the new weights."""
        return state

    def end_of_epoch(self, state: State, epoch: Epoch) -> State:
        """State for the next epoch."""
        return state
