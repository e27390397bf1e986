"""Networks, methods and losses of R replicates as one each, mapped by torch.func.vmap."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.training.losses import Loss
from counterpoise.training.modules import Network

NAMES = ("weights", "mixing", "shared", "trunk", "through_gradients")
"""Tensors of a decision."""


def spread(values: Tensor, like: Tensor) -> Tensor:
    """(R,) values in the shape that broadcasts over (R, ...)."""
    return values.reshape(-1, *[1] * (like.ndim - 1))


class StackedModule:
    """Modules of one form as one, from inputs (R, B, ...) to outputs (R, B, ...).

    Args:
        modules: R modules, whose parameters and buffers become views of the stacks.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.form = copy.deepcopy(modules[0]).to("meta")
        found, self.buffers = stack_module_state(list(modules))
        trained = {name: p.requires_grad for name, p in modules[0].named_parameters()}
        self.stacks = {
            name: nn.Parameter(stack.detach(), requires_grad=trained[name])
            for name, stack in found.items()
        }
        for place, module in enumerate(modules):
            for name, own in (*module.named_parameters(), *module.named_buffers()):
                own.data = {**self.stacks, **self.buffers}[name].data[place]

    def __call__(self, inputs: Tensor) -> Tensor:
        """Each replicate's inputs through its own module."""

        def one(parameters: Any, buffers: Any, x: Tensor) -> Any:
            return functional_call(self.form, (parameters, buffers), (x,))

        # A layer that draws would draw what none draws alone; torch refuses, should one come here.
        mapped: Tensor = vmap(one)(self.stacks, self.buffers, inputs)
        return mapped

    def parameters(self) -> Iterable[nn.Parameter]:
        """The stacks that are trained, each (R, *shape)."""
        return [stack for stack in self.stacks.values() if stack.requires_grad]


class StackedNetwork:
    """The networks of R replicates, with what a step needs of a network."""

    def __init__(self, networks: Sequence[Network]) -> None:
        self.trunk = StackedModule([network.trunk for network in networks])
        heads = zip(*(network.heads.values() for network in networks), strict=True)
        names = networks[0].heads.keys()
        self.heads = {n: StackedModule(same) for n, same in zip(names, heads, strict=True)}
        places = {id(p): name for name, p in networks[0].trunk.named_parameters()}
        self.last_layer = [self.trunk.stacks[places[id(p)]] for p in networks[0].last_layer]
        self.autocast = networks[0].autocast
        self.auxiliary_weight = networks[0].auxiliary_weight

    def shared(self, inputs: Tensor) -> Tensor:
        """(R, B, ...) to (R, B, d)."""
        with self.autocast(inputs.device.type):
            z = self.trunk(inputs)
        return z.float() if z.dtype == torch.bfloat16 else z

    def shared_parameters(self) -> list[nn.Parameter]:
        """Of the trunk, those that are trained."""
        return list(self.trunk.parameters())

    def buffers(self) -> list[Tensor]:
        """The stacks of all buffers, each (R, *shape)."""
        return [b for part in (self.trunk, *self.heads.values()) for b in part.buffers.values()]

    def parameters(self) -> list[nn.Parameter]:
        """Those that are trained, in the order of a replicate's own network."""
        return [p for part in (self.trunk, *self.heads.values()) for p in part.parameters()]


class StackedMethod:
    """Methods of R replicates as one; those that share their options map together.

    Args:
        groups: methods, each with the number of replicates that follow it.
    """

    def __init__(self, groups: Sequence[tuple[Method, int]]) -> None:
        self.groups = groups
        first = groups[0][0]
        self.signal, self.second_order = first.signal, first.second_order
        self.looks_back, self.passes_again = first.looks_back, first.passes_again

    def _map(self, choose: Callable[[Method], Callable[..., Any]], *arguments: Any) -> Any:
        """A function of each method over its replicates, the results one after the other."""
        found, start = [], 0
        for method, count in self.groups:
            place = slice(start, start + count)
            parts = [torch.utils._pytree.tree_map(lambda t, p=place: t[p], a) for a in arguments]
            found.append(vmap(choose(method))(*parts))
            start += count
        if len(found) == 1:
            return found[0]
        return torch.utils._pytree.tree_map(lambda *parts: torch.cat(parts), *found)

    def represent(self, state: State, z: Tensor) -> Tensor:
        """(R, B, d) to (R, K, B, d)."""
        return cast(Tensor, self._map(lambda m: m.represent, state, z))

    def pull_back(self, state: State, gradients: Tensor) -> Tensor:
        """(R, K, B, d) at the task representations to the same at Z."""
        return cast(Tensor, self._map(lambda m: m.pull_back, state, gradients))

    def usable(self, losses: Tensor) -> Tensor:
        """(R, K), for which losses the methods are defined."""
        return cast(Tensor, self._map(lambda m: m.usable, losses))

    def after_step(self, state: State, losses: Tensor) -> State:
        """States after the update."""
        return cast(State, self._map(lambda m: m.after_step, state, losses))

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Each replicate's decision, as one of stacks."""
        values = {field.name: getattr(signal, field.name) for field in fields(Signal)}
        shown = {name: value for name, value in values.items() if isinstance(value, Tensor)}

        def decide(method: Method) -> Callable[..., Any]:
            def one(state: State, shown: dict[str, Tensor], draws: dict[str, Tensor]) -> Any:
                seen = replace(signal, **shown, draws=draws)  # type: ignore[arg-type]
                combined, following = method.combine(state, seen)
                told = {n: getattr(combined, n) for n in NAMES}
                told = {name: value for name, value in told.items() if value is not None}
                return told, combined.gradients, following

            return one

        told, gradients, following = self._map(decide, state, shown, signal.draws)
        return Combined(**told, gradients=gradients), following


def mapped_loss(losses: Sequence[tuple[Loss, int]]) -> Loss:
    """One task's loss of R replicates, (R, B, outputs) and (R, B) to (R,).

    Args:
        losses: each with the number of replicates that it is the loss of, in their order; problems
            of one form may weigh their classes each by its own counts.
    """
    same = [(loss, list(found)) for loss, found in groupby(losses, lambda pair: pair[0])]
    sizes = [sum(count for _, count in found) for _, found in same]

    def mapped(outputs: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
        given = [outputs, target] if known is None else [outputs, target, known]
        parts = zip(*(torch.split(tensor, sizes) for tensor in given), strict=True)
        found = [vmap(loss)(*part) for (loss, _), part in zip(same, parts, strict=True)]
        return torch.cat(found)

    return mapped
