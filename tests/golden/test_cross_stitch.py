"""Cross-stitch networks against Misra et al. (CVPR 2016), Eq. 1, and what DeepChest's code runs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from counterpoise import registry
from counterpoise.spec.cell import Component
from counterpoise.tasks import Task
from counterpoise.training.modules import Network
from counterpoise.training.step import task_outputs, train_step

from ..support import same_tensors, small_cell, small_problem

TASKS = tuple(Task(n, n, 3, "nll", ("accuracy",), classes=3) for n in ("left", "right", "middle"))
REDUCED = {"base": "lenet", "base_options": {"size": "reduced"}}
DEGENERATE = {**REDUCED, "form": "deepchest_code"}
PICTURE = (1, 28, 28)


def network_of(
    name: str, options: dict[str, Any], tasks: int, shape: tuple[int, ...] = PICTURE
) -> Network:
    module = registry.find("networks", name)
    return Network(module, module.Options(**options), shape, TASKS[:tasks], ("data/net", 0, "init"))


def pictures(count: int = 5, shape: tuple[int, ...] = PICTURE) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(2))


def units_of(network: Network) -> dict[str, torch.nn.Parameter]:
    return {k: v for k, v in network.named_parameters() if ".units." in k}


def scramble(network: Network) -> None:
    """Arbitrary matrices: a transposed or skipped one would show."""
    draws = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for unit in units_of(network).values():
            unit.add_(torch.randn(unit.shape, generator=draws))


def close(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Relative to the largest entry."""
    scale = max(float(expected.detach().abs().max()), 1e-30)
    torch.testing.assert_close(found / scale, expected / scale, rtol=tolerance, atol=tolerance)


# The network of the paper ---------------------------------------------------------------------


def transcribed(p: dict[str, Tensor], inputs: Tensor) -> list[Tensor]:
    """Outputs of two LeNets with a unit after each stage, from the named parameters ``p``."""

    def mix(stage: str, rows: list[Tensor]) -> Tensor:
        unit = p[f"trunk.units.{stage}.weight"]
        pattern = "kj,jbc...->kbc..." if unit.ndim == 2 else "ckj,jbc...->kbc..."
        return torch.einsum(pattern, unit, torch.stack(rows))

    def of(k: int, place: str) -> tuple[Tensor, Tensor]:
        return tuple(p[f"trunk.towers.{k}.{place}.{n}"] for n in ("weight", "bias"))  # type: ignore[return-value]

    x = torch.stack([inputs, inputs])
    x = mix(
        "conv1",
        [F.max_pool2d(F.conv2d(x[k], *of(k, "conv1.0"), padding=2).relu(), 2) for k in (0, 1)],
    )
    x = mix("conv2", [F.max_pool2d(F.conv2d(x[k], *of(k, "conv2.0")).relu(), 2) for k in (0, 1)])
    x = mix(
        "hidden",
        [F.linear(x[k].reshape(len(inputs), -1), *of(k, "hidden.1")).relu() for k in (0, 1)],
    )
    x = mix("last", [F.linear(x[k], *of(k, "last.0")).relu() for k in (0, 1)])
    names = [task.name for task in TASKS[:2]]
    return [
        F.linear(x[k], p[f"heads.{n}.weight"], p[f"heads.{n}.bias"]) for k, n in enumerate(names)
    ]


@pytest.mark.parametrize("per_channel", [False, True])
def test_two_lenets_by_einsum(per_channel: bool) -> None:
    network = network_of("cross_stitch", {**REDUCED, "per_channel": per_channel}, 2)
    scramble(network)
    inputs, names = pictures(), [name for name, _ in network.named_parameters()]
    copies = {k: v.detach().double().requires_grad_() for k, v in network.named_parameters()}
    z = network.trunk(inputs)
    found, expected = (
        task_outputs(network, z.expand(2, *z.shape)),
        transcribed(copies, inputs.double()),
    )
    for one, other in zip(found, expected, strict=True):
        close(one.double(), other)
    # Another function of each output, so that no two gradients are alike.
    weights = torch.linspace(-1, 2, found[0].numel()).view_as(found[0])
    mine = torch.autograd.grad(
        (found[0].square() * weights).sum() + found[1].exp().sum(), list(network.parameters())
    )
    theirs = torch.autograd.grad(
        (expected[0].square() * weights).sum() + expected[1].exp().sum(), list(copies.values())
    )
    for name, one, other in zip(names, mine, theirs, strict=True):
        assert other.abs().max() > 0, name
        close(one.double(), other)


