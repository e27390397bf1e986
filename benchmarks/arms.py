"""What is timed beside each other: methods and floors, the same elsewhere, DeepChest's rivals.

Peak memory: of a GPU what torch has allocated above what was held before an arm's first step, on a
CPU that of a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks.ratios import Makers, Spent, interleaved
from benchmarks.work import Work
from counterpoise import registry
from counterpoise.training.replicates import Together

RIVALS = {
    "uniform": ("EW", "Mean"), "uw": ("UW", None), "imtl_g": ("IMTL", "IMTLG"),
    "pcgrad": ("PCGrad", "PCGrad"), "gradvac": ("GradVac", "GradVac"),
    "cagrad": ("CAGrad", "CAGrad"), "mgda": ("MGDA", "MGDA"),
    "aligned_mtl": ("Aligned_MTL", "AlignedMTL"), "nash_mtl": ("Nash_MTL", None),
    "upgrad": ("UPGrad", "UPGrad"), "db_mtl": ("DB_MTL", None), "gradnorm": ("GradNorm", None),
}  # fmt: skip
"""Our method, LibMTL's, TorchJD's."""
ANEW, FLOOR = "uniform, forward anew", "K backward passes"


def work_of(name: str, given: argparse.Namespace, **more: int | None) -> Work:
    """A network of :data:`benchmarks.work.WORK` as the command line wants it."""
    return Work(name, given.device, **{"batch": given.batch, **more}, precision=given.precision)


def timed(
    makers: Makers, given: argparse.Namespace, repeats: int | None = None
) -> dict[str, Spent]:
    """Times of the arms as the command line wants them."""
    return interleaved(makers, given.blocks, repeats or given.repeats, given.device, given.until)


def floor_of(method: str) -> str:
    """The least that a method's signal costs, as an arm's name."""
    kind = registry.method(method)
    if kind.signal in ("gramian", "jacobian"):
        return FLOOR
    return ANEW if kind.looks_back else "uniform"


def method_arms(work: Work, methods: list[str]) -> Makers:
    """Methods, and all that they are held to."""
    floors = {floor_of(method) for method in methods}
    least = {ANEW: work.forward_anew, FLOOR: work.floor}
    found: Makers = {"plain loop": work.plain, "uniform": lambda: work.ours("uniform")}
    found |= {arm: make for arm, make in least.items() if arm in floors}
    found |= {m: lambda m=m: work.ours(m) for m in methods if m != "uniform"}
    if "gradnorm" in methods:
        found["gradnorm at W"] = lambda: work.ours("gradnorm", at="w")
    return found


def deepchest_arms(work: Work) -> Makers:
    """DeepChest beside what its claim of speed and memory may be relative to."""
    return {
        "uniform": lambda: work.ours("uniform"),
        "DeepChest": lambda: work.ours("deepchest"),
        "GradNorm at Z": lambda: work.ours("gradnorm"),
        "GradNorm at W": lambda: work.ours("gradnorm", at="w"),
        "GradNorm as in DeepChest's code": lambda: work.ours("gradnorm_deepchest"),
        "GradNorm of LibMTL": lambda: work.libmtl("GradNorm"),
    }


def rival_arms(work: Work, method: str) -> Makers:
    """One method by all who have it."""
    theirs, jd = RIVALS[method]
    found: Makers = {
        FLOOR: work.floor,
        f"ours: {method}": lambda: work.ours(method),
        f"LibMTL: {theirs}": lambda: work.libmtl(theirs),
    }
    if jd:
        found[f"TorchJD autojac: {jd}"] = lambda: work.torchjd(jd, "autojac")
        found[f"TorchJD autogram: {jd}"] = lambda: work.torchjd(jd, "autogram")
    return found


def arms_of(kind: str, work: Work, methods: list[str]) -> Makers:
    """The arms of a part of the benchmark that tells of memory."""
    if kind == "methods":
        return method_arms(work, methods)
    return deepchest_arms(work) if kind == "deepchest" else rival_arms(work, methods[0])


def side_by_side(work: Work, method: str, count: int) -> Together:
    """Some seeds as one model, ready for its first step."""
    stack = Together(work.replicates(method, count))
    stack.epoch = stack.batch = stack.step = 0
    stack._take_up(stack.members)
    return stack


def peaks(
    kind: str, work: str, methods: list[str], spent: dict[str, Spent], given: argparse.Namespace
) -> dict[str, int | str]:
    """Peak memory of the arms of :func:`arms_of` in bytes, or why there is none."""
    found: dict[str, int | str] = {}
    for key, one in spent.items():
        if one.failure or one.memory is not None:
            found[key] = one.failure or one.memory or 0
            continue
        command = [sys.executable, "-m", "benchmarks.speed", *given.words]
        command += ["--peak", kind, work, key, *methods]
        told = subprocess.run(command, capture_output=True, text=True, check=False)
        if not told.returncode:
            found[key] = int(told.stdout)
        elif told.returncode < 0 or "allocate memory" in told.stderr:  # killed by the system
            found[key] = "out of memory"
        else:
            found[key] = f"failed: {(told.stderr.strip().splitlines() or ['?'])[-1]}"
    return found


def peak(given: argparse.Namespace) -> int:
    """Bytes that two steps of one arm of :func:`arms_of` need at most, in this process of a CPU."""
    kind, name, key, *methods = given.peak
    step = arms_of(kind, work_of(name, given), methods)[key]()

    def held() -> int:
        # Not getrusage's peak, which a process takes over from the one that starts it.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    before = held()
    step()
    step()
    return held() - before


def set_precision(precision: str) -> None:
    """As a job sets it for a trunk of this precision."""
    products = precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = products
