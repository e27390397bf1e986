"""Predictions of a trained cell on the validation and test parts, for every seed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from counterpoise.errors import UserError
from counterpoise.files import atomic
from counterpoise.methods._base import Method, State
from counterpoise.prepared import load_items, load_part
from counterpoise.training.modules import Network
from counterpoise.training.prefetch import placed
from counterpoise.training.problem import Job, Problem, device_of, outputs_of, tasks_of


def read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a cell's weights.

    Raises:
        UserError: the weights are missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"cannot read the weights ({error})",
            where=path,
            remedy="delete the file and run `snakemake` again",
        ) from error


def replicates_of(
    problem: Problem, tensors: dict[str, Tensor]
) -> Iterator[tuple[int, Network, Method, State]]:
    """Seed, network, method and its state of every trained replicate of a cell."""
    for seed in problem.cell.seeds:
        network, method = problem.build(seed)
        prefix = f"{seed}/network."
        network.load_state_dict(
            {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        )
        prefix = f"{seed}/method."
        state = {
            k.removeprefix(prefix): v.to(problem.device)
            for k, v in tensors.items()
            if k.startswith(prefix)
        }
        yield seed, network, method, state


def predict(job: Job, target: Path, device: str | torch.device = "auto") -> None:
    """Write one row a seed and item: its columns of the split, targets and outputs.

    Columns: ``seed``, ``part``, ``item``, whatever else the split says of an item,
    ``target.<task>`` and ``output.<task>.<j>``.

    Raises:
        UserError: the weights are missing or damaged.
    """
    torch.set_num_threads(1)
    cell = job.cell
    tensors = read_weights(job.out / "weights.safetensors")
    items = load_items(job.split)
    where = device_of(device)
    parts = {
        part: placed(load_part(cell.dataset, cell.dataset_options, job.split, part), where)
        for part in ("validation", "test")
    }
    problem = Problem(cell, tasks_of(cell), parts, where)
    frames = []
    for seed, network, method, state in replicates_of(problem, tensors):
        for name, part in parts.items():
            frame = items[items["part"] == name].reset_index(drop=True)
            frame.insert(0, "seed", seed)
            columns = {}
            for task, outputs in zip(
                problem.tasks, outputs_of(network, method, state, part), strict=True
            ):
                columns[f"target.{task.name}"] = part.targets[task.name].cpu().numpy()
                for j, column in enumerate(outputs.cpu().numpy().T):
                    columns[f"output.{task.name}.{j}"] = column
            frames.append(pd.concat([frame, pd.DataFrame(columns)], axis=1))
    table = pd.concat(frames, ignore_index=True)
    with atomic(target) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")
