"""Scores of a cell from its saved predictions, without torch.

Each task is scored on the items whose label is known; without any, its scores are undefined.
Besides the scores of each seed: those of the constant predictor, how uncertain the scores are for
want of test patients (which more seeds do not cure), and whether the network beats the constant.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from counterpoise import registry
from counterpoise.evaluation.constant import constant_outputs, gain_on_items
from counterpoise.evaluation.resampling import (
    patient_weights,
    percentile_interval,
    standard_error,
    units_of,
)
from counterpoise.files import read_json, read_parquet, sha256_file, write_sealed
from counterpoise.metrics import Metric, metric, weighted_mean
from counterpoise.spec.cell import Cell
from counterpoise.tasks import Task

Training = dict[str, list[float]]
"""Of each task the shares of its classes in the training part, or its mean."""


def read_predictions(path: Path) -> pd.DataFrame:
    """The predictions of a cell.

    Raises:
        UserError: the file is missing or damaged.
    """
    return read_parquet(path, "predictions")


def _tasks(cell: Cell) -> list[tuple[Task, dict[str, Metric]]]:
    module = registry.find("datasets", cell.dataset)
    return [
        (task, {name: metric(module, name) for name in task.metrics})
        for task in module.tasks(module.Options(**cell.dataset_options))
        if task.name in cell.tasks
    ]


def _known(frame: pd.DataFrame, task: Task) -> np.ndarray:
    """(N,) whether the label of each item is known: no negative class, no NaN."""
    targets = frame[f"target.{task.name}"].to_numpy()
    known: np.ndarray = targets >= 0 if targets.dtype.kind in "iub" else ~np.isnan(targets)
    return known


def _arrays(frame: pd.DataFrame, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (n, outputs) and targets (n,) of a task, of the items whose label is known."""
    names = [f"output.{task.name}.{j}" for j in range(task.outputs)]
    known = _known(frame, task)
    return frame[names].to_numpy()[known], frame[f"target.{task.name}"].to_numpy()[known]


def _finite(frames: list[pd.DataFrame], task: Task) -> list[tuple[np.ndarray, np.ndarray]]:
    """Outputs and targets of the seeds whose outputs are numbers; others have no scores."""
    arrays = [_arrays(frame, task) for frame in frames]
    return [(outputs, targets) for outputs, targets in arrays if np.isfinite(outputs).all()]


def score(predictions: pd.DataFrame, cell: Cell) -> dict[str, Any]:
    """Scores as ``{seed: {part: {task: {metric: value}}}}``; an undefined score is None."""
    scores: dict[str, Any] = {}
    for (seed, part), frame in predictions.groupby(["seed", "part"], sort=True):
        values: dict[str, Any] = {}
        for task, metrics in _tasks(cell):
            arrays = _finite([frame], task)
            values[task.name] = {
                name: known.compute(*arrays[0]) if arrays else None
                for name, known in metrics.items()
            }
        scores.setdefault(str(seed), {})[str(part)] = values
    return scores


def constant_scores(predictions: pd.DataFrame, cell: Cell, training: Training) -> dict[str, Any]:
    """Scores of the constant predictor as ``{part: {task: {metric: value}}}``.

    None where a task has no such predictor, as the toy losses.
    """
    scores: dict[str, Any] = {}
    first = predictions[predictions["seed"] == predictions["seed"].min()]
    for part, frame in first.groupby("part", sort=True):
        scores[str(part)] = values = {}
        for task, metrics in _tasks(cell):
            constant = constant_outputs(task, training[task.name])
            targets = _arrays(frame, task)[1]
            values[task.name] = {
                name: known.compute(np.tile(constant, (len(targets), 1)), targets)
                if constant is not None
                else None
                for name, known in metrics.items()
            }
    return scores


def standard_errors(frames: list[pd.DataFrame], cell: Cell, part: str) -> dict[str, Any]:
    """Bootstrap standard errors of the scores' means over seeds: ``{task: {metric: value}}``.

    Args:
        frames: predictions of each seed for the same items in the same order.
        cell: whose predictions they are.
        part: names the draws.
    """
    pending = [
        (task.name, name, known.weighted, _finite(frames, task), _known(frames[0], task))
        for task, metrics in _tasks(cell)
        for name, known in metrics.items()
    ]
    errors: dict[str, Any] = {task: {} for task, *_ in pending}
    drawn: dict[tuple[str, str], list[np.ndarray]] = {}
    for weights in patient_weights(units_of(frames[0]), f"bootstrap/{part}"):
        for task, name, weighted, seeds, known in pending:
            if weighted is not None and seeds:
                held = weights if known.all() else weights[:, known]
                values = [weighted(*arrays, held) for arrays in seeds]
                drawn.setdefault((task, name), []).append(np.mean(values, axis=0))
    for task, name, *_ in pending:
        found = drawn.get((task, name))
        errors[task][name] = standard_error(np.concatenate(found)) if found else None
    return errors


