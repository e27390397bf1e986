"""Images per second: ours, a torchvision loader and loop, and the floor with data on the device."""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import ratios, tables
from benchmarks.arms import timed, work_of
from benchmarks.machine import rate_of
from benchmarks.ratios import Makers, Step, reaches
from benchmarks.tables import Table

FLOOR, READY, PRODUCT = "plain loop", "plain loop, batch ready", "a product of matrices"


def operations(step: Step) -> int:
    """Multiplications and additions of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def large_product(given: argparse.Namespace) -> tuple[Step, int]:
    """A product of square matrices in the precision of the trunk, and its operations.

    Of random numbers: a GPU draws less power for ones, and so runs faster than on any data.
    """
    size = 8192 if ratios.on_gpu(given.device) else 2048
    dtype = torch.bfloat16 if given.precision == "bfloat16" else torch.float32
    draws = torch.Generator(given.device).manual_seed(0)
    one, other = (
        torch.randn(size, size, generator=draws, device=given.device).to(dtype) for _ in range(2)
    )
    return lambda: one @ other, 2 * size**3


def often(step: Step, count: int) -> Step:
    """So many steps as one call."""

    def call() -> None:
        for _ in range(count):
            step()

    return call


def loading(given: argparse.Namespace) -> Iterator[Table]:
    """How fast pictures pass, and how much of the device the arithmetic of a step uses.

    Each arm passes the same number of batches in a call, so that what a loader has fetched ahead
    is paid for. On a GPU a second loader has a process for each core, of eight at most.

    The arithmetic of a step, as torch counts it, is held against the rate of a large product of
    matrices on the same device in the same blocks and, where the data sheet of a GPU is known,
    against what that promises.
    """
    on_gpu = ratios.on_gpu(given.device)
    batches, cores = (30, min(8, os.cpu_count() or 1)) if on_gpu else (1, 0)
    for name in given.work or ["resnet18"]:
        work = work_of(name, given)
        product, possible = large_product(given)
        arms: Makers = {
            FLOOR: lambda w=work: often(w.plain(), batches),
            READY: lambda w=work: often(w.plain(ready=True), batches),
            "ours": lambda w=work: often(w.ours("uniform"), batches),
            "loader": lambda w=work: w.loader(batches),
        }
        if on_gpu:
            arms[f"loader, {cores} processes"] = lambda w=work: w.loader(batches, cores)
        both = {**arms, PRODUCT: lambda p=product: often(p, batches)}
        spent = timed(both, given, repeats=1)
        for one in spent.values():
            one.seconds = [seconds / batches for seconds in one.seconds]
        title = f"Loading: {name}, batch {work.batch}, {given.precision}"
        if on_gpu:
            title += (
                f"; ours at least 90 % of {READY!r}: {reaches(0.9, spent['ours'], spent[READY])}"
            )
        yield tables.ratios(title, spent, FLOOR)
        if spent[FLOOR].failure or spent[PRODUCT].failure:
            continue
        needed = operations(work.plain())
        rate = possible / statistics.median(spent[PRODUCT].seconds)
        promised = rate_of(given.device, given.precision)
        rows = []
        for key in arms:
            if spent[key].failure:
                rows.append((key, spent[key].failure, tables.NONE, tables.NONE))
                continue
            seconds = statistics.median(spent[key].seconds)
            used = f"{100 * needed / seconds / promised:.0f}" if promised else tables.NONE
            rows.append(
                (key, f"{work.batch / seconds:.0f}", f"{needed / seconds / rate:.2f}", used)
            )
        columns = ("step", "images/s", "share of the rate of products")
        if promised:
            columns += ("MFU by the data sheet, %",)
        rows = [row[: len(columns)] for row in rows]
        yield Table(f"{title}, images", columns, rows)
