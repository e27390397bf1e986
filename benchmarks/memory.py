"""Largest resident memory of a process that takes two steps: what trainings are declared to take.

    python -m benchmarks.memory resnet 224 4 db_mtl --options '{"depth": 18}'

Noise of 14 binary tasks, Adam, one thread. :func:`counterpoise.workflow.memory_mb` follows the
figures in docs/measurements.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from counterpoise.datasets._part import Part
from counterpoise.provenance import peak_memory_mib
from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.tasks import Task
from counterpoise.training.engine import Replicate
from counterpoise.training.problem import Problem

TASKS = tuple(Task(f"t{i}", f"t{i}", 1, "bce", ("accuracy",), 2) for i in range(14))


def part(count: int, side: int) -> Part:
    """Noise, with a label of every class."""
    images = torch.randint(0, 256, (count, 1, side, side), dtype=torch.uint8)
    return Part(images, {task.name: torch.arange(count) % 2 for task in TASKS}, 0.5, 0.25)


def main() -> None:
    """Print MiB before a network is made, with it, and at most."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network")
    parser.add_argument("side", type=int)
    parser.add_argument("batch", type=int)
    parser.add_argument("method")
    parser.add_argument("--options", type=json.loads, default={}, help="of the network, as JSON")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    cell = Cell(
        dataset="chestxray14", source="noise", dataset_options={},
        network=Component(name=asked.network, options=asked.options),
        method=Component(name=asked.method), tasks=tuple(task.name for task in TASKS), seeds=(0,),
        protocol=Protocol(epochs=1, batch_size=asked.batch, learning_rate=1e-4, optimizer="adam"),
    )  # fmt: skip
    seen = [peak_memory_mib()]
    parts = {"train": part(asked.batch, asked.side), "validation": part(2, asked.side)}
    with tempfile.TemporaryDirectory() as folder:
        replicate = Replicate(Problem(cell, TASKS, parts), 0, Path(folder) / "state")
        seen.append(peak_memory_mib())
        for _ in range(2):
            replicate._step(torch.arange(asked.batch))
    print(*(f"{mib:,.0f}" for mib in [*seen, peak_memory_mib()]))


if __name__ == "__main__":
    main()
