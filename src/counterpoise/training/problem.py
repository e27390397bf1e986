"""A cell: its place on disk, its data in memory, and a trained network's outputs on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from counterpoise import registry
from counterpoise.datasets._part import Part
from counterpoise.errors import UserError
from counterpoise.methods._base import Method, Shape, State
from counterpoise.spec.cell import Cell
from counterpoise.tasks import Task
from counterpoise.training.augment import augmented, check_augment, key_of
from counterpoise.training.binary import binary_loss
from counterpoise.training.losses import LOSSES, Loss
from counterpoise.training.modules import Network
from counterpoise.training.prefetch import Prefetch, inputs_of
from counterpoise.training.step import task_outputs
from counterpoise.training.weighted import Weighted

RESULTS = ("weights.safetensors", "history.parquet", "record.json", "predictions.parquet")


@dataclass(frozen=True)
class Job:
    """Where a cell's data, state and results are."""

    root: Path
    cell: Cell
    name: str
    digest: str
    split: Path
    work: Path
    out: Path
    identity: dict[str, Any] = field(default_factory=dict)
    """What the digest covers besides the cell, for the record."""
    weights: Path | None = None
    """Marker of the published weights that the trunk starts from."""

    @property
    def is_done(self) -> bool:
        """Whether all its results are there."""
        return all((self.out / name).is_file() for name in RESULTS)

    def state_of(self, seed: int) -> Path:
        """File of a seed's resumable state."""
        return self.work / f"seed-{seed}.state"


def device_of(wish: str | torch.device) -> torch.device:
    """The device to train on.

    Args:
        wish: ``auto``, ``cpu`` or ``cuda``, or a device that was found before.

    Raises:
        UserError: it is asked for and not there.
    """
    if isinstance(wish, torch.device):
        return wish
    found = torch.cuda.is_available()
    if wish == "auto":
        return torch.device("cuda" if found else "cpu")
    if wish not in ("cpu", "cuda") or (wish == "cuda" and not found):
        raise UserError(f"there is no {wish} device here", remedy="set `device: auto`")
    return torch.device(wish)


def hardware_of(device: torch.device) -> str:
    """What a record calls it: ``CPU``, or the name of the GPU."""
    return "CPU" if device.type == "cpu" else torch.cuda.get_device_name(device)


def tasks_of(cell: Cell) -> tuple[Task, ...]:
    """The cell's tasks, in its order."""
    module = registry.find("datasets", cell.dataset)
    known = {task.name: task for task in module.tasks(module.Options(**cell.dataset_options))}
    return tuple(known[name] for name in cell.tasks)


EVALUATION_VALUES = 1 << 21
"""Input values of one batch of evaluation: 2,674 pictures of MNIST, 41 radiographs at 224 px."""


