"""On a CUDA device: steps are those of the CPU, alone and side by side, stopped or not."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from counterpoise.files import read_json
from counterpoise.methods._base import Method
from counterpoise.spec.cell import Augment, Cell, Component, Protocol
from counterpoise.training.engine import Interrupted, Replicate
from counterpoise.training.job import train
from counterpoise.training.modules import Network
from counterpoise.training.problem import Job, Problem
from counterpoise.training.replicates import Together, fit_together

from ..support import computed_split, gone_astray, hidden, small_cell, small_problem

DEVICE = "cuda"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CLOSE = 0.01
"""Of the way that a tensor goes in two epochs along the gradient, in float32 without tf32."""
NORMALISED = Component(name="resnet", options={"depth": 18})
RATES = {"adam": 1e-4, "rmsprop": 1e-4, "sgd": 1e-3}
BOTH = pytest.mark.parametrize("together", [False, True])


@pytest.fixture(autouse=True)
def _exact_products() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def never() -> bool:
    return False


def cell_of(method: str = "uniform", optimizer: str = "sgd", **changes: Any) -> Cell:
    return small_cell(
        method, **{"optimizer": optimizer, "learning_rate": RATES[optimizer], **changes}
    )


def problem_on(cell: Cell, device: str, *, labelled: bool = True) -> Problem:
    """The same data on a device, every fifth density unknown if not all are to be known."""
    there = torch.device(device)
    plain = small_problem(cell)
    parts = plain.parts
    if not labelled:
        known = {"density": torch.arange(len(parts["train"])) % 5 > 0}
        parts = {**parts, "train": hidden(parts["train"], known)}
    moved = {name: part.to(there) for name, part in parts.items()}
    return Problem(cell, plain.tasks, moved, there)


def made(problem: Problem, folder: Path) -> list[Replicate]:
    where = folder / problem.device.type
    return [Replicate(problem, seed, where / f"{seed}.state", 1e9) for seed in (0, 1)]


def run(replicates: list[Replicate], together: bool) -> list[Replicate]:
    """Train to the end."""
    if together:
        assert fit_together(replicates)
        Together(replicates).run(lambda _: None, never)
    else:
        for replicate in replicates:
            replicate.run(lambda _: None, never)
    return replicates


def assert_same(
    cell: Cell, folder: Path, together: bool, *, labelled: bool = True, close: float = CLOSE
) -> None:
    """Both ways to the end."""
    expected = run(made(problem_on(cell, "cpu", labelled=labelled), folder / "expected"), False)
    found = run(made(problem_on(cell, DEVICE, labelled=labelled), folder / "found"), together)
    for one, other in zip(expected, found, strict=True):
        assert one.trouble is None and other.trouble is None
        assert (one.epoch, one.step) == (other.epoch, other.step)
        assert gone_astray(other, one, close) == []


@BOTH
@pytest.mark.parametrize("method", ["uniform", "deepchest", "gradnorm", "db_mtl", "gradvac", "uw"])
def test_steps_are_those_of_the_cpu(method: str, together: bool, tmp_path: Path) -> None:
    assert_same(cell_of(method), tmp_path, together)


@BOTH
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_optimizers_with_averages(optimizer: str, together: bool, tmp_path: Path) -> None:
    cell = cell_of("gradnorm", optimizer, weight_decay=0.1, loss_normalisation="first_batch")
    assert_same(cell, tmp_path, together)


@pytest.mark.parametrize("method", ["uniform", "pcgrad", "db_mtl"])
def test_adam_takes_gradients_of_every_kind(method: str, tmp_path: Path) -> None:
    """Of a backward pass, of Gramian rows and of a Jacobian, on weights that are channels-last."""
    cell = cell_of(method, "adam", network=NORMALISED, epochs=1)
    found = run(made(problem_on(cell, DEVICE), tmp_path), False)
    assert all(replicate.trouble is None for replicate in found)


@BOTH
def test_unknown_labels(together: bool, tmp_path: Path) -> None:
    assert_same(cell_of("gradnorm"), tmp_path, together, labelled=False)


@BOTH
def test_augmentation(together: bool, tmp_path: Path) -> None:
    """Draws come from numbers alone, so that devices agree."""
    augment = Augment(rotation=10, crop=0.1, flip=0.5, brightness=0.1)
    assert_same(cell_of(augment=augment), tmp_path, together, close=0.03)


@BOTH
def test_normalisation_over_a_batch(together: bool, tmp_path: Path) -> None:
    """One epoch: what rounding does to a residual network grows fast."""
    cell = cell_of(network=NORMALISED, epochs=1, batch_size=20)
    assert_same(cell, tmp_path, together, close=0.03)


@BOTH
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_a_stopped_run_goes_on(optimizer: str, together: bool, tmp_path: Path) -> None:
    """Stopped side by side or alone; then one alone, on the device or on the CPU."""
    cell = cell_of("gradnorm", optimizer)
    expected = run(made(problem_on(cell, DEVICE), tmp_path / "expected"), False)
    stopped = made(problem_on(cell, DEVICE), tmp_path / "stopped")
    for group in [stopped] if together else [[replicate] for replicate in stopped]:
        asked = iter([False, False, False, True])
        one = Together(group) if together else group[0]
        with pytest.raises(Interrupted):
            one.run(lambda _: None, lambda asked=asked: next(asked))
    for device in (DEVICE, "cpu"):
        resumed = made(problem_on(cell, device), tmp_path / "stopped")
        for replicate, source in zip(resumed, stopped, strict=True):
            replicate.path = source.path.with_name(f"{replicate.seed}.copy")
            replicate.path.write_bytes(source.path.read_bytes())
            assert replicate.resume() and replicate.step == 4
        for replicate, one in zip(run(resumed, False), expected, strict=True):
            assert gone_astray(replicate, one, CLOSE) == []


@BOTH
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
def test_a_step_that_is_not_finite_is_not_made(
    optimizer: str, together: bool, tmp_path: Path
) -> None:
    """Under Adam, alone, the device holds it back, and the host hears of it a step later."""
    cell = cell_of("uniform", optimizer)
    ended = made(problem_on(cell, DEVICE), tmp_path / "ended")
    for one in [Together(ended)] if together else ended:
        *rest, last = one.losses
        spoilt = chain([1.0], repeat(math.inf))
        one.losses = (*rest, lambda *x, last=last, spoilt=spoilt: last(*x) * next(spoilt))
        one.run(lambda _: None, never)
    for replicate, good in zip(
        ended, made(problem_on(cell, DEVICE), tmp_path / "good"), strict=True
    ):
        assert replicate.ahead == (optimizer == "adam")
        good._step(good.begin_epoch()[:16])
        assert replicate.trouble is not None and replicate.trouble["step"] == 1
        assert gone_astray(replicate, good, CLOSE) == []


@pytest.mark.parametrize("replicates", ["alone", "together"])
def test_a_whole_job_is_that_of_the_cpu(replicates: str, tmp_path: Path) -> None:
    """To a hundredth of the way that the CPU goes from the weights at the start."""
    options = {"problem": "negation"}
    split = computed_split("toy", "formula", options, tmp_path / "made")
    cell = Cell(
        dataset="toy", source="formula", dataset_options=options,
        network=Component(name="mlp"), method=Component(name="gradnorm"),
        tasks=("label", "negated"), seeds=(0, 1),
        protocol=Protocol(
            optimizer="sgd", epochs=2, batch_size=64, learning_rate=0.5, selection="last"
        ),
    )  # fmt: skip
    still = cell.model_copy(update={"protocol": cell.protocol.model_copy(update={"epochs": 0})})
    weights, records = [], []
    for number, (one, device) in enumerate([(still, "cpu"), (cell, "cpu"), (cell, DEVICE)]):
        work, out = tmp_path / f"{number}/work", tmp_path / f"{number}/out"
        train(Job(tmp_path, one, "name", "digest", split, work, out), device, replicates=replicates)
        weights.append(load_file(out / "weights.safetensors"))
        records.append(read_json(out / "record.json"))
        assert {seed["status"] for seed in records[-1]["seeds"].values()} == {"finished"}
    start, expected, found = weights
    assert expected.keys() == found.keys()
    ways = {name: float((value - start[name]).norm()) for name, value in expected.items()}
    assert max(ways.values()) > 0.1
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= CLOSE * ways[name] + 1e-5, name
    assert records[-1]["device"] == torch.cuda.get_device_name()
    assert records[-1]["device_peak_memory_mib"] > 0


@pytest.fixture
def dropping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let half of the shared features be dropped."""
    build: Callable[[Problem, int], tuple[Network, Method]] = Problem.build

    def built(problem: Problem, seed: int) -> tuple[Network, Method]:
        network, method = build(problem, seed)
        network.trunk.append(torch.nn.Dropout(0.5))  # type: ignore[operator]
        return network, method

    monkeypatch.setattr(Problem, "build", built)


