"""Speed of a training step: every method, LibMTL and TorchJD on the same work, what it grows with.

    python -m benchmarks.speed [--libmtl FOLDER] [--part PART ...] [--work NAME ...] [--device cuda]

Prints tables for docs/measurements.md: the geometric mean of the ratio over interleaved blocks with
its 95 % interval. On a CPU one thread and processor time; on a GPU time with the device awaited,
over as many steps as fill a fifth of a second.
Memory is the peak above what was held before the first step: of a process of its own, or of a GPU
what torch has allocated. What does not fit, or is not installed, gets a row that says so. Parts:
``methods``, the whole catalogue against what its signals cost (``--memory`` adds memory on a CPU);
``rivals``, against LibMTL (benchmarks/libmtl.py says how to get it), TorchJD and the floor of K
backward passes of the trunk;
``deepchest``, its claims about speed and memory; ``tasks``, relative to uniform with more and more
tasks; ``loading``, images per second against a torchvision loader and loop, and the share of the
device's own rate of products that the step's arithmetic reaches; ``scaling``, with fitted
exponents; ``seeds``, a step of ten seeds side by side against ten of LibMTL's, ``trainings``, their
whole trainings; ``compile``, with the trunk compiled by torch; ``graphs``, with its kernels
recorded as graphs (on a GPU); ``profile``, where a step's time goes. Memory is handled as in a
workflow's jobs. ``python -m benchmarks`` runs all of it, the most important first, and resumes
where it was stopped.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import torch

from benchmarks import libmtl, ratios, tables
from benchmarks.arms import (
    FLOOR,
    RIVALS,
    deepchest_arms,
    floor_of,
    method_arms,
    peak,
    peaks,
    rival_arms,
    set_precision,
    side_by_side,
    timed,
    work_of,
)
from benchmarks.loading import loading
from benchmarks.machine import described
from benchmarks.ratios import Makers, Spent, Step, exponent, ratio, take_workspaces
from benchmarks.tables import NONE, Table, compared, milliseconds
from benchmarks.work import Work
from counterpoise import registry
from counterpoise.spec.cell import Precision
from counterpoise.workflow import MEMORY

LIMITS = {"losses": 1.03, "features": 1.1, "last_layer": 1.1, "gramian": 1.05, "jacobian": 1.05}
"""Of the ratio, by what a method looks at."""


def held(limit: float, low: float, high: float) -> str:
    """Whether a ratio keeps its limit, in a word, as far as its interval tells."""
    return "kept" if high <= limit else "missed" if low > limit else "open"


def sizes_of(work: Work) -> str:
    """What a step is of, for a title."""
    precision = "" if work.precision == "float32" else f", {work.precision}"
    return f"batch {work.batch}, K = {len(work.tasks)}{precision}"


def methods(given: argparse.Namespace) -> Iterator[Table]:
    """Every method of the catalogue, relative to the least that its signal costs, and to uniform.

    That is uniform weighting, with one more forward pass where a method looks at the losses anew,
    or K backward passes of the trunk.
    """
    for name in given.work or ["lenet", "resnet18", "densenet121"]:
        work, chosen = work_of(name, given), given.method or list(registry.names("methods"))
        spent = timed(method_arms(work, chosen), given)
        rows = []
        for arm, one in spent.items():
            method = "gradnorm" if arm == "gradnorm at W" else arm
            known = method in chosen
            kind = registry.method(method).signal if known else NONE
            floor = floor_of(method) if known else "uniform"
            limit, told = LIMITS.get(kind, math.inf), NONE
            if known and not one.failure and not spent[floor].failure:
                _, low, high = ratio(one.seconds, spent[floor].seconds)
                told = f"{limit}, {held(limit, low, high)}"
            relative = compared(one, spent[floor])
            to_uniform = compared(one, spent["uniform"])[0]
            rows.append((arm, kind, milliseconds(one), floor, *relative, told, to_uniform))
        columns = ("step", "looks at", "ms", "relative to", "ratio", "95 %", "limit", "to uniform")
        if ratios.on_gpu(given.device) or given.memory:
            found = peaks("methods", name, chosen, spent, given)
            more = tables.memory("", found, "uniform").rows
            rows = [(*row, *cells[1:]) for row, cells in zip(rows, more, strict=True)]
            columns += ("peak memory, MiB", "to uniform")
        yield Table(f"{name}, {sizes_of(work)}", columns, rows, spent)


def rivals(given: argparse.Namespace) -> Iterator[Table]:
    """The same methods elsewhere, and peak memory."""
    for name in given.work or ["resnet18", "densenet121"]:
        for method in given.method or ["imtl_g", "upgrad"]:
            work = work_of(name, given)
            spent = timed(rival_arms(work, method), given)
            title = f"{name}, {sizes_of(work)}: {method}"
            yield tables.ratios(title, spent, FLOOR)
            found = peaks("rivals", name, [method], spent, given)
            yield tables.memory(f"{title}, memory", found)


def deepchest(given: argparse.Namespace) -> Iterator[Table]:
    """What "three times as fast" is relative to, without and with reading pictures, and memory."""
    for name in given.work or ["resnet18"]:
        work = work_of(name, given)
        arms = deepchest_arms(work)
        title = f"DeepChest's claim: {name}, {sizes_of(work)}"
        spent = timed(arms, given)
        yield tables.ratios(title, spent, "DeepChest")
        found = peaks("deepchest", name, [], spent, given)
        yield tables.memory(f"{title}, memory", found, "DeepChest")
        loaded: Makers = {
            key: lambda make=make, w=work: w.loaded(make()) for key, make in arms.items()
        }
        yield tables.ratios(f"{title}, with a loader", timed(loaded, given), "DeepChest")


def tasks(given: argparse.Namespace) -> Iterator[Table]:
    """What a method costs relative to uniform as tasks become more."""
    for name in given.work or ["small_cnn"]:
        for count in (3, 5, 14):
            work = work_of(name, given, tasks=count)
            chosen = ["uniform", *(given.method or ["db_mtl", "imtl_g", "gradnorm"])]
            arms: Makers = {method: lambda m=method, w=work: w.ours(m) for method in chosen}
            yield tables.ratios(f"{name}, {sizes_of(work)}", timed(arms, given), "uniform")


def scaling(given: argparse.Namespace) -> Iterator[Table]:
    """Exponents of the step's time in tasks, batch, shared parameters and replicates."""
    columns = ("step", "grows with", "sizes", "exponent", "ms")

    def growth(method: str, what: str, arms: Makers) -> Table:
        spent = timed(arms, given)
        middle = tables.medians(spent, list(arms))
        told = next((one.failure for one in spent.values() if one.failure), "")
        sizes = [int(size) for size in arms]
        power = told or f"{exponent(sizes, middle):.2f}"
        shown = ", ".join(f"{t * 1e3:.1f}" for t in middle)
        row = (method, what, ", ".join(arms), power, shown)
        return Table(f"{method} by {what}", columns, [row], spent)

    more = 8 if ratios.on_gpu(given.device) else 1  # what fills a device
    chosen = given.method or ["uniform", "gradnorm", "imtl_g", "db_mtl"]
    for method in chosen:
        batches = [n * more for n in (8, 16, 32, 64)]
        for what, sizes in (("tasks", [1, 4, 16, 64]), ("batch", batches)):
            made = {n: work_of("small_cnn", given, **{"batch": None, what: n}) for n in sizes}
            arms: Makers = {str(n): lambda w=w, m=method: w.ours(m) for n, w in made.items()}
            yield growth(method, what, arms)
        wide = [work_of("small_cnn", given, batch=None, width=width) for width in (8, 16, 32, 64)]
        arms = {
            str(sum(p.numel() for p in w.replicate().network.trunk.parameters())): (
                lambda w=w, m=method: w.ours(m)
            )
            for w in wide
        }
        yield growth(method, "shared parameters", arms)
    for method in (method for method in ("uniform", "gradnorm") if method in chosen):
        work = work_of("lenet", given)
        arms = {str(n): step_together(work, method, n) for n in (1, 2, 5, 10)}
        yield growth(method, "replicates side by side (LeNet)", arms)


