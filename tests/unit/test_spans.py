"""Gradients by coordinates: the same Gramian and the same sums as of the gradients themselves."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ..support import spans_agree


def conv(*arguments: int, **options: object) -> nn.Module:
    return nn.Conv2d(*arguments, **options)  # type: ignore[arg-type]


class Twice(nn.Module):
    """One layer, passed twice."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.layer(x).relu())


class Beside(nn.Module):
    """A layer whose weights are looked at besides."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.layer.weight.norm()


class Scaled(nn.Module):
    """A product that is no linear layer's, as it has a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 40))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(torch.zeros(6), x, self.weight.t(), alpha=0.5)


IMAGES, ROWS = (3, 24, 4, 4), (4, 40)
# Trunks, with the shape of their inputs and how many layers have fewer rows than weights an output.
TRUNKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int]] = {
    "convolution": (lambda: conv(24, 60, 3, padding=1, bias=False), IMAGES, 1),
    "with bias": (lambda: conv(24, 60, 3, padding=1), IMAGES, 1),
    "stride": (lambda: conv(24, 30, (3, 2), stride=(2, 1), padding=(1, 0)), IMAGES, 1),
    "dilation": (lambda: conv(24, 60, 3, padding=2, dilation=2), IMAGES, 1),
    "channels last": (lambda: conv(24, 30, 3).to(memory_format=torch.channels_last), IMAGES, 1),
    "linear": (lambda: nn.Linear(40, 30), ROWS, 1),
    "linear without bias": (lambda: nn.Linear(40, 30, bias=False), ROWS, 1),
    "two": (lambda: nn.Sequential(conv(24, 30, 3), nn.ReLU(), conv(30, 20, 2)), IMAGES, 2),
    "many items": (lambda: nn.Linear(40, 30), (50, 40), 0),
    "groups": (lambda: conv(24, 30, 3, groups=2), IMAGES, 0),
    "transposed": (lambda: nn.ConvTranspose2d(24, 30, 3), IMAGES, 0),
    "one axis": (lambda: nn.Conv1d(24, 30, 3), (3, 24, 5), 0),
    "passed twice": (lambda: Twice(nn.Linear(40, 40)), ROWS, 0),
    "looked at besides": (lambda: Beside(nn.Linear(40, 30)), ROWS, 0),
    "with a factor": (Scaled, ROWS, 0),
}


@pytest.mark.parametrize("name", TRUNKS)
def test_gramian_and_sums_are_those_of_the_gradients(name: str) -> None:
    torch.manual_seed(0)
    make, shape, layers = TRUNKS[name]
    assert spans_agree(make(), torch.randn(shape)) == layers


@pytest.mark.parametrize("kind", ["zeros", "copies"])
def test_inputs_of_any_rank(kind: str) -> None:
    """Whose products with themselves no root of Cholesky's exists of."""
    torch.manual_seed(0)
    inputs = torch.zeros(4, 40) if kind == "zeros" else torch.randn(1, 40).expand(4, 40)
    assert spans_agree(nn.Linear(40, 30), inputs) == 1
