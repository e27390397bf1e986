"""Progress of one cell for people: a bar on a terminal, a line per epoch in a log, and a file."""

from __future__ import annotations

import logging
import os
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from counterpoise.files import write_json

SECONDS_BETWEEN_FILES = 0.2
PROGRESS = "progress.json"

log = logging.getLogger(__name__)


class Reporter:
    """Tells where a cell's training is.

    ``progress.json`` in the work folder feeds ``counterpoise status``; it goes with the folder.

    Args:
        cell: name and digest.
        work: the cell's work folder.
        total: epochs of all seeds together.
        quiet: only the file is written.
    """

    def __init__(self, cell: str, work: Path, total: int, *, quiet: bool = False) -> None:
        self.cell, self.path, self.total, self.quiet = cell, work / PROGRESS, total, quiet
        self.started = time.time()
        self.first: int | None = None
        self.written = 0.0
        self.bar: Progress | None = None

    def __enter__(self) -> Self:
        if sys.stdout.isatty() and not self.quiet:
            self.bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("epochs, left"),
                TimeRemainingColumn(),
            )
            self.bar.start()
            self.bar.add_task(self.cell, total=self.total)
        self._write(0, "starting")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()

    def tell(self, seed: int, epoch: int, epochs: int, done: int, message: str) -> None:
        """One more epoch is done; ``done`` counts those of all seeds."""
        if self.bar is not None:
            self.bar.update(self.bar.task_ids[0], completed=done)
        elif not self.quiet:
            log.info("seed %d epoch %d/%d %s", seed, epoch, epochs, message)
        self._write(done, message)

    def _write(self, done: int, message: str) -> None:
        # The pace counts from where this process took over, not from a run that was killed.
        if self.first is None and done:
            self.first = done - 1
        now = time.monotonic()
        if done and now - self.written < SECONDS_BETWEEN_FILES and done < self.total:
            return
        self.written = now if done else 0.0
        write_json(
            self.path,
            {
                "cell": self.cell,
                "pid": os.getpid(),
                "started": self.started,
                "updated": time.time(),
                "before": self.first or 0,
                "done": done,
                "total": self.total,
                "message": message,
            },
        )
