"""Times of several ways to do the same work, interleaved, as ratios with intervals."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable

import torch
from scipy.stats import t as student

Arms = dict[str, Callable[[], object]]


def clock(device: torch.device) -> float:
    """Seconds: on a CPU of processor time, which other work on the machine changes least."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def interleaved(
    arms: Arms, blocks: int, repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of one call of each arm in every block; the order within a block is drawn anew."""
    order, found = list(arms), {name: [] for name in arms}
    draws = random.Random(0)
    for block in range(blocks + 1):
        draws.shuffle(order)
        for name in order:
            started = clock(device)
            for _ in range(repeats):
                arms[name]()
            spent = (clock(device) - started) / repeats
            if block:  # the first warms up
                found[name].append(spent)
    return found


def ratio(times: list[float], reference: list[float]) -> tuple[float, float, float]:
    """Geometric mean over blocks of the ratio, and its 95 % interval by Student's t."""
    logs = [math.log(a / b) for a, b in zip(times, reference, strict=True)]
    mean, count = statistics.fmean(logs), len(logs)
    half = student.ppf(0.975, count - 1) * statistics.stdev(logs) / count**0.5
    return math.exp(mean), math.exp(mean - half), math.exp(mean + half)


def exponent(sizes: list[float], times: list[float]) -> float:
    """The power of the size that the time grows with: slope of a line through the logarithms."""
    logs = ([math.log(x) for x in values] for values in (sizes, times))
    return statistics.linear_regression(*logs).slope
