"""torch's optimizers over explicit state.

These use the functions that torch.optim.Adam and the like call, but not the classes: those import
torch's compiler, which takes longer than torch itself, and most cells of the demo train for
seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.rmsprop import rmsprop
from torch.optim.sgd import sgd

from counterpoise.spec.cell import Protocol

UPDATES: dict[str, Callable[..., None]] = {"adam": adam, "rmsprop": rmsprop, "sgd": sgd}
MOMENTS = {"adam": ("first", "second"), "rmsprop": ("second",), "sgd": ()}
"""Averages of the gradient and of its square that each optimizer keeps."""
ADAM: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "amsgrad": False}
RMSPROP: dict[str, Any] = {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False}
SGD: dict[str, Any] = {"momentum": 0.0, "dampening": 0.0, "nesterov": False}
"""Defaults of torch's classes; no protocol asks for others."""


FAR = 1e28
"""Largest move of one step: ten thousand million of them stay in the range of float32."""


def in_range(
    kinds: Iterable[str],
    rate: float | Tensor,
    gradient: Tensor,
    decayed: Tensor | None,
) -> Tensor:
    """(...), whether one update surely leaves parameters and averages finite; asked before it.

    Plain descent moves by the rate times the gradient. The others divide by a root of the averaged
    square, so that they move by less than some ten times the rate, but that square must be finite.

    Args:
        kinds: the optimizers.
        rate: learning rate.
        gradient: (...) norm of the longest gradient.
        decayed: (...) norm of the longest parameter times its decay; None without decay.
    """
    pull = gradient.double() if decayed is None else gradient.double() + decayed
    fits = [
        rate * pull < FAR
        if kind == "sgd"
        else (pull.square() < torch.finfo(torch.float32).max) & (10.0 * rate < FAR)
        for kind in kinds
    ]
    return fits[0] if len(fits) == 1 else torch.stack(fits).all(0)


