"""Whether a network beats the constant predictor: the difference of cross-entropies, resampled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from counterpoise.evaluation.constant import Training, gain_on_items
from counterpoise.evaluation.predictions import arrays_of, known_items, tasks_of, units_in
from counterpoise.evaluation.resampling import enough, item_weights, percentile_interval, schemes_of
from counterpoise.metrics import weighted_mean
from counterpoise.spec.cell import Cell
from counterpoise.tasks import Task


def skill(
    frames: list[pd.DataFrame], cell: Cell, training: Training, part: str
) -> dict[str, Any] | None:
    """How much lower the network's cross-entropy is than the constant predictor's, in nats.

    Mean over the classification tasks, and over the seeds whose outputs are all numbers. Both
    predictors are resampled together. None where there is no such task or seed: an error of
    regression has a unit of its own and no place in the mean. Nor has a task without any known
    label, and there is no skill where labels are so few that resamples often miss them.
    """
    tasks = [task for task, _ in tasks_of(cell) if task.classes is not None]
    tasks = [task for task in tasks if frames and known_items(frames[0], task).any()]
    gains = [terms for frame in frames if (terms := _gains(frame, tasks, training)) is not None]
    if not gains:
        return None
    gain, known = _over_seeds(gains, [known_items(frames[0], task) for task in tasks])
    scheme = schemes_of(units_in(frames[0], cell), part)[0]
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
        gain_on_items(task, training[task.name], *arrays)
        for task in tasks
        if (arrays := arrays_of(frame, task)) is not None
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
