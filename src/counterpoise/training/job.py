"""The training job of one cell: all its seeds, one after the other, resumable at any point."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pandas as pd
import torch
from filelock import FileLock, Timeout
from safetensors.torch import save as save_tensors

from counterpoise.datasets._part import Part, is_known
from counterpoise.errors import UserError
from counterpoise.files import atomic, make_folder, read_json, sha256_file, sweep, write_sealed
from counterpoise.prepared import load_part
from counterpoise.provenance import commit, environment, peak_memory_mib
from counterpoise.training.engine import Interrupted, Progress, Replicate
from counterpoise.training.gpus import own_gpu
from counterpoise.training.initial import start_of
from counterpoise.training.memory import device_peak_mib, enough_memory, release
from counterpoise.training.predict import predict
from counterpoise.training.prefetch import placed
from counterpoise.training.preliminary import settled
from counterpoise.training.problem import RESULTS, Job, Problem, device_of, hardware_of, tasks_of
from counterpoise.training.progress import PROGRESS, Reporter
from counterpoise.training.replicates import Parted, Together, map_together, stand_together
from counterpoise.training.siblings import Siblings, beside

log = logging.getLogger(__name__)

SMALL = 2_000_000
"""Shared parameters up to which a network leaves a GPU idle: all its seeds train at once, and those
of its siblings."""
WORKFLOW = "COUNTERPOISE_WORKFLOW"
"""Variable with the number of the process that runs the workflow."""
STOPPED = 143
"""Exit code of a process that was asked to stop, as a shell gives it for SIGTERM."""
PATIENCE = 8.0
"""Seconds from the wish to stop to the end of the process, saved or not."""
LIBRARIES = ("torch", "numpy", "pandas", "scipy", "scikit-learn")


def _parts(job: Job, names: tuple[str, ...]) -> dict[str, Part]:
    cell = job.cell
    return {name: load_part(cell.dataset, cell.dataset_options, job.split, name) for name in names}


class Stop:
    """Turns SIGTERM and SIGINT into a wish that the engine sees between two steps.

    Where no step ends in time (a slow one, reading data, predicting) the process ends all the same;
    the state that was saved before is still there.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.wished = False
        self._end = threading.Timer(patience, os._exit, (STOPPED,))
        self._end.daemon = True
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._wish)

    def _wish(self, _number: int, _frame: FrameType | None) -> None:
        # Noted first: a second signal may come while the timer starts.
        first, self.wished = not self.wished, True
        if first:
            self._end.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.cancel()


def train(
    job: Job,
    device: str = "auto",
    save_every: float = 60.0,
    replicates: str = "auto",
    siblings: Siblings = tuple,
) -> None:
    """Train all seeds of a cell and write weights, history, record and predictions.

    Predictions are made from the weights as written, by the same process: another would have to
    import torch again. The record comes last, with the checksums of the others.

    Args:
        job: the cell and its places.
        device: where to train.
        save_every: seconds between two saved states.
        replicates: how seeds train, ``auto``, ``together`` or ``alone``: together on a GPU, if
            the network is small, and otherwise alone.
        siblings: asked where seeds of a small network train together, for cells whose seeds train
            with them.

    Raises:
        UserError: the cell's data are missing, or the device is, or has too little memory.
        Interrupted: asked to stop; the state is saved and the next call goes on.
    """
    torch.set_num_threads(1)  # results must not depend on the cores that are free
    make_folder(job.work)
    with Stop() as stop, _lock(job.work / "lock", stop) as waited:
        if waited and job.is_done:
            log.info("the other process has finished it")
            shutil.rmtree(job.work, ignore_errors=True)
        else:
            make_folder(job.work)
            sweep(job.out, RESULTS)  # what a killed process was writing
            planned = job.cell
            job, choices = settled(job)
            if choices:  # the digest is that of the cell as planned
                method = job.cell.method.model_dump(mode="json")
                choices |= {"cell": planned.model_dump(mode="json"), "method": method}
            with own_gpu(device_of(device), lambda: stop.wished) as own:
                _train(job, choices, own, save_every, stop, replicates, siblings)
            if not _is_orphan():
                shutil.rmtree(job.work, ignore_errors=True)


