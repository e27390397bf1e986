"""What a forward pass changes of a network, and how to take it back."""

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
    """

    def __init__(self, buffers: Iterable[Tensor]) -> None:
        own: dict[torch.dtype, list[Tensor]] = defaultdict(list)
        for buffer in buffers:
            own[buffer.dtype].append(buffer)
        self.pairs = [(same, [b.clone() for b in same]) for same in own.values()]

    @torch.no_grad()
    def keep(self) -> None:
        """Remember them."""
        for buffers, copies in self.pairs:
            torch._foreach_copy_(copies, buffers)

    @torch.no_grad()
    def put_back(self) -> None:
        """Make them as they were."""
        for buffers, copies in self.pairs:
            torch._foreach_copy_(buffers, copies)

    @torch.no_grad()
    def put_back_where(self, there: Tensor) -> None:
        """Make those of some replicates as they were.

        Args:
            there: (R,) of bool.
        """
        for buffers, copies in self.pairs:
            for buffer, copy in zip(buffers, copies, strict=True):
                own = there.reshape(-1, *[1] * (buffer.ndim - 1))
                buffer.copy_(torch.where(own, copy, buffer))
