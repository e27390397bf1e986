"""Times and memory of several ways to do the same work, interleaved, as ratios with intervals."""

from __future__ import annotations

import gc
import math
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from scipy.stats import t as student

Step = Callable[[], object]
Makers = dict[str, Callable[[], Step]]
"""Arms by name, each made when it is called, for its memory."""
FILL, LEAST, MOST = 0.2, 2, 50
"""Seconds that an arm's steps in a block take on a GPU, and how few and many steps that may be.

Between two waits for the device the host runs ahead of it, as it does in training: a single step
would be charged for the launch of its first kernel and the wait for its last.
"""


def on_gpu(device: torch.device) -> bool:
    """Whether a device is one, which works while the host goes on."""
    return device.type == "cuda"


class Absent(Exception):
    """What an arm needs is not on this machine."""


class Ended(Exception):
    """A training that was timed has come to a bad end."""


class OutOfTime(Exception):
    """The time given has passed before all was measured."""


@dataclass
class Spent:
    """What an arm has taken.

    Attributes:
        seconds: of one call, for every block.
        memory: bytes, on a GPU: the peak of the first two calls above what was held before them.
        failure: why there are no times; empty if there are.
    """

    seconds: list[float] = field(default_factory=list)
    memory: int | None = None
    failure: str = ""

    @property
    def failed(self) -> bool:
        """Whether it has failed by a fault, not for want of memory or of a library."""
        return self.failure.startswith("failed")


def clock(device: torch.device) -> float:
    """Seconds: on a CPU of processor time, which other work on the machine changes least."""
    if on_gpu(device):
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def reason(error: Exception) -> str:
    """In a line, why an arm cannot be measured."""
    if isinstance(error, (Absent, ImportError)) or isinstance(error.__cause__, ImportError):
        return f"absent: {error}"
    if isinstance(error, Ended):
        return f"ended: {error}"
    told = str(error).strip() or type(error).__name__
    # What torch raises of a CPU's memory has no type of its own.
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in told:
        return "out of memory"
    return f"failed: {type(error).__name__}: {told.splitlines()[0]}".replace("|", "/")


def forget(device: torch.device) -> None:
    """Give back what nothing holds any more."""
    gc.collect()
    if on_gpu(device):
        torch.cuda.empty_cache()


def take_workspaces(device: torch.device) -> None:
    """Have a GPU's libraries take now what they take at their first products and keep.

    They would be counted as memory of whichever arm comes first.
    """
    if not on_gpu(device):
        return
    for kind in (torch.float32, torch.float64):
        layer = torch.nn.Linear(64, 64, device=device, dtype=kind)
        layer(torch.ones(64, 64, device=device, dtype=kind, requires_grad=True)).sum().backward()
    torch.cuda.synchronize(device)


def first_calls(make: Callable[[], Step], device: torch.device) -> tuple[Step, int | None]:
    """An arm after two calls, and the bytes that these have held at most on a GPU.

    Two, as an optimizer's averages and gradients are there from the first update on.
    """
    step = make()
    if not on_gpu(device):
        step()
        step()
        return step, None
    gc.collect()
    torch.cuda.synchronize(device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step()
    step()
    torch.cuda.synchronize(device)
    return step, torch.cuda.max_memory_allocated(device) - before


def interleaved(
    makers: Makers,
    blocks: int,
    repeats: int | None,
    device: torch.device,
    until: float = math.inf,
) -> dict[str, Spent]:
    """Times of one call of each arm in every block; the order within a block is drawn anew.

    An arm that runs out of memory, or fails otherwise, says so; the others go on.

    Args:
        repeats: calls of an arm in a block; None for one on a CPU, for what fills :data:`FILL`
            seconds on a GPU.
        until: of time.monotonic().

    Raises:
        OutOfTime: not all was measured until then.
    """
    found = {name: Spent() for name in makers}
    steps: dict[str, Step] = {}
    calls: dict[str, int] = {}

    def timed(name: str, count: int) -> float:
        started = clock(device)
        for _ in range(count):
            steps[name]()
        return (clock(device) - started) / count

    def begin(name: str) -> None:
        steps[name], found[name].memory = first_calls(makers[name], device)
        calls[name] = repeats or 1
        if repeats is None and on_gpu(device):
            once = timed(name, 1)
            calls[name] = min(MOST, max(LEAST, math.ceil(FILL / max(once, 1e-9))))

    def attempt(name: str, work: Callable[[], object]) -> None:
        if time.monotonic() > until:
            raise OutOfTime
        try:
            work()
            return
        except Exception as error:
            found[name] = Spent(failure=reason(error))
        steps.pop(name, None)  # out of the handler, as its traceback holds the arm's tensors
        forget(device)

    for name in makers:
        attempt(name, lambda name=name: begin(name))
    draws = random.Random(0)
    for _ in range(blocks):
        order = list(steps)
        draws.shuffle(order)
        for name in order:
            attempt(name, lambda n=name: found[n].seconds.append(timed(n, calls[n])))
    return found


def ratio(times: list[float], reference: list[float]) -> tuple[float, float, float]:
    """Geometric mean over blocks of the ratio, and its 95 % interval by Student's t."""
    logs = [math.log(a / b) for a, b in zip(times, reference, strict=True)]
    mean, count = statistics.fmean(logs), len(logs)
    half = student.ppf(0.975, count - 1) * statistics.stdev(logs) / count**0.5
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def reaches(least: float, one: Spent, other: Spent) -> str:
    """In a word, whether an arm has at least some share of another's speed, as far as it is told.

    "missed" if all of the interval of the ratio lies beyond the limit.
    """
    if one.failure or other.failure:
        return "not known"
    _, low, high = ratio(other.seconds, one.seconds)
    return "kept" if low >= least else "missed" if high < least else "open"


def exponent(sizes: list[float], times: list[float]) -> float:
    """The power of the size that the time grows with: slope of a line through the logarithms."""
    logs = ([math.log(x) for x in values] for values in (sizes, times))
    return statistics.linear_regression(*logs).slope