@pytest.mark.parametrize("per_channel", [False, True])
def test_units_start_with_rows_that_sum_to_one(per_channel: bool) -> None:
    options = {**REDUCED, "per_channel": per_channel, "self_weight": 0.8}
    network = network_of("cross_stitch", options, 3)
    units = units_of(network)
    assert [key.split(".")[2] for key in units] == ["conv1", "conv2", "hidden", "last"]
    expected = torch.full((3, 3), 0.1) + 0.7 * torch.eye(3)
    for unit, channels in zip(units.values(), (2, 4, 30, 25), strict=True):
        assert unit.shape == ((channels, 3, 3) if per_channel else (3, 3))
        torch.testing.assert_close(unit.detach(), expected.expand(unit.shape))


def test_towers_start_with_weights_of_their_own() -> None:
    state = network_of("cross_stitch", REDUCED, 3).state_dict()
    first = {k: v for k, v in state.items() if k.startswith("trunk.towers.0.")}
    assert len(first) == 8
    for key, value in first.items():
        others = [state[key.replace("towers.0", f"towers.{k}")] for k in (1, 2)]
        assert not any(torch.equal(value, other) for other in others)


@pytest.mark.parametrize(
    ("base", "options", "shape"),
    [
        ("lenet", {"size": "reduced"}, PICTURE),
        ("small_cnn", {}, PICTURE),
        ("resnet", {"depth": 18}, (1, 64, 64)),
        ("densenet", {}, (1, 64, 64)),
    ],
)
@pytest.mark.parametrize("form", ["true", "deepchest_code"])
def test_with_one_task_it_is_its_base(
    base: str, options: dict[str, Any], shape: tuple[int, ...], form: str
) -> None:
    chosen = {"base": base, "base_options": options, "form": form}
    stitched, plain = (
        network_of("cross_stitch", chosen, 1, shape),
        network_of(base, options, 1, shape),
    )
    own = "trunk.towers.0." if form == "true" else "trunk.trunk."
    assert all(torch.equal(unit, torch.ones(1, 1)) for unit in units_of(stitched).values())
    renamed = {
        k.replace(own, "trunk."): v for k, v in stitched.state_dict().items() if ".units." not in k
    }
    assert same_tensors(renamed, plain.state_dict())
    inputs = pictures(4, shape)
    outputs = [n.heads["left"](n.trunk(inputs)) for n in (stitched, plain)]
    close(*outputs)
    for output in outputs:
        output.square().sum().backward()
    found = {k.replace(own, "trunk."): p.grad for k, p in stitched.named_parameters()}
    for key, parameter in plain.named_parameters():
        close(found[key], parameter.grad, 1e-4)


