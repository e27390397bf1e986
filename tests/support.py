"""What several tests need: places, edited copies of the configuration, small problems."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from counterpoise import prepared, registry
from counterpoise.datasets._part import Part
from counterpoise.download import fetch_source
from counterpoise.errors import UserError
from counterpoise.methods._base import Combined, Method, Shape, Signal, State
from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.spec.dataset import DataSource
from counterpoise.training.engine import Replicate
from counterpoise.training.problem import Problem
from counterpoise.training.signals import rows_of

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# Tiers of these tests' own, so that they do not depend on how long the demo may take.
TIERS = """\
tiers:
  demo:
    title: Small
    description: Stand-in data, everything reduced.
    datasets:
      multimnist: {source: digits, epochs: 10, batch_size: 128, learning_rate: 0.01, seeds: 3}
      toy: {source: formula}
  real:
    title: Real
    description: Published data, some of it reduced.
    datasets:
      multimnist: {source: mnist, epochs: 10, seeds: 2, dataset_options: {train_pairs: 500}}
      toy: {source: formula, seeds: 20, epochs: 100000}
  stand_in:
    title: Stand-in
    description: The published protocol on stand-in data.
    datasets:
      multimnist: {source: digits}
  full:
    title: Full
    description: The published protocol.
    datasets:
      multimnist: {source: mnist}
      toy: {source: formula}
  two:
    title: Two
    description: Two runs.
    datasets:
      multimnist: {source: digits, seeds: 1}
    runs: [rotograd/reduced/uniform, rotograd/reduced/rotograd]
"""


def copy_of_config(folder: Path) -> Path:
    """A checkout that holds nothing but the configuration."""
    shutil.copytree(ROOT / "config", folder / "config")
    return folder


def edit(path: Path, old: str, new: str) -> int:
    """Replace the first occurrence of ``old`` and return the line where it stands."""
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{old!r} is not in {path}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


def error_of(action: Callable[[], Any]) -> UserError:
    """The error that an action ends with, which must be one for users."""
    with pytest.raises(UserError) as caught:
        action()
    return caught.value


def files_in(folder: Path) -> list[str]:
    """Names of all files below a folder, hidden ones too."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def method_of(name: str, tasks: int, features: int, **options: Any) -> Method:
    """A method by name."""
    kind = registry.method(name)
    names = tuple(f"task{k}" for k in range(tasks))
    return kind(kind.Options(**options), Shape(tasks, features, (features,), names))


def method_cases(names: list[str] | None = None) -> list[Any]:
    """Every method with its defaults and each of its variants, as parameters of a test."""
    return [
        pytest.param(
            name, options, id=f"{name}-{'-'.join(map(str, options.values())) or 'default'}"
        )
        for name in (registry.names("methods") if names is None else names)
        for options in registry.method(name).option_sets()
    ]


def signal_of(
    method: Method,
    state: State,
    own: Tensor,
    *,
    losses: Tensor | None = None,
    z: Tensor | None = None,
    step: int = 0,
    epoch: int = 0,
    draws: dict[str, Tensor] | None = None,
) -> Signal:
    """What the engine would show of gradients ``own`` (K, B, d) at the task representations.

    The trunk is a bias: its Jacobian is the sum of the gradients at Z over the batch. Only what
    the method asks for is shown.
    """
    tasks, batch, features = own.shape
    z = torch.ones(batch, features) if z is None else z
    pulled = method.pull_back(state, own)
    jacobian = pulled.sum(1)
    wide = jacobian.double()
    levels = {"last_layer": jacobian, "gramian": wide @ wide.T, "jacobian": jacobian}
    drawn = method.draw(torch.Generator().manual_seed(step), batch) if draws is None else draws
    return Signal(
        losses=torch.ones(tasks) if losses is None else losses,
        z=z,
        representations=method.represent(state, z),
        task_gradients=own,
        gradients=pulled,
        step=step,
        epoch=epoch,
        epochs=10,
        correct=torch.full((tasks,), float(batch)),
        head_norms=torch.ones(tasks),
        draws=drawn,
        **{k: v for k, v in levels.items() if k == method.signal},
    )


def received(method: Method, signal: Signal, combined: Combined) -> tuple[Tensor, Tensor]:
    """What the shared parameters receive, (n,), and the tasks' own gradients there, (K, n).

    At the parameters for methods that look at those, else at Z.
    """
    at_parameters = method.signal in ("gramian", "jacobian")
    rows = signal.gradients.sum(1) if at_parameters else signal.gradients.flatten(1)
    if combined.trunk is not None:
        return combined.trunk, rows
    if combined.shared is not None:
        return combined.shared.flatten(), rows
    mixing = combined.weights if combined.mixing is None else combined.mixing
    return mixing @ rows, rows


