"""Speed of a training step: every method, LibMTL and TorchJD on the same work, what it grows with.

    python -m benchmarks.speed [--libmtl FOLDER] [--part PART ...] [--work NAME ...] [--device cuda]

Prints tables for docs/measurements.md: the geometric mean of the ratio over interleaved blocks with
its 95 % interval. On a CPU one thread and processor time; on a GPU time with the device awaited.
Memory is the peak of a process of its own above what it held before the first step (of a GPU: what
torch had allocated). Parts: ``methods``, the whole catalogue held to what its signals cost;
``rivals``, against LibMTL (benchmarks/libmtl.py says how to get it), TorchJD and the floor of K
backward passes of the trunk;
``deepchest``, its claim of speed and memory; ``tasks``, relative to uniform with more and more
tasks; ``loading``, images per second against a torchvision loader and loop, and the share of the
device's own rate of products that the step's arithmetic reaches; ``scaling``, with fitted
exponents; ``seeds``, ten seeds side by side against ten runs of LibMTL; ``compile``, with the trunk
compiled by torch; ``profile``, where a step's time goes. Memory is handled as in a workflow's jobs.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import libmtl
from benchmarks.ratios import Arms, exponent, interleaved, ratio
from benchmarks.work import Work
from counterpoise import registry
from counterpoise.provenance import processor
from counterpoise.spec.cell import Precision
from counterpoise.training.replicates import Together
from counterpoise.workflow import MEMORY

RIVALS = {
    "imtl_g": ("IMTL", "IMTLG"), "pcgrad": ("PCGrad", "PCGrad"), "upgrad": ("UPGrad", "UPGrad"),
    "mgda": ("MGDA", "MGDA"), "aligned_mtl": ("Aligned_MTL", "AlignedMTL"),
    "db_mtl": ("DB_MTL", None), "gradnorm": ("GradNorm", None), "uniform": ("EW", None),
}  # fmt: skip
"""Our method, LibMTL's, TorchJD's."""


def work_of(name: str, given: argparse.Namespace, **more: int | None) -> Work:
    """A network of :data:`benchmarks.work.WORK` as the command line wants it."""
    return Work(name, given.device, **{"batch": given.batch, **more}, precision=given.precision)


def show(
    title: str, arms: Arms, reference: str, given: argparse.Namespace
) -> dict[str, list[float]]:
    """Time the arms and print a table of ratios to one of them; the times are returned."""
    times = interleaved(arms, given.blocks, given.repeats, given.device)
    print(f"\n{title}\n\n| step | ms | ratio to {reference} | 95 % |\n|---|---|---|---|")
    for name, spent in times.items():
        value, low, high = ratio(spent, times[reference])
        shown = statistics.median(spent) * 1e3
        print(f"| {name} | {shown:.1f} | {value:.3f} | {low:.3f} to {high:.3f} |", flush=True)
    return times


LIMITS = {"losses": 1.03, "features": 1.1, "last_layer": 1.1, "gramian": 1.05, "jacobian": 1.05}
"""Of the ratio, by what a method looks at."""
ANEW, FLOOR = "uniform, forward anew", "K backward passes"


def held(limit: float, low: float, high: float) -> str:
    """Whether a ratio keeps its limit, in a word, as far as its interval tells."""
    return "kept" if high <= limit else "missed" if low > limit else "open"


def methods(given: argparse.Namespace) -> None:
    """Every method of the catalogue, relative to the least that its signal costs.

    That is uniform weighting, with one more forward pass where a method looks at the losses anew,
    or K backward passes of the trunk.
    """
    for name in given.work or ["lenet", "resnet18", "densenet121"]:
        work = work_of(name, given)
        kinds = {m: registry.method(m) for m in given.method or registry.names("methods")}
        floors = {
            m: FLOOR if kind.signal in ("gramian", "jacobian")
            else ANEW if kind.looks_back
            else "uniform"
            for m, kind in kinds.items()
        }  # fmt: skip
        least = {FLOOR: work.floor, ANEW: work.forward_anew}
        arms: Arms = {"plain loop": work.plain(), "uniform": work.ours("uniform")}
        arms |= {arm: make() for arm, make in least.items() if arm in floors.values()}
        arms |= {method: work.ours(method) for method in kinds if method != "uniform"}
        if "gradnorm" in kinds:
            arms["gradnorm at W"] = work.ours("gradnorm", at="w")
            kinds["gradnorm at W"], floors["gradnorm at W"] = kinds["gradnorm"], "uniform"
        times = interleaved(arms, given.blocks, given.repeats, given.device)
        print(f"\n{name}, batch {work.batch}, K = {len(work.tasks)}\n")
        print("| step | looks at | ms | relative to | ratio | 95 % | limit |\n" + "|---" * 7 + "|")
        for arm, spent in times.items():
            floor = floors.get(arm, "uniform")
            value, low, high = ratio(spent, times[floor])
            kind = kinds[arm].signal if arm in kinds else "-"
            limit = LIMITS.get(kind, math.inf)
            told = "-" if arm not in kinds else f"{limit}, {held(limit, low, high)}"
            cells = (arm, kind, f"{statistics.median(spent) * 1e3:.1f}", floor, f"{value:.3f}",
                     f"{low:.3f} to {high:.3f}", told)  # fmt: skip
            print(f"| {' | '.join(cells)} |", flush=True)


Makers = dict[str, Callable[[], Callable[[], object]]]
"""Arms by name, each made when it is called, for its memory."""


def deepchest_arms(work: Work, given: argparse.Namespace) -> Makers:
    """DeepChest beside what its claim of speed and memory may be relative to."""
    found: Makers = {
        "uniform": lambda: work.ours("uniform"),
        "DeepChest": lambda: work.ours("deepchest"),
        "GradNorm at Z": lambda: work.ours("gradnorm"),
        "GradNorm at W": lambda: work.ours("gradnorm", at="w"),
        "GradNorm as in DeepChest's code": lambda: work.ours("gradnorm_deepchest"),
    }
    if given.libmtl:
        found["GradNorm of LibMTL"] = lambda: work.libmtl("GradNorm")
    return found


def arms_of(work: Work, name: str, given: argparse.Namespace) -> Makers:
    """One method by all who have it, or all that DeepChest is compared with."""
    if name == "deepchest":
        return deepchest_arms(work, given)
    theirs, jd = RIVALS[name]
    found: Makers = {
        FLOOR: work.floor,
        f"ours: {name}": lambda: work.ours(name),
    }
    if given.libmtl:
        found[f"LibMTL: {theirs}"] = lambda: work.libmtl(theirs)
    if jd:
        found[f"TorchJD autojac: {jd}"] = lambda: work.torchjd(jd, "autojac")
        found[f"TorchJD autogram: {jd}"] = lambda: work.torchjd(jd, "autogram")
    return found


def rivals(given: argparse.Namespace) -> None:
    """The same methods elsewhere, and peak memory."""
    for name in given.work or ["resnet18", "densenet121"]:
        for method in given.method or ["imtl_g", "upgrad"]:
            work = work_of(name, given)
            made = {key: make() for key, make in arms_of(work, method, given).items()}
            title = f"{name}, batch {work.batch}, K = {len(work.tasks)}: {method}"
            show(title, made, FLOOR, given)
            show_memory(name, method, list(made), given)


def show_memory(name: str, method: str, keys: list[str], given: argparse.Namespace) -> None:
    """Print the peak memory of each arm of :func:`arms_of`, measured in a process of its own."""
    print("\n| step | peak memory, MiB |\n|---|---|")
    for key in keys:
        command = [sys.executable, "-m", "benchmarks.speed", *given.words]
        command += ["--peak", name, method, key]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        print(f"| {key} | {told.stdout.strip()} |", flush=True)


def peak(given: argparse.Namespace) -> None:
    """Print the peak memory of two steps of one arm of :func:`arms_of`, in this process."""
    name, method, key = given.peak
    work = work_of(name, given)
    step = arms_of(work, method, given)[key]()
    on_gpu = given.device.type == "cuda"

    def held() -> float:
        if on_gpu:
            return torch.cuda.max_memory_allocated() / 2**20
        # Not getrusage's peak, which a process takes over from the one that starts it.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) / 2**10

    before = 0.0 if on_gpu else held()
    step()
    step()
    print(round(held() - before))


def deepchest(given: argparse.Namespace) -> None:
    """What "three times as fast" is relative to, without and with reading pictures, and memory."""
    for name in given.work or ["resnet18"]:
        work = work_of(name, given)
        arms = {key: make() for key, make in deepchest_arms(work, given).items()}
        title = f"DeepChest's claim: {name}, batch {work.batch}, K = {len(work.tasks)}"
        show(title, arms, "DeepChest", given)
        loaded = {key: work.loaded(step) for key, step in arms.items()}
        show(f"{title}, with a loader", loaded, "DeepChest", given)
        show_memory(name, "deepchest", list(arms), given)


def tasks(given: argparse.Namespace) -> None:
    """What a method costs relative to uniform as tasks become more."""
    for name in given.work or ["small_cnn"]:
        for count in (3, 5, 14):
            work = work_of(name, given, tasks=count)
            chosen = given.method or ["db_mtl", "imtl_g", "gradnorm"]
            arms = {method: work.ours(method) for method in ["uniform", *chosen]}
            show(f"{name}, batch {work.batch}, K = {count}", arms, "uniform", given)


def loading(given: argparse.Namespace) -> None:
    """Images per second: ours with data in memory, a torchvision loader and loop, the floor.

    The arithmetic of a step, as torch counts it, against the rate of a large product of matrices on
    the same device in the same blocks: how much of the device a step uses.
    """
    for name in given.work or ["resnet18"]:
        work = work_of(name, given)
        arms: Arms = {
            "plain loop": work.plain(),
            "ours": work.ours("uniform"),
            "loader": work.loader(),
        }
        needed = operations(arms["plain loop"])
        product, possible = large_product(given)
        times = show(
            f"Loading: {name}, batch {work.batch}, {given.precision}",
            {**arms, "a product of matrices": product},
            "plain loop",
            given,
        )
        rate = possible / statistics.median(times["a product of matrices"])
        print("\n| step | images/s | share of the rate of products |\n|---|---|---|")
        for key in arms:
            spent = statistics.median(times[key])
            print(f"| {key} | {work.batch / spent:.0f} | {needed / spent / rate:.2f} |", flush=True)


def operations(step: Callable[[], object]) -> int:
    """Multiplications and additions of a step."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def large_product(given: argparse.Namespace) -> tuple[Callable[[], object], int]:
    """A product of square matrices in the precision of the trunk, and its operations."""
    size = 8192 if given.device.type == "cuda" else 2048
    dtype = torch.bfloat16 if given.precision == "bfloat16" else torch.float32
    one, other = torch.ones(2, size, size, dtype=dtype, device=given.device)
    return lambda: one @ other, 2 * size**3


