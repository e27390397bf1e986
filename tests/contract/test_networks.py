"""What every network must do."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from counterpoise import registry
from counterpoise.checks import check_options
from counterpoise.spec.base import Options
from counterpoise.spec.load import read_yaml
from counterpoise.tasks import Task
from counterpoise.training.modules import Network
from counterpoise.training.signals import laid_out
from counterpoise.training.step import answers_and_losses, task_outputs, train_step

from ..support import error_of, method_of, same_at_outputs, same_tensors

TASKS = (
    Task("left", "Left", 10, "nll", ("accuracy",), classes=10),
    Task("right", "Right", 10, "nll", ("accuracy",), classes=10),
    *(Task(name, name, 1, "mse", ("mse",)) for name in ("sum", "product", "density")),
)
SHORT = (Task("first", "First", 2, "a", ("a",)), Task("second", "Second", 1, "b", ("b",)))
# name: shapes of one input that it takes, options to try, tasks that its heads can serve
TAKES: dict[str, tuple[list[tuple[int, ...]], list[dict[str, Any]], tuple[Task, ...]]] = {
    "lenet": ([(1, 28, 28), (1, 28, 56)], [{"size": "original"}, {"size": "reduced"}], TASKS),
    "mlp": ([(2,), (5,)], [{}, {"hidden": 3, "features": 4}], SHORT),
    "small_cnn": ([(1, 64, 64), (1, 33, 48)], [{}], TASKS),
    "resnet": ([(1, 64, 64)], [{"depth": 18}, {"depth": 50}], TASKS),
    "densenet": ([(1, 64, 64)], [{}], TASKS),
    "alexnet": ([(1, 64, 64)], [{}], TASKS),
    "squeezenet": ([(1, 64, 64)], [{}], TASKS),
    "efficientnet": ([(1, 64, 64)], [{}], TASKS),
    "inception": ([(1, 299, 299)], [{}], SHORT),
    "stand_in": (
        [(1, 64, 64), (1, 33, 48)],
        [{"family": "alexnet"}, {"family": "resnet"}, {"family": "inception"}],
        TASKS,
    ),
    "cross_stitch": (
        [(1, 28, 28)],
        [
            {"base_options": {"size": "reduced"}},
            {"base": "small_cnn", "base_options": {"width": 4}, "per_channel": True},
            {"base": "lenet", "form": "deepchest_code"},
        ],
        TASKS,
    ),
}
# Parameters that are not drawn, and whose form is that of the number of tasks.
UNITS = ".units."
CASES = [
    pytest.param(name, options, shape, id=f"{name}-{list(options.values())}-{shape}")
    for name in registry.names("networks")
    for shape, options in itertools.product(*TAKES[name][:2])
]
every = pytest.mark.parametrize(("name", "options", "shape"), CASES)


def build(
    name: str, options: dict[str, Any], shape: tuple[int, ...], seed: int = 0,
    tasks: tuple[Task, ...] | None = None,
) -> Network:  # fmt: skip
    module = registry.find("networks", name)
    chosen = TAKES[name][2] if tasks is None else tasks
    return Network(module, module.Options(**options), shape, chosen, ("dataset/net", seed, "init"))


def size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def inputs_of(shape: tuple[int, ...], count: int | None = None) -> torch.Tensor:
    """Six items, or two where they are large."""
    count = count or (2 if max(shape) > 200 else 6)
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", registry.names("networks"))
def test_a_network_says_what_it_is(name: str) -> None:
    module = registry.find("networks", name)
    assert module.__doc__ and issubclass(module.Options, Options)
    assert name in TAKES, "say here what inputs the new network takes"


@every
def test_shapes(name: str, options: dict[str, Any], shape: tuple[int, ...]) -> None:
    network = build(name, options, shape).eval()
    module = registry.find("networks", name)
    inputs = inputs_of(shape)
    z = network.trunk(inputs)
    assert z.shape == (len(inputs), network.features)
    tasks = TAKES[name][2]
    assert network.features == module.features(module.Options(**options), len(tasks))
    outputs = task_outputs(network, z.expand(len(tasks), *z.shape))
    assert [tuple(out.shape) for out in outputs] == [(len(z), task.outputs) for task in tasks]


@every
def test_stages_are_known_without_building_the_network(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    module = registry.find("networks", name)
    assert tuple(build(name, options, shape).stages) == module.stages(module.Options(**options))


@every
def test_all_parameters_get_finite_gradients(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    network = build(name, options, shape)
    z = network.trunk(inputs_of(shape))
    outputs = task_outputs(network, z.expand(len(network.heads), *z.shape))
    torch.cat(outputs, dim=1).square().sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


AT_THE_LAST_LAYER = [
    (name, options)
    for name in registry.names("methods")
    for options in registry.method(name).option_sets()
    if method_of(name, 2, 3, **options).signal == "last_layer"
]


LARGE = ("alexnet", "inception")


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        pytest.param(*c.values, id=c.id, marks=[pytest.mark.slow] * (c.values[0] in LARGE))
        for c in CASES
    ],
)
def test_rows_at_the_last_layer_are_those_of_autograd(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """What a method sees there, against each loss differentiated through the network by itself.

    In training mode; what drops at random does so alike. Every method that looks there sees one
    network, and every network is seen by one of them.
    """
    tasks, draws = TAKES[name][2][-2:], torch.Generator().manual_seed(2)
    network, inputs = build(name, options, shape, tasks=tasks), inputs_of(shape)
    targets = {task.name: torch.randn(len(inputs), generator=draws) for task in tasks}

    def loss(outputs: torch.Tensor, target: torch.Tensor, known: Any = None) -> torch.Tensor:
        return (outputs.sum(1) - target).square().mean()

    torch.manual_seed(3)
    outputs = task_outputs(network, network.trunk(inputs).expand(len(tasks), -1, -1))
    _, losses = answers_and_losses(network, tasks, (loss,) * len(tasks), outputs, targets, {})
    layer = network.last_layer
    found = [torch.autograd.grad(value, layer, retain_graph=True) for value in losses]
    expected = torch.stack(
        [torch.cat([laid_out(g, p, 0) for g, p in zip(row, layer, strict=True)]) for row in found]
    )
    assert expected.norm(dim=1).min() > 0
    for method_name, chosen in AT_THE_LAST_LAYER if name == "mlp" else AT_THE_LAST_LAYER[:1]:
        method, seen = method_of(method_name, len(tasks), network.features, **chosen), []
        decide = method.combine

        def spied(state: Any, signal: Any, decide: Any = decide, seen: Any = seen) -> Any:
            seen.append(signal.last_layer)
            return decide(state, signal)

        method.combine = spied  # type: ignore[method-assign]
        torch.manual_seed(3)
        train_step(
            network, method, method.initial_state(), tasks, (loss,) * len(tasks), None, inputs,
            targets, normalise=False, step=0, epoch=0,
        )  # fmt: skip
        # The same products in float32, in another order.
        torch.testing.assert_close(
            seen[0], expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())
        )


@every
def test_the_trunk_treats_items_one_by_one(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """An item's representation in evaluation must not depend on the rest of its batch."""
    network = build(name, options, shape).eval()
    inputs = inputs_of(shape)
    together = network.trunk(inputs)
    alone = torch.cat([network.trunk(item[None]) for item in inputs])
    # Fifty layers of sums in another order; small features are differences of large ones.
    scale = float(together.detach().abs().max())
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=2e-6 * max(scale, 1.0))