def step_together(work: Work, method: str, count: int) -> Callable[[], Step]:
    """Makes a step of some seeds as one model."""

    def make() -> Step:
        stack, index = side_by_side(work, method, count), work.index.repeat(count, 1)
        return lambda: stack._step(index)

    return make


def compile(given: argparse.Namespace) -> Iterator[Table]:
    """Whether torch.compile of the trunk pays, and how far weights are from those without it."""
    for name in given.work or ["lenet", "small_cnn", "resnet18"]:
        for method in given.method or ["uniform", "imtl_g"]:
            work = work_of(name, given)
            yield against_plain("compiled", work, method, work.compiled, given)


def graphs(given: argparse.Namespace) -> Iterator[Table]:
    """Whether recording the trunk's kernels as graphs pays, and how far weights are then."""
    for name in given.work or ["lenet", "resnet18", "densenet121"]:
        for method in given.method or ["uniform", "gradnorm"]:
            work = work_of(name, given)
            yield against_plain("graphs", work, method, work.graphed, given)


def against_plain(
    way: str,
    work: Work,
    method: str,
    make: Callable[[str], object],
    given: argparse.Namespace,
) -> Table:
    """A replicate made another way against the usual one, and the weights of their first step."""
    weights: dict[str, torch.Tensor] = {}

    def arm(name: str, replicate: Callable[[str], object]) -> Callable[[], Step]:
        def begin() -> Step:
            made = replicate(method)
            made._step(work.index)
            parameters = [p.detach().flatten() for p in made.network.parameters()]
            weights[name] = torch.cat(parameters).cpu()
            return lambda: made._step(work.index)

        return begin

    spent = timed({"as it is": arm("as it is", work.replicate), way: arm(way, make)}, given)
    title = f"{way}: {work.network.name}, {sizes_of(work)}, {method}"
    if len(weights) == 2:
        plain, other = weights["as it is"], weights[way]
        apart = (plain - other).abs().max() / plain.abs().max()
        title += f"; apart by {apart:.1e} of the largest weight after a step"
    return tables.ratios(title, spent, "as it is")


