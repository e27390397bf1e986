"""Gramians at the outputs of wide layers: those of the gradients themselves, whatever a trunk is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from counterpoise.training.passage import Passage
from counterpoise.training.signals import rows_of

from ..support import same_at_outputs, small_cell, small_problem


class Trunk(nn.Module):
    """Some layer in a formula."""

    def __init__(self, layer: nn.Module, formula: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        self.layer, self.formula = layer, formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(self.layer, x)


class Quantised(torch.autograd.Function):
    """Weights that are rounded on their way, and a context with a name that autograd uses, too."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor) -> Tensor:
        ctx.variable = weight
        return weight.round(decimals=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient / 3


class Stopped(torch.autograd.Function):
    """No gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:
        return None


def with_hook(layer: nn.Module, x: Tensor) -> Tensor:
    outputs: Tensor = layer(x)
    outputs.register_hook(lambda gradient: gradient * 0.5)
    return outputs


def before_the_node(layer: nn.Module, x: Tensor) -> Tensor:
    outputs: Tensor = layer(x)
    outputs.grad_fn.register_prehook(lambda gradients: (gradients[0] * 0.5,))
    return outputs


def after_the_node(layer: nn.Module, x: Tensor) -> Tensor:
    outputs: Tensor = layer(x)
    outputs.grad_fn.register_hook(lambda found, _: tuple(g if g is None else g / 2 for g in found))
    return outputs


def masked(layer: nn.Linear) -> nn.Linear:
    layer.weight.register_hook(lambda gradient: gradient * (gradient > 0))
    return layer


def frozen(layer: nn.Linear) -> nn.Linear:
    layer.weight.requires_grad_(False)
    return layer


conv, linear = nn.Conv2d, nn.Linear
IMAGES, ROWS = (3, 24, 4, 4), (4, 40)
# Trunks, with the shape of their inputs and how many layers have gradients at their outputs only.
TRUNKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "convolution": (lambda: conv(24, 60, 3, bias=False), IMAGES, 1),
    "with bias": (lambda: conv(24, 60, 3), IMAGES, 1),
    "stride": (lambda: conv(24, 60, (3, 2), stride=(2, 1), padding=(1, 0)), IMAGES, 1),
    "dilation": (lambda: conv(24, 60, 3, padding=1, dilation=2, stride=2), IMAGES, 1),
    "valid": (lambda: conv(24, 60, 3, padding="valid"), IMAGES, 1),
    "same": (lambda: conv(24, 60, 3, padding="same", bias=False), (1, 24, 4, 4), 1),
    "reflected": (lambda: conv(24, 60, 3, padding=1, padding_mode="reflect", stride=2), IMAGES, 1),
    "channels last": (lambda: conv(24, 60, 3).to(memory_format=torch.channels_last), IMAGES, 1),
    "linear": (lambda: linear(40, 30), ROWS, 1),
    "linear without bias": (lambda: linear(40, 30, bias=False), ROWS, 1),
    "two": (lambda: nn.Sequential(conv(24, 30, 3), nn.ReLU(), conv(30, 40, 2)), IMAGES, 2),
    "hook on outputs": (lambda: Trunk(conv(24, 60, 3), with_hook), IMAGES, 1),
    "of the first layer": (lambda: Trunk(conv(24, 60, 3, bias=False), with_hook), IMAGES, 1),
    "no gradient": (
        lambda: Trunk(linear(40, 30), lambda f, x: Stopped.apply(f(x)) + f.bias),
        ROWS,
        1,
    ),
    # Left to autograd.
    "many items": (lambda: linear(40, 30), (50, 40), 0),
    "groups": (lambda: conv(24, 60, 3, groups=2), IMAGES, 0),
    "transposed": (lambda: nn.ConvTranspose2d(24, 30, 3), IMAGES, 0),
    "one axis": (lambda: nn.Conv1d(24, 30, 3), (3, 24, 5), 0),
    "hook on weights": (lambda: masked(linear(40, 30)), ROWS, 0),
    "hook before the node": (lambda: Trunk(linear(40, 30, bias=False), before_the_node), ROWS, 0),
    "hook after the node": (lambda: Trunk(linear(40, 30), after_the_node), ROWS, 0),
    "frozen": (lambda: frozen(linear(40, 30)), ROWS, 0),
    "passed twice": (lambda: Trunk(linear(40, 40), lambda f, x: f(f(x).relu())), ROWS, 0),
    "looked at besides": (
        lambda: Trunk(linear(40, 30), lambda f, x: f(x) * f.weight.norm()),
        ROWS,
        0,
    ),
    "with a factor": (
        lambda: Trunk(linear(40, 30), lambda f, x: torch.addmm(f.bias, x, f.weight.t(), alpha=0.5)),
        ROWS,
        0,
    ),
    "quantised": (
        lambda: Trunk(
            linear(40, 30, bias=False),
            lambda f, x: nn.functional.linear(x, Quantised.apply(f.weight)),
        ),
        ROWS,
        0,
    ),
    "summed weights": (  # whose gradient autograd expands from one row
        lambda: Trunk(linear(5, 3, bias=False), lambda f, x: x * f.weight.sum(0)),
        (4, 5),
        0,
    ),
}


@pytest.mark.parametrize("name", TRUNKS)
def test_gramian_and_sums_are_those_of_the_gradients(name: str) -> None:
    torch.manual_seed(0)
    make, shape, layers = TRUNKS[name]
    assert same_at_outputs(make(), torch.randn(shape)) == layers


@pytest.mark.parametrize("dead", ["some", "all"])
def test_weights_of_inputs_that_are_zero_have_no_gradient(dead: str) -> None:
    """Adam would go a whole step along the least rounding."""
    torch.manual_seed(0)
    inputs = torch.randn(4, 40)
    inputs[:, slice(0, 3) if dead == "some" else slice(None)] = 0
    layer = nn.Linear(40, 30)
    assert same_at_outputs(layer, inputs) == 1
    z = layer(inputs)
    rows = rows_of(z, [layer.weight], torch.randn(5, *z.shape), at_outputs=True)
    (gradient,) = rows.mixed(torch.ones(5))
    assert (gradient[:, :3] == 0).all()


def test_half_precision_is_left_to_autograd() -> None:
    layer = nn.Linear(40, 30, dtype=torch.bfloat16)
    z = layer(torch.randn(4, 40, dtype=torch.bfloat16)).float()
    pulled = torch.randn(5, *z.shape)
    assert not rows_of(z, list(layer.parameters()), pulled, at_outputs=True).wide


def test_a_gradient_that_is_not_finite_is_told_of_its_task_only() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(40, 30)
    z = layer(torch.randn(4, 40))
    pulled = torch.randn(3, *z.shape)
    pulled[1, 0, 0] = torch.inf
    gramian = rows_of(z, list(layer.parameters()), pulled, at_outputs=True).gramian()
    assert torch.isfinite(gramian).tolist() == [
        [True, False, True],
        [False] * 3,
        [True, False, True],
    ]


def test_a_sparse_batch_is_left_to_autograd() -> None:
    layer = nn.Linear(40, 30, bias=False)
    z = layer(torch.eye(4, 40).to_sparse())
    assert not rows_of(z, [layer.weight], torch.randn(5, *z.shape), at_outputs=True).wide


def test_no_hook_of_ours_stays() -> None:
    layer = nn.Linear(40, 30)
    z = layer(torch.randn(4, 40))
    rows_of(z, list(layer.parameters()), torch.randn(5, *z.shape), keep=True, at_outputs=True)
    assert z.grad_fn is not None
    handle = z.grad_fn.register_prehook(lambda _: None)
    assert len(handle.hooks_dict_ref()) == 1


def test_what_is_passed_again_is_passed_whole() -> None:
    """So that it costs what public code costs that makes all K gradients."""
    problem = small_problem(small_cell())
    network = problem.build(0)[0]
    passage = Passage(network, problem.parts["train"].batch(torch.arange(4))[0], None)
    pulled = torch.randn(3, *passage.z.shape)
    parameters = network.shared_parameters()
    assert not passage.rows(parameters, pulled, keep=True).wide
    assert passage.rows(parameters, pulled).wide
