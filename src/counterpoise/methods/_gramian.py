"""What is common to the methods whose decision follows from the Gramian of the tasks' gradients.

The shared parameters receive sum_k v_k grad l_k, and v in R^K follows from the inner products of
the K gradients alone; heads keep their own gradients. Both the gradients of all shared parameters
(K backward passes through the trunk) and those at the shared representation Z (none but the one
that uniform weights need) have such a Gramian, of the same size; the option ``level`` chooses.

Everything here is K x K: it is computed on the CPU and in float64, whatever the network's device.
So a step waits for the device once, for the single copy of everything that a method reads. On a GPU
torch's own decompositions would also wait, to check whether they have converged.

A Gramian whose eigenvalues do not converge is unusable, like one that is zero or out of range: for
that step the plain sum of the gradients is taken (or whatever the method specifies). A solver that
fails on a method's own problem raises ``Unsolved``, and the run ends, which is recorded as its
result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import (
    Combined,
    Method,
    Property,
    Signal,
    SignalKind,
    State,
)
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape


@dataclass(frozen=True)
class Gradients:
    """Everything that a Gramian tells about K gradients, in float64.

    Attributes:
        told: (), whether the Gramian is usable: neither zero nor out of range, with eigenvalues
            that converge; if not, the other attributes are those of orthogonal gradients of length
            one.
        scale: (), the largest of the K norms.
        norms: (K,) norms, in units of ``scale``: the largest is one.
        rows: (K, K) vectors that have the same inner products in the same units, one per task.
    """

    told: Tensor
    scale: Tensor
    norms: Tensor
    rows: Tensor

    @property
    def gramian(self) -> Tensor:
        """(K, K) inner products, in units of the squared scale."""
        return self.rows @ self.rows.T

    @property
    def units(self) -> Tensor:
        """(K, K) rows of length one; zero where a gradient is zero."""
        return self.rows / torch.where(self.norms > 0, self.norms, 1)[:, None]

    def scaled(self, factors: Tensor) -> Gradients:
        """The same gradients, each times its positive factor."""
        norms = self.norms * factors
        largest = norms.max()
        rows = self.rows * (factors / largest)[:, None]
        return Gradients(self.told, self.scale * largest, norms / largest, rows)


def gradients_of(gramian: Tensor, seen: torch.dtype) -> Gradients:
    """What a Gramian tells, without a branch that depends on its values.

    The cosines' eigenvalues below the precision of the gradients' dtype ``seen`` (squared, as
    eigenvalues are squares of singular values) are set to zero: they consist of rounding error, and
    some methods divide by them. Cosines are used rather than inner products, so that a small
    gradient beside large ones is not mistaken for rounding error.
    """
    steps = 10 * len(gramian)
    precision = max((steps * torch.finfo(seen).eps) ** 2, steps * torch.finfo(torch.float64).eps)
    exact = gramian.detach().double().cpu()
    norms = exact.diagonal().clamp(min=0).sqrt()
    told = torch.isfinite(exact).all() & (norms.max() > 0)
    exact = torch.where(told, exact, torch.eye(len(exact), dtype=exact.dtype))
    norms = torch.where(told, norms, 1)
    scale = norms.max()
    divisors = torch.where(norms > 0, norms, 1)
    try:
        values, vectors = torch.linalg.eigh(exact / divisors / divisors[:, None])
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        told, vectors = torch.zeros_like(told), torch.eye(len(exact), dtype=exact.dtype)
        scale, norms, values = (torch.ones_like(t) for t in (scale, norms, norms))
    values = torch.where(values > precision * values.max(), values, 0)
    units = vectors * values.sqrt()
    return Gradients(told, scale, norms / scale, units * (norms / scale)[:, None])


def copied_to_host(*tensors: Tensor) -> list[Tensor]:
    """The same numbers in float64 on the CPU, in a single copy for all."""
    joined = torch.cat([tensor.detach().double().flatten() for tensor in tensors]).cpu()
    parts = torch.split(joined, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def seen_gradients(method: Method, signal: Signal, *more: Tensor) -> tuple[Gradients, list[Tensor]]:
    """The gradients at the level that a method looks at and other numbers, in float64 on the host.

    Args:
        more: the other numbers, which are part of the same copy.
    """
    gramian = signal.gramian
    if method.signal == "features":
        flat = signal.gradients.flatten(1).double()
        gramian = flat @ flat.T
    assert gramian is not None
    gramian, *numbers = copied_to_host(gramian, *more)
    return gradients_of(gramian, signal.gradients.dtype), numbers


def within_range(mixing: Tensor, like: Tensor) -> Tensor:
    """(K,) v on the device and in the dtype of other values.

    For methods whose v grows as gradients vanish, v may leave the range of float32 at the very end.
    """
    limit = torch.finfo(like.dtype).max
    return mixing.clamp(-limit, limit).to(like)


class LevelOptions(base.Options):
    """Hyper-parameters of every method that looks at a Gramian."""

    level: Literal["parameters", "features"] = "parameters"
    """Which gradients are compared: those of all shared parameters (as in the papers), at the cost
    of K backward passes through the trunk, or those at the shared representation Z, with no
    backward pass beyond the usual one."""


class GramianOptions(LevelOptions):
    """Hyper-parameters of every method whose v follows from the Gramian of one step."""

    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """CR-MOGM (Zhou et al., NeurIPS 2022, "On the Convergence of Stochastic Multi-Objective
    Gradient Manipulation and Beyond"): the share of the last step's v that is kept in this step's.
    It stops batch noise from turning the update; 0, as in the other papers, means no smoothing, and
    TorchJD uses 0.9. With smoothing, promises about the update of one step do not hold."""


class LevelMethod(Method):
    """A method that looks at gradients at the level named in its options."""

    signal: SignalKind = "gramian"
    on_host = "matrices of K x K, in float64"

    class Options(LevelOptions):
        """Where to look."""

    def __init__(self, options: LevelOptions, shape: Shape) -> None:
        super().__init__(options, shape)
        if options.level == "features":
            self.signal = "features"


PROMISED_OF_ONE_STEP: frozenset[Property] = frozenset(
    {"never_conflicts", "never_lengthens", "blind_to_gradient_scale", "blind_to_loss_scale"}
)
"""Promises that an average over several steps does not keep."""


class GramianMethod(LevelMethod, ABC):
    """v follows from the Gramian of this step alone; subclasses say how."""

    class Options(GramianOptions):
        """Where to look."""

    def __init__(self, options: GramianOptions, shape: Shape) -> None:
        super().__init__(options, shape)
        self.smoothing = options.smoothing
        if options.smoothing:
            self.properties = self.properties - PROMISED_OF_ONE_STEP

    def promise(self, *more: Property) -> None:
        """Promise more than the class, where an option decides and smoothing allows it."""
        kept = frozenset(more) - (PROMISED_OF_ONE_STEP if self.smoothing else frozenset())
        self.properties = self.properties | kept

    def initial_state(self) -> State:
        """No v yet, if the last one is to be remembered."""
        if not self.smoothing:
            return {}
        return {"mixing": torch.zeros(self.shape.tasks), "begun": torch.zeros(self.shape.tasks)}

    @abstractmethod
    def mix(self, gradients: Gradients, signal: Signal) -> Tensor:
        """(K,) v_k in float64, from gradients of which at least one is not zero.

        Args:
            gradients: on the host, as are the signal's losses, in float64, and what is known.
            signal: this step's.
        """

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The mixing of this step; the plain sum if the Gramian is unusable."""
        here = () if signal.known is None else (signal.known,)
        gradients, (losses, *known) = seen_gradients(self, signal, signal.losses, *here)
        plain = torch.ones_like(signal.losses)
        shown = replace(signal, losses=losses, known=known[0] > 0 if known else None)
        found = torch.where(gradients.told, self.mix(gradients, shown), 1.0)
        mixing = within_range(found, plain)
        if self.smoothing:
            told = gradients.told & (gradients.norms > 0)
            mixing, state = self._smoothed(mixing, told.to(plain.device), state)
        return Combined(plain, mixing=mixing), state

    def _smoothed(self, mixing: Tensor, told: Tensor, state: State) -> tuple[Tensor, State]:
        """The average with the last v, which stays unchanged of tasks (K,) that are not told of."""
        begun, last = state["begun"], state["mixing"]
        past = torch.where(begun > 0, last, mixing)
        mixing = torch.where(told, self.smoothing * past + (1 - self.smoothing) * mixing, mixing)
        kept = torch.where(told, mixing, last)
        return mixing, {"mixing": kept, "begun": torch.where(told, 1, begun)}
