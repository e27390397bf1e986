"""Micro-batches: the update of every method is that of the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from counterpoise import registry
from counterpoise.spec.cell import Component
from counterpoise.training import passage
from counterpoise.training.engine import Replicate
from counterpoise.training.passage import Passage

from ..support import gone_astray, small_cell, small_problem

CLOSE = 1e-4
"""Of the way that a tensor goes: sums over items in another order, in float32."""


def after_two_steps(name: str, micro_batch: int | None, options: dict, folder: Path) -> Replicate:
    cell = small_cell(
        name, options=options, batch_size=20, optimizer="sgd", learning_rate=0.01,
        micro_batch=micro_batch,
    )  # fmt: skip
    made = Replicate(small_problem(cell), 0, folder / "state")
    for start in (0, 20):
        made._step(torch.arange(start, start + 20))
    assert made.trouble is None
    return made


CASES = [(name, {}) for name in registry.names("methods")] + [("gradnorm", {"at": "w"})]


@pytest.mark.parametrize(("name", "options"), CASES)
def test_the_update_is_that_of_the_whole_batch(name: str, options: dict, tmp_path: Path) -> None:
    """Parts of 8, 8 and 4 items."""
    whole, parts = (after_two_steps(name, size, options, tmp_path) for size in (None, 8))
    assert gone_astray(parts, whole, CLOSE) == []
    for key, expected in whole.method_state.items():
        gap = float((parts.method_state[key].double() - expected.double()).norm())
        assert gap <= CLOSE * max(1e-3, float(expected.double().norm())), key


def test_averages_and_draws_are_those_of_one_pass() -> None:
    """Normalisation over a batch moves its averages once a part, and dropout draws once."""

    class Small(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))

        def shared(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.trunk(inputs)

    torch.manual_seed(0)  # for dropout too
    network, inputs = Small(), torch.randn(10, 3)
    parts = Passage(network, inputs, 4)
    norm = network.trunk[0]
    assert norm.num_batches_tracked == 0
    kept = parts.jacobian(list(norm.parameters()), torch.ones(2, 10, 3), keep=True)
    assert norm.num_batches_tracked == 0
    parts.backward(torch.ones(10, 3))
    assert norm.num_batches_tracked == 3
    gradient = torch.cat([norm.weight.grad, norm.bias.grad])
    torch.testing.assert_close(kept, gradient.expand(2, 6))
    assert torch.equal(norm.bias.grad, 2.0 * (parts.z != 0).sum(0)), "the same items are dropped"


def test_what_a_device_draws_by_a_generator_of_its_own_is_drawn_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU, whose dropout does not follow the CPU's generator."""
    own = torch.Generator().manual_seed(7)

    class Dropping(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = torch.nn.Linear(3, 3)

        def shared(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.trunk(inputs) * (torch.rand(len(inputs), 3, generator=own) > 0.5)

    generators = [torch.default_generator, own]
    monkeypatch.setattr(passage, "layer_generators", lambda _device: generators)
    network, inputs = Dropping(), torch.randn(10, 3)
    parts = Passage(network, inputs, 4)
    after = own.get_state()
    kept = parts.jacobian([network.trunk.bias], torch.ones(2, 10, 3), keep=True)
    assert torch.equal(own.get_state(), after)
    parts.backward(torch.ones(10, 3))
    there = (parts.z != 0).sum(0).float()
    assert torch.equal(network.trunk.bias.grad, there)
    assert torch.equal(kept, there.expand(2, 3))


def test_no_part_is_a_single_item(tmp_path: Path) -> None:
    """Normalisation over a map of one place has nothing to normalise in it."""
    network = Component(name="resnet", options={"depth": 18})
    cell = small_cell(network=network, batch_size=17, micro_batch=8, optimizer="sgd")
    made = Replicate(small_problem(cell), 0, tmp_path / "state")
    parts = Passage(made.network, torch.zeros(17, 1, 28, 28), 8).parts
    assert [len(part) for part in parts] == [8, 9]
    made._step(torch.arange(17))
    assert made.trouble is None


@pytest.mark.parametrize("micro_batch", [None, 8])
def test_the_second_look_moves_no_averages(micro_batch: int | None, tmp_path: Path) -> None:
    """They are averages over the steps, whatever the method."""
    network = Component(name="resnet", options={"depth": 18})
    counts = {}
    for name in ("uniform", "famo"):
        cell = small_cell(
            name, network=network, batch_size=16, micro_batch=micro_batch, optimizer="sgd"
        )
        made = Replicate(small_problem(cell), 0, tmp_path / name)
        made._step(torch.arange(16))
        assert made.trouble is None
        buffers = dict(made.network.named_buffers())
        counts[name] = {int(b) for n, b in buffers.items() if n.endswith("num_batches_tracked")}
    assert counts["famo"] == counts["uniform"]


def test_the_second_look_passes_the_trunk_by_parts_too(tmp_path: Path) -> None:
    """Methods that look at the losses of the batch after the update, for want of memory likewise."""
    cell = small_cell("famo", batch_size=20, micro_batch=8)
    made = Replicate(small_problem(cell), 0, tmp_path / "state")
    sizes: list[int] = []
    made.network.trunk.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    made._step(torch.arange(20))
    assert made.trouble is None
    assert sizes == 3 * [8, 8, 4], "for the losses, for their gradients, and after the update"