def skill(
    frames: list[pd.DataFrame], cell: Cell, training: Training, part: str
) -> dict[str, Any] | None:
    """How much lower the network's cross-entropy is than the constant predictor's, in nats.

    Mean over the classification tasks, and over the seeds whose outputs are all numbers. Both
    predictors are resampled together. None where there is no such task or seed: an error of
    regression has a unit of its own and no place in the mean. Nor has a task without any known
    label, and there is no skill where labels are so few that resamples often miss them.
    """
    tasks = [task for task, _ in _tasks(cell) if task.classes is not None]
    tasks = [task for task in tasks if frames and _known(frames[0], task).any()]
    gains = [terms for frame in frames if (terms := _gains(frame, tasks, training)) is not None]
    if not gains:
        return None
    gain, known = _over_seeds(gains, [_known(frames[0], task) for task in tasks])
    draws = np.concatenate([
        _mean_gain(gain, known, weights)
        for weights in patient_weights(units_of(frames[0]), f"bootstrap/{part}")
    ])  # fmt: skip
    if standard_error(draws) is None:
        return None
    whole = np.ones((1, len(frames[0])))
    return {
        "difference": float(_mean_gain(gain, known, whole)[0]),
        "interval": list(percentile_interval(draws[np.isfinite(draws)])),
        "seeds": len(gains),
    }


def _gains(frame: pd.DataFrame, tasks: list[Task], training: Training) -> list[np.ndarray] | None:
    """Each task's gains (n,) on its known items; None if some output is not a number."""
    terms = [
        gain_on_items(task, training[task.name], outputs, targets)
        for task in tasks
        for outputs, targets in _finite([frame], task)
    ]
    return terms if terms and len(terms) == len(tasks) else None


def _over_seeds(
    gains: list[list[np.ndarray]], known: list[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Mean over seeds of each task's gains, with its known items.

    Where all labels are known the tasks' mean stands for them all, as one.
    """
    if all(there.all() for there in known):
        return [np.mean([np.mean(terms, axis=0) for terms in gains], axis=0)], known[:1]
    return [np.mean(terms, axis=0) for terms in zip(*gains, strict=True)], known


def _mean_gain(gains: list[np.ndarray], known: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Mean over tasks of the mean gain, (R,) for weights (R, N), NaN where one is undefined.

    Args:
        gains: of each task on its n known items.
        known: (N,) of bool, which these are.
        weights: of the items.
    """
    terms = [
        weighted_mean(gain, weights[:, there]) for gain, there in zip(gains, known, strict=True)
    ]
    mean: np.ndarray = np.mean(terms, axis=0)
    return mean


def evaluate(
    cell: Cell,
    predictions: Path,
    record: Path,
    target: Path,
    code: dict[str, str] | None = None,
) -> None:
    """Write the scores of a cell with the digests of the predictions and code they come from.

    Keys: ``scores`` as of :func:`score`; ``constant`` as of :func:`constant_scores`, None where
    the record does not tell of the training part; ``errors`` ``{"test": ...}`` as of
    :func:`standard_errors`; ``skill`` ``{"validation": ...}`` as of :func:`skill`.

    Raises:
        UserError: predictions or record are missing or damaged.
    """
    frame = read_predictions(predictions)
    training: Training | None = read_json(record).get("training_targets")
    seeds: dict[str, list[pd.DataFrame]] = {
        part: [rows for _, rows in frame[frame["part"] == part].groupby("seed", sort=True)]
        for part in ("validation", "test")
    }
    write_sealed(
        target,
        {
            "code": code or {},
            "predictions": sha256_file(predictions),
            "scores": score(frame, cell),
            "constant": constant_scores(frame, cell, training) if training else None,
            "errors": {"test": standard_errors(seeds["test"], cell, "test")},
            "skill": {
                "validation": skill(seeds["validation"], cell, training, "validation")
                if training
                else None
            },
        },
    )
