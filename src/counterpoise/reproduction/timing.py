"""How far apart the times of jobs are that do the same work.

All seeds of a cell are timed in one job, so that their spread leaves out what else the machine did
then. Cells that differ only in which task they learn, or in the values of fixed weights, do the
same work; what their times differ by is due to the machine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from counterpoise.evaluation.measured import Measured
from counterpoise.files import digest_of
from counterpoise.reproduction.ours import Scores
from counterpoise.spec.cell import Cell

SAME_WORK = ("uniform", "fixed")
"""Methods of which any two cells of a group do the same arithmetic."""
LEAST_APART = 1.5
"""Also of a machine that nothing is known of: on one that had little else to do, jobs of the same
work have been 1.3 times apart (docs/measurements.md)."""


def work_of(cell: Cell) -> str | None:
    """Digest of what a cell's steps do; None where cells of its kind may do different work."""
    if cell.method.name not in SAME_WORK or (cell.method.name == "uniform" and len(cell.tasks) > 1):
        return None
    kept = {"dataset", "dataset_options", "network", "protocol", "weighting", "seeds"}
    alike = cell.model_dump(mode="json", include=kept)
    return digest_of({"method": cell.method.name, "tasks": len(cell.tasks), **alike})


def jobs_alike(scores: Scores, cells: Iterable[str]) -> dict[str, list[Measured]]:
    """Seconds a step by seed of cells of the same work, by the first cell of each group."""
    groups: dict[str, dict[str, Measured]] = defaultdict(dict)
    for key in cells:
        work = work_of(scores.plan.trainings[key].cell)
        times = scores.cost(key, "seconds_per_step") if work else Measured({})
        if work and times.values:
            groups[work][key] = times
    return {next(iter(jobs)): [*jobs.values()] for jobs in groups.values() if len(jobs) > 1}


def jobs_apart(scores: Scores, cells: Iterable[str]) -> float:
    """By what factor times must be apart to decide anything: what jobs of the same work reach."""
    groups = jobs_alike(scores, cells).values()
    means = [[job.sample.mean for job in jobs] for jobs in groups]
    return max([LEAST_APART, *(max(jobs) / min(jobs) for jobs in means)])
