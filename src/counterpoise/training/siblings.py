"""Cells that train together with a job's own: points of a grid, single-task networks.

Where all seeds of a small cell train as one model, the seeds of cells that differ only in numbers
or in their single task (:meth:`Cell.is_sibling_of`) can be added to it: a GPU has room for them.
The job that trains takes those that are not being trained and have not been trained by others, and
leaves their finished states in their own folders, where their own jobs find them, predict and
write. The jobs of a workflow stay the same.

A job never waits for a lock while it holds others: it first gets the lock of its own folder, then
takes those of the others that are free, so two jobs that want each other's cells share what is
left.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from counterpoise.errors import UserError
from counterpoise.files import make_folder
from counterpoise.training.engine import Progress, Replicate
from counterpoise.training.preliminary import settled
from counterpoise.training.problem import Job, Problem, tasks_of
from counterpoise.training.progress import Reporter
from counterpoise.training.replicates import fit_together

log = logging.getLogger(__name__)

Siblings = Callable[[], Iterable[Job]]
"""Finds the cells that may train beside a job's own."""

MOST = 64
"""Replicates of one model, siblings' included; a guess at what keeps a GPU busy."""


@dataclass(frozen=True)
class Beside:
    """Replicates of other cells, whose folders are held.

    Attributes:
        replicates: unfinished ones, those of a cell one after the other.
        report: takes the progress of any replicate of the model: of these it goes to their own
            cell's folder, where ``counterpoise status`` looks, and of the job's own to the
            ``report`` that :func:`beside` was given.
    """

    replicates: list[Replicate]
    report: Callable[[Progress], None]


@contextmanager
def beside(
    own: Sequence[Replicate], jobs: Iterable[Job], report: Callable[[Progress], None]
) -> Iterator[Beside]:
    """Hold the siblings that can train with a job's own replicates as one model, until the end.

    One whose lock is taken, whose results or states are there, or whose options or states are
    unsound, is left out: its own job says what is wrong. None is taken where inputs stay on the
    host: to gather them for more is what takes the time then.

    Args:
        own: unfinished replicates of the job, resumed, that fit together.
        jobs: the siblings, in the order in which they are taken.
        report: told of the progress of the job's own.
    """
    found: list[Replicate] = []
    reports: dict[Path, Callable[[Progress], None]] = {}
    with ExitStack() as held:
        for job in jobs if not own[0].problem.parts["train"].streamed else ():
            if len(own) + len(found) + len(job.cell.seeds) > MOST:
                continue
            if job.is_done:
                continue
            # One that never began is asked before a folder is made, which would be left behind.
            if not job.work.exists() and not _fitting(job, own[0]):
                continue
            with ExitStack() as attempt:
                if not _taken(job, attempt) or not (made := _fitting(job, own[0])):
                    continue
                found += made
                reports[job.work] = _reporter(job, attempt)
                held.push(attempt.pop_all())
                log.info("%s/%s trains beside", job.name, job.digest)

        def tell(progress: Progress) -> None:
            reports.get(progress.folder, report)(progress)

        yield Beside(found, tell)


def _taken(job: Job, held: ExitStack) -> bool:
    """Take a sibling's folder, unless somebody has it or its results are there."""
    try:
        make_folder(job.work)
        held.enter_context(FileLock(job.work / "lock", timeout=0))
    except (Timeout, OSError, UserError):
        return False
    if job.is_done:  # in the meantime, and its folder is gone or new
        shutil.rmtree(job.work, ignore_errors=True)
        return False
    return True


def _fitting(job: Job, like: Replicate) -> list[Replicate]:
    """A sibling's unfinished replicates, on the data of another's problem.

    Empty where they do not fit together with that other, or its files are unsound.
    """
    try:
        job, _ = settled(job)
        known = like.problem
        problem = Problem(job.cell, tasks_of(job.cell), known.parts, known.device, known.start)
        made = [Replicate(problem, s, job.state_of(s), like.save_every) for s in job.cell.seeds]
        for replicate in made:
            replicate.resume()
    # Plain errors are of records that settle its options and lack what they must hold.
    except (UserError, AttributeError, KeyError, TypeError, ValueError) as error:
        said = error if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        log.info("%s/%s trains by itself: %s", job.name, job.digest, said)
        return []
    left = [replicate for replicate in made if not replicate.finished]
    return left if left and fit_together([like, *left]) else []


def _reporter(job: Job, held: ExitStack) -> Callable[[Progress], None]:
    seeds, done = job.cell.seeds, dict[int, int]()
    epochs = job.cell.protocol.epochs
    reporter = Reporter(f"{job.name}/{job.digest}", job.work, epochs * len(seeds), quiet=True)
    held.enter_context(reporter)

    def tell(progress: Progress) -> None:
        done[progress.seed] = progress.epoch
        reporter.tell(progress.seed, progress.epoch, epochs, sum(done.values()), progress.message)

    return tell
