"""A grid search's end: the method's options are those of the candidate that validates best."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from counterpoise.errors import UserError
from counterpoise.files import read_json
from counterpoise.training.problem import Job

log = logging.getLogger(__name__)


def validation_loss(history: pd.DataFrame) -> float:
    """A candidate's value: the lowest mean validation loss of each seed, averaged over seeds.

    Infinite if a seed has no finished epoch, so that a candidate that diverges at once never wins.
    """
    seen = history[history["quantity"] == "selection"]
    best = seen.groupby("seed")["value"].min()
    complete = len(best) == history["seed"].nunique() and len(best) > 0
    return float(best.mean()) if complete and best.notna().all() else math.inf


def _history(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except Exception as error:  # what pyarrow raises on damage has no common class
        raise UserError(
            f"cannot read what a candidate of the grid search gave ({error})",
            where=path,
            remedy="delete the file and run `snakemake` again",
        ) from error


def with_best_options(job: Job) -> tuple[Job, list[dict[str, Any]]]:
    """The job with the options of its best candidate; unchanged if it has none.

    Equal candidates: the first of the grid.

    Returns:
        The job, and for its record what was tried: key, options, validation loss (None if it
        diverged at once) and seconds of each candidate.

    Raises:
        UserError: a candidate's history is missing, or none came to an end.
    """
    cells = job.out.parent.parent
    values = {
        point.key: validation_loss(_history(cells / point.key / "history.parquet"))
        for point in job.cell.candidates
    }
    if not values:
        return job, []
    best = min(job.cell.candidates, key=lambda point: values[point.key])
    if not math.isfinite(values[best.key]):
        raise UserError(
            "no candidate of the grid search came to the end of an epoch",
            where=cells / best.key / "record.json",
            remedy="search smaller values, or a smaller learning rate",
        )
    tried = []
    for point in job.cell.candidates:
        value, seconds = values[point.key], read_json(cells / point.key / "record.json")["seconds"]
        log.info("%s: validation loss %.6g", point.key, value)
        shown = value if math.isfinite(value) else None
        tried.append(
            {"key": point.key, "options": point.options, "loss": shown, "seconds": seconds}
        )
    log.info("chosen: %s", best.key)
    method = job.cell.method.model_copy(update={"options": best.options})
    return replace(job, cell=job.cell.model_copy(update={"method": method})), tried
