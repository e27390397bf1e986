"""Our optimizers against torch's classes, bit by bit, with a method's parameters beside the network's."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from counterpoise.spec.cell import Protocol
from counterpoise.training.optimizer import Optimizer, laid_out_like

CLASSES = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop}
RATES = (0.1, 0.1, 0.05, 0.0, 0.01)


def parameters(seed: int) -> list[nn.Parameter]:
    drawn = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(n, 3, generator=drawn)) for n in (2, 5, 1)]


def protocol(kind: Any, decay: float = 0.25) -> Protocol:
    return Protocol(epochs=1, batch_size=1, optimizer=kind, weight_decay=decay)


def give_gradients(step: int, *models: list[nn.Parameter]) -> None:
    """The same to all; the second parameter gets none at the second step."""
    drawn = torch.Generator().manual_seed(step)
    for place, same in enumerate(zip(*models, strict=True)):
        gradient = torch.randn(same[0].shape, generator=drawn)
        for parameter in same:
            parameter.grad = None if (step, place) == (1, 1) else gradient.clone()


@pytest.mark.parametrize("kind", CLASSES)
def test_every_bit_is_torchs(kind: str) -> None:
    """Also through a saved state, and decay is the network's alone."""
    ours, theirs = parameters(0), parameters(0)
    made = Optimizer(protocol(kind), ours[:2], ours[2:])
    fused = {"fused": True} if kind == "adam" else {}
    groups = [{"params": theirs[:2]}, {"params": theirs[2:], "weight_decay": 0.0}]
    reference = CLASSES[kind](groups, lr=RATES[0], weight_decay=0.25, **fused)
    for step, rate in enumerate(RATES):
        if step == 3:
            state = made.state()
            made = Optimizer(protocol(kind), ours[:2], ours[2:])
            made.restore(state)
        give_gradients(step, ours, theirs)
        for group in reference.param_groups:
            group["lr"] = rate
        before = [p.detach().clone() for p in ours]
        made.step(rate)
        reference.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), step
        if rate:
            assert not torch.equal(before[0], ours[0])


def test_gradients_are_forgotten() -> None:
    ours = parameters(0)
    give_gradients(0, ours)
    Optimizer(protocol("sgd"), ours[:2], ours[2:]).clear()
    assert all(p.grad is None for p in ours)


def test_a_step_loads_no_compiler() -> None:
    """torch's own classes import it at their first use: more than a second of every job."""
    code = """
import sys, torch
from counterpoise.spec.cell import Protocol
from counterpoise.training.optimizer import Optimizer, laid_out_like
from counterpoise.training.signals import inner
weight = torch.nn.Parameter(torch.ones(2))
inner(weight * 2, torch.ones(2)).backward()
Optimizer(Protocol(epochs=1, batch_size=1), [weight], []).step(0.1)
print(sorted(name for name in ("torch._dynamo", "sympy") if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_step_that_a_method_gives_is_taken_as_it_is() -> None:
    """The first tensor moves by the rate times its gradient, the second as Adam moves it."""
    own, other = (nn.Parameter(torch.tensor([1.0, 2.0])) for _ in range(2))
    made = Optimizer(protocol("adam"), [own, other], direct=[own])
    for _ in range(2):
        own.grad = other.grad = torch.tensor([10.0, -10.0])
        made.step(0.1)
    decay = protocol("adam").weight_decay
    first = torch.tensor([1.0, 2.0])
    for _ in range(2):
        first = first - 0.1 * (torch.tensor([10.0, -10.0]) + decay * first)
    torch.testing.assert_close(own.detach(), first)
    torch.testing.assert_close(other.detach(), torch.tensor([0.8, 2.2]), rtol=1e-3, atol=0)
    assert made.state()["first"][0].numel() == 0, "nothing is remembered of it"


def channels_last(seed: int) -> torch.Tensor:
    drawn = torch.Generator().manual_seed(seed)
    return torch.randn(4, 3, 5, 5, generator=drawn).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", CLASSES)
def test_gradients_and_saved_averages_may_lie_otherwise_in_memory(kind: str) -> None:
    """As from a Jacobian, and from replicates that were trained side by side."""
    found = []
    for form in (torch.channels_last, torch.contiguous_format):
        parameter = nn.Parameter(channels_last(0))
        made = Optimizer(protocol(kind), [parameter])
        for step in range(3):
            parameter.grad = channels_last(1 + step).contiguous(memory_format=form)
            made.step(0.1)
            state = {
                name: [t.contiguous(memory_format=form) if t.ndim == 4 else t for t in values]
                for name, values in made.state().items()
            }
            made = Optimizer(protocol(kind), [parameter])
            made.restore(state)
        found.append(parameter.detach())
    assert found[0].stride() == found[1].stride()
    assert torch.equal(*found)


def test_an_axis_of_length_one_costs_no_copy() -> None:
    """Its stride tells nothing, but the strides must be the parameter's all the same."""
    parameter = torch.zeros(4, 3, 1, 1).to(memory_format=torch.channels_last)
    gradient = torch.randn(4, 3, 1, 1)
    assert gradient.stride() != parameter.stride()
    found = laid_out_like(parameter, gradient)
    assert found.stride() == parameter.stride()
    assert found.data_ptr() == gradient.data_ptr()
    assert torch.equal(found, gradient)