def seeds(given: argparse.Namespace) -> Iterator[Table]:
    """A step of ten seeds of MultiMNIST: side by side, one after the other, LibMTL's ten."""
    for method, theirs in (("uniform", "EW"), ("gradnorm", "GradNorm")):
        work = work_of("lenet", given)

        def alone(work: Work = work, method: str = method) -> Step:
            return in_turn([work.stepping(one) for one in work.replicates(method, 10)])

        def elsewhere(work: Work = work, theirs: str = theirs) -> Step:
            return in_turn([work.libmtl(theirs) for _ in range(10)])

        arms: Makers = {
            "side by side": step_together(work, method, 10),
            "alone": alone,
            "LibMTL": elsewhere,
        }
        title = f"Ten seeds of LeNet, {sizes_of(work)}: {method}"
        yield tables.ratios(title, timed(arms, given), "alone")


def in_turn(steps: list[Step]) -> Step:
    """All of them as one call."""
    return lambda: [step() for step in steps]


def trainings(given: argparse.Namespace) -> Iterator[Table]:
    """Ten seeds of MultiMNIST from first to last: ours side by side, LibMTL's in turn."""
    batches, epochs = (32, 2) if ratios.on_gpu(given.device) else (2, 1)
    for method, theirs in (("uniform", "EW"), ("gradnorm", "GradNorm")):
        batch = work_of("lenet", given).batch
        work = work_of("lenet", given, items=batches * batch)
        arms: Makers = {
            "side by side": lambda w=work, m=method: w.trained(m, 10, epochs, together=True),
            "alone": lambda w=work, m=method: w.trained(m, 10, epochs, together=False),
            "LibMTL": lambda w=work, t=theirs: w.trained_by_libmtl(t, 10, epochs),
        }
        spent = timed(arms, given, repeats=1)
        title = f"Training ten seeds of LeNet, {epochs} x {batches} steps, {sizes_of(work)}"
        table = tables.ratios(f"{title}: {method}", spent, "side by side")
        if ratios.on_gpu(given.device):
            word = ratios.reaches(15, spent["side by side"], spent["LibMTL"])
            table.title += f"; at least 15 times LibMTL's speed: {word}"
        yield table