def random_signals(method: Method, state: State, count: int, batch: int = 6) -> State:
    """The state after steps with random losses and gradients, the same for every method."""
    draws = torch.Generator().manual_seed(11)
    tasks, features = method.shape.tasks, method.shape.features
    for step in range(count):
        own = torch.randn(tasks, batch, features, generator=draws)
        z = torch.randn(batch, features, generator=draws) + 1.0
        losses = torch.rand(tasks, generator=draws) + 0.5
        signal = signal_of(method, state, own, losses=losses, z=z, step=step)
        _, state = method.combine(state, signal)
    return state


def same_tensors(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two dicts of tensors are equal to the last bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def gone_astray(found: Replicate, expected: Replicate, share: float) -> list[str]:
    """Tensors of two replicates whose ways from one start differ by more than a share of the way.

    Held to the way and not to the weights, which a step leaves nearly where they are. A few units
    in the last place of the weights are rounding.
    """
    start = Replicate(expected.problem, expected.seed, expected.path.with_name("none"))._tensors()
    here, there = found._tensors(), expected._tensors()
    assert here.keys() == there.keys()
    astray = []
    for key, value in there.items():
        value = value.double()
        way = float((value - start[key].to(value)).norm())
        rounding = 4 * torch.finfo(torch.float32).eps * float(value.norm())
        if float((here[key].to(value) - value).norm()) > share * way + rounding:
            astray.append(key)
    return astray


def small_cell(method: str = "uniform", **changes: Any) -> Cell:
    """A cell over three tasks of MultiMNIST; ``changes`` are fields of the cell or protocol."""
    protocol = {"epochs": 2, "batch_size": 16, "learning_rate": 0.01}
    fields: dict[str, Any] = {
        "dataset": "multimnist",
        "source": "digits",
        "dataset_options": {},
        "network": Component(name="lenet", options={"size": "reduced"}),
        "method": Component(name=method),
        "tasks": ("left", "sum", "density"),
        "seeds": (0,),
    }
    for key, value in changes.items():
        if key == "options":
            fields["method"] = Component(name=method, options=value)
        else:
            (fields if key in Cell.model_fields else protocol)[key] = value
    return Cell(**fields, protocol=Protocol(**protocol))


def computed_split(dataset: str, generator: str, options: dict[str, Any], folder: Path) -> Path:
    """The split of a dataset that a generator computes, made as jobs make it."""
    source = DataSource(
        title="t", description="d", licence="l", generator=Component(name=generator)
    )
    raw, made = folder / "data/source/raw", folder / "data/source/prepared"
    fetch_source(generator, source, raw / "source.json", None)
    prepared.prepare(dataset, options, raw, made / "prepared.json")
    prepared.split(dataset, options, 0, made / "split.parquet")
    return made / "split.parquet"


def small_problem(cell: Cell, size: int = 40) -> Problem:
    """Noise in the shape of MultiMNIST, with targets that depend on it."""
    module = registry.find("datasets", cell.dataset)
    known = {task.name: task for task in module.tasks(module.Options(**cell.dataset_options))}
    rng = np.random.default_rng(3)

    def part(count: int) -> Part:
        images = rng.integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
        left = rng.integers(0, 10, count)
        values = {
            "left": left,
            "sum": (left + 2).astype(np.float32),
            "density": images.mean((1, 2, 3)).astype(np.float32) / 12,
        }
        chosen = {name: torch.from_numpy(values[name]) for name in cell.tasks}
        return Part(torch.from_numpy(images), chosen, 0.5, 0.3)

    tasks = tuple(known[name] for name in cell.tasks)
    return Problem(cell, tasks, {"train": part(size), "validation": part(size // 2)})


def hidden(part: Part, known: dict[str, Tensor]) -> Part:
    """The part with the labels of some tasks unknown where (N,) of bool are false."""
    targets = {
        name: target.masked_fill(~known[name], torch.nan if target.is_floating_point() else -1)
        if name in known
        else target
        for name, target in part.targets.items()
    }
    return Part(part.inputs, targets, part.mean, part.std, part.rows)


def same_at_outputs(trunk: nn.Module, inputs: Tensor, tasks: int = 5) -> int:
    """Gramian and sums agree with gradients at the parameters; how many layers were taken as wide.

    Args:
        trunk: without a parameter that its outputs do not hang on.
    """
    parameters = [p for p in trunk.parameters() if p.requires_grad]
    z = trunk(inputs).flatten(1)
    pulled = torch.randn(tasks, *z.shape)
    plain = rows_of(z, parameters, pulled, keep=True)
    found = rows_of(z, parameters, pulled, at_outputs=True)
    expected, gramian = plain.gramian(), found.gramian()
    lengths = expected.diagonal().sqrt()
    assert lengths.min() > 0
    assert not gramian.requires_grad
    # float32 gradients have seven digits; sums of thousands of their products lose a few.
    assert ((gramian - expected).abs() <= 1e-6 * lengths * lengths[:, None]).all()
    mixing = torch.rand(tasks)
    for part, other, parameter in zip(plain.parts, found.mixed(mixing), parameters, strict=True):
        one = torch.einsum("k,k...->...", mixing, torch.stack(part))
        assert other.shape == parameter.shape
        assert other.stride() == parameter.stride()
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6 * float(one.abs().max()))
    return len(found.wide)
