"""A CUDA device that is not there: one step on tensors that have shapes and a device, no numbers.

torch's fake tensors refuse what a real device refuses, operations between tensors of two devices
above all, and show each copy between host and device, which a real device waits for. Only the
autograd engine needs a driver: gradients are made up here, each in its parameter's own layout.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from counterpoise import registry
from counterpoise.datasets._part import Part
from counterpoise.methods import _torchjd
from counterpoise.methods._base import Method
from counterpoise.spec.cell import Cell
from counterpoise.training import engine, stacks
from counterpoise.training.engine import Replicate
from counterpoise.training.modules import Network
from counterpoise.training.passage import Passage
from counterpoise.training.problem import Problem
from counterpoise.training.replicates import Together

DEVICE = torch.device("cuda")
BATCH = 16
SOURCE = "/src/counterpoise/"
READ = {"__bool__": False, "__int__": 1, "__float__": 1.0, "item": 1.0}
"""What a number that the host asks for is taken to be."""
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.lift_fresh_copy.default)
SOLVERS = ("torchjd_weights", "fair_weights", "shortest")
"""Of methods that decide on the host, the functions that look at numbers."""
TO_HOST, TO_DEVICE = "to host", "to device"


class Traffic(TorchDispatchMode):
    """Counts copies between host and device.

    Attributes:
        copies: (direction, places in the source that it comes from), and how often.
    """

    def __init__(self) -> None:
        super().__init__()
        self.copies: Counter[tuple[str, str]] = Counter()

    def note(self, origin: str, target: str) -> None:
        """One copy, if it is one between the two."""
        if origin != target:
            self.copies[TO_HOST if target == "cpu" else TO_DEVICE, _place()] += 1

    def number(self, direction: str) -> int:
        """Copies in one direction."""
        return sum(count for (way, _), count in self.copies.items() if way == direction)

    def __str__(self) -> str:
        lines = (f"{count} x {way}, {place}" for (way, place), count in self.copies.items())
        return "\n".join(sorted(lines))

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if (kwargs or {}).get("non_blocking"):
            return found  # nobody waits for it
        if func in COPIES and isinstance(args[0], Tensor):
            self.note(args[0].device.type, found.device.type)
        elif func is torch.ops.aten.copy_.default:
            self.note(args[1].device.type, args[0].device.type)
        return found


def _place() -> str:
    frames = [f for f in traceback.extract_stack() if SOURCE in f.filename]
    return " < ".join(f"{f.filename.split(SOURCE)[1]}:{f.lineno}" for f in frames[:-3:-1])


def _fake(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=DEVICE)


class _Unheard:
    """An answer from the device that nobody has asked for yet."""

    def __init__(self, yes: Tensor) -> None:
        self.yes = yes

    def heard(self) -> bool:
        """What is copied now."""
        return bool(self.yes)


def _on_device(module: nn.Module) -> None:
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                made = nn.Parameter(_fake(parameter), requires_grad=parameter.requires_grad)
                part._parameters[name] = made
        for name, buffer in part._buffers.items():
            part._buffers[name] = None if buffer is None else _fake(buffer)


def _form(module: nn.Module) -> nn.Module:
    """A copy of a fake module: copy.deepcopy wants memory to copy."""
    made = object.__new__(type(module))
    made.__dict__.update(module.__dict__)
    made._parameters = {
        name: None if p is None else nn.Parameter(_fake(p), requires_grad=p.requires_grad)
        for name, p in module._parameters.items()
    }
    made._buffers = dict(module._buffers)
    made._modules = {name: None if m is None else _form(m) for name, m in module._modules.items()}
    made.__dict__["to"] = lambda *_: made
    return made


def _gradients(_outputs: Any, inputs: Any, *_: Any, **__: Any) -> tuple[Tensor, ...]:
    sources = inputs if isinstance(inputs, list | tuple) else [inputs]
    return tuple(torch.empty_like(source.detach()) for source in sources)


def _functional(function: Callable[..., Any], argnums: Any = 0) -> Callable[..., Any]:
    def gradient(*args: Any) -> Any:
        function(*args)
        chosen = argnums if isinstance(argnums, tuple) else (argnums,)
        made = tuple(tree_map(torch.empty_like, args[place]) for place in chosen)
        return made if isinstance(argnums, tuple) else made[0]

    return gradient


def _weights(*given: Any, **_: Any) -> Tensor:
    """(K,) ones, from whatever a solver is given of K gradients."""
    parts = (getattr(value, "rows", value) for value in given)
    matrix = next(part for part in parts if isinstance(part, Tensor))
    assert matrix.device.type == "cpu", "solvers run on the host"
    return torch.ones(len(matrix), dtype=matrix.dtype)


def _without_solvers(patch: pytest.MonkeyPatch) -> None:
    """Solvers need numbers; what they are given and what becomes of their answer stays."""
    modules = [registry.find("methods", name) for name in registry.names("methods")]
    for module in (_torchjd, *modules):
        for name in SOLVERS:
            if hasattr(module, name):
                patch.setattr(module, name, _weights)


def _backward(passage: Passage, gradient: Tensor) -> None:
    assert passage.graph is not None
    (passage.graph * gradient).sum()
    for parameter in passage.network.shared_parameters():
        parameter.grad = torch.empty_like(parameter.detach())


@contextmanager
def fake_device(patch: pytest.MonkeyPatch) -> Iterator[Traffic]:
    """Within it, tensors of the device ``cuda`` are fake; yields what is copied."""
    traffic = Traffic()
    built = Problem.build

    def build(problem: Problem, seed: int) -> tuple[Network, Method]:
        with unset_fake_temporarily():
            here = Problem(problem.cell, problem.tasks, problem.parts)
            network, method = built(here, seed)
        _on_device(network)
        return network, method

    def reading(value: Any) -> Callable[..., Any]:
        def read(tensor: Tensor, *_: Any) -> Any:
            traffic.note(tensor.device.type, "cpu")
            return value

        return read

    class Copies:
        deepcopy = staticmethod(_form)

    _without_solvers(patch)
    for name, value in READ.items():
        patch.setattr(FakeTensor, name, reading(value), raising=False)
    patch.setattr(Problem, "build", build)
    patch.setattr(torch.autograd, "grad", _gradients)
    patch.setattr(torch.func, "grad", _functional)
    patch.setattr(Passage, "backward", _backward)
    patch.setattr(engine, "Answer", _Unheard)
    patch.setattr(Tensor, "pin_memory", lambda tensor: tensor)
    patch.setattr(stacks, "copy", Copies)
    patch.setattr(engine, "layer_generators", lambda _: [torch.default_generator])
    with FakeTensorMode(), traffic:
        yield traffic


def problem_of(cell: Cell, *, labelled: bool = True) -> Problem:
    """Two batches of MultiMNIST on the device.

    Args:
        cell: what is trained.
        labelled: whether every label is known.
    """
    module = registry.find("datasets", cell.dataset)
    known = {task.name: task for task in module.tasks(module.Options(**cell.dataset_options))}

    def part(count: int) -> Part:
        targets = {
            name: torch.zeros(
                count, dtype=torch.float32 if known[name].classes is None else torch.long,
                device=DEVICE,
            )
            for name in cell.tasks
        }  # fmt: skip
        images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8, device=DEVICE)
        made = Part(images, targets, 0.5, 0.3)
        made.__dict__["known"] = dict.fromkeys(targets, count if labelled else count - 1)
        return made

    parts = {"train": part(2 * BATCH), "validation": part(BATCH)}
    return Problem(cell, tuple(known[name] for name in cell.tasks), parts, DEVICE)


def replicates_of(problem: Problem, seeds: tuple[int, ...]) -> list[Replicate]:
    """Replicates that save nothing."""
    return [Replicate(problem, seed, Path("none"), 1e9) for seed in seeds]


def step_alone(problem: Problem, traffic: Traffic) -> None:
    """One step of one replicate, and nothing else in the traffic."""
    (made,) = replicates_of(problem, (0,))
    index = torch.arange(BATCH, device=DEVICE)
    traffic.copies.clear()
    made._step(index)
    assert made.trouble is None


def step_together(problem: Problem, traffic: Traffic) -> None:
    """The same of two replicates side by side."""
    step_beside([problem], traffic)


def step_beside(problems: Sequence[Problem], traffic: Traffic) -> None:
    """The same of two replicates of each of several problems."""
    together = Together([r for problem in problems for r in replicates_of(problem, (0, 1))])
    together.epoch = together.batch = together.step = 0
    together._take_up(together.members)
    index = torch.arange(BATCH, device=DEVICE).repeat(len(together.members), 1)
    traffic.copies.clear()
    together._step(index)
