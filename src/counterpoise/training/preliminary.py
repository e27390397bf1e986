"""Options that a cell takes from earlier cells: those of a grid search, or of single tasks."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import pandas as pd

from counterpoise import registry
from counterpoise.errors import UserError
from counterpoise.files import read_json, read_parquet
from counterpoise.training.problem import Job

log = logging.getLogger(__name__)


def value_kept(
    history: pd.DataFrame, record: dict[str, Any], quantity: str, task: str = ""
) -> float | None:
    """A cell's validation value at the epoch whose weights are kept, the mean over its seeds.

    None if a seed has diverged.
    """
    ends = record["seeds"]
    if any(end["status"] != "finished" for end in ends.values()):
        return None
    rows = history[(history["quantity"] == quantity) & (history["task"] == task)]
    seen = rows.set_index(["seed", "epoch"])["value"]
    kept = [seen.loc[int(seed), end["selected_epoch"]] for seed, end in ends.items()]
    return float(sum(kept) / len(kept))


def _value_of(
    job: Job, key: str, quantity: str, task: str = ""
) -> tuple[float | None, dict[str, Any]]:
    """The value of another cell of the tier, and its record.

    Raises:
        UserError: its files are missing or damaged.
    """
    folder = job.out.parent.parent / key
    record = read_json(folder / "record.json")
    history = read_parquet(folder / "history.parquet", "history")
    return value_kept(history, record, quantity, task), record


def with_best_options(job: Job) -> tuple[Job, list[dict[str, Any]]]:
    """The job with the options of its best candidate, by validation loss; unchanged without any.

    One that diverged never wins. Equal candidates: the first of the grid.

    Returns:
        The job, and for its record what was tried: key, options, validation loss (None if it
        diverged) and seconds of each candidate, and how many replicates at most its seeds have
        trained side by side with, themselves included: above one the seconds are no time of its
        own.

    Raises:
        UserError: a candidate's files are missing or damaged, or all have diverged.
    """
    tried = []
    for point in job.cell.candidates:
        loss, record = _value_of(job, point.key, "selection")
        loss = loss if loss is not None and math.isfinite(loss) else None
        log.info("%s: %s", point.key, "diverged" if loss is None else f"validation loss {loss:.6g}")
        beside = max((end.get("side_by_side", 1) for end in record["seeds"].values()), default=1)
        tried.append({
            "key": point.key, "options": point.options, "loss": loss,
            "seconds": record["seconds"], "side_by_side": beside,
        })  # fmt: skip
    if not tried:
        return job, []
    finished = [point for point in tried if point["loss"] is not None]
    if not finished:
        raise UserError(
            "every candidate of the grid search has diverged",
            where=job.out.parent.parent / tried[0]["key"] / "record.json",
            remedy="search smaller values, or a smaller learning rate",
        )
    best = min(finished, key=lambda point: point["loss"])
    log.info("chosen: %s", best["key"])
    return _with_options(job, best["options"]), tried


def with_single_task_options(job: Job) -> tuple[Job, dict[str, float]]:
    """The job with options from its single-task networks; unchanged if it waits for none.

    Returns:
        The job, and for its record their accuracies on the validation part, by task.

    Raises:
        UserError: a network's files are missing or damaged, or it has diverged.
    """
    accuracies = {}
    for task, key in job.cell.single_task.items():
        accuracy, _ = _value_of(job, key, "validation_accuracy", task)
        if accuracy is None:
            raise UserError(
                f"the network of the single task {task!r} has diverged, so that its accuracy "
                "cannot set a weight",
                where=job.out.parent.parent / key / "record.json",
                remedy="choose a smaller learning rate, or give the weights by task",
            )
        log.info("%s: validation accuracy %.4f", key, accuracy)
        accuracies[task] = accuracy
    if not accuracies:
        return job, {}
    method = registry.method(job.cell.method.name)
    waiting = method.Options(**job.cell.method.options)
    settled = method.with_single_task(waiting, accuracies).model_dump(mode="json")
    return _with_options(job, settled), accuracies


def _with_options(job: Job, options: dict[str, Any]) -> Job:
    method = job.cell.method.model_copy(update={"options": options})
    return replace(job, cell=job.cell.model_copy(update={"method": method}))


def settled(job: Job) -> tuple[Job, dict[str, Any]]:
    """The job with all options known, and what its record says of where they come from."""
    job, tried = with_best_options(job)
    job, accuracies = with_single_task_options(job)
    facts = {"search": tried, "single_task": accuracies}
    return job, {name: fact for name, fact in facts.items() if fact}
