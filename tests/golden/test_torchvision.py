"""Networks held to torchvision's own: weights, outputs, parameters, stages."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from counterpoise import registry
from counterpoise.project import Project
from counterpoise.tasks import Task
from counterpoise.training.modules import Network

FINDINGS = tuple(Task(f"t{k}", f"T{k}", 1, "bce", ("auroc",), classes=2) for k in range(14))
PIXELS = 64

# network and options: torchvision's name, and parameters that its documentation lists
KNOWN: dict[tuple[str, int | None], tuple[str, int]] = {
    ("alexnet", None): ("alexnet", 61_100_840),
    ("squeezenet", None): ("squeezenet1_1", 1_235_496),
    ("efficientnet", None): ("efficientnet_b0", 5_288_548),
    ("inception", None): ("inception_v3", 27_161_264),
    ("densenet", None): ("densenet121", 7_978_856),
    ("resnet", 18): ("resnet18", 11_689_512),
    ("resnet", 34): ("resnet34", 21_797_672),
    ("resnet", 50): ("resnet50", 25_557_032),
    ("resnet", 101): ("resnet101", 44_549_160),
    ("resnet", 152): ("resnet152", 60_192_808),
}
BETWEEN = ("resnet34", "resnet101")
"""Made of the same blocks as those that are shallower and deeper."""
CASES = [
    pytest.param(
        name, {"depth": depth} if depth else {}, *facts, id=facts[0],
        marks=[pytest.mark.slow] * (facts[0] in BETWEEN),
    )
    for (name, depth), facts in KNOWN.items()
]  # fmt: skip
CLASSES = 1000


def build(name: str, options: dict[str, Any], channels: int = 3) -> Network:
    module = registry.find("networks", name)
    size = 299 if name == "inception" else PIXELS
    words = ("data/net", 0, "init")
    return Network(module, module.Options(**options), (channels, size, size), FINDINGS, words)


def theirs(published: str) -> nn.Module:
    """torchvision's model with weights at random, as if they were the published ones."""
    more = {"init_weights": False, "transform_input": True} if "inception" in published else {}
    torch.manual_seed(5)
    return get_model(published, weights=None, **more).eval()


def filled(network: Network, model: nn.Module) -> None:
    """Give the trunk the model's tensors by their published names; all must fit."""
    source, own = model.state_dict(), network.trunk.state_dict()
    names = network.trunk.published
    assert set(own) == set(names)
    network.trunk.load_state_dict({key: source[names[key]] for key in own})


def last_layers(published: str, model: nn.Module) -> list[nn.Module]:
    """torchvision's layers that are replaced by heads."""
    if published == "inception_v3":
        return [model.fc, model.AuxLogits.fc]
    if published == "squeezenet1_1":
        return [model.classifier[1]]
    if published.startswith("resnet"):
        return [model.fc]
    return [model.classifier if published == "densenet121" else model.classifier[-1]]


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("name", "options", "published", "parameters"), CASES)
def test_parameters_and_a_forward_pass_are_torchvisions(
    name: str, options: dict[str, Any], published: str, parameters: int
) -> None:
    """The trunk has all parameters but those of the layers that heads replace."""
    network, model = build(name, options).eval(), theirs(published)
    assert size(model) == parameters
    assert size(network.trunk) == parameters - sum(map(size, last_layers(published, model)))
    # A head of one output for each of 14 findings has the parameters of one layer with 14.
    widths = [layer.weight.shape[1] for layer in last_layers(published, model)]
    assert size(network.heads) == sum(14 * width + 14 for width in widths)
    filled(network, model)
    (last, *_) = last_layers(published, model)
    if published == "squeezenet1_1":  # without the ReLU after the last convolution
        model.classifier[2] = nn.Identity()
    count = 2
    pixels = 299 if name == "inception" else PIXELS
    inputs = torch.randn(count, 3, pixels, pixels, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        z = network.shared(inputs)[:, : last.weight.shape[1]]
        ours = nn.functional.linear(z, last.weight.flatten(1), last.bias)
        expected = model(inputs)
    assert ours.shape == (count, CLASSES)
    if published == "squeezenet1_1":
        assert float(ours.min()) < 0  # which the published network cannot give
    # The same sums in another memory order, up to 152 layers deep.
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


EARLY: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # Stages that are frozen, in the thoracic paper where it has the network, and how the names of
    # their parameters begin in torchvision's network.
    "alexnet": (
        ("conv1", "conv2", "conv3", "conv4"),
        ("features.0.", "features.3.", "features.6.", "features.8."),
    ),
    "resnet": (
        ("stem", "layer1", "layer2", "layer3"),
        ("conv1.", "bn1.", "layer1.", "layer2.", "layer3."),
    ),
    "inception": (("stem", "mixed5", "mixed6"), ("Conv2d_", "Mixed_5", "Mixed_6")),
    "squeezenet": (("stem", "fire1"), ("features.0.", "features.3.", "features.4.")),
    "densenet": (
        ("stem", "block1"),
        ("features.conv0.", "features.norm0.", "features.denseblock1.", "features.transition1."),
    ),
    "efficientnet": (
        ("stem", *(f"block{n}" for n in range(1, 7))),
        tuple(f"features.{n}." for n in range(7)),
    ),
}


