"""Largest resident memory of a process that takes five steps: what trainings are declared to take.

    python -m benchmarks.memory resnet 224 4 db_mtl --options '{"depth": 18}'

Noise of 14 binary tasks, Adam, one thread, memory as a workflow's jobs keep it; ``--freely`` as
the environment says, or glibc by itself. :func:`counterpoise.workflow.memory_mb` follows the
figures in docs/measurements.md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

from counterpoise.datasets._part import Part
from counterpoise.provenance import peak_memory_mib
from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.tasks import Task
from counterpoise.training.engine import Replicate
from counterpoise.training.problem import Problem
from counterpoise.workflow import MEMORY

TASKS = tuple(Task(f"t{i}", f"t{i}", 1, "bce", ("accuracy",), 2) for i in range(14))


def part(count: int, side: int) -> Part:
    """Noise, with a label of every class."""
    images = torch.randint(0, 256, (count, 1, side, side), dtype=torch.uint8)
    return Part(images, {task.name: torch.arange(count) % 2 for task in TASKS}, 0.5, 0.25)


def main() -> None:
    """Print MiB before a network is made, with it, and at most; milliseconds of the last steps."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("network")
    parser.add_argument("side", type=int)
    parser.add_argument("batch", type=int)
    parser.add_argument("method")
    parser.add_argument("--options", type=json.loads, default={}, help="of the network, as JSON")
    parser.add_argument("--freely", action="store_true", help="with glibc's settings as they are")
    asked = parser.parse_args()
    if not (asked.freely or MEMORY.items() <= os.environ.items()):  # read when a process starts
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **MEMORY})
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
        took = []
        for _ in range(5):
            start = time.perf_counter()
            replicate._step(torch.arange(asked.batch))
            took.append(time.perf_counter() - start)
    seen.append(peak_memory_mib())
    print(*(f"{mib:,.0f}" for mib in seen), "MiB;", *(f"{s * 1000:,.0f}" for s in took[2:]), "ms")


if __name__ == "__main__":
    main()