def scaling(given: argparse.Namespace) -> None:
    """Exponents of the step's time in tasks, batch, shared parameters and replicates."""
    print("\n| step | grows with | sizes | exponent | ms |\n|---|---|---|---|---|")

    def show_growth(method: str, what: str, sizes: list[int], arms: Arms) -> None:
        times = interleaved(arms, given.blocks, given.repeats, given.device)
        middle = [statistics.median(times[name]) for name in arms]
        shown = ", ".join(f"{t * 1e3:.0f}" for t in middle)
        line = f"| {method} | {what} | {', '.join(map(str, sizes))} | {exponent(sizes, middle):.2f}"
        print(f"{line} | {shown} |", flush=True)

    for method in given.method or ["uniform", "gradnorm", "imtl_g", "db_mtl"]:
        for what, sizes in (("tasks", [1, 4, 16, 64]), ("batch", [8, 16, 32, 64])):
            made = {n: work_of("small_cnn", given, **{"batch": None, what: n}) for n in sizes}
            show_growth(method, what, sizes, {str(n): w.ours(method) for n, w in made.items()})
        wide = [work_of("small_cnn", given, batch=None, width=width) for width in (8, 16, 32, 64)]
        sizes = [sum(p.numel() for p in w.replicate().network.trunk.parameters()) for w in wide]
        arms = {str(n): w.ours(method) for n, w in zip(sizes, wide, strict=True)}
        show_growth(method, "shared parameters", sizes, arms)
    for method in ("uniform", "gradnorm"):
        work, sizes = work_of("lenet", given), [1, 2, 5, 10]
        arms = {str(n): side_by_side(work, method, n) for n in sizes}
        show_growth(method, "replicates side by side (LeNet)", sizes, arms)


