"""Scores of a cell from its saved predictions, without torch.

Each task is scored on the items whose label is known; without any, its scores are undefined.
Besides the scores of each seed it gives those of the constant predictor, those on resamples of the
test items (how uncertain a score is because the test patients are few, which more seeds do not
cure), and whether the network beats the constant.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from counterpoise import registry
from counterpoise.evaluation.constant import constant_outputs, gain_on_items
from counterpoise.evaluation.joint import (
    JOINT,
    RARE,
    Findings,
    best_thresholds,
    diagram,
    findings,
    joint_scores,
    rarest,
)
from counterpoise.evaluation.resampling import (
    enough,
    item_weights,
    percentile_interval,
    schemes_of,
    units_of,
)
from counterpoise.files import read_json, read_parquet, sha256_file, write_sealed
from counterpoise.metrics import Metric, metric, weighted_mean
from counterpoise.spec.cell import Cell
from counterpoise.spec.paper import ALL_TASKS
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


def _binary(cell: Cell) -> list[str]:
    """The cell's findings, tasks of one logit and two classes, if it has several."""
    names = [task.name for task, _ in _tasks(cell) if task.classes == 2 and task.outputs == 1]
    return names if len(names) > 1 else []


def _matrix(frame: pd.DataFrame, names: list[str], what: str, end: str = "") -> np.ndarray:
    return frame[[f"{what}.{name}{end}" for name in names]].to_numpy()


def _findings(frame: pd.DataFrame, validation: pd.DataFrame, names: list[str]) -> Findings | None:
    """A seed's findings with thresholds from its validation part; None if not all are numbers."""
    logits, before = (_matrix(part, names, "output", ".0") for part in (frame, validation))
    if not (np.isfinite(logits).all() and np.isfinite(before).all()):
        return None
    thresholds = best_thresholds(before, _matrix(validation, names, "target"))
    return findings(logits, _matrix(frame, names, "target"), thresholds)


def _all_findings(predictions: pd.DataFrame, cell: Cell) -> dict[str, dict[str, Findings]]:
    """By seed and part; empty without several findings."""
    names = _binary(cell)
    found: dict[str, dict[str, Findings]] = {}
    for seed, frame in predictions.groupby("seed", sort=True) if names else ():
        parts = {str(part): rows for part, rows in frame.groupby("part")}
        for part, rows in parts.items():
            data = _findings(rows, parts.get("validation", rows.iloc[:0]), names)
            if data is not None:
                found.setdefault(str(seed), {})[part] = data
    return found


def score(predictions: pd.DataFrame, cell: Cell) -> dict[str, Any]:
    """Scores as ``{seed: {part: {task: {metric: value}}}}``; an undefined score is None.

    Several findings have beside their own scores those of all together, under :data:`ALL_TASKS`.
    """
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
    if _binary(cell):
        together = _all_findings(predictions, cell)
        for seed, parts in scores.items():
            for part, values in parts.items():
                data = together.get(seed, {}).get(part)
                known = joint_scores(data) if data is not None else dict.fromkeys(JOINT)
                values[ALL_TASKS] = known
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
        if names := _binary(cell):
            logits = np.array([_constant_logit(task, training) for task, _ in _tasks(cell)
                               if task.name in names])  # fmt: skip
            targets = _matrix(frame, names, "target")
            every = np.tile(logits, (len(targets), 1))
            # Of one logit for all items every threshold calls all positive or none.
            values[ALL_TASKS] = joint_scores(findings(every, targets, logits))
    return scores


def _constant_logit(task: Task, training: Training) -> float:
    outputs = constant_outputs(task, training[task.name])
    assert outputs is not None
    return float(outputs[0])


def _units(cell: Cell, frame: pd.DataFrame) -> np.ndarray:
    """Units (N, U) by which the items of the cell's dataset are resampled."""
    module = registry.find("datasets", cell.dataset)
    return units_of(frame, getattr(module, "UNITS", ("patient",)))


def _behind(task: Task, frame: pd.DataFrame, units: np.ndarray) -> int:
    """Units that a task's uncertainty rests on: of its rarer class if there are two, else all."""
    known = _known(frame, task)
    if task.classes != 2:
        return len(np.unique(units[known]))
    positive = frame[f"target.{task.name}"].to_numpy() == 1
    classes = [len(np.unique(units[known & side])) for side in (positive, ~positive)]
    return min(filter(None, classes), default=0)


