"""Time of one training step of every LeNet cell of the demo's plan, on one thread.

    python benchmarks/step.py [--batch BATCH]

Needs the demo's data: `snakemake --cores all data`. Prints milliseconds and the ratio to uniform
weights on the same network, medians over interleaved rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from counterpoise.plan import load_plan
from counterpoise.prepared import load_part
from counterpoise.training.engine import Replicate
from counterpoise.training.problem import Problem, tasks_of

ROUNDS, STEPS = 5, 4


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--batch", type=int, default=1024, help="items of a step")
    batch = torch.arange(parser.parse_args().batch)
    torch.set_num_threads(1)
    root = Path(__file__).resolve().parents[1]
    plan = load_plan(root, {"tier": "demo"})
    runs: dict[str, Replicate] = {}
    with tempfile.TemporaryDirectory() as folder:
        for training in plan.trainings.values():
            cell = training.cell
            if cell.network.name != "lenet" or len(cell.tasks) == 1:
                continue
            part = load_part(
                cell.dataset, cell.dataset_options, root / training.data.split, "train"
            )
            problem = Problem(cell, tasks_of(cell), {"train": part})
            runs[training.name] = Replicate(problem, 0, Path(folder) / "state")
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS + 1):
            for name, replicate in runs.items():
                started = time.perf_counter()
                for _ in range(STEPS):
                    replicate._step(batch)
                times[name].append((time.perf_counter() - started) / STEPS * 1e3)
    print(f"batch {len(batch)}, median of {ROUNDS} rounds of {STEPS} steps, one thread")
    for name, values in times.items():
        network = name[: name.rindex("lenet") + 5] + ("-reduced" if "reduced" in name else "")
        reference = statistics.median(times[f"{network}-uniform"][1:])
        median = statistics.median(values[1:])
        print(f"{median:8.1f} ms  {median / reference:5.2f} x  {name}")


if __name__ == "__main__":
    main()