def side_by_side(work: Work, method: str, count: int) -> Callable[[], object]:
    """One step of some seeds as one model."""
    stack = Together([work.replicate(method, seed=s) for s in range(count)])
    stack.epoch = stack.batch = stack.step = 0
    stack._take_up(stack.members)
    index = work.index.repeat(count, 1)
    return lambda: stack._step(index)


def compile(given: argparse.Namespace) -> None:
    """Whether torch.compile of the trunk pays, and how far weights are from those without it."""
    for name in given.work or ["lenet", "small_cnn", "resnet18"]:
        for method in given.method or ["uniform", "imtl_g"]:
            work = work_of(name, given)
            both = [work.replicate(method), work.compiled(method)]
            for made in both:
                made._step(work.index)
            weights = [torch.cat([p.flatten() for p in r.network.parameters()]) for r in both]
            apart = (weights[0] - weights[1]).abs().max() / weights[0].abs().max()
            arms: Arms = {
                key: lambda made=made, work=work: made._step(work.index)
                for key, made in zip(("as it is", "compiled"), both, strict=True)
            }
            title = f"Compiled: {name}, batch {work.batch}, {method}; apart by {apart:.1e} of"
            show(f"{title} the largest weight after a step", arms, "as it is", given)


def seeds(given: argparse.Namespace) -> None:
    """A step of ten seeds of MultiMNIST: side by side, one after the other, LibMTL's ten."""
    for method, theirs in (("uniform", "EW"), ("gradnorm", "GradNorm")):
        work = work_of("lenet", given)
        alone = [work.replicate(method, seed=s) for s in range(10)]
        arms: Arms = {
            "side by side": side_by_side(work, method, 10),
            "alone": lambda alone=alone, work=work: [r._step(work.index) for r in alone],
        }
        if given.libmtl:
            ten = [work.libmtl(theirs) for _ in range(10)]
            arms["LibMTL"] = lambda ten=ten: [step() for step in ten]
        show(f"Ten seeds of LeNet, batch {work.batch}: {method}", arms, "alone", given)


