"""Memory of K x P matrices on a CPU, used again from step to step.

The system clears fresh memory page by page, which took DB-MTL's step on ResNet-18 a seventh of its
time (docs/measurements.md, Speed). glibc, told to keep what is freed
(:data:`counterpoise.workflow.MEMORY`), splits it for smaller things and then asks for more. torch's
allocator for a GPU does what is done here.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from counterpoise.lazy import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LEAST = 1 << 25
"""Bytes from which on glibc by itself gives memory back at once."""

_free: list[Tensor] = []
"""Blocks of bytes that nothing refers to any longer."""


def empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """A tensor of a shape, of the kind of ``like``; its numbers are whatever was there."""
    size = torch.Size(shape).numel() * like.element_size()
    if like.device.type != "cpu" or size < LEAST:
        return like.new_empty(*shape)
    _free[:] = [block for block in _free if len(block) == size]  # a training asks for one size
    block = _free.pop() if _free else torch.empty(size, dtype=torch.uint8)
    # The tensor's storage holds the array until the last of its views is gone.
    array = block.numpy()
    weakref.finalize(array, _free.append, block).atexit = False
    return torch.from_numpy(array).view(like.dtype).view(*shape)


def empty_like(tensor: Tensor) -> Tensor:
    """The same for a shape that is at hand, also within :func:`torch.vmap`."""
    if torch._C._functorch.is_batchedtensor(tensor):  # its memory is of all replicates
        return torch.empty_like(tensor)
    return empty(tensor.shape, tensor)


def clear() -> None:
    """Give back what is free."""
    _free.clear()
