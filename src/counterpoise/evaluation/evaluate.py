"""Scores of a cell from its saved predictions, without torch.

Each task is scored on the items whose label is known; without any, its scores are undefined.
Besides the scores of each seed it gives those of the constant predictor, those on resamples of the
test items (how uncertain a score is because the test patients are few, which more seeds do not
cure), and whether the network beats the constant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from counterpoise.evaluation.constant import Training, constant_outputs
from counterpoise.evaluation.joint import (
    JOINT,
    RARE,
    Findings,
    diagram,
    findings,
    joint_scores,
    rarest,
)
from counterpoise.evaluation.predictions import (
    all_findings,
    arrays_of,
    findings_of,
    known_items,
    matrix,
    targets_of,
    tasks_of,
    units_in,
)
from counterpoise.evaluation.resampling import Scheme, item_weights, schemes_of
from counterpoise.evaluation.skill import skill
from counterpoise.files import read_json, read_parquet, sha256_file, write_sealed
from counterpoise.spec.cell import Cell
from counterpoise.spec.names import ALL_TASKS
from counterpoise.tasks import Task

Scorer = Callable[[np.ndarray], np.ndarray]
"""Weights (R, N) of the items to scores (R,), NaN where undefined."""
Weighted = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Outputs (n, outputs), targets (n,) and weights (R, n) to scores (R,)."""
Key = tuple[str, str, str]
"""Task, score and seed."""


def score(
    predictions: pd.DataFrame, cell: Cell, together: dict[tuple[str, str], Findings]
) -> dict[str, Any]:
    """Scores as ``{seed: {part: {task: {metric: value}}}}``; an undefined score is None.

    Several findings have beside their own scores those of all together, under :data:`ALL_TASKS`.

    Args:
        predictions: of all seeds and parts.
        cell: whose predictions they are.
        together: its findings, as of :func:`all_findings`.
    """
    scores: dict[str, Any] = {}
    for (seed, part), frame in predictions.groupby(["seed", "part"], sort=True):
        values: dict[str, Any] = {}
        for task, metrics in tasks_of(cell):
            arrays = arrays_of(frame, task)
            values[task.name] = {
                name: None if arrays is None else known.compute(*arrays)
                for name, known in metrics.items()
            }
        if findings_of(cell):
            data = together.get((str(seed), str(part)))
            values[ALL_TASKS] = dict.fromkeys(JOINT) if data is None else joint_scores(data)
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
        for task, metrics in tasks_of(cell):
            constant = constant_outputs(task, training[task.name])
            targets = targets_of(frame, task)
            values[task.name] = {
                name: known.compute(np.tile(constant, (len(targets), 1)), targets)
                if constant is not None
                else None
                for name, known in metrics.items()
            }
        if binary := findings_of(cell):
            logits = np.array([_constant_logit(task, training) for task in binary])
            targets = matrix(frame, binary, "target")
            every = np.tile(logits, (len(targets), 1))
            # Of one logit for all items every threshold calls all positive or none.
            values[ALL_TASKS] = joint_scores(findings(every, targets, logits))
    return scores


def _constant_logit(task: Task, training: Training) -> float:
    outputs = constant_outputs(task, training[task.name])
    assert outputs is not None
    return float(outputs[0])


def _behind(task: Task, frame: pd.DataFrame, units: np.ndarray) -> int:
    """Units that a task's uncertainty rests on: of its rarer class if there are two, else all."""
    known = known_items(frame, task)
    if task.classes != 2:
        return len(np.unique(units[known]))
    positive = frame[f"target.{task.name}"].to_numpy() == 1
    classes = [len(np.unique(units[known & side])) for side in (positive, ~positive)]
    return min(filter(None, classes), default=0)


def _behind_together(tasks: list[Task], frame: pd.DataFrame, units: np.ndarray) -> dict[str, float]:
    """By score of all findings, the harmonic mean of the units that they rest on.

    As for a mean of their own scores (:func:`counterpoise.evaluation.measured.combined`); of scores
    of the rare findings, over those.
    """
    shares = 1 / np.array([max(1, _behind(task, frame, units)) for task in tasks])
    rare = rarest(matrix(frame, tasks, "target"))
    return {
        name: 1 / float(np.mean(shares[rare] if name.endswith(RARE) else shares)) for name in JOINT
    }


def resampled(
    frames: dict[str, pd.DataFrame], together: dict[str, Findings], cell: Cell, part: str
) -> tuple[list[int], dict[str, Any]]:
    """Scores of each seed on resamples of the items, one draw for all tasks, metrics and seeds.

    The second entry is ``{task: {"units": {metric: n}, "draws": {metric: {seed: [values (R,) of
    each scheme]}}}}``, NaN where a score is undefined; the first what each scheme's variance
    counts. All findings together are under :data:`ALL_TASKS`. What cannot be weighted, or is never
    defined under some scheme, is left out.

    Args:
        frames: predictions by seed for the same items in the same order.
        together: their findings by seed; empty without several.
        cell: whose predictions they are.
        part: names the draws.
    """
    first = next(iter(frames.values()))
    units = units_in(first, cell)
    schemes = schemes_of(units, part)
    found: dict[str, Any] = {
        task.name: {"units": dict.fromkeys(metrics, _behind(task, first, units)), "draws": {}}
        for task, metrics in tasks_of(cell)
    }
    if together:
        found[ALL_TASKS] = {"units": _behind_together(findings_of(cell), first, units), "draws": {}}
    scorers = _own_scorers(frames, cell) | {
        (ALL_TASKS, name, seed): partial(scoring, data)
        for name, scoring in JOINT.items()
        for seed, data in together.items()
    }
    for (task_name, name, seed), draws in _drawn(schemes, scorers).items():
        found[task_name]["draws"].setdefault(name, {})[seed] = draws
    return [scheme.factor for scheme in schemes], found


