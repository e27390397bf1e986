"""What an epoch of planned cells costs: processor time of one seed, where the data are prepared.

    snakemake --cores all --config tier=sample mirror=FOLDER papers=[db-mtl] -- data
    python benchmarks/cells.py --tier sample db-mtl/three/uniform db-mtl/three/db_mtl

Each run is named as paper/experiment/run; its first cell is trained for one epoch with its first
seed from random weights, validation included, on one thread. Times epochs, seeds and cells, plus
some four seconds a cell for starting twice and scoring, that is what a tier will take.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from counterpoise.plan import Plan, load_plan
from counterpoise.prepared import load_part
from counterpoise.spec.cell import Random
from counterpoise.training.engine import Replicate
from counterpoise.training.problem import Problem, tasks_of


def seconds_of(plan: Plan, name: str, work: Path) -> tuple[float, int]:
    """Processor time of an epoch of a run's first cell, and its steps."""
    paper, experiment, run = name.split("/")
    training = plan.trainings[plan.runs[paper, experiment, run].first]
    cell = training.cell
    protocol = cell.protocol.model_copy(update={"epochs": 1, "initial": Random()})
    cell = cell.model_copy(update={"protocol": protocol, "seeds": cell.seeds[:1]})
    split = Path(training.data.split)
    parts = {
        part: load_part(cell.dataset, cell.dataset_options, split, part)
        for part in ("train", "validation")
    }
    replicate = Replicate(Problem(cell, tasks_of(cell), parts), 0, work / "state")
    started = time.process_time()
    replicate.run(lambda _: None, lambda: False)
    return time.process_time() - started, replicate.step


def main() -> None:
    """Print a line a run."""
    parser = argparse.ArgumentParser(description="Processor time of an epoch of planned cells.")
    parser.add_argument("--tier", default="sample")
    parser.add_argument("runs", nargs="+", metavar="PAPER/EXPERIMENT/RUN")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    plan = load_plan(Path(), {"tier": chosen.tier})
    for name in chosen.runs:
        with tempfile.TemporaryDirectory() as work:
            seconds, steps = seconds_of(plan, name, Path(work))
        print(f"{name}: {seconds:.2f} s, {steps} steps", flush=True)


if __name__ == "__main__":
    main()