def profile(given: argparse.Namespace) -> None:
    """Where the time of a step goes: torch's operations by their own share of it."""
    most = 6
    for name in given.work or ["lenet", "resnet18"]:
        for method in given.method or ["uniform", "imtl_g", "db_mtl"]:
            work = work_of(name, given)
            step = work.ours(method)
            step()  # warms up
            with torch.profiler.profile() as seen:
                step()
            on_gpu = given.device.type == "cuda"
            spent = {
                one.key: one.self_device_time_total if on_gpu else one.self_cpu_time_total
                for one in seen.key_averages()
            }
            total = sum(spent.values())
            print(f"\nProfile: {name}, batch {work.batch}, {method}\n")
            print("| operation | share, % |\n|---|---|")
            first = sorted(spent, key=lambda key: -spent[key])[:most]
            for key in first:
                print(f"| {key} | {100 * spent[key] / total:.0f} |")
            rest = total - sum(spent[key] for key in first)
            print(f"| {len(spent) - len(first)} others | {100 * rest / total:.0f} |", flush=True)


PARTS = {
    part.__name__: part
    for part in (methods, rivals, deepchest, tasks, loading, scaling, seeds, compile, profile)
}


def main() -> None:
    """Measure and print."""
    if not MEMORY.items() <= os.environ.items():  # which is read when a process starts
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **MEMORY})
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    parser.add_argument("--work", nargs="*", help="networks; each part has its own by default")
    parser.add_argument("--method", nargs="*", help="methods instead of the part's own")
    parser.add_argument("--batch", type=int, help="items of a step")
    parser.add_argument("--blocks", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=1, help="steps of an arm in a block")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="float32", help="of our trunk"
    )
    parser.add_argument("--libmtl", type=Path, help="a checkout of LibMTL")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.words = [f"--device={given.device}"]
    given.words += [f"--libmtl={given.libmtl}"] if given.libmtl else []
    given.words += [f"--batch={given.batch}"] if given.batch else []
    given.words += [f"--precision={given.precision}"]
    torch.set_num_threads(1)
    products = given.precision == "tf32"  # as a job sets them
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = products
    if given.libmtl:
        libmtl.load(given.libmtl)
    if given.peak:
        peak(given)
        return
    on = processor() if given.device.type == "cpu" else torch.cuda.get_device_name(given.device)
    print(f"{on}; Python {platform.python_version()}, torch {torch.__version__}")
    for part in given.part:
        PARTS[part](given)


if __name__ == "__main__":
    main()
