"""The network: a shared trunk and one head per task."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor, nn

from counterpoise.spec.base import Options
from counterpoise.spec.cell import Precision
from counterpoise.tasks import Task
from counterpoise.training.seeding import layer_generators, seed_of


class Network(nn.Module):
    """Trunk and heads, initialised by name.

    The trunk of a network is the same for every method and for every single-task reference of
    one seed, and so is the head of a task. Only a trunk whose form depends on the number of tasks
    differs between references and multi-task runs; its module says how.

    Args:
        module: the network's module in the catalogue.
        options: its options.
        shape: shape of one input.
        tasks: the tasks to learn.
        seeding: words that all initial weights depend on.
        precision: of the trunk (:class:`counterpoise.spec.cell.Protocol`).
    """

    def __init__(
        self,
        module: ModuleType,
        options: Options,
        shape: tuple[int, ...],
        tasks: tuple[Task, ...],
        seeding: tuple[str | int, ...],
        precision: Precision = "float32",
    ) -> None:
        super().__init__()
        self.precision = precision
        self.features: int = module.features(options, len(tasks))
        weigh = getattr(module, "auxiliary_weight", None)
        self.auxiliary_weight: float = weigh(options) if weigh else 0.0
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of(*seeding, "trunk"))
            self.trunk: nn.Module = module.trunk(options, shape, len(tasks))
            heads = {}
            for index, task in enumerate(tasks):
                torch.default_generator.manual_seed(seed_of(*seeding, "head", task.name))
                if hasattr(module, "head"):
                    heads[task.name] = module.head(options, task.outputs, index, len(tasks))
                else:
                    heads[task.name] = nn.Linear(self.features, task.outputs)
        self.heads = nn.ModuleDict(heads)
        self.frozen: tuple[str, ...] = ()

    def freeze(self, stages: Sequence[str]) -> None:
        """Train some stages of the trunk no longer; their normalisation is as in evaluation."""
        self.frozen = tuple(stages)
        for name in self.frozen:
            self.stages[name].requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """As ever, but that frozen stages stay as in evaluation."""
        super().train(mode)
        for name in self.frozen:
            self.stages[name].eval()
        return self

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters of the trunk that are trained."""
        return [p for p in self.trunk.parameters() if p.requires_grad]

    def frozen_parameters(self) -> list[str]:
        """Names of those that are not."""
        return [name for name, p in self.named_parameters() if not p.requires_grad]

    def trained_parameters(self) -> list[nn.Parameter]:
        """All that are trained, of trunk and heads."""
        return [p for p in self.parameters() if p.requires_grad]

    @property
    def stages(self) -> dict[str, nn.Module]:
        """The named parts of the trunk, in order: what is frozen, and what is looked into."""
        return dict(self.trunk.named_children())

    @torch.no_grad()
    def maps(self, shape: tuple[int, ...]) -> dict[str, tuple[int, int, int]]:
        """Stages that give maps, with (channels, height, width) for one input of ``shape``.

        A branch, whose maps no later stage sees, is none of them. The network is unchanged.
        """
        found: dict[str, tuple[int, int, int]] = {}

        def note(name: str, value: Any) -> None:
            if isinstance(value, Tensor) and value.ndim == 4:
                found[name] = (value.shape[1], value.shape[2], value.shape[3])

        hooks = [
            stage.register_forward_hook(lambda _m, _i, out, name=name: note(name, out))
            for name, stage in self.stages.items()
        ]
        training = self.training
        device = next((p.device for p in self.trunk.parameters()), None)
        try:
            self.eval()
            self.trunk(torch.zeros(1, *shape, device=device))
        finally:
            self.train(training)
            for hook in hooks:
                hook.remove()
        return found

    def autocast(self, device: str) -> torch.autocast:
        """The context in which the trunk computes."""
        half = self.precision == "bfloat16"
        return torch.autocast(device, torch.bfloat16, enabled=half)

    def shared(self, inputs: Tensor) -> Tensor:
        """(B, ...) to the shared representation Z (B, d), in float32 at any precision.

        Heads, losses and methods come after it, so that bfloat16 ends here; tf32 rounds the factors
        of their float32 products as well. Inner products of Gramians are in float64.
        """
        with self.autocast(inputs.device.type):
            z: Tensor = self.trunk(inputs)
        return z.float() if z.dtype == torch.bfloat16 else z

    @torch.no_grad()
    def draws_at_random(self, shape: tuple[int, ...]) -> bool:
        """Whether a pass in training draws, as dropout does, for inputs of ``shape``.

        Asked of a copy: a pass moves running averages.
        """
        trial = copy.deepcopy(self)
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        sources = layer_generators(device)
        before = [source.get_state() for source in sources]
        try:
            z = trial.shared(torch.zeros(2, *shape, device=device))
            for head in trial.heads.values():
                head(z)
            moved = zip(sources, before, strict=True)
            return any(not torch.equal(source.get_state(), state) for source, state in moved)
        finally:
            for source, state in zip(sources, before, strict=True):
                source.set_state(state)

    @property
    def last_layer(self) -> list[nn.Parameter]:
        """Parameters of the last shared layer W: the last module of the trunk that has some.

        What "the last shared layer" is, papers leave open; here it is the module that is defined
        last (of the reduced LeNet the second fully connected layer, of a residual network the last
        normalisation).
        """
        modules = self.trunk.modules()
        owners = [m for m in modules if any(p.requires_grad for p in m.parameters(recurse=False))]
        return list(owners[-1].parameters(recurse=False)) if owners else []
