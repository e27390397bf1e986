"""Speed of a training step: every method, LibMTL and TorchJD on the same work, what it grows with.

    python -m benchmarks.speed [--libmtl FOLDER] [--part PART ...] [--work NAME ...] [--device cuda]

Prints tables for docs/measurements.md: the geometric mean of the ratio over interleaved blocks with
its 95 % interval. On a CPU one thread and processor time; on a GPU time with the device awaited.
Memory is the peak of a process of its own above what it held before the first step (of a GPU: what
torch had allocated). Parts: ``methods`` relative to a plain loop; ``rivals``, against LibMTL
(benchmarks/libmtl.py says how to get it), TorchJD and the floor of K backward passes of the trunk;
``deepchest``, its claim of speed; ``loading``, training against a torchvision loader and loop;
``scaling``, with fitted exponents; ``seeds``, ten seeds side by side against ten runs of LibMTL.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import libmtl
from benchmarks.ratios import Arms, exponent, interleaved, ratio
from benchmarks.work import Work
from counterpoise import registry
from counterpoise.provenance import processor
from counterpoise.training.replicates import Together

RIVALS = {
    "imtl_g": ("IMTL", "IMTLG"), "pcgrad": ("PCGrad", "PCGrad"), "upgrad": ("UPGrad", "UPGrad"),
    "mgda": ("MGDA", "MGDA"), "aligned_mtl": ("Aligned_MTL", "AlignedMTL"),
    "db_mtl": ("DB_MTL", None), "gradnorm": ("GradNorm", None), "uniform": ("EW", None),
}  # fmt: skip
"""Our method, LibMTL's, TorchJD's."""


def show(title: str, arms: Arms, reference: str, given: argparse.Namespace) -> None:
    """Time the arms and print a table of ratios to one of them."""
    times = interleaved(arms, given.blocks, given.repeats, given.device)
    print(f"\n{title}\n\n| step | ms | ratio to {reference} | 95 % |\n|---|---|---|---|")
    for name, spent in times.items():
        value, low, high = ratio(spent, times[reference])
        shown = sorted(spent)[len(spent) // 2] * 1e3
        print(f"| {name} | {shown:.1f} | {value:.3f} | {low:.3f} to {high:.3f} |", flush=True)


def methods(given: argparse.Namespace) -> None:
    """Every method of the catalogue, relative to a plain loop on the same network."""
    for name in given.work or ["lenet", "resnet18", "densenet121"]:
        work = Work(name, given.device, given.batch)
        arms: Arms = {"plain loop": work.plain()}
        for method in given.method or registry.names("methods"):
            arms[method] = work.ours(method)
            if method == "gradnorm":
                arms["gradnorm at W"] = work.ours(method, at="w")
        show(f"{name}, batch {work.batch}, K = {len(work.tasks)}", arms, "plain loop", given)


def arms_of(work: Work, name: str, given: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """One method by all who have it; each is made when it is called first, for its memory."""
    theirs, jd = RIVALS[name]
    found: dict[str, Callable[[], object]] = {
        "K backward passes": work.floor,
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
            work = Work(name, given.device, given.batch)
            made = {key: make() for key, make in arms_of(work, method, given).items()}
            title = f"{name}, batch {work.batch}, K = {len(work.tasks)}: {method}"
            show(title, made, "K backward passes", given)
            print("\n| step | peak memory, MiB |\n|---|---|")
            for key in made:
                command = [sys.executable, "-m", "benchmarks.speed", *given.words]
                command += ["--peak", name, method, key]
                told = subprocess.run(command, capture_output=True, text=True, check=True)
                print(f"| {key} | {told.stdout.strip()} |", flush=True)


def peak(given: argparse.Namespace) -> None:
    """Print the peak memory of two steps of one arm of :func:`rivals`, in this process."""
    name, method, key = given.peak
    work = Work(name, given.device, given.batch)
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
    """What "three times as fast" is relative to."""
    for name in given.work or ["resnet18"]:
        work = Work(name, given.device, given.batch)
        arms: Arms = {
            "uniform": work.ours("uniform"),
            "DeepChest": work.ours("deepchest"),
            "GradNorm at Z": work.ours("gradnorm"),
            "GradNorm at W": work.ours("gradnorm", at="w"),
            "GradNorm as in DeepChest's code": work.ours("gradnorm_deepchest"),
        }
        if given.libmtl:
            arms["GradNorm of LibMTL"] = work.libmtl("GradNorm")
        show(f"DeepChest's claim: {name}, batch {work.batch}", arms, "DeepChest", given)


def loading(given: argparse.Namespace) -> None:
    """Images per second: ours with data in memory, a torchvision loader and loop, the floor."""
    for name in given.work or ["resnet18"]:
        work = Work(name, given.device, given.batch)
        arms: Arms = {
            "plain loop": work.plain(),
            "ours": work.ours("uniform"),
            "loader": work.loader(),
        }
        show(f"Loading: {name}, batch {work.batch}", arms, "plain loop", given)


def scaling(given: argparse.Namespace) -> None:
    """Exponents of the step's time in K, in the batch and in replicates, on the small CNN."""
    print("\n| step | grows with | sizes | exponent |\n|---|---|---|---|")
    for method in given.method or ["uniform", "gradnorm", "imtl_g"]:
        for what, sizes in (("tasks", [2, 4, 8, 14]), ("batch", [8, 16, 32, 64])):
            arms = {
                str(n): Work("small_cnn", given.device, **{what: n}).ours(method) for n in sizes
            }
            times = interleaved(arms, given.blocks, given.repeats, given.device)
            middle = [sorted(times[str(n)])[given.blocks // 2] for n in sizes]
            print(f"| {method} | {what} | {sizes} | {exponent(sizes, middle):.2f} |", flush=True)


def seeds(given: argparse.Namespace) -> None:
    """A step of ten seeds of MultiMNIST: side by side, one after the other, LibMTL's ten."""
    for method, theirs in (("uniform", "EW"), ("gradnorm", "GradNorm")):
        work = Work("lenet", given.device, given.batch)
        alone = [work.replicate(method, seed=s) for s in range(10)]
        stack = Together([work.replicate(method, seed=s) for s in range(10)])
        stack.epoch = stack.batch = stack.step = 0
        stack._take_up(stack.members)
        index = work.index.repeat(10, 1)
        arms: Arms = {
            "side by side": lambda stack=stack, index=index: stack._step(index),
            "alone": lambda alone=alone, work=work: [r._step(work.index) for r in alone],
        }
        if given.libmtl:
            ten = [work.libmtl(theirs) for _ in range(10)]
            arms["LibMTL"] = lambda ten=ten: [step() for step in ten]
        show(f"Ten seeds of LeNet, batch {work.batch}: {method}", arms, "alone", given)


PARTS = {f.__name__: f for f in (methods, rivals, deepchest, loading, scaling, seeds)}


def main() -> None:
    """Measure and print."""
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
    parser.add_argument("--libmtl", type=Path, help="a checkout of LibMTL")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.words = [f"--device={given.device}"]
    given.words += [f"--libmtl={given.libmtl}"] if given.libmtl else []
    given.words += [f"--batch={given.batch}"] if given.batch else []
    torch.set_num_threads(1)
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