@every
def test_the_initial_weights_follow_from_names_and_seed(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    first = build(name, options, shape).state_dict()
    torch.manual_seed(99)
    assert same_tensors(first, build(name, options, shape).state_dict())
    other = build(name, options, shape, seed=1).state_dict()
    # Scales and counts of a normalisation start at one value; everything else is drawn.
    uneven = {key for key, value in first.items() if bool((value != value.flatten()[0]).any())}
    drawn = [key for key in first if key in uneven and UNITS not in key]
    assert {key.rsplit(".", 1)[0] for key in drawn} >= {
        key.rsplit(".", 1)[0] for key, value in first.items() if value.ndim > 1 and UNITS not in key
    }
    assert not any(torch.equal(first[key], other[key]) for key in drawn)


@every
def test_a_single_task_network_starts_like_the_network_for_all(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """So single-task references can be compared in pairs, whatever the order of the tasks."""
    tasks = TAKES[name][2]
    together = build(name, options, shape).state_dict()
    # Each is drawn whole: of a large one the last task alone will do.
    alone = tasks if sum(value.numel() for value in together.values()) < 1e6 else tasks[-1:]
    for chosen in [*((task,) for task in alone), tasks[::-1]]:
        other = build(name, options, shape, tasks=chosen).state_dict()
        assert set(other) <= set(together)
        drawn = [key for key in other if UNITS not in key]
        assert all(torch.equal(other[key], together[key]) for key in drawn)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("lenet", (784,)),
        ("mlp", (1, 28, 28)),
        ("small_cnn", (9,)),
        ("resnet", (2, 64, 64)),
        ("densenet", (64, 64)),
        ("cross_stitch", (784,)),
        ("alexnet", (1, 62, 62)),
        ("squeezenet", (1, 16, 16)),
        ("efficientnet", (2, 64, 64)),
        ("inception", (1, 298, 299)),
        ("stand_in", (1, 31, 64)),
    ],
)
def test_inputs_of_another_form_are_refused(name: str, shape: tuple[int, ...]) -> None:
    assert str(shape) in error_of(lambda: build(name, {}, shape)).what


