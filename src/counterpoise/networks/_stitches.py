"""Towers joined by cross-stitch units. Imported only when a network is built: needs torch.

A tower is a ``Sequential`` of named stages; activations of K towers are K tensors (B, C, ...).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

MIXINGS_OF_DEEPCHEST = 3


class StitchUnit(nn.Module):
    """x^k <- sum_j A_kj x^j over the activations of K towers, with a trainable A.

    Misra et al. (CVPR 2016), Eq. 1. Rows of the initial A sum to one, so towers that agree are left
    unchanged; for a single tower A is 1.

    Args:
        tasks: K.
        self_weight: initial diagonal of A; the rest of a row is split among the other towers.
        channels: C, for a separate A per channel, (C, K, K); without it one A, (K, K).
    """

    def __init__(self, tasks: int, self_weight: float, channels: int | None = None) -> None:
        super().__init__()
        weight = torch.full((tasks, tasks), (1 - self_weight) / max(tasks - 1, 1))
        weight.fill_diagonal_(self_weight if tasks > 1 else 1.0)
        self.weight = nn.Parameter(weight if channels is None else weight.repeat(channels, 1, 1))

    def forward(self, activations: Sequence[Tensor]) -> list[Tensor]:
        """K tensors (B, C, ...) to K of the same shape; images stay channels-last."""
        rows = torch.stack([x.movedim(1, -1) for x in activations])
        pattern = "kj,jb...->kb..." if self.weight.ndim == 2 else "ckj,jb...c->kb...c"
        mixed = torch.einsum(pattern, self.weight, rows)
        return list(mixed.movedim(-1, 2).unbind(0))


class Stitched(nn.Module):
    """K towers with units between them, from one batch of inputs to all towers' features.

    Args:
        towers: K trunks of the same stages.
        units: the units, keyed by the name of the stage that they follow.
    """

    def __init__(self, towers: Sequence[nn.Module], units: dict[str, StitchUnit]) -> None:
        super().__init__()
        self.towers = nn.ModuleList(towers)
        self.units = nn.ModuleDict(units)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, ...) to (B, K d): the towers' features, one after the other."""
        activations = [inputs] * len(self.towers)
        for name, _ in self.towers[0].named_children():
            towers = zip(self.towers, activations, strict=True)
            activations = [tower.get_submodule(name)(x) for tower, x in towers]
            if name in self.units:
                activations = self.units[name](activations)
        return torch.cat(activations, dim=1)


class CopiedFeatures(nn.Module):
    """One trunk whose features are copied K times and mixed by three K x K matrices in a row.

    Args:
        trunk: inputs to (B, d).
        tasks: K.
    """

    def __init__(self, trunk: nn.Module, tasks: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.units = nn.ModuleList(StitchUnit(tasks, 1.0) for _ in range(MIXINGS_OF_DEEPCHEST))
        self.tasks = tasks

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, ...) to (B, K d): the trunk's features times one number per task."""
        copies = [self.trunk(inputs)] * self.tasks
        for unit in self.units:
            copies = unit(copies)
        return torch.cat(copies, dim=1)


def stitched(
    towers: Sequence[nn.Module], shape: tuple[int, ...], self_weight: float, *, per_channel: bool
) -> Stitched:
    """Towers with a unit after each stage that has parameters.

    Args:
        towers: K trunks of the same stages.
        shape: shape of one input.
        self_weight: initial diagonal of a unit.
        per_channel: one K x K matrix per channel.
    """
    widths = _channels(towers[0], shape)
    units = {
        name: StitchUnit(len(towers), self_weight, widths[name] if per_channel else None)
        for name, stage in towers[0].named_children()
        if next(stage.parameters(), None) is not None
    }
    return Stitched(towers, units)


@torch.no_grad()
def _channels(tower: nn.Module, shape: tuple[int, ...]) -> dict[str, int]:
    """Channels (or units) after each stage, measured on one empty input; the tower is unchanged."""
    tower.eval()
    x, found = torch.zeros(1, *shape), {}
    for name, stage in tower.named_children():
        x = stage(x)
        found[name] = x.shape[1]
    tower.train()
    return found
