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
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks import ratios
from benchmarks.ratios import Absent, Ended, Step
from counterpoise import registry
from counterpoise.datasets._part import Part
from counterpoise.spec.cell import Cell, Component, Precision, Protocol
from counterpoise.training.engine import Replicate
from counterpoise.training.problem import Problem
from counterpoise.training.replicates import Parted, Together

WORK = {
    "lenet": ("multimnist", Component(name="lenet"), (1, 28, 28), 256),
    "small_cnn": ("chestxray14", Component(name="small_cnn"), (1, 64, 64), 32),
    "resnet18": ("chestxray14", Component(name="resnet", options={"depth": 18}), (1, 128, 128), 16),
    "densenet121": ("chestxray14", Component(name="densenet"), (1, 224, 224), 4),
}
"""Dataset, network, shape of a picture, items of a step."""
ON_GPU = {"lenet": 256, "small_cnn": 256, "resnet18": 64, "densenet121": 32}
"""Items of a step on a GPU, which a handful of pictures would leave idle."""
EVALUATED = 1024


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
        items: pictures in memory; None for those of a step.
    """

    def __init__(
        self,
        name: str,
        device: torch.device,
        batch: int | None = None,
        tasks: int | None = None,
        width: int | None = None,
        precision: Precision = "float32",
        items: int | None = None,
    ) -> None:
        self.dataset, self.network, shape, usual = WORK[name]
        if ratios.on_gpu(device):
            usual = ON_GPU[name]
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

        count = items or self.batch
        self.parts = {"train": part(count), "validation": part(max(2, count // 8))}
        self.index = torch.arange(self.batch, device=device)

    def replicate(self, method: str = "uniform", **options: object) -> Replicate:
        """Our training of one seed."""
        return self.replicates(method, 1, **options)[0]

    def replicates(
        self, method: str, seeds: int, epochs: int = 10, **options: object
    ) -> list[Replicate]:
        """Our training of some seeds, as a job makes it: all of one problem."""
        chosen = registry.method(method).Options(**options).model_dump(mode="json")
        cell = Cell(
            dataset=self.dataset, source="noise",
            dataset_options=self.options.model_dump(mode="json"),
            network=self.network, method=Component(name=method, options=chosen),
            tasks=tuple(t.name for t in self.tasks), seeds=tuple(range(seeds)),
            protocol=Protocol(
                epochs=epochs, batch_size=self.batch, learning_rate=1e-4, precision=self.precision
            ),
        )  # fmt: skip
        problem = Problem(cell, self.tasks, self.parts, self.device)
        place = Path(folder().name)
        return [Replicate(problem, seed, place / f"state-{seed}") for seed in range(seeds)]

    def ours(self, method: str, **options: object) -> Step:
        """One step of a method."""
        return self.stepping(self.replicate(method, **options))

    def stepping(self, made: Replicate) -> Step:
        """One step of a replicate; a training that has come to a bad end raises Ended."""

        def step() -> None:
            made._step(self.index)
            if made.trouble is not None:
                raise Ended(made.trouble["what"])

        return step

    def forward_anew(self) -> Step:
        """A step of uniform weights, and the batch's losses once more by the new ones."""
        made = self.replicate()

        def step() -> None:
            made._step(self.index)
            with torch.no_grad():
                self.losses(made, made.network.shared(self.parts["train"].batch(self.index)[0]))

        return step

    def compiled(self, method: str) -> Replicate:
        """Our training with the trunk compiled by torch."""
        from torch._functorch import config

        config.donated_buffer = False  # a graph that is passed back K times keeps what it has saved
        made = self.replicate(method)
        made.network.trunk.compile()
        return made

    def graphed(self, method: str) -> Replicate:
        """Our training with the trunk's passes recorded by torch as graphs of kernels.

        For methods with one backward pass of the trunk: the recorded one overwrites what it needs.
        """
        if registry.method(method).signal not in ("losses", "features"):
            raise Absent("torch's graphs allow one backward pass of the trunk")
        made = self.replicate(method)
        trunk, inputs = made.network.trunk, self.parts["train"].batch(self.index)[0]
        made.network.trunk = torch.cuda.make_graphed_callables(trunk, (inputs,))
        return made

    def losses(self, made: Replicate, z: Tensor) -> list[Tensor]:
        """All tasks' losses, as plain code has them."""
        targets = {name: of[self.index] for name, of in self.parts["train"].targets.items()}
        heads = zip(made.losses, made.network.heads.items(), strict=True)
        return [loss(head(z), targets[name]) for loss, (name, head) in heads]

    def plain(self, *, ready: bool = False) -> Step:
        """Forward, one backward pass of the sum, update: nothing that balances.

        Args:
            ready: of a batch that is on the device already, gathered and normalised.
        """
        made = self.replicate()
        batch = self.parts["train"].batch(self.index)[0] if ready else None

        def step() -> None:
            made.optimizer.clear()
            inputs = self.parts["train"].batch(self.index)[0] if batch is None else batch
            z = made.network.shared(inputs)
            torch.stack(self.losses(made, z)).sum().backward()
            made.optimizer.step(1e-4)

        return step

    def floor(self) -> Step:
        """Forward, K backward passes of the trunk, update: what K gradients cost at least."""
        made = self.replicate()
        parameters = list(made.network.trunk.parameters())

        def step() -> None:
            z = made.network.shared(self.parts["train"].batch(self.index)[0])
            gradient = torch.full_like(z, 1e-3)
            for k in range(len(self.tasks)):
                found = torch.autograd.grad(
                    z, parameters, gradient, retain_graph=k < len(self.tasks) - 1
                )
            for parameter, own in zip(parameters, found, strict=True):
                parameter.grad = own
            made.optimizer.step(1e-4)

        return step

    def libmtl(self, name: str, *, at_z: bool = False) -> Step:
        """One step as LibMTL's trainer makes it."""
        step, _ = self._libmtl(name, at_z=at_z)
        return lambda: step(self.index)

    def _libmtl(
        self, name: str, *, at_z: bool = False
    ) -> tuple[Callable[[Tensor], None], nn.Module]:
        from benchmarks import libmtl

        libmtl.required()
        made = self.replicate()
        made.network.to(memory_format=torch.contiguous_format)
        model = libmtl.model(name, made.network.trunk, made.network.heads, self.device, at_z=at_z)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

        def step(index: Tensor) -> None:
            inputs, targets = self.parts["train"].batch(index)
            outputs = model(inputs)
            losses = torch.zeros(len(self.tasks)).to(self.device)
            for k, (loss, task) in enumerate(zip(made.losses, self.tasks, strict=True)):
                losses[k] = loss(outputs[task.name], targets[task.name])
            optimizer.zero_grad(set_to_none=False)
            model.backward(losses, **libmtl.ARGUMENTS[name])
            optimizer.step()

        return step, model

    def torchjd(self, name: str, way: str) -> Step:
        """One step with one of TorchJD's aggregators, by its ``autojac`` or its ``autogram``."""
        from torchjd import aggregation, autojac
        from torchjd.autogram import Engine

        made = self.replicate()
        trunk, heads = made.network.trunk, made.network.heads
        engine = Engine(trunk, batch_dim=None) if way == "autogram" else None
        options = {"c": 0.5} if name == "CAGrad" else {}  # as LibMTL has it by default
        weighting = getattr(aggregation, f"{name}Weighting")(**options) if engine else None
        aggregator = None if engine else getattr(aggregation, name)(**options)

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

    def trained(self, method: str, seeds: int, epochs: int, *, together: bool) -> Step:
        """The whole training of some seeds of ours: networks, steps, validation and states."""

        def train() -> None:
            made = self.replicates(method, seeds, epochs)
            for each in [Together(made)] if together else made:
                try:
                    each.run(lambda _: None, lambda: False)
                except Parted as error:
                    raise Ended(str(error)) from error
            for replicate in made:
                if replicate.trouble is not None:
                    raise Ended(replicate.trouble["what"])

        return train

    def trained_by_libmtl(self, name: str, seeds: int, epochs: int) -> Step:
        """The same of LibMTL, one seed after the other; its validation looks at the outputs."""
        from benchmarks import libmtl

        libmtl.required()
        part, held_out = self.parts["train"], self.parts["validation"]

        def train() -> None:
            for _ in range(seeds):
                step, model = self._libmtl(name)
                for _ in range(epochs):
                    order = torch.randperm(len(part)).to(self.device)
                    for index in order.split(self.batch):
                        step(index)
                    model.eval()
                    with torch.no_grad():
                        every = torch.arange(len(held_out), device=self.device)
                        for index in every.split(EVALUATED):
                            model(held_out.batch(index)[0])
                    model.train()

        return train

    def _pictures(self, batches: int) -> Pictures:
        pictures = self.parts["train"].inputs[:, 0].cpu().numpy()
        return Pictures(pictures[np.arange(batches * self.batch) % len(pictures)])

    def loaded(self, step: Step) -> Step:
        """A step for each batch that torch's loader has made of pictures in memory."""
        loader = DataLoader(self._pictures(1), batch_size=self.batch, shuffle=True)
        return lambda: [step() for _ in loader]

    def loader(self, batches: int = 1, workers: int = 0) -> Step:
        """An epoch of a plain loop over torchvision's transforms and torch's loader.

        Args:
            batches: of the epoch.
            workers: processes that load.
        """
        made = self.replicate()
        loader = DataLoader(
            self._pictures(batches), batch_size=self.batch, shuffle=True, num_workers=workers,
            persistent_workers=workers > 0, pin_memory=self.device.type == "cuda",
        )  # fmt: skip

        def epoch() -> None:
            for inputs in loader:
                made.optimizer.clear()
                z = made.network.shared(inputs.to(self.device, non_blocking=True))
                torch.stack(self.losses(made, z)).sum().backward()
                made.optimizer.step(1e-4)

        return epoch


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