def test_the_registry_names_the_nearest() -> None:
    error = error_of(lambda: registry.find("networks", "lenett"))
    assert error.remedy == "did you mean 'lenet'?"
    assert "_heads" not in registry.names("networks")


# LeNet: background/rotograd.md, 2.3 ----------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "features", "trunk", "heads"),
    [
        # 6*25+6 + 16*150+16 + 400*120+120 + 120*84+84; heads 2*(84*10+10) + 3*(84+1)
        ("original", 84, 60_856, 1_955),
        # 2*25+2 + 4*50+4 + 100*30+30 + 30*25+25; heads 2*(25*10+10) + 3*(25+1)
        ("reduced", 25, 4_061, 598),
    ],
)
def test_lenet_has_the_size_it_says(chosen: str, features: int, trunk: int, heads: int) -> None:
    network = build("lenet", {"size": chosen}, (1, 28, 28))
    assert (network.features, size(network.trunk), size(network.heads)) == (features, trunk, heads)


def test_lenets_representation_is_rectified() -> None:
    z = build("lenet", {"size": "original"}, (1, 28, 28)).trunk(inputs_of((1, 28, 28)))
    assert float(z.detach().min()) == 0.0


# The network of the toy problems -------------------------------------------------------------


def test_mlp_is_two_ten_two_without_heads() -> None:
    """RotoGrad submission, 5.1: two layers, ten hidden units; 2*10+10 + 10*2+2 parameters."""
    network = build("mlp", {}, (2,))
    assert (size(network.trunk), size(network.heads)) == (52, 0)
    z = network.trunk(inputs_of((2,)))
    first, second = task_outputs(network, z.expand(2, *z.shape))
    assert torch.equal(first, z) and torch.equal(second, z[:, :1])


def test_mlp_refuses_more_outputs_than_it_has() -> None:
    wide = (Task("wide", "Wide", 3, "a", ("a",)),)
    assert "3 outputs" in error_of(lambda: build("mlp", {}, (2,), tasks=wide)).what


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"base": "cross_stitch"}, "cross_stitch"),
        ({"base": "mlp"}, "mlp"),
        ({"base": "resnet", "base_options": {"depth": 7}}, "base_options.depth of resnet"),
        ({"base_options": {"siz": "reduced"}}, "base_options.siz of lenet"),
        ({"form": "deepchest_code", "per_channel": True}, "per_channel belongs to form true"),
        ({"form": "deepchest_code", "self_weight": 0.5}, "self_weight belongs to form true"),
    ],
)
def test_what_cross_stitch_cannot_be_built_of_is_refused_with_its_place(
    options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (path := tmp_path / "options.yaml").write_text(json.dumps({"options": options}))
    model = registry.find("networks", "cross_stitch").Options
    (error,) = check_options(model, options, read_yaml(path), ("options",))
    assert said in error.what and str(path) in error.where


@every
def test_a_gramian_at_the_outputs_of_wide_layers(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    network = build(name, options, shape)
    same_at_outputs(network.trunk, inputs_of(shape), tasks=3)