def profile(given: argparse.Namespace) -> Iterator[Table]:
    """Where the time of a step goes: torch's operations by their own share of it.

    On a GPU also how much of a step the device is busy: what launching leaves it idle.
    """
    most, on_gpu = 6, ratios.on_gpu(given.device)
    for name in given.work or ["lenet", "resnet18"]:
        for method in given.method or ["uniform", "imtl_g", "db_mtl"]:
            work = work_of(name, given)
            spent = timed({method: lambda w=work, m=method: w.ours(m)}, given)
            step = work.ours(method)
            step()  # warms up
            with torch.profiler.profile() as seen:
                step()
            own = {
                one.key: one.self_device_time_total if on_gpu else one.self_cpu_time_total
                for one in seen.key_averages()
                if one.device_type == torch.autograd.DeviceType.CPU  # else kernels count twice
            }
            title = f"Profile: {name}, {sizes_of(work)}, {method}"
            total = sum(own.values())
            if not total:  # which the machine may not allow
                blind = {method: Spent(failure="absent: the profiler sees nothing of the device")}
                yield Table(
                    title, ("operation", "share, %"), [(method, blind[method].failure)], blind
                )
                continue
            first = sorted(own, key=lambda key: -own[key])[:most]
            rows = [(key, f"{100 * own[key] / total:.0f}") for key in first]
            rest = total - sum(own[key] for key in first)
            rows.append((f"{len(own) - len(first)} others", f"{100 * rest / total:.0f}"))
            middle = tables.medians(spent, [method])
            if on_gpu and middle:
                busy = total / 1e6 / middle[0]
                title += f"; the device is busy for {100 * min(busy, 1):.0f} % of a step"
            yield Table(title, ("operation", "share, %"), rows, spent)


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[Table]]] = {
    part.__name__: part
    for part in (
        methods, rivals, deepchest, tasks, loading, scaling, seeds, trainings, compile, graphs,
        profile,
    )
}  # fmt: skip


def several(word: str) -> int:
    """A number of blocks that an interval can be computed of."""
    count = int(word)
    if count < 2:
        raise argparse.ArgumentTypeError("an interval takes at least 2 blocks")
    return count


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of this benchmark, and of all of it."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--part", nargs="*", choices=PARTS, default=list(PARTS))
    made.add_argument("--work", nargs="*", help="networks; each part has its own by default")
    made.add_argument("--method", nargs="*", help="methods instead of the part's own")
    made.add_argument("--batch", type=int, help="items per step")
    made.add_argument("--blocks", type=several, default=5, help="two or more")
    made.add_argument(
        "--repeats",
        type=int,
        help="steps of an arm per block; if left out, one on a CPU, what fills 0.2 s on a GPU",
    )
    made.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    made.add_argument(
        "--precision", choices=get_args(Precision), default="float32", help="of our trunk"
    )
    made.add_argument("--libmtl", type=Path, help="a checkout of LibMTL, unless it is on the path")
    made.add_argument("--memory", action="store_true", help="of every method, on a CPU")
    made.add_argument("--peak", nargs="+", help=argparse.SUPPRESS)
    return made


def prepare(given: argparse.Namespace) -> None:
    """Set up this process for what the command line wants.

    Raises:
        SystemExit: there is no such device, or no such method to compare with others' code.
    """
    if not MEMORY.items() <= os.environ.items():  # which is read when a process starts
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **MEMORY})
    if given.device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("error: torch finds no CUDA device; what to do: leave --device out")
    unknown = set(given.method or ()) - set(RIVALS)
    if given.part == ["rivals"] and unknown:
        raise SystemExit(f"error: others have no {', '.join(unknown)}; known: {', '.join(RIVALS)}")
    given.until = math.inf
    given.words = [f"--device={given.device}"]
    given.words += [f"--libmtl={given.libmtl}"] if given.libmtl else []
    given.words += [f"--batch={given.batch}"] if given.batch else []
    given.words += [f"--precision={given.precision}"]
    torch.set_num_threads(1)
    set_precision(given.precision)
    take_workspaces(given.device)
    folder = given.libmtl or libmtl.folder_on_path()
    if folder:
        libmtl.load(folder)


def main() -> None:
    """Measure and print; an arm that has failed by a fault shows in the exit code."""
    given = parser(__doc__).parse_args()
    prepare(given)
    if given.peak:
        print(peak(given))
        return
    print(described(given.device))
    failed = False
    for part in given.part:
        for table in PARTS[part](given):
            print(f"\n{table.markdown()}", flush=True)
            failed |= table.failed
    if failed:
        raise SystemExit("error: an arm has failed; its row says why")


if __name__ == "__main__":
    main()