def laid_out_like(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient with the strides of its parameter, a copy only where it lies otherwise.

    Fused kernels go through memory and not through places: on a CPU another layout would be wrong
    without a word, on a GPU it is refused, even where it differs in an axis of length one only.
    """
    strides = parameter.stride()
    if gradient.stride() == strides:
        return gradient
    axes = zip(parameter.shape, strides, gradient.stride(), strict=True)
    if all(length == 1 or one == other for length, one, other in axes):
        return gradient.as_strided(parameter.shape, strides)
    return torch.empty_like(parameter).copy_(gradient)


class Optimizer:
    """Moves parameters along the gradients that they hold.

    Args:
        protocol: which optimizer, and its weight decay.
        parameters: those of the network.
        own: those of the method, which do not decay.
        direct: those of the network whose gradient is the step itself.
    """

    def __init__(
        self,
        protocol: Protocol,
        parameters: Sequence[nn.Parameter],
        own: Sequence[nn.Parameter] = (),
        direct: Sequence[nn.Parameter] = (),
    ) -> None:
        self.kind = protocol.optimizer
        everything = [*parameters, *own]
        plain = {id(parameter) for parameter in direct}
        kinds = ["sgd" if id(p) in plain else self.kind for p in everything]
        decays = [protocol.weight_decay] * len(parameters) + [0.0] * len(own)
        self.groups = list(zip(kinds, decays, strict=True))
        self.parameters = everything
        self.moments: dict[str, list[Tensor]] = {
            name: [
                torch.zeros_like(p) if name in MOMENTS[kind] else p.new_zeros(0)
                for p, kind in zip(everything, kinds, strict=True)
            ]
            for name in MOMENTS[self.kind]
        }
        # The fused kernels of Adam count on the device.
        fused = self.kind == "adam"
        self.counts = [torch.zeros((), device=p.device if fused else "cpu") for p in everything]

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @property
    def holds(self) -> bool:
        """Whether :meth:`step` can be told on the device to change nothing."""
        return all(kind == "adam" for kind, _ in self.groups)

    @torch.no_grad()
    def step(self, rate: float, held: Tensor | None = None) -> None:
        """One update of every parameter that has a gradient.

        Args:
            rate: the learning rate.
            held: () of bool, whether nothing changes after all; for optimizers that can do so.
        """
        for kind, decay in dict.fromkeys(self.groups):
            places = [
                place
                for place, parameter in enumerate(self.parameters)
                if self.groups[place] == (kind, decay) and parameter.grad is not None
            ]
            if places:
                common = {"lr": rate, "weight_decay": decay, "maximize": False}
                self._move(kind, places, common, None if held is None else held.float())

    def _move(
        self, kind: str, places: list[int], common: dict[str, Any], held: Tensor | None
    ) -> None:
        moved = [self.parameters[place] for place in places]
        gradients = [laid_out_like(p, p.grad) for p in moved if p.grad is not None]
        kept = [[rows[place] for place in places] for rows in self.moments.values()]
        counts = [self.counts[place] for place in places]
        move = UPDATES[kind]
        if kind == "adam":
            fused = {"fused": True, "found_inf": held}
            move(moved, gradients, *kept, [], counts, **fused, **ADAM, **common)
        elif kind == "rmsprop":
            move(moved, gradients, *kept, [], [], counts, **RMSPROP, **common)
        else:
            move(moved, gradients, [None] * len(moved), **SGD, **common)

    @torch.no_grad()
    def within(self, rate: float, gradients: Tensor) -> Tensor:
        """(), whether an update leaves everything finite, by :func:`in_range`.

        Args:
            rate: the learning rate.
            gradients: (n,) norms of the gradients.
        """
        kinds, decays = zip(*self.groups, strict=True)
        decayed = None
        if decay := max(decays):
            decayed = decay * torch.stack(torch._foreach_norm([*self.parameters])).amax().double()
        return in_range(set(kinds), rate, gradients.amax(), decayed)

    def state(self) -> dict[str, list[Tensor]]:
        """All that it remembers, in the order of the parameters."""
        return {**self.moments, "count": self.counts}

    def restore(self, state: dict[str, list[Tensor]]) -> None:
        """Take up what :meth:`state` gave."""
        for name, own in self.moments.items():
            for value, saved in zip(own, state[name], strict=True):
                value.copy_(saved)  # the layout stays the parameter's, whatever the saved one's
        pairs = zip(state["count"], self.counts, strict=True)
        self.counts = [count.to(own.device) for count, own in pairs]


class StackedOptimizer:
    """The same for R replicates at once, each with its own learning rate and a life of its own.

    torch's functions take one rate, so that the updates are written out here.

    Args:
        members: the replicates' optimizers at the same count; their averages stand still until
            :meth:`hand_back`.
        parameters: the stacks (R, *shape) of their parameters, in their order.
    """

    def __init__(self, members: Sequence[Optimizer], parameters: Sequence[nn.Parameter]) -> None:
        self.members, self.parameters = members, list(parameters)
        self.kind = members[0].kind
        self.sizes = [p[0].numel() for p in parameters]
        rates = [rate for _, rate in members[0].groups]
        decays = [torch.full((n,), d) for n, d in zip(self.sizes, rates, strict=True)]
        decay = torch.cat(decays).to(parameters[0].device)
        self.decay = decay if any(rates) else None
        self.count = max((int(m.counts[0]) for m in members), default=0)
        self.moments: dict[str, Tensor] = {}
        for name in MOMENTS[self.kind]:
            rows = [torch.cat([part.flatten() for part in m.moments[name]]) for m in members]
            self.moments[name] = torch.stack(rows)

    def clear(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def within(self, rates: Tensor, gradients: Tensor) -> Tensor:
        """(R,), whether an update leaves a replicate finite, by :func:`in_range`.

        Args:
            rates: (R,) learning rates.
            gradients: (R, n) norms of the gradients.
        """
        decayed = None
        if decay := max(decay for _, decay in self.members[0].groups):
            norms = [torch.linalg.vector_norm(p.flatten(1), dim=1) for p in self.parameters]
            decayed = decay * torch.stack(norms).amax(0).double()
        return in_range([self.kind], rates, gradients.amax(1), decayed)

    @torch.no_grad()
    def step(self, rates: Tensor, alive: Tensor) -> None:
        """One update; a replicate that is not ``alive`` keeps its parameters.

        Args:
            rates: (R,) learning rates.
            alive: (R,) of bool.
        """
        there = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        gradient = torch.cat([g.flatten(1) for g in there], dim=1)
        gradient = torch.where(alive[:, None], gradient, 0.0)
        if self.decay is not None:
            held = torch.cat([p.flatten(1) for p in self.parameters], dim=1)
            gradient = gradient + self.decay * torch.where(alive[:, None], held, 0.0)
        self.count += 1
        move = self._direction(gradient) * torch.where(alive, rates, 0.0)[:, None]
        for parameter, part in zip(
            self.parameters, torch.split(move, self.sizes, dim=1), strict=True
        ):
            parameter.sub_(part.view_as(parameter))

    def _direction(self, gradient: Tensor) -> Tensor:
        """(R, P) update for a rate of one; moments move in place."""
        if self.kind == "sgd":
            return gradient
        second = self.moments["second"]
        if self.kind == "rmsprop":
            alpha, epsilon = RMSPROP["alpha"], RMSPROP["eps"]
            second.mul_(alpha).addcmul_(gradient, gradient, value=1 - alpha)
            return torch.div(gradient, second.sqrt() + epsilon)
        one, two, epsilon = ADAM["beta1"], ADAM["beta2"], ADAM["eps"]
        first = self.moments["first"].lerp_(gradient, 1 - one)
        second.mul_(two).addcmul_(gradient, gradient, value=1 - two)
        root = (second.sqrt() / (1 - two**self.count) ** 0.5).add_(epsilon)
        return torch.div(first / (1 - one**self.count), root)

    @torch.no_grad()
    def hand_back(self) -> None:
        """Tell the replicates' optimizers the averages, and how many steps there were.

        Copies, each in its parameter's own layout: a stack's is another.
        """
        for place, member in enumerate(self.members):
            for name, stack in self.moments.items():
                parts = zip(torch.split(stack[place], self.sizes), member.parameters, strict=True)
                member.moments[name] = [torch.empty_like(p).copy_(t.view_as(p)) for t, p in parts]
            for count in member.counts:
                count.fill_(self.count)