def test_a_global_average_has_no_unit_of_its_own() -> None:
    network = network_of("cross_stitch", {"base": "resnet", "per_channel": True}, 2, (1, 32, 32))
    found = {key.split(".")[2]: len(unit) for key, unit in units_of(network).items()}
    assert found == {"stem": 64, "layer1": 64, "layer2": 128, "layer3": 256, "layer4": 512}
    counts = [v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")]
    assert network.training and not any(counts), "looking at the widths left a trace"
    assert network.trunk(pictures(2, (1, 32, 32))).shape == (2, 1024)


# What DeepChest's code runs -------------------------------------------------------------------


def test_a_task_of_the_degenerate_form_gets_the_features_times_a_number() -> None:
    """For any matrices: the sums of the rows of their product."""
    network = network_of("cross_stitch", DEGENERATE, 3)
    scramble(network)
    first, second, third = (unit.detach() for unit in units_of(network).values())
    gains = (third @ second @ first).sum(dim=1)
    assert gains.unique().numel() == 3
    features = network.trunk.trunk(pictures())
    close(network.trunk(pictures()), torch.cat([gain * features for gain in gains], dim=1))


def test_the_degenerate_form_starts_as_equal_weighting() -> None:
    problem = small_problem(small_cell())
    other = small_problem(small_cell(network=Component(name="cross_stitch", options=DEGENERATE)))
    networks: list[Network] = []
    for made in (problem, other):
        network, method = made.build(0)
        if networks:  # the two are seeded by their names
            start = networks[0].state_dict()
            inner = {k.replace("trunk.", "trunk.trunk.", 1): v for k, v in start.items()}
            assert all("units" in k for k in network.load_state_dict(inner, strict=False)[0])
        inputs, targets = made.parts["train"].batch(torch.arange(16))
        train_step(
            network, method, method.initial_state(), made.tasks, made.losses(), None, inputs,
            targets, normalise=False, step=0, epoch=0,
        )  # fmt: skip
        networks.append(network)
    plain, copied = networks
    z = plain.trunk(inputs)
    assert torch.equal(copied.trunk(inputs), torch.cat([z] * 3, dim=1))
    assert all(torch.equal(unit, torch.eye(3)) for unit in units_of(copied).values())
    found = {k.replace("trunk.trunk.", "trunk."): p for k, p in copied.named_parameters()}
    for key, parameter in plain.named_parameters():
        assert torch.equal(found[key], parameter)
        close(found[key].grad, parameter.grad)


# Both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [REDUCED, DEGENERATE])
def test_a_tasks_gradient_at_z_stays_in_its_slice(options: dict[str, Any]) -> None:
    network = network_of("cross_stitch", options, 3)
    z = network.trunk(pictures()).detach().requires_grad_()
    assert z.shape == (5, 3 * 25)
    for k, output in enumerate(task_outputs(network, z.expand(3, *z.shape))):
        (gradient,) = torch.autograd.grad(output.square().sum(), z)
        found = gradient.view(5, 3, 25).abs().amax(dim=(0, 2))
        assert (found > 0).tolist() == [k == j for j in range(3)]


@pytest.mark.parametrize("options", [REDUCED, DEGENERATE])
def test_the_last_shared_layer_is_the_last_matrix(options: dict[str, Any]) -> None:
    network = network_of("cross_stitch", options, 3)
    (found,) = network.last_layer
    assert found is list(units_of(network).values())[-1]
    z = network.trunk(pictures())
    (gradient,) = torch.autograd.grad(network.heads["right"](z).square().sum(), found)
    assert (gradient.abs().amax(dim=1) > 0).tolist() == [False, True, False]


@pytest.mark.parametrize("options", [REDUCED, {**REDUCED, "per_channel": True}, DEGENERATE])
@pytest.mark.parametrize(
    ("name", "chosen"), [("uniform", {}), ("gradnorm", {}), ("gradnorm", {"at": "w"})]
)
def test_two_steps_of_training_move_every_matrix(
    name: str, chosen: dict[str, Any], options: dict[str, Any]
) -> None:
    network = Component(name="cross_stitch", options=options)
    problem = small_problem(small_cell(name, options=chosen, network=network))
    made, method = problem.build(0)
    before = {key: unit.detach().clone() for key, unit in units_of(made).items()}
    optimizer = torch.optim.SGD(made.parameters(), lr=0.01)
    state, normaliser = method.initial_state(), None
    for step in range(2):
        inputs, targets = problem.parts["train"].batch(torch.arange(16 * step, 16 * step + 16))
        optimizer.zero_grad()
        state, normaliser, report = train_step(
            made, method, state, problem.tasks, problem.losses(), normaliser, inputs, targets,
            normalise=True, step=step, epoch=0,
        )  # fmt: skip
        assert report.finite and torch.isfinite(report.losses).all()
        torch.testing.assert_close(report.weights.sum(), torch.tensor(3.0))
        optimizer.step()
    for key, unit in units_of(made).items():
        assert not torch.equal(unit, before[key]), key
