"""Scores of a cell from its saved predictions, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from counterpoise import registry
from counterpoise.errors import UserError
from counterpoise.files import sha256_file, write_json
from counterpoise.metrics import metric
from counterpoise.spec.cell import Cell


def read_predictions(path: Path) -> pd.DataFrame:
    """The predictions of a cell.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the predictions ({error})",
            where=path,
            remedy="delete the file and run `snakemake` again",
        ) from error


def score(predictions: pd.DataFrame, cell: Cell) -> dict[str, Any]:
    """Scores as ``{seed: {part: {task: {metric: value}}}}``; an undefined score is None."""
    module = registry.find("datasets", cell.dataset)
    tasks = [
        task
        for task in module.tasks(module.Options(**cell.dataset_options))
        if task.name in cell.tasks
    ]
    scores: dict[str, Any] = {}
    for (seed, part), frame in predictions.groupby(["seed", "part"], sort=True):
        values = {}
        for task in tasks:
            names = [f"output.{task.name}.{j}" for j in range(task.outputs)]
            outputs = frame[names].to_numpy()
            targets = frame[f"target.{task.name}"].to_numpy()
            if np.isfinite(outputs).all():
                values[task.name] = {
                    name: metric(module, name).compute(outputs, targets) for name in task.metrics
                }
            else:
                values[task.name] = dict.fromkeys(task.metrics)
        scores.setdefault(str(seed), {})[str(part)] = values
    return scores


def evaluate(cell: Cell, predictions: Path, target: Path) -> None:
    """Write the scores of a cell with the digest of the predictions they come from."""
    scores = score(read_predictions(predictions), cell)
    write_json(target, {"predictions": sha256_file(predictions), "scores": scores})
