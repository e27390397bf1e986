"""A method that sees losses which another method has already weighted.

With omega_k from a loss-based method (DeepChest's weights, or 1 / l_k, the derivative of log l_k),
the second method is shown omega_k l_k and their gradients, and decides as if they were the losses:
PCGrad then compares omega_k g_k, and DB-MTL without its logarithm, applied after 1 / l_k, is DB-MTL
itself. Heads are scaled by the product of both weights.

The loss values are omega_k l_k, too, so a method that follows them over time, as GradNorm does,
sees the weights change. What the second method trains or stores remains its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from counterpoise.errors import UserError
from counterpoise.methods._base import Combined, Epoch, Method, Signal, State

if TYPE_CHECKING:
    from torch import Tensor

FIRST = "weighting."
"""Begins the names of the first method's state and draws."""


def _first(named: State) -> State:
    return {k.removeprefix(FIRST): value for k, value in named.items() if k.startswith(FIRST)}


def _second(named: State) -> State:
    return {k: value for k, value in named.items() if not k.startswith(FIRST)}


def _joined(first: State, second: State) -> State:
    return {**second, **{FIRST + name: value for name, value in first.items()}}


def weighted_signal(signal: Signal, omega: Tensor) -> Signal:
    """What a method would be shown of the losses omega_k l_k, the (K,) weights being constants."""
    features = omega[:, None, None]
    more: dict[str, Any] = {}
    if signal.head_norms is not None:
        more["head_norms"] = omega * signal.head_norms
    if signal.last_layer is not None:
        more["last_layer"] = omega[:, None] * signal.last_layer
    if signal.jacobian is not None:
        more["jacobian"] = omega[:, None] * signal.jacobian
    if signal.gramian is not None:
        exact = omega.to(signal.gramian)
        more["gramian"] = exact[:, None] * signal.gramian * exact
    return replace(
        signal,
        losses=omega * signal.losses,
        task_gradients=features * signal.task_gradients,
        gradients=features * signal.gradients,
        **more,
    )


class Weighted(Method):
    """``second`` on the losses that ``first`` has weighted.

    Raises:
        UserError: the second acts through the gradients themselves, which are those of the losses
            before they were weighted.
    """

    label = "On weighted losses"
    sequential = "two methods after one another, of which either may have branches on the data"

    def __init__(self, first: Method, second: Method) -> None:
        if second.second_order:
            raise UserError(
                f"{second.label} cannot be given weighted losses",
                remedy="leave `weighting` out, or choose another method",
            )
        super().__init__(second.options, second.shape)
        self.first, self.second = first, second
        self.signal = second.signal
        # Of the class elsewhere, but here those of the method that is wrapped.
        for name in ("kept", "trained", "descends", "looks_back"):
            setattr(self, name, getattr(second, name))
        self.on_host = "; ".join(filter(None, (first.on_host, second.on_host)))  # type: ignore[misc]
        outer = [f"{FIRST}{name}" for name in first.host_draws]
        self.host_draws = (*second.host_draws, *outer)  # type: ignore[misc]

    def usable(self, losses: Tensor) -> Tensor:
        """Those that both rules are defined for."""
        return self.first.usable(losses) & self.second.usable(losses)

    def initial_state(self) -> State:
        """Both states."""
        return _joined(self.first.initial_state(), self.second.initial_state())

    def represent(self, state: State, z: Tensor) -> Tensor:
        """The second method's."""
        return self.second.represent(_second(state), z)

    def pull_back(self, state: State, gradients: Tensor) -> Tensor:
        """The second method's."""
        return self.second.pull_back(_second(state), gradients)

    def draw(self, generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        """Those of the second method as it has them alone, then those of the first."""
        own = self.second.draw(generator, batch)
        return _joined(self.first.draw(generator, batch), own)

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """First the weights, then what the other method makes of the weighted losses."""
        drawn = signal.draws
        seen = replace(signal, draws=_first(drawn), jacobian=None)  # the second may own its memory
        outer, before = self.first.combine(_first(state), seen)
        omega = outer.weights
        inner, after = self.second.combine(
            _second(state), weighted_signal(replace(signal, draws=_second(drawn)), omega)
        )
        mixing = None if inner.mixing is None else omega * inner.mixing
        combined = replace(inner, weights=omega * inner.weights, mixing=mixing)
        return combined, _joined(before, after)

    def after_step(self, state: State, losses: Tensor) -> State:
        """The second method's state after the update."""
        return _joined(_first(state), self.second.after_step(_second(state), losses))

    def end_of_epoch(self, state: State, epoch: Epoch) -> State:
        """Both states for the next epoch."""
        return _joined(
            self.first.end_of_epoch(_first(state), epoch),
            self.second.end_of_epoch(_second(state), epoch),
        )
