"""What a forward pass changes in a network, and how to undo it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor


class Averages:
    """The running averages of normalisation, as they were before a step.

    A step that is not taken must leave them, too, as they were: a batch that is not finite makes
    them so. One copy of all of them a step, without any wait for the device.

    Args:
        buffers: those of the network; they change in place.
        depth: how many of the last steps are remembered.
    """

    def __init__(self, buffers: Iterable[Tensor], depth: int = 1) -> None:
        own: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for buffer in buffers:
            own[buffer.dtype].append(buffer)
        self.groups = [
            (same, [[b.clone() for b in same] for _ in range(depth)]) for same in own.values()
        ]
        self.depth, self.last = depth, 0

    @torch.no_grad()
    def keep(self) -> int:
        """Remember them; gives the number of the copy."""
        self.last = (self.last + 1) % self.depth
        for buffers, copies in self.groups:
            torch._foreach_copy_(copies[self.last], buffers)
        return self.last

    @torch.no_grad()
    def put_back(self, copy: int | None = None) -> None:
        """Make them as they were.

        Args:
            copy: its number; the last if None.
        """
        for buffers, copies in self.groups:
            torch._foreach_copy_(buffers, copies[self.last if copy is None else copy])

    @torch.no_grad()
    def put_back_where(self, there: Tensor) -> None:
        """Make those of some replicates as they were.

        Args:
            there: (R,) of bool.
        """
        for buffers, copies in self.groups:
            for buffer, copy in zip(buffers, copies[self.last], strict=True):
                own = there.reshape(-1, *[1] * (buffer.ndim - 1))
                buffer.copy_(torch.where(own, copy, buffer))
