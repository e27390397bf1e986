"""All of the benchmark in pieces, the most important first.

A piece is what is timed in turn with each other, and so what a stopped run has to do again.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks import ratios
from benchmarks.arms import RIVALS, floor_of
from benchmarks.ratios import OutOfTime, Spent
from benchmarks.speed import PARTS
from benchmarks.tables import Table
from counterpoise import registry

GPU_TESTS = ("tests/unit/test_gpu.py", "tests/unit/test_prefetch.py")
"""Those that hold tests that need a GPU."""
TOGETHER = 8
"""Methods that are timed in turn with each other."""
FIRST = ("imtl_g", "upgrad", "db_mtl")
"""Of the rivals' methods, those that are compared before all else."""


@dataclass(frozen=True)
class Piece:
    """A part of the benchmark with some of its networks or methods.

    Attributes:
        name: unique.
        part: of :data:`benchmarks.speed.PARTS`, or ``gpu tests``.
        given: what the command line would say.
    """

    name: str
    part: str
    given: dict[str, Any] = field(default_factory=dict)

    def run(self, given: argparse.Namespace) -> list[Table]:
        """Measure it."""
        wanted = argparse.Namespace(**{**vars(given), **self.given})
        return list(gpu_tests(wanted) if self.part == "gpu tests" else PARTS[self.part](wanted))


def gpu_tests(given: argparse.Namespace) -> Iterator[Table]:
    """Whether first steps on the GPU are those of the CPU."""
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", *GPU_TESTS]
    left = None if math.isinf(given.until) else given.until - time.monotonic()
    try:
        ended = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=left, check=False
        )
    except subprocess.TimeoutExpired:
        raise OutOfTime from None
    lines = (ended.stdout + ended.stderr).strip().splitlines() or ["said nothing"]
    told = lines[-1].strip("= ")
    outcome = Spent(failure=f"failed: {told}" if ended.returncode else "")
    rows = [("`python -m pytest -m gpu`", told)]
    rows += [("", line) for line in lines if line.startswith(("FAILED", "ERROR"))]
    title = "First steps on the GPU against those of the CPU"
    yield Table(title, ("test", "outcome"), rows, {"tests": outcome})


def all_pieces(given: argparse.Namespace) -> list[Piece]:
    """What the command line asks for, in order."""
    found = list(_in_order(given))
    wanted = {*given.part, *(["gpu tests"] if ratios.on_gpu(given.device) else [])}
    return [piece for piece in found if piece.part in wanted]


def _in_order(given: argparse.Namespace) -> Iterator[Piece]:
    networks = given.work or ["resnet18", "densenet121", "lenet"]
    pictures = given.work or ["resnet18", "densenet121"]
    others = [m for m in RIVALS if given.method is None or m in given.method]
    first = [method for method in FIRST if method in others]
    precisions = [given.precision]
    if ratios.on_gpu(given.device):
        precisions = list(dict.fromkeys([given.precision, "bfloat16", "tf32"]))

    def rivals(network: str, method: str) -> Piece:
        told = {"work": [network], "method": [method]}
        return Piece(f"rivals {network} {method}", "rivals", told)

    yield Piece("gpu tests", "gpu tests")
    yield Piece("trainings", "trainings")
    for network in pictures:
        for precision in precisions:
            told = {"work": [network], "precision": precision}
            yield Piece(f"loading {network} {precision}", "loading", told)
    yield from (rivals(network, method) for network in pictures for method in first)
    for network in networks:
        yield from _methods(network, given)
    yield Piece("deepchest", "deepchest")
    yield Piece("seeds", "seeds")
    for network in networks:
        for method in others:
            if network not in pictures or method not in first:
                yield rivals(network, method)
    for method in given.method or ["uniform", "gradnorm", "imtl_g", "db_mtl"]:
        yield Piece(f"scaling {method}", "scaling", {"method": [method]})
    yield Piece("tasks", "tasks")
    if ratios.on_gpu(given.device):
        yield Piece("graphs", "graphs", {"method": None})
    yield Piece("profile", "profile")
    yield Piece("compile", "compile")


def _methods(network: str, given: argparse.Namespace) -> Iterator[Piece]:
    """The catalogue in groups, each of methods that are held to the same floor."""
    chosen = sorted(given.method or registry.names("methods"), key=lambda m: (floor_of(m), m))
    for floor, same in groupby(chosen, floor_of):
        names = list(same)
        for start in range(0, len(names), TOGETHER):
            name = f"methods {network} to {floor} {start // TOGETHER + 1}"
            told = {"work": [network], "method": names[start : start + TOGETHER]}
            yield Piece(name, "methods", told)
