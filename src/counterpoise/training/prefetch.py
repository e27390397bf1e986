"""Inputs that do not fit on the device: rows are gathered and copied there ahead of the step.

A thread gathers the rows of the next batches, as they are stored, into a ring of pinned buffers and
copies each on a stream of its own, while the device works on the previous batch. The rest of a
batch's preparation (normalisation, augmentation, targets) is done on the device
(:meth:`Part.finished`). Batches are those of :meth:`Part.batch`, however many are prepared ahead.
On a CPU data are read where they are, without a thread; on request, as in tests, the same code runs
there without streams.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from counterpoise.datasets._part import Part

RESIDENT_SHARE = 0.5
"""Of the device's free memory that the inputs of one part may take; the rest is for training."""
AHEAD = 2
"""Batches that wait on the device for their step."""


def fits(part: Part, device: torch.device) -> bool:
    """Whether the inputs of a part go to the device as a whole."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return part.nbytes <= RESIDENT_SHARE * free


def placed(part: Part, device: torch.device) -> Part:
    """The part for training on a device: resident if it fits, else streamed."""
    return part.to(device, resident=fits(part, device))


class Prefetch:
    """Inputs of the next batches, on their way to the device.

    Args:
        part: whose inputs are wanted.
        batches: (...) places of the items of each batch; on the host, or they are copied there.
        ahead: batches that may wait for their step.

    The thread ends with the last batch, with an error, and with :meth:`close`.
    """

    def __init__(self, part: Part, batches: Sequence[Tensor], ahead: int = AHEAD) -> None:
        self._part, self._device = part, part.device
        self._places = _on_host(batches)
        self._room = threading.Semaphore(ahead)
        self._ready: queue.SimpleQueue[_Waiting | BaseException] = queue.SimpleQueue()
        self._closed = False
        self._slots: list[_Slot] = [_Slot() for _ in range(ahead)]
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self) -> Tensor:
        """The inputs of the next batch on the device, as they are stored.

        They are the caller's: no later batch overwrites them.

        Raises:
            LookupError: all batches are taken.
            Exception: what the thread met when it gathered them.
        """
        found = self._ready.get()
        if isinstance(found, BaseException):
            self._ready.put(found)  # whoever asks again is told the same
            raise found
        self._room.release()
        if found.copied is not None:
            stream = torch.cuda.current_stream(self._device)
            stream.wait_event(found.copied)
            # Made on the other stream, whose next tensors must not take its memory too early.
            found.inputs.record_stream(stream)
        return found.inputs

    def close(self) -> None:
        """End the thread and wait for it; at most the gathering of one batch."""
        self._closed = True
        self._room.release()
        self._thread.join()

    def _work(self) -> None:
        try:
            with contextlib.ExitStack() as stack:
                stream: torch.cuda.Stream | None = None
                if self._device.type == "cuda":
                    # A thread starts on device 0, whichever the process has chosen.
                    stack.enter_context(torch.cuda.device(self._device))
                    stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
                    stack.enter_context(torch.cuda.stream(stream))
                for number, places in enumerate(self._places):
                    self._room.acquire()
                    if self._closed:
                        return
                    slot = self._slots[number % len(self._slots)]
                    self._ready.put(self._copied(slot, places, stream))
            self._ready.put(LookupError("all batches are taken"))
        except BaseException as error:  # raised again where the batch is awaited
            self._ready.put(error)

    def _copied(self, slot: _Slot, places: Tensor, stream: torch.cuda.Stream | None) -> _Waiting:
        if slot.copied is not None:
            slot.copied.synchronize()
        shape = (*places.shape, *self._part.shape)
        dtype = self._part.inputs.dtype
        if slot.buffer is None or slot.buffer.shape != shape:
            slot.buffer = torch.empty(shape, dtype=dtype, pin_memory=stream is not None)
        self._part.gathered(places, slot.buffer)
        inputs = torch.empty(shape, dtype=dtype, device=self._device)
        inputs.copy_(slot.buffer, non_blocking=True)
        if stream is not None:
            slot.copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            slot.copied.record(stream)
        return _Waiting(inputs, slot.copied)


@dataclass
class _Slot:
    """Memory on the host that batches are gathered into, one after the other."""

    buffer: Tensor | None = None
    copied: torch.cuda.Event | None = None
    """When the last copy from it has ended."""


@dataclass
class _Waiting:
    inputs: Tensor
    copied: torch.cuda.Event | None


def _on_host(batches: Sequence[Tensor]) -> list[Tensor]:
    """The same places on the host, by one copy."""
    if not batches or batches[0].device.type == "cpu":
        return list(batches)
    flat = torch.cat([places.flatten() for places in batches]).cpu()
    sizes = [places.numel() for places in batches]
    parts = torch.split(flat, sizes)
    return [part.view(places.shape) for part, places in zip(parts, batches, strict=True)]


def inputs_of(part: Part, size: int) -> Generator[Tensor, None, None]:
    """Normalised inputs of all items of a part on its device, in order, ``size`` at a time."""
    blocks = list(torch.split(torch.arange(len(part), device=part.device), size))
    if not part.streamed:
        for index in blocks:
            yield part.batch(index)[0]
        return
    with Prefetch(part, blocks) as ahead:
        for index in blocks:
            yield part.finished(ahead.take(), index)[0]
