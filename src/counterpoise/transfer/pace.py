"""How long a download waits, tries and lasts, and how it tells of it."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from counterpoise.wording import duration, size

WINDOW = 30.0
"""Seconds that the shown rate is a mean over."""


@dataclass(frozen=True)
class Patience:
    """When to give up, in seconds where nothing else is said."""

    connect: float = 15.0
    silence: float = 60.0
    """Without a byte."""
    rounds: int = 5
    """Passes over all addresses of a file in which none brings a byte further."""
    first: float = 1.0
    """Pause after the first such pass; doubled after each."""
    longest: float = 60.0
    """Of all pauses, also of those that a server asks for."""
    slow: float = 2000.0
    """Bytes a second below which another address is tried, if there is one,"""
    slow_after: float = 60.0
    """having waited so long."""

    def pause(self, passed: int, asked: float = 0.0) -> float:
        """How long to wait after a pass; the random part keeps many clients from coming at once."""
        grown = min(self.longest, self.first * 2.0**passed)
        return max(random.uniform(0.5, 1.0) * grown, min(asked, self.longest))


PATIENCE = Patience()


class Progress:
    """Bytes of several files that arrive at once, as lines with rate and time left.

    Args:
        total: bytes of all files, where known.
        say: takes a line.
        every: seconds between two lines.
    """

    def __init__(
        self,
        total: int | None,
        say: Callable[[str], None],
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total, self.here, self.received = total, 0, 0
        self._say, self._every, self._clock = say, every, clock
        self._lock = threading.Lock()
        self._told = clock()
        self._marks: deque[tuple[float, int]] = deque([(self._told, 0)])

    def arrived(self, count: int) -> None:
        """So many bytes came over the network."""
        with self._lock:
            self.here += count
            self.received += count
            now = self._clock()
            if now - self._told >= self._every:
                self._told = now
                self._say(self._line(now))

    def found(self, count: int) -> None:
        """So many bytes were here already; fewer than none if they have to come again."""
        with self._lock:
            self.here += count

    def _line(self, now: float) -> str:
        self._marks.append((now, self.received))
        while len(self._marks) > 2 and now - self._marks[1][0] >= WINDOW:
            self._marks.popleft()
        since, before = self._marks[0]
        rate = (self.received - before) / max(now - since, 1e-9)
        if self.total is None:
            return f"{size(self.here)} here, {size(rate)}/s"
        left = max(self.total - self.here, 0)
        share = 100 * self.here / max(self.total, 1)
        rest = f"{duration(left / rate)} left" if rate > 0 else "nothing is arriving"
        return f"{size(self.here)} of {size(self.total)} ({share:.0f} %), {size(rate)}/s, {rest}"