@pytest.mark.parametrize("name", EARLY)
def test_frozen_parameters_are_those_of_torchvisions_early_layers(
    name: str, project: Project
) -> None:
    options = {"depth": 152} if name == "resnet" else {}
    published, parameters = KNOWN[name, options.get("depth")]
    frozen, early = EARLY[name]
    for experiment in project.papers["thoracic"].experiments.values():
        if (experiment.network.name, experiment.network.options) == (name, options):
            stages = [run.protocol.frozen for run in experiment.runs.values()]
            assert set(stages) - {None} <= {frozen}
    network, model = build(name, options), theirs(published)
    network.freeze(frozen)
    expected = {n: p.numel() for n, p in model.named_parameters() if n.startswith(early)}
    held = dict(network.named_parameters())
    names = network.trunk.published
    found = {names[key.removeprefix("trunk.")]: held[key].numel()
             for key in network.frozen_parameters()}  # fmt: skip
    assert found == expected and 0 < sum(found.values()) < parameters
    trained = sum(parameter.numel() for parameter in network.trained_parameters())
    assert trained + sum(found.values()) == size(network)


def test_inceptions_auxiliary_features_are_torchvisions() -> None:
    network, model = build("inception", {}), theirs("inception_v3")
    filled(network, model)
    maps: dict[str, Tensor] = {}
    hook = network.stages["mixed6"].register_forward_hook(lambda _m, _i, out: maps.update(x=out))
    network.eval()
    inputs = torch.randn(2, 3, 299, 299, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        side = network.shared(inputs)[:, 2048:]
        expected = model.AuxLogits(maps["x"])
    hook.remove()
    last = model.AuxLogits.fc
    torch.testing.assert_close(
        nn.functional.linear(side, last.weight, last.bias), expected, rtol=1e-3, atol=1e-5
    )


def test_squeezenets_average_and_last_convolution_change_places_in_training_too() -> None:
    """The dropout draws on the map, as torchvision's does, so that the same draw gives the same."""
    network, model = build("squeezenet", {}), theirs("squeezenet1_1")
    filled(network, model)
    model.classifier[2] = nn.Identity()
    model.train()
    inputs = torch.randn(2, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(1))
    last = model.classifier[1]
    torch.manual_seed(3)
    expected = model(inputs)
    torch.manual_seed(3)
    features = network.stages["fire3"](
        network.stages["fire2"](network.stages["fire1"](network.stages["stem"](inputs)))
    )
    z = network.stages["pool"](features.contiguous())  # the same order of draws
    ours = nn.functional.linear(z, last.weight.flatten(1), last.bias)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet", "densenet", "alexnet", "squeezenet", "efficientnet"])
def test_a_grey_picture_is_a_colour_picture_of_three_equal_channels(name: str) -> None:
    network = build(name, {}, channels=1).eval()
    grey = torch.randn(2, 1, PIXELS, PIXELS, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network.trunk(grey), network.trunk(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize(
    ("name", "options", "pixels", "last", "expected"),
    [
        ("alexnet", {}, 224, "conv5", (256, 13, 13)),
        ("resnet", {"depth": 50}, 224, "layer4", (2048, 7, 7)),
        ("inception", {}, 299, "mixed7", (2048, 8, 8)),
        ("efficientnet", {}, 224, "top", (1280, 7, 7)),
        ("squeezenet", {}, 224, "fire3", (512, 13, 13)),
        ("densenet", {}, 224, "block4", (1024, 7, 7)),
        ("small_cnn", {}, 64, "conv4", (64, 8, 8)),
        ("stand_in", {"family": "alexnet"}, 64, "conv5", (64, 8, 8)),
        ("stand_in", {"family": "resnet"}, 64, "layer4", (96, 8, 8)),
        ("stand_in", {"family": "inception"}, 64, "mixed7", (96, 8, 8)),
    ],
)
def test_maps_are_found_by_stage(
    name: str,
    options: dict[str, Any],
    pixels: int,
    last: str,
    expected: tuple[int, int, int],
) -> None:
    module = registry.find("networks", name)
    shape = (1, pixels, pixels)
    network = Network(module, module.Options(**options), shape, FINDINGS, ("d/n", 0, "init"))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    maps = network.maps(shape)
    names = [stage for stage in network.stages if stage in maps]
    assert list(maps) == names and "auxiliary" not in maps
    big = [stage for stage, (_, height, _) in maps.items() if height > 2]
    assert big[-1] == last and maps[last] == expected
    assert network.trunk.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("family", ["alexnet", "resnet", "inception"])
def test_stand_ins_are_small_and_have_the_blocks_of_their_family(family: str) -> None:
    network = build("stand_in", {"family": family}, channels=1)
    assert size(network) < 200_000
    kinds = {type(module).__name__ for module in network.trunk.modules()}
    assert ("Bottleneck" in kinds) == (family == "resnet")
    assert ("Inception" in kinds) == (family == "inception")
    assert (network.auxiliary_weight > 0) == (family == "inception")
