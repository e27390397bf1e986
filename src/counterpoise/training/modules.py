"""The network: a shared trunk and one head a task."""

from __future__ import annotations

from types import ModuleType

import torch
from torch import nn

from counterpoise.spec.base import Options
from counterpoise.tasks import Task
from counterpoise.training.seeding import seed_of


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
    """

    def __init__(
        self,
        module: ModuleType,
        options: Options,
        shape: tuple[int, ...],
        tasks: tuple[Task, ...],
        seeding: tuple[str | int, ...],
    ) -> None:
        super().__init__()
        self.features: int = module.features(options, len(tasks))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(*seeding, "trunk"))
            self.trunk: nn.Module = module.trunk(options, shape, len(tasks))
            heads = {}
            for index, task in enumerate(tasks):
                torch.manual_seed(seed_of(*seeding, "head", task.name))
                if hasattr(module, "head"):
                    heads[task.name] = module.head(options, task.outputs, index, len(tasks))
                else:
                    heads[task.name] = nn.Linear(self.features, task.outputs)
        self.heads = nn.ModuleDict(heads)
