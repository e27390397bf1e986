"""A grid search's end: the method's options are those of the candidate that validates best."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

import pandas as pd

from counterpoise.errors import UserError
from counterpoise.files import read_json, read_parquet
from counterpoise.training.problem import Job

log = logging.getLogger(__name__)


def validation_loss(history: pd.DataFrame, record: dict[str, Any]) -> float:
    """A candidate's value: the mean validation loss of the weights that were kept, over seeds.

    Infinite if a seed has diverged, so that no such candidate wins.
    """
    ends = record["seeds"]
    if any(end["status"] != "finished" for end in ends.values()):
        return math.inf
    seen = history[history["quantity"] == "selection"].set_index(["seed", "epoch"])["value"]
    kept = [seen.loc[int(seed), end["selected_epoch"]] for seed, end in ends.items()]
    return float(sum(kept) / len(kept))


def with_best_options(job: Job) -> tuple[Job, list[dict[str, Any]]]:
    """The job with the options of its best candidate; unchanged if it has none.

    Equal candidates: the first of the grid.

    Returns:
        The job, and for its record what was tried: key, options, validation loss (None if it
        diverged) and seconds of each candidate.

    Raises:
        UserError: a candidate's files are missing or damaged, or all have diverged.
    """
    cells = job.out.parent.parent
    records = {p.key: read_json(cells / p.key / "record.json") for p in job.cell.candidates}
    values = {
        key: validation_loss(read_parquet(cells / key / "history.parquet", "history"), record)
        for key, record in records.items()
    }
    if not values:
        return job, []
    best = min(job.cell.candidates, key=lambda point: values[point.key])
    if not math.isfinite(values[best.key]):
        raise UserError(
            "every candidate of the grid search has diverged",
            where=cells / best.key / "record.json",
            remedy="search smaller values, or a smaller learning rate",
        )
    tried = []
    for point in job.cell.candidates:
        value, seconds = values[point.key], records[point.key]["seconds"]
        log.info("%s: validation loss %.6g", point.key, value)
        shown = value if math.isfinite(value) else None
        tried.append(
            {"key": point.key, "options": point.options, "loss": shown, "seconds": seconds}
        )
    log.info("chosen: %s", best.key)
    method = job.cell.method.model_copy(update={"options": best.options})
    return replace(job, cell=job.cell.model_copy(update={"method": method})), tried