def resampled(
    frames: dict[str, pd.DataFrame], cell: Cell, part: str
) -> tuple[list[int], dict[str, Any]]:
    """Scores of each seed on resamples of the items, one draw for all tasks, metrics and seeds.

    The second entry is ``{task: {"units": {metric: n}, "draws": {metric: {seed: [values (R,) of
    each scheme]}}}}``, NaN where a score is undefined; the first what each scheme's variance
    counts. A metric that cannot be weighted, or that no seed has, is left out.

    Args:
        frames: predictions by seed for the same items in the same order.
        cell: whose predictions they are.
        part: names the draws.
    """
    first = next(iter(frames.values()))
    units = _units(cell, first)
    schemes = schemes_of(units, part)
    pending = []
    found: dict[str, Any] = {}
    for task, metrics in _tasks(cell):
        behind = dict.fromkeys(metrics, _behind(task, first, units))
        found[task.name] = {"units": behind, "draws": {}}
        known = _known(first, task)
        read = {seed: _finite([frame], task) for seed, frame in frames.items()}
        arrays = {seed: values[0] for seed, values in read.items() if values}
        pending += [
            (task.name, name, one.weighted, known, arrays)
            for name, one in metrics.items()
            if one.weighted is not None
        ]
    for number, scheme in enumerate(schemes):
        chunks: dict[tuple[str, str, str], list[np.ndarray]] = {}
        for weights in item_weights(scheme):
            for task_name, name, weighted, known, arrays in pending:
                held = weights if known.all() else weights[:, known]
                for seed, (outputs, targets) in arrays.items():
                    values = weighted(outputs, targets, held)
                    chunks.setdefault((task_name, name, seed), []).append(values)
        for (task_name, name, seed), parts in chunks.items():
            values = np.concatenate(parts)
            if np.isfinite(values).any():
                by_seed = found[task_name]["draws"].setdefault(name, {})
                by_seed.setdefault(seed, [None] * len(schemes))[number] = values
    return [scheme.factor for scheme in schemes], found


def _behind_together(tasks: list[Task], frame: pd.DataFrame, units: np.ndarray) -> dict[str, float]:
    """By score of all findings, the harmonic mean of the units that they rest on.

    As for a mean of their own scores (:func:`counterpoise.evaluation.measured.combined`); of scores
    of the rare findings, over those.
    """
    shares = 1 / np.array([max(1, _behind(task, frame, units)) for task in tasks])
    rare = rarest(_matrix(frame, [task.name for task in tasks], "target"))
    return {
        name: 1 / float(np.mean(shares[rare] if name.endswith(RARE) else shares)) for name in JOINT
    }


def resampled_together(
    data: dict[str, Findings], cell: Cell, frame: pd.DataFrame, part: str
) -> dict[str, Any]:
    """Scores of all findings together on the draws of :func:`resampled`, in its form.

    Args:
        data: by seed.
        cell: whose findings they are.
        frame: predictions of one seed, for units and labels.
        part: names the draws.
    """
    units = _units(cell, frame)
    named = set(_binary(cell))
    tasks = [task for task, _ in _tasks(cell) if task.name in named]
    draws: dict[str, dict[str, list[np.ndarray]]] = {}
    for scheme in schemes_of(units, part):
        chunks: dict[tuple[str, str], list[np.ndarray]] = {}
        for weights in item_weights(scheme):
            for name, scoring in JOINT.items():
                for seed, one in data.items():
                    chunks.setdefault((name, seed), []).append(scoring(one, weights))
        for (name, seed), parts in chunks.items():
            draws.setdefault(name, {}).setdefault(seed, []).append(np.concatenate(parts))
    finite = {
        name: seeds
        for name, seeds in draws.items()
        if all(np.isfinite(values).any() for schemes in seeds.values() for values in schemes)
    }
    return {"units": _behind_together(tasks, frame, units), "draws": finite}


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
    scheme = schemes_of(_units(cell, frames[0]), part)[0]
    draws = np.concatenate([_mean_gain(gain, known, weights) for weights in item_weights(scheme)])
    if not enough(draws):
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

    Keys: ``scores`` as of :func:`score`; ``constant`` as of :func:`constant_scores`; ``resamples``
    ``{"test": {"items": ..., "factors": ..., "tasks": ...}}`` as of :func:`names_of` and
    :func:`resampled`, each array as one line of text; ``reliability`` of each seed and finding the
    bins of a diagram on the test part, ``[items, mean probability, share of positives]``; ``skill``
    ``{"validation": ...}`` as of :func:`skill`.

    Raises:
        UserError: predictions or record are missing or damaged.
    """
    frame = read_predictions(predictions)
    training: Training = read_json(record)["training_targets"]
    seeds: dict[str, dict[str, pd.DataFrame]] = {
        part: {str(seed): rows for seed, rows in frame[frame["part"] == part].groupby("seed")}
        for part in ("validation", "test")
    }
    first = next(iter(seeds["test"].values()))
    items = names_of(first, cell)
    factors, draws = resampled(seeds["test"], cell, "test")
    together = {seed: p["test"] for seed, p in _all_findings(frame, cell).items() if "test" in p}
    if together:
        draws[ALL_TASKS] = resampled_together(together, cell, first, "test")
    names = tuple(_binary(cell))
    write_sealed(
        target,
        {
            "code": code or {},
            "predictions": sha256_file(predictions),
            "scores": score(frame, cell),
            "constant": constant_scores(frame, cell, training),
            "resamples": {
                "test": {
                    "items": items,
                    "factors": factors,
                    "tasks": _written(draws),
                }
            },
            "reliability": {seed: diagram(data, names) for seed, data in together.items()},
            "skill": {
                "validation": skill([*seeds["validation"].values()], cell, training, "validation")
            },
        },
    )