def _is_orphan() -> bool:
    """Whether the workflow that started this process was killed.

    Its rerun may have planned this cell already, and removes its files before it trains it: with
    the state kept, that costs no training.
    """
    workflow = os.environ.get(WORKFLOW)
    if workflow is None or not workflow.isdigit():
        return False
    try:
        os.kill(int(workflow), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def _lock(path: Path, stop: Stop) -> Iterator[bool]:
    """Hold the cell's work folder alone; yields whether another process had it before."""
    lock, waited = FileLock(path), False
    while True:
        try:
            lock.acquire(timeout=1 if waited else 0)
            break
        except Timeout:
            if not waited:
                log.info(
                    "another process trains this cell; waiting for it (`counterpoise status` shows "
                    "it, `kill%s` stops it with its state saved)",
                    _holder(path.parent),
                )
            waited = True
            if stop.wished:
                raise Interrupted from None
        except OSError as error:
            raise UserError(
                f"cannot lock: {error.strerror or error}",
                where=path,
                remedy="give yourself write permission to the folder, or remove this file if it is "
                "another user's and no training runs",
            ) from error
    try:
        yield waited
    finally:
        lock.release()


def _holder(work: Path) -> str:
    """A space and the number of the process that works in a folder; empty if unknown."""
    try:
        return f" {int(read_json(work / PROGRESS)['pid'])}"
    except (UserError, KeyError, TypeError, ValueError):
        return ""


def _train(
    job: Job,
    choices: dict[str, Any],
    device: torch.device,
    save_every: float,
    stop: Stop,
    replicates: str,
    siblings: Siblings,
) -> None:
    products = job.cell.protocol.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = products
    with enough_memory(job.cell.protocol.micro_batch):
        trained = _trained(job, device, save_every, stop, replicates, siblings)
        release(device)  # predictions load data and networks anew
        _write(job, trained, choices, device)


@dataclass
class _Trained:
    """What is left of a training, on the host.

    Attributes:
        facts: for the record: where the trunk started, what was frozen, where inputs were.
        tensors: the weights that are kept, by seed and name.
        frames: each seed's history.
        seeds: how each seed was trained and has ended.
        means: as :func:`_means` gives them.
        here: whether a part of it was done by this process.
        device_peak: largest memory of the device in MiB; None on a CPU.
    """

    facts: dict[str, Any]
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    frames: list[pd.DataFrame] = field(default_factory=list)
    seeds: dict[str, Any] = field(default_factory=dict)
    means: dict[str, list[float]] = field(default_factory=dict)
    here: bool = False
    device_peak: float | None = None

    def add(self, replicate: Replicate) -> None:
        """Keep what a replicate has come to that is at its end."""
        seed = replicate.seed
        self.tensors |= {f"{seed}/{k}": v.cpu() for k, v in replicate.best["tensors"].items()}
        self.frames.append(_history(seed, replicate.history))
        self.seeds[str(seed)] = {
            "status": "finished" if replicate.trouble is None else "diverged",
            "trouble": replicate.trouble,
            "selected_epoch": replicate.best["epoch"],
            "steps": replicate.step,
            "seconds": round(replicate.seconds, 3),
            "resumed": replicate.resumed,
            "side_by_side": replicate.side_by_side,
        }


def _trained(
    job: Job,
    device: torch.device,
    save_every: float,
    stop: Stop,
    replicates: str,
    siblings: Siblings,
) -> _Trained:
    """Train all seeds; on the device nothing is left of it."""
    parts = {n: placed(part, device) for n, part in _parts(job, ("train", "validation")).items()}
    start, origin = start_of(job)
    problem = Problem(job.cell, tasks_of(job.cell), parts, device, start)
    first, _ = problem.build(job.cell.seeds[0])
    small = sum(p.numel() for p in first.trunk.parameters()) <= SMALL
    trained = _Trained({
        "initial": origin,
        "frozen": first.frozen_parameters(),
        "inputs": {n: "streamed" if part.streamed else "resident" for n, part in parts.items()},
    })  # fmt: skip
    del first  # of the device's memory, too
    epochs = job.cell.protocol.epochs
    with Reporter(f"{job.name}/{job.digest}", job.work, epochs * len(job.cell.seeds)) as reporter:
        done: dict[int, int] = {}
        peaks: list[float | None] = []

        def report(progress: Progress) -> None:
            done[progress.seed] = progress.epoch
            total = sum(done.values())
            reporter.tell(progress.seed, progress.epoch, epochs, total, progress.message)

        def made(seed: int) -> Replicate:
            replicate = Replicate(problem, seed, job.state_of(seed), save_every)
            trained.here |= not (replicate.resume() and replicate.finished)
            if replicate.epoch:
                log.info("seed %d continues at epoch %d", seed, replicate.epoch)
            return replicate

        def together(jobs: Sequence[Job]) -> bool | None:
            """Whether seeds have trained so; None where without other jobs they still may."""
            release(device)
            try:
                return _together([made(seed) for seed in seeds], jobs, trained, report, stop)
            except torch.OutOfMemoryError:
                more = " and those of other cells" if jobs else ""
                log.warning(
                    "%d seeds side by side%s do not fit the device's memory", len(seeds), more
                )
            except Parted as error:
                log.info("%s in a step of all together: they go on apart from there", error)
            return None if jobs else False

        seeds, by_default = job.cell.seeds, small and device.type == "cuda"
        as_one = replicates == "together" or (replicates == "auto" and by_default)
        others = list(siblings()) if as_one and small else []
        trained_so = together(others) if as_one else False
        if together([]) if trained_so is None else trained_so:
            peaks.append(device_peak_mib(device))
        else:
            for seed in seeds:
                release(device)
                _alone(made(seed), trained, report, stop)
                done[seed] = epochs
                peaks.append(device_peak_mib(device))
    trained.means = _means(problem)
    trained.device_peak = max((peak for peak in peaks if peak is not None), default=None)
    return trained


def _together(
    own: Sequence[Replicate],
    jobs: Iterable[Job],
    trained: _Trained,
    report: Callable[[Progress], None],
    stop: Stop,
) -> bool:
    """Train a job's replicates and its siblings' as one model to their end.

    Returns:
        Whether that was done; False where they do not fit together, or one would be alone.

    Raises:
        Interrupted: asked to stop; the states are saved.
        Parted: a step has no solution for all; the states from before it are saved.
        OutOfMemoryError: the device has no room for all.
    """
    if not map_together(own):
        return False
    if not stand_together(own):
        log.warning(
            "seeds were stopped at different steps, as by a kill while states were saved: "
            "each trains alone from where it is"
        )
        return False
    ahead = [replicate for replicate in own if not replicate.finished]
    if ahead:
        with beside(ahead, jobs, report) as more:
            if len(ahead) + len(more.replicates) == 1:
                return False
            Together([*ahead, *more.replicates]).run(more.report, lambda: stop.wished)
    for replicate in own:
        trained.add(replicate)
    return True


def _alone(
    replicate: Replicate, trained: _Trained, report: Callable[[Progress], None], stop: Stop
) -> None:
    """Train one seed; nothing of it is in memory when the next is built."""
    replicate.run(report, lambda: stop.wished)
    trained.add(replicate)


def _means(problem: Problem) -> dict[str, list[float]]:
    """What a constant predictor answers: class frequencies of the training part, or its mean.

    Of the known labels.
    """
    means = {}
    for task in problem.tasks:
        target = problem.parts["train"].targets[task.name]
        target = target[is_known(target)]
        if task.classes is None:
            means[task.name] = [float(target.double().mean())]
        else:
            counts = torch.bincount(target, minlength=task.classes)
            means[task.name] = (counts.double() / len(target)).tolist()
    return means


def _history(seed: int, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Long form: seed, epoch, quantity, task, value."""
    long = []
    for row in rows:
        for key, value in row.items():
            if key != "epoch":
                quantity, _, task = key.partition("/")
                long.append((seed, row["epoch"], quantity, task, value))
    columns = ["seed", "epoch", "quantity", "task", "value"]
    return pd.DataFrame(long, columns=columns).astype(
        {"seed": "int32", "epoch": "int32", "value": "float64"}
    )


def _write(job: Job, trained: _Trained, choices: dict[str, Any], device: torch.device) -> None:
    weights = job.out / "weights.safetensors"
    with atomic(weights) as temporary:
        temporary.write_bytes(save_tensors({k: v.contiguous() for k, v in trained.tensors.items()}))
    with atomic(job.out / "history.parquet") as temporary:
        pd.concat(trained.frames, ignore_index=True).to_parquet(temporary, index=False)
    predict(job, job.out / "predictions.parquet", device)
    files = ("weights.safetensors", "history.parquet", "predictions.parquet")
    write_sealed(
        job.out / "record.json",
        {
            "name": job.name,
            "digest": job.digest,
            "cell": job.cell.model_dump(mode="json"),
            "identity": job.identity,
            "seeds": trained.seeds,
            **choices,
            **trained.facts,
            "training_targets": trained.means,
            "data": {"split": sha256_file(job.split)},
            "files": {name: sha256_file(job.out / name) for name in files},
            "commit": commit(job.root),
            "environment": environment(LIBRARIES),
            "device": hardware_of(device),
            "threads": torch.get_num_threads(),
            "seconds": round(sum(seed["seconds"] for seed in trained.seeds.values()), 3),
            "peak_memory_mib": peak_memory_mib() if trained.here else None,
            "device_peak_memory_mib": trained.device_peak if trained.here else None,
        },
    )


__all__ = ["Interrupted", "Job", "train"]
