"""Seeds by name: the same names give the same draws, whatever else has been drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import torch
from torch import Tensor


def seed_of(*parts: str | int) -> int:
    """A 63-bit seed from words and numbers, e.g. ``seed_of("multimnist/lenet", 0, "order", 3)``."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def layer_generators(device: torch.device) -> list[torch.Generator]:
    """Those that random layers draw from, dropout say, on a device: the CPU's, and its own."""
    if device.type != "cuda":
        return [torch.default_generator]
    index = torch.cuda.current_device() if device.index is None else device.index
    return [torch.default_generator, torch.cuda.default_generators[index]]


def generator(*parts: str | int) -> torch.Generator:
    """A CPU generator for one purpose. Draws are made on the CPU so that devices agree."""
    return torch.Generator().manual_seed(seed_of(*parts))


def sent(
    drawn: dict[str, Tensor], device: torch.device, stay: Collection[str] = ()
) -> dict[str, Tensor]:
    """Draws on a device, by copies that nobody waits for.

    Args:
        stay: names of those that are read on the host.
    """
    if device.type == "cpu":
        return drawn
    return {
        name: value if name in stay else value.pin_memory().to(device, non_blocking=True)
        for name, value in drawn.items()
    }