def _own_scorers(frames: dict[str, pd.DataFrame], cell: Cell) -> dict[Key, Scorer]:
    """Each task's metrics that can be weighted, of the seeds whose outputs are numbers."""
    found: dict[Key, Scorer] = {}
    for task, metrics in tasks_of(cell):
        read = {seed: arrays_of(frame, task) for seed, frame in frames.items()}
        known = known_items(next(iter(frames.values())), task)
        found |= {
            (task.name, name, seed): partial(_of_known, one.weighted, *arrays, known)
            for name, one in metrics.items()
            if one.weighted is not None
            for seed, arrays in read.items()
            if arrays is not None
        }
    return found


def _of_known(
    weighted: Weighted,
    outputs: np.ndarray,
    targets: np.ndarray,
    known: np.ndarray,
    weights: np.ndarray,
) -> np.ndarray:
    """A metric's values (R,) under weights (R, N) of all items, of which n are known."""
    return weighted(outputs, targets, weights if known.all() else weights[:, known])


def _drawn(schemes: list[Scheme], scorers: dict[Key, Scorer]) -> dict[Key, list[np.ndarray]]:
    """Each score (R,) on the resamples of each scheme, of those that every scheme defines."""
    found: dict[Key, list[np.ndarray]] = {key: [] for key in scorers}
    for scheme in schemes:
        chunks = [[one(weights) for one in scorers.values()] for weights in item_weights(scheme)]
        for draws, parts in zip(found.values(), zip(*chunks, strict=True), strict=True):
            draws.append(np.concatenate(parts))
    return {
        key: draws
        for key, draws in found.items()
        if all(np.isfinite(values).any() for values in draws)
    }


def names_of(frame: pd.DataFrame, cell: Cell) -> str:
    """Digest of what a part's items are, in their order: scores on the same ones are in pairs.

    Of the data's name and source, and all columns but the seed, the part, labels and answers: what
    is trained on, or asked of them, may differ.
    """
    about = [
        name
        for name in map(str, frame)
        if name not in ("seed", "part") and not name.startswith(("target.", "output."))
    ]
    hashed = pd.util.hash_pandas_object(frame[sorted(about)], index=False)
    digest = hashlib.sha256(f"{cell.dataset}/{cell.source}/".encode())
    digest.update(hashed.to_numpy().tobytes())
    return digest.hexdigest()


def _written(found: dict[str, Any]) -> dict[str, Any]:
    """Resamples as they stand in the file: a line of six significant digits for each thousand."""

    def line(values: np.ndarray) -> str:
        return " ".join(f"{value:.6g}" for value in values)

    return {
        task: {
            "units": entry["units"],
            "draws": {
                name: {
                    seed: [line(values) for values in schemes] for seed, schemes in seeds.items()
                }
                for name, seeds in entry["draws"].items()
            },
        }
        for task, entry in found.items()
    }


def evaluate(
    cell: Cell,
    predictions: Path,
    record: Path,
    target: Path,
    code: dict[str, str] | None = None,
) -> None:
    """Write the scores of a cell with the digests of the predictions and code they come from.

    Keys: ``scores`` as of :func:`score`; ``constant`` as of :func:`constant_scores`; ``resamples``
    ``{"test": {"items": ..., "factors": ..., "tasks": ...}}`` as of :func:`names_of` and
    :func:`resampled`, each array as one line of text; ``reliability`` of each seed and finding the
    bins of a diagram on the test part, ``[items, mean probability, share of positives]``; ``skill``
    ``{"validation": ...}`` as of :func:`skill`.

    Raises:
        UserError: predictions or record are missing or damaged.
    """
    frame = read_parquet(predictions, "predictions")
    training: Training = read_json(record)["training_targets"]
    seeds: dict[str, dict[str, pd.DataFrame]] = {
        part: {str(seed): rows for seed, rows in frame[frame["part"] == part].groupby("seed")}
        for part in ("validation", "test")
    }
    together = all_findings(frame, cell)
    tested = {seed: data for (seed, part), data in together.items() if part == "test"}
    factors, draws = resampled(seeds["test"], tested, cell, "test")
    names = tuple(task.name for task in findings_of(cell))
    write_sealed(
        target,
        {
            "code": code or {},
            "predictions": sha256_file(predictions),
            "scores": score(frame, cell, together),
            "constant": constant_scores(frame, cell, training),
            "resamples": {
                "test": {
                    "items": names_of(next(iter(seeds["test"].values())), cell),
                    "factors": factors,
                    "tasks": _written(draws),
                }
            },
            "reliability": {seed: diagram(data, names) for seed, data in tested.items()},
            "skill": {
                "validation": skill([*seeds["validation"].values()], cell, training, "validation")
            },
        },
    )
