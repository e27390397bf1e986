"""Mean losses of one epoch, to which later losses are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from counterpoise.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Signal, State


def no_reference(tasks: int) -> State:
    """Nothing to average yet."""
    return {name: torch.zeros(tasks, dtype=torch.float64) for name in ("total", "batches")}


def counted(state: State, losses: Tensor, signal: Signal) -> State:
    """The state after a batch of that epoch; only tasks with known labels count."""
    seen = torch.ones_like(losses) if signal.known is None else signal.known.double()
    total, batches = state["total"] + seen * losses, state["batches"] + seen
    return {**state, "total": total, "batches": batches}


def reference(state: State, losses: Tensor) -> Tensor:
    """(K,) means; a loss without a known label in that epoch is compared to itself."""
    there = state["batches"] > 0
    mean = state["total"] / torch.where(there, state["batches"], 1)
    return torch.where(there, mean, losses)