@dataclass
class Problem:
    """A cell with its data in memory."""

    cell: Cell
    tasks: tuple[Task, ...]
    parts: dict[str, Part]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    start: Callable[[Network, int], None] | None = None
    """Puts trained weights into the trunk of a seed's network."""
    _ahead: Prefetch | None = field(default=None, repr=False)
    _keys: tuple[tuple[Any, ...], Tensor] | None = field(default=None, repr=False)

    def build(self, seed: int) -> tuple[Network, Method]:
        """The initial network and the method of one replicate.

        Raises:
            UserError: the method looks at shared parameters and all are frozen.
        """
        cell = self.cell
        module = registry.find("networks", cell.network.name)
        options = module.Options(**cell.network.options)
        shape = next(iter(self.parts.values())).shape
        words, precision = (cell.seeding, seed, "init"), cell.protocol.precision
        network = Network(module, options, shape, self.tasks, words, precision)
        if self.start is not None:
            self.start(network, seed)
        network.freeze(cell.protocol.frozen)
        kind = registry.method(cell.method.name)
        shared = tuple(p.numel() for p in network.shared_parameters())
        if not shared and kind.signal in ("last_layer", "gramian", "jacobian"):
            raise UserError(
                f"{cell.method.name} looks at shared parameters and all of them are frozen",
                remedy="leave a stage out of `frozen`",
            )
        names = tuple(task.name for task in self.tasks)
        regressions = tuple(task.name for task in self.tasks if task.classes is None)
        sizes = Shape(len(self.tasks), network.features, shared, names, regressions)
        method = kind(kind.Options(**cell.method.options), sizes)
        if cell.weighting is not None:
            first = registry.method(cell.weighting.name)
            method = Weighted(first(first.Options(**cell.weighting.options), sizes), method)
        return network.to(self.device), method

    def losses(self) -> tuple[Loss, ...]:
        """The loss of every task."""
        own = getattr(registry.find("datasets", self.cell.dataset), "LOSSES", {})
        return tuple(
            binary_loss(self.cell.protocol.loss, self._counts(task.name))
            if task.loss == "bce"
            else {**LOSSES, **own}[task.loss]
            for task in self.tasks
        )

    def _counts(self, task: str) -> tuple[int, int]:
        """Known negatives and positives of a binary task in the training part."""
        target = self.parts["train"].targets[task]
        return int((target == 0).sum()), int((target == 1).sum())

    def change(
        self, seeds: Sequence[int], epoch: int, items: Tensor
    ) -> Callable[[Tensor], Tensor] | None:
        """How the protocol changes images of the training part; None if it leaves them.

        Args:
            seeds: of the replicates.
            epoch: which of the training.
            items: (R, B) places in the training part, a row a replicate; (B,) of a single one.
        """
        augment = self.cell.protocol.augment
        if augment is None:
            return None
        keys = self._keys_of(tuple(seeds), epoch, items.device)
        keys = keys.reshape(-1, *[1] * (items.ndim - 1)).expand(items.shape)
        return lambda images: augmented(images, augment, keys, items)

    def _keys_of(self, seeds: tuple[int, ...], epoch: int, device: torch.device) -> Tensor:
        """(R,) keys of the replicates' changes; they go to the device once an epoch."""
        asked = (seeds, epoch, device)
        if self._keys is None or self._keys[0] != asked:
            keys = [key_of(self.cell.seeding, seed, epoch) for seed in seeds]
            self._keys = asked, torch.tensor(keys, device=device)
        return self._keys[1]

    def expect(self, batches: Sequence[Tensor], start: int) -> None:
        """Gather training batches ahead, if their inputs are streamed.

        Args:
            batches: places in the training part of every batch of an epoch, which
                :meth:`batch` is then asked for in this order.
            start: the first that is wanted.
        """
        self.stop_gathering()
        part = self.parts["train"]
        if part.streamed:
            self._ahead = Prefetch(part, batches[start:])

    def stop_gathering(self) -> None:
        """End the gathering ahead that :meth:`expect` has begun; what it holds is let go."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def batch(
        self, seeds: Sequence[int], epoch: int, items: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Inputs, changed as the protocol says, and targets of items of the training part.

        Args:
            seeds: of the replicates.
            epoch: which of the training.
            items: (R, B) places in the training part, a row a replicate; (B,) of a single one.
        """
        part, change = self.parts["train"], self.change(seeds, epoch, items)
        if self._ahead is None:
            return part.batch(items, change)
        return part.finished(self._ahead.take(), items, change)

    def check_augment(self) -> None:
        """Raise a UserError if images are to be changed and inputs are none."""
        part = self.parts["train"]
        images = part.inputs.dtype == torch.uint8
        check_augment(self.cell.protocol.augment, part.shape, images=images)


def outputs_of(network: Network, method: Method, state: State, part: Part) -> list[Tensor]:
    """Outputs (N, outputs) of every task, by the method's own representations."""
    network.eval()
    size = max(1, EVALUATION_VALUES // math.prod(part.shape))
    with torch.inference_mode(), closing(inputs_of(part, size)) as found:
        blocks = [
            task_outputs(network, method.represent(state, network.shared(inputs)))
            for inputs in found
        ]
    network.train()
    return [torch.cat(outputs) for outputs in zip(*blocks, strict=True)]
