"""A batch's way through the trunk: all of it at once, or in parts to save memory.

In parts, the trunk is run twice: once without a graph, to get the whole batch's Z, from which
heads, losses and the method proceed as usual; then part by part with a graph, into which the
gradients at Z are fed. So an update is that of the whole batch for every signal, up to rounding.
Only normalisation over a batch sees the parts; its running averages move as in a single pass, and
random layers draw the same numbers in both passes, on any device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from counterpoise.training.modules import Network
from counterpoise.training.seeding import layer_generators
from counterpoise.training.signals import Rows, inner, jacobian_of, rows_of


def split_batches(items: Tensor, size: int) -> list[Tensor]:
    """Batches of some items, (N, ...). A last one of a single item joins the one before it.

    Normalisation over a batch has nothing to normalise in a single item.
    """
    sizes = [len(batch) for batch in torch.split(items, size)]
    if len(sizes) > 1 and sizes[-1] == 1:
        sizes[-2:] = [sizes[-2] + 1]
    return list(torch.split(items, sizes))


class Passage:
    """One batch at the shared representation.

    Args:
        network: whose trunk is passed.
        inputs: (..., B, ...).
        size: items of a part, of the last one perhaps one more; None for the whole batch.
        at_once: rows of a Jacobian that one backward pass gives.

    Attributes:
        z: (..., B, d), detached.
    """

    def __init__(
        self, network: Network, inputs: Tensor, size: int | None, at_once: int = 1
    ) -> None:
        self.network, self.at_once = network, at_once
        self.parts = [inputs] if size is None else split_batches(inputs, size)
        self.graph: Tensor | None = None
        if len(self.parts) == 1:
            self.graph = network.shared(inputs)
            self.z = self.graph.detach()
            return
        self.generators = layer_generators(inputs.device)
        self.draws: list[list[Tensor]] = []
        averages = self._averages()
        with torch.no_grad():
            blocks = []
            for part in self.parts:
                self.draws.append(self._drawn())
                blocks.append(network.shared(part))
        self._put_back(averages)
        self.z = torch.cat(blocks)

    def _drawn(self) -> list[Tensor]:
        return [generator.get_state() for generator in self.generators]

    @contextmanager
    def _drawing(self, states: list[Tensor], *, keep: bool) -> Iterator[None]:
        """Draw from some states on; ``keep`` leaves the generators where that ends."""
        before = self._drawn()
        self._draw_from(states)
        yield
        if not keep:
            self._draw_from(before)

    def _draw_from(self, states: list[Tensor]) -> None:
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)

    def _averages(self) -> list[Tensor]:
        return [buffer.clone() for buffer in self.network.trunk.buffers()]

    def _put_back(self, averages: list[Tensor]) -> None:
        for buffer, before in zip(self.network.trunk.buffers(), averages, strict=True):
            buffer.copy_(before)

    def _again(self, *, last: bool) -> Iterator[tuple[Tensor, slice]]:
        """Z of every part with its graph, and its place in the batch.

        Args:
            last: the graph is not needed again.
        """
        if self.graph is not None:
            yield self.graph, slice(None)
            return
        averages, start = self._averages(), 0
        for part, draws in zip(self.parts, self.draws, strict=True):
            with self._drawing(draws, keep=last):
                z = self.network.shared(part)
            yield z, slice(start, start + len(part))
            start += len(part)
        if not last:
            self._put_back(averages)

    def backward(self, gradient: Tensor) -> None:
        """Leave the gradients of the trunk that this (..., B, d) gradient at Z means."""
        for z, place in self._again(last=True):
            if not z.requires_grad:  # all of the trunk is frozen
                continue
            own = gradient if self.graph is not None else gradient[place]
            inner(z, own).backward()  # type: ignore[no-untyped-call]

    def jacobian(
        self, parameters: Sequence[Tensor], pulled: Tensor, *, keep: bool = False
    ) -> Tensor:
        """As :func:`counterpoise.training.signals.jacobian_of`."""
        if self.graph is not None:
            return jacobian_of(self.graph, parameters, pulled, keep=keep, at_once=self.at_once)
        total: Tensor | None = None
        for z, place in self._again(last=not keep):
            found = jacobian_of(z, parameters, pulled[:, place], at_once=self.at_once)
            total = found if total is None else total.add_(found)
        assert total is not None
        return total

    def rows(self, parameters: Sequence[Tensor], pulled: Tensor, *, keep: bool = False) -> Rows:
        """As :func:`counterpoise.training.signals.rows_of`."""
        if self.graph is not None:
            # Methods that pass again are to cost what public code does: their passes stay whole.
            graph, at_once = self.graph, self.at_once
            return rows_of(
                graph, parameters, pulled, keep=keep, at_once=at_once, at_outputs=not keep
            )
        total: Rows | None = None
        for z, place in self._again(last=not keep):
            found = rows_of(z, parameters, pulled[:, place], at_once=self.at_once)
            if total is None:
                total = found
                continue
            for sums, more in zip(total.parts, found.parts, strict=True):
                # Not in place: autograd may have given one tensor to two parameters.
                sums[:] = [one + other for one, other in zip(sums, more, strict=True)]
        assert total is not None
        return total
