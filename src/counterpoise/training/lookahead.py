"""Steps that do not wait to learn whether the previous step was good.

After each step the host asks the GPU whether everything was finite, and waiting for the answer
leaves the GPU idle while the next step is prepared. So the next step is taken at once, and the
answer is read after it. A bad step moves no weights, nor does any step after it: Adam's fused
kernel is told so on the device. Everything else that a step changes is new memory, and the old
memory is kept to go back to.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from counterpoise.methods._base import State

DEVICES = {"cuda"}
"""Kinds of devices that a step does not wait for: a CPU has done it when it is asked."""
SIGNALS = {"losses", "features", "last_layer"}
"""Those whose steps are so short that waiting shows; others would hold K gradients for longer."""


class Answer:
    """Yes or no, on its way from the device.

    Args:
        yes: (), of bool.
    """

    def __init__(self, yes: Tensor) -> None:
        self.yes, self._there = yes, yes
        self._event: torch.cuda.Event | None = None
        if yes.device.type == "cuda":
            self._there = torch.empty((), dtype=torch.bool, pin_memory=True)
            self._there.copy_(yes, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(yes.device))

    def heard(self) -> bool:
        """The answer, once the device has come to it."""
        if self._event is not None:
            self._event.synchronize()
        return bool(self._there)


@dataclass(frozen=True)
class Place:
    """What a step changes of a replicate but weights, as it was before.

    Attributes:
        batch, step: position.
        state: the method's.
        normaliser, latest: (K,) losses, as in :func:`counterpoise.training.step.train_step`.
        sums: of the epoch.
        aftermath: (n,) of bool, what was not as it must be after the update before.
        averages: number of the copy that holds the running averages as they were.
    """

    batch: int
    step: int
    state: State
    normaliser: Tensor | None
    latest: Tensor | None
    sums: dict[str, Tensor]
    aftermath: Tensor | None
    averages: int


@dataclass(frozen=True)
class Taken:
    """A step that was taken before it was known to be good.

    Attributes:
        bad: whether it, or one before it, was not.
        unfit: (n,) of bool, as :meth:`counterpoise.training.step.StepReport.unfit` gives it.
        before: where to go back to.
    """

    bad: Answer
    unfit: Tensor
    before: Place
