"""The work that is timed: one training step, our way, LibMTL's, TorchJD's and autograd's alone."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from counterpoise import registry
from counterpoise.datasets._part import Part
from counterpoise.spec.cell import Cell, Component, Precision, Protocol
from counterpoise.training.engine import Replicate
from counterpoise.training.problem import Problem

WORK = {
    "lenet": ("multimnist", Component(name="lenet"), (1, 28, 28), 256),
    "small_cnn": ("chestxray14", Component(name="small_cnn"), (1, 64, 64), 32),
    "resnet18": ("chestxray14", Component(name="resnet", options={"depth": 18}), (1, 128, 128), 16),
    "densenet121": ("chestxray14", Component(name="densenet"), (1, 224, 224), 4),
}
"""Dataset, network, shape of a picture, items of a step."""


@cache
def folder() -> tempfile.TemporaryDirectory[str]:
    """Where states would be saved; made when the first replicate is, and gone with the process."""
    return tempfile.TemporaryDirectory()


class Work:
    """One network with random pictures and labels in memory, on a device.

    Args:
        name: of :data:`WORK`.
        device: where.
        batch: items of a step; None for the default.
        tasks: how many of the dataset's tasks, which come again under other names beyond their
            number; None for all.
        width: of the network, where it has one.
        precision: of our trunk.
    """

    def __init__(
        self,
        name: str,
        device: torch.device,
        batch: int | None = None,
        tasks: int | None = None,
        width: int | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.dataset, self.network, shape, usual = WORK[name]
        if width is not None:
            self.network = Component(name=self.network.name, options={"width": width})
        self.device, self.batch, self.precision = device, batch or usual, precision
        module = registry.find("datasets", self.dataset)
        self.options = module.Options()
        known = module.tasks(self.options)
        self.tasks = tuple(
            replace(known[k % len(known)], name=f"{known[k % len(known)].name}-{k}")
            for k in range(tasks or len(known))
        )
        draws = torch.Generator().manual_seed(0)

        def part(count: int) -> Part:
            pictures = torch.randint(0, 256, (count, *shape), generator=draws, dtype=torch.uint8)
            targets = {
                t.name: torch.randint(0, t.classes, (count,), generator=draws)
                if t.classes
                else torch.rand(count, generator=draws)
                for t in self.tasks
            }
            return Part(pictures, targets, 0.5, 0.25).to(device)

        self.parts = {"train": part(self.batch), "validation": part(2)}
        self.index = torch.arange(self.batch, device=device)

    def replicate(self, method: str = "uniform", seed: int = 0, **options: object) -> Replicate:
        """Our training, as a job makes it."""
        chosen = registry.method(method).Options(**options).model_dump(mode="json")
        cell = Cell(
            dataset=self.dataset, source="noise",
            dataset_options=self.options.model_dump(mode="json"),
            network=self.network, method=Component(name=method, options=chosen),
            tasks=tuple(t.name for t in self.tasks), seeds=(seed,),
            protocol=Protocol(
                epochs=10, batch_size=self.batch, learning_rate=1e-4, precision=self.precision
            ),
        )  # fmt: skip
        problem = Problem(cell, self.tasks, self.parts, self.device)
        return Replicate(problem, seed, Path(folder().name) / "state")

    def ours(self, method: str, **options: object) -> Callable[[], object]:
        """One step of a method."""
        made = self.replicate(method, **options)
        return lambda: made._step(self.index)

    def forward_anew(self) -> Callable[[], object]:
        """A step of uniform weights, and the batch's losses once more by the new ones."""
        made = self.replicate()

        def step() -> None:
            made._step(self.index)
            with torch.no_grad():
                self.losses(made, made.network.trunk(self.parts["train"].batch(self.index)[0]))

        return step

    def compiled(self, method: str) -> Replicate:
        """Our training with the trunk compiled by torch."""
        from torch._functorch import config

        config.donated_buffer = False  # a graph that is passed back K times keeps what it has saved
        made = self.replicate(method)
        made.network.trunk.compile()
        return made

    def losses(self, made: Replicate, z: Tensor) -> list[Tensor]:
        """All tasks' losses, as plain code has them."""
        targets = self.parts["train"].batch(self.index)[1]
        heads = zip(made.losses, made.network.heads.items(), strict=True)
        return [loss(head(z), targets[name]) for loss, (name, head) in heads]

    def plain(self) -> Callable[[], object]:
        """Forward, one backward pass of the sum, update: nothing that balances."""
        made = self.replicate()

        def step() -> None:
            made.optimizer.clear()
            z = made.network.trunk(self.parts["train"].batch(self.index)[0])
            torch.stack(self.losses(made, z)).sum().backward()
            made.optimizer.step(1e-4)

        return step

    def floor(self) -> Callable[[], object]:
        """Forward, K backward passes of the trunk, update: what K gradients cost at least."""
        made = self.replicate()
        parameters = list(made.network.trunk.parameters())

        def step() -> None:
            z = made.network.trunk(self.parts["train"].batch(self.index)[0])
            gradient = torch.full_like(z, 1e-3)
            for k in range(len(self.tasks)):
                found = torch.autograd.grad(
                    z, parameters, gradient, retain_graph=k < len(self.tasks) - 1
                )
            for parameter, own in zip(parameters, found, strict=True):
                parameter.grad = own
            made.optimizer.step(1e-4)

        return step

    def libmtl(self, name: str, *, at_z: bool = False) -> Callable[[], object]:
        """One step as LibMTL's trainer makes it."""
        from benchmarks import libmtl

        made = self.replicate()
        made.network.to(memory_format=torch.contiguous_format)
        model = libmtl.model(name, made.network.trunk, made.network.heads, self.device, at_z=at_z)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

        def step() -> None:
            inputs, targets = self.parts["train"].batch(self.index)
            outputs = model(inputs)
            losses = torch.zeros(len(self.tasks)).to(self.device)
            for k, (loss, task) in enumerate(zip(made.losses, self.tasks, strict=True)):
                losses[k] = loss(outputs[task.name], targets[task.name])
            optimizer.zero_grad(set_to_none=False)
            model.backward(losses, **libmtl.ARGUMENTS[name])
            optimizer.step()

        return step

    def torchjd(self, name: str, way: str) -> Callable[[], object]:
        """One step with one of TorchJD's aggregators, by its ``autojac`` or its ``autogram``."""
        from torchjd import aggregation, autojac
        from torchjd.autogram import Engine

        made = self.replicate()
        trunk, heads = made.network.trunk, made.network.heads
        engine = Engine(trunk, batch_dim=None) if way == "autogram" else None
        weighting = getattr(aggregation, f"{name}Weighting")() if engine else None
        aggregator = None if engine else getattr(aggregation, name)()

        def step() -> None:
            made.optimizer.clear()
            z = trunk(self.parts["train"].batch(self.index)[0])
            losses = self.losses(made, z)
            if engine is not None:
                stacked = torch.stack(losses)
                stacked.backward(weighting(engine.compute_gramian(stacked)))
            else:
                shared = list(trunk.parameters())
                own = [list(head.parameters()) for head in heads.values()]
                autojac.mtl_backward(losses, features=z, tasks_params=own, shared_params=shared)
                autojac.jac_to_grad(shared, aggregator)
            made.optimizer.step(1e-4)

        return step

    def _loader(self) -> DataLoader[Tensor]:
        pictures = self.parts["train"].inputs[:, 0].cpu().numpy()
        return DataLoader(Pictures(pictures), batch_size=self.batch, shuffle=True)

    def loaded(self, step: Callable[[], object]) -> Callable[[], object]:
        """A step for each batch that torch's loader has made of pictures in memory."""
        loader = self._loader()
        return lambda: [step() for _ in loader]

    def loader(self) -> Callable[[], object]:
        """One step of a plain loop over torchvision's transforms and torch's loader."""
        made, loader = self.replicate(), self._loader()

        def step() -> None:
            for inputs in loader:
                made.optimizer.clear()
                z = made.network.trunk(inputs.to(self.device))
                torch.stack(self.losses(made, z)).sum().backward()
                made.optimizer.step(1e-4)

        return step


class Pictures(Dataset):  # type: ignore[type-arg]
    """Decoded grey pictures, changed one by one as torchvision's examples do."""

    def __init__(self, pictures: np.ndarray) -> None:
        from torchvision import transforms

        self.pictures = pictures
        normal = transforms.Normalize(0.5, 0.25)
        self.change = transforms.Compose([transforms.ToTensor(), normal])

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, item: int) -> Tensor:
        changed: Tensor = self.change(Image.fromarray(self.pictures[item]))
        return changed