@pytest.mark.usefixtures("dropping")
@pytest.mark.parametrize("method", ["uniform", "db_mtl", "pcgrad"])
def test_micro_batches_drop_the_same_in_both_passes(method: str, tmp_path: Path) -> None:
    """What is dropped at Z has a gradient of zero there, so that the last layer shows it."""
    cell = cell_of(method, batch_size=20, micro_batch=8)
    (one, _) = made(problem_on(cell, DEVICE), tmp_path)
    seen = []
    forward = one.network.shared

    def shared(inputs: torch.Tensor) -> torch.Tensor:
        z = forward(inputs)
        seen.append((z == 0).cpu())
        return z

    one.network.shared = shared  # type: ignore[method-assign]
    one._step(torch.arange(20, device=DEVICE))
    assert one.trouble is None
    assert len(seen) % 3 == 0 and len(seen) >= 6
    for number, mask in enumerate(seen):
        assert torch.equal(mask, seen[number % 3])
    assert float(seen[0].float().mean()) > 0.4


@pytest.mark.usefixtures("dropping")
def test_a_stopped_run_drops_what_an_unbroken_one_drops(tmp_path: Path) -> None:
    cell = cell_of()
    expected = run(made(problem_on(cell, DEVICE), tmp_path / "expected"), False)
    stopped = made(problem_on(cell, DEVICE), tmp_path / "stopped")
    for replicate in stopped:
        asked = iter([False, False, True])
        with pytest.raises(Interrupted):
            replicate.run(lambda _: None, lambda asked=asked: next(asked))
    torch.rand(3, device=DEVICE)
    resumed = made(problem_on(cell, DEVICE), tmp_path / "stopped")
    assert all(replicate.resume() for replicate in resumed)
    for replicate, one in zip(run(resumed, False), expected, strict=True):
        assert gone_astray(replicate, one, CLOSE) == []


def test_bfloat16_is_that_of_the_cpu_and_not_float32(tmp_path: Path) -> None:
    """Both round alike, but sum in another order."""
    cell = cell_of(epochs=1, precision="bfloat16")
    assert_same(cell, tmp_path, False, close=0.1)
    exact = run(made(problem_on(cell_of(epochs=1), DEVICE), tmp_path / "exact"), False)
    half = run(made(problem_on(cell, DEVICE), tmp_path / "half"), False)
    assert gone_astray(half[0], exact[0], 1e-4) != []
    assert not fit_together(half)
