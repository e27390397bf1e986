"""What a job holds: a GPU of its own, one replicate at a time, and a way out of too little memory."""

from __future__ import annotations

import gc
import json
import logging
import threading
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.training import gpus, job, prefetch, replicates
from counterpoise.training import predict as prediction
from counterpoise.training.engine import Interrupted, Replicate
from counterpoise.training.gpus import own_gpu
from counterpoise.training.job import Job, train
from counterpoise.training.memory import enough_memory
from counterpoise.workflow import memory_mb

from ..support import computed_split, error_of, same_tensors

OPTIONS = {"problem": "negation"}
GPU = torch.device("cuda")
FULL = "CUDA out of memory. Tried to allocate 9 GiB. More words."


@pytest.fixture(scope="module")
def split_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return computed_split("toy", "formula", OPTIONS, tmp_path_factory.mktemp("made"))


def job_in(folder: Path, split: Path, **changes: Any) -> Job:
    protocol = {
        "epochs": 2, "batch_size": 64, "learning_rate": 0.01, "optimizer": "sgd", **changes
    }  # fmt: skip
    cell = Cell(
        dataset="toy", source="formula", dataset_options=OPTIONS,
        network=Component(name="mlp"), method=Component(name="gradnorm"),
        tasks=("label", "negated"), seeds=(0, 1, 2), protocol=Protocol(**protocol),
    )  # fmt: skip
    return Job(folder, cell, "name", "digest", split, folder / "work", folder / "out")


def record_of(made: Job) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.out / "record.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Two GPUs that a process may choose of; which it chose."""
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=f"card-{index}")
    )
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(gpus, "WAIT", 0.01)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return chosen


def test_each_job_has_a_gpu_of_its_own(two_gpus: list[int]) -> None:
    with own_gpu(GPU) as one, own_gpu(GPU) as other:
        assert (one, other) == (torch.device("cuda:0"), torch.device("cuda:1"))
    with own_gpu(GPU) as again:
        assert again == torch.device("cuda:0"), "it is free again"
    assert two_gpus == [0, 1, 0]


def test_where_all_are_held_a_job_waits(two_gpus: list[int]) -> None:
    got: list[torch.device] = []

    def wait() -> None:
        with own_gpu(GPU) as found:
            got.append(found)

    waiting = threading.Thread(target=wait)
    with own_gpu(GPU):
        with own_gpu(GPU):
            waiting.start()
            waiting.join(0.2)
            assert got == [] and waiting.is_alive()
        waiting.join(20)
    assert got == [torch.device("cuda:1")]


def test_a_job_that_waits_can_be_stopped(two_gpus: list[int]) -> None:
    with own_gpu(GPU), own_gpu(GPU), pytest.raises(Interrupted), own_gpu(GPU, lambda: True):
        raise AssertionError("no GPU was free")


def test_a_gpu_is_known_by_its_own_name(
    two_gpus: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one process calls 0 may be another's 1; a slice has the name of the whole."""
    with own_gpu(GPU):
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda i: SimpleNamespace(uuid=f"card-{1 - i}")
        )
        with own_gpu(GPU) as found:
            assert found == torch.device("cuda:0"), "the other card"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-a")
    with own_gpu(GPU):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-b")
        with own_gpu(GPU) as slice_:
            assert slice_ == torch.device("cuda:0")


def test_a_cpu_is_shared(two_gpus: list[int], tmp_path: Path) -> None:
    with own_gpu(torch.device("cpu")) as one, own_gpu(torch.device("cpu")) as other:
        assert one == other == torch.device("cpu")
    assert two_gpus == [] and list(tmp_path.iterdir()) == []


def test_a_gpu_that_cannot_be_locked_is_said(
    two_gpus: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(gpus.tempfile, "gettempdir", lambda: str(tmp_path / "file"))
    error = error_of(own_gpu(GPU).__enter__)
    assert "lock a GPU" in error.what and "TMPDIR" in error.remedy


def test_a_job_keeps_its_gpu_to_itself_while_it_trains(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Data, training and predictions are on the device that is its own."""
    seen: list[str] = []
    held = [False]

    class Own:
        def __init__(self, *_: Any) -> None:
            pass

        def __enter__(self) -> torch.device:
            held[0] = True
            return torch.device("cpu", 0)

        def __exit__(self, *_: object) -> None:
            held[0] = False

    monkeypatch.setattr(job, "own_gpu", Own)
    for module in (job, prediction):
        real = module.placed

        def placed(part: Any, device: torch.device, real: Any = real) -> Any:
            assert held[0]
            seen.append(str(device))
            return real(part, device)

        monkeypatch.setattr(module, "placed", placed)
    train(job_in(tmp_path, split_file), "cpu")
    assert seen == ["cpu:0"] * 4 and held == [False]


@pytest.mark.parametrize("way", ["alone", "together"])
def test_nothing_of_a_training_is_held_longer_than_needed(
    way: str, tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A seed's replicate is gone before the next is built, and all with the data before predict."""
    alive: list[weakref.ref[Any]] = []
    most = [0]
    init = Replicate.__init__

    def living() -> int:
        return sum(ref() is not None for ref in alive)

    def build(self: Replicate, problem: Any, *rest: Any, **more: Any) -> None:
        most[0] = max(most[0], living())
        init(self, problem, *rest, **more)
        alive.extend([weakref.ref(self.network), weakref.ref(problem.parts["train"])])

    def predict(*arguments: Any) -> None:
        if way == "together":
            gc.collect()  # as is done on a GPU
        assert living() == 0
        told.append(True)
        real(*arguments)

    told: list[bool] = []
    real = job.predict
    monkeypatch.setattr(Replicate, "__init__", build)
    monkeypatch.setattr(job, "predict", predict)
    gc.disable()
    try:
        train(job_in(tmp_path, split_file), "cpu", replicates=way)
    finally:
        gc.enable()
    assert told == [True]
    if way == "alone":
        assert most == [2], "the part, by each of two seeds before"


def test_where_seeds_side_by_side_do_not_fit_each_trains_alone(
    tmp_path: Path,
    split_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plain = job_in(tmp_path / "alone", split_file)
    train(plain, "cpu", replicates="alone")

    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError(FULL)

    monkeypatch.setattr(replicates, "train_step", full)
    other = job_in(tmp_path / "together", split_file)
    with caplog.at_level(logging.WARNING):
        train(other, "cpu", replicates="together")
    assert "3 seeds side by side do not fit" in caplog.text
    seeds = record_of(other)["seeds"]
    assert {end["side_by_side"] for end in seeds.values()} == {1}
    assert {end["resumed"] for end in seeds.values()} == {False}, "nothing was kept of it"
    name = "weights.safetensors"
    assert same_tensors(load_file(plain.out / name), load_file(other.out / name))


def test_what_side_by_side_had_saved_is_gone_on_with(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second epoch does not fit. Then no seed has been timed on one way from start to end."""
    real = replicates.train_step

    def full(*arguments: Any, **more: Any) -> Any:
        if more["epoch"] == 1:
            raise torch.OutOfMemoryError(FULL)
        return real(*arguments, **more)

    monkeypatch.setattr(replicates, "train_step", full)
    made = job_in(tmp_path, split_file)
    train(made, "cpu", save_every=0, replicates="together")
    seeds = record_of(made)["seeds"]
    assert {(end["side_by_side"], end["resumed"]) for end in seeds.values()} == {(3, True)}
    assert {end["steps"] for end in seeds.values()} == {2 * 256 / 64}


@pytest.mark.parametrize(("micro_batch", "value"), [(None, "16"), (8, "4"), (1, "1")])
def test_too_little_memory_says_what_to_do(micro_batch: int | None, value: str) -> None:
    def full() -> None:
        with enough_memory(micro_batch):
            raise torch.OutOfMemoryError(FULL)

    error = error_of(full)
    assert "CUDA out of memory" in error.what and "More words" not in error.what
    assert f"micro_batch: {value}`" in error.remedy
    assert "COUNTERPOISE_REPLICATES=alone" in error.remedy


def test_a_job_without_enough_memory_ends_with_that(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError(FULL)

    monkeypatch.setattr(Replicate, "_step", full)
    error = error_of(lambda: train(job_in(tmp_path, split_file), "cpu"))
    assert "micro_batch" in error.remedy


@pytest.mark.parametrize("way", ["alone", "together"])
@pytest.mark.parametrize("streamed", [False, True])
def test_the_record_says_where_inputs_were(
    streamed: bool, way: str, tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole job with inputs that stay on the host: the same files but for the record."""
    plain = job_in(tmp_path / "plain", split_file)
    train(plain, "cpu", replicates=way)
    monkeypatch.setattr(prefetch, "fits", lambda *_: not streamed)
    made = job_in(tmp_path / "made", split_file)
    train(made, "cpu", replicates=way)
    word = "streamed" if streamed else "resident"
    assert record_of(made)["inputs"] == {"train": word, "validation": word}
    for name in ("weights.safetensors", "history.parquet", "predictions.parquet"):
        assert (made.out / name).read_bytes() == (plain.out / name).read_bytes()


@pytest.mark.parametrize("way", ["alone", "together"])
def test_the_peak_of_a_gpu_is_recorded_by_itself(
    way: str, tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest of all groups of seeds, read before predictions are made."""
    peaks = iter([300.0, 500.0, 400.0])
    monkeypatch.setattr(job, "device_peak_mib", lambda _: next(peaks))
    made = job_in(tmp_path, split_file)
    train(made, "cpu", replicates=way)
    record = record_of(made)
    assert record["device_peak_memory_mib"] == (500.0 if way == "alone" else 300.0)
    assert record["peak_memory_mib"] not in (None, 300.0, 500.0)


def test_a_cpu_has_no_peak_of_a_device(tmp_path: Path, split_file: Path) -> None:
    made = job_in(tmp_path, split_file)
    train(made, "cpu")
    assert record_of(made)["device_peak_memory_mib"] is None


def test_seeds_that_parted_are_not_timed(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Side by side up to a decomposition that fails, then each alone: the time is of neither."""
    real, steps = replicates.train_step, iter(range(100))

    def fails(*arguments: Any, **more: Any) -> Any:
        if next(steps) == 2:
            raise torch.linalg.LinAlgError("no convergence")
        return real(*arguments, **more)

    monkeypatch.setattr(replicates, "train_step", fails)
    made = job_in(tmp_path, split_file)
    train(made, "cpu", replicates="together")
    seeds = record_of(made)["seeds"]
    assert {(end["side_by_side"], end["resumed"]) for end in seeds.values()} == {(3, True)}


@pytest.mark.parametrize(
    ("network", "options", "side", "batch", "method", "measured"),
    [
        ("lenet", {}, None, 128, "uniform", 997),
        ("small_cnn", {"width": 8}, 64, 64, "db_mtl", 643),
        ("resnet", {"depth": 18}, 128, 32, "db_mtl", 2552),
        ("resnet", {"depth": 18}, 224, 8, "db_mtl", 3433),
        ("densenet", {}, 224, 8, "uniform", 1989),
        ("resnet", {"depth": 152}, 224, 4, "uniform", 2559),
        ("cross_stitch", {"base": "resnet"}, 64, 8, "uniform", 4170),
    ],
)
def test_the_memory_that_is_declared_holds_what_was_measured(
    network: str, options: dict[str, Any], side: int | None, batch: int, method: str, measured: int
) -> None:
    """MiB of steps on a CPU with 14 tasks (docs/measurements.md), and a fifth more for the rest."""
    cell = Cell(
        dataset="chestxray14", source="s", dataset_options={} if side is None else {"size": side},
        network=Component(name=network, options=options), method=Component(name=method),
        tasks=("t",), seeds=(0,), protocol=Protocol(epochs=1, batch_size=batch, learning_rate=0.1),
    )  # fmt: skip
    declared = memory_mb(cell, gpu=False)
    assert 1.2 * measured * 1.048576 < declared < 20_000
    parts = cell.model_copy(update={"protocol": Protocol(
        epochs=1, batch_size=64 * batch, micro_batch=batch, learning_rate=0.1
    )})  # fmt: skip
    assert memory_mb(parts, gpu=False) == declared
    assert memory_mb(cell, gpu=True) >= 4000, "CUDA's libraries alone"


def test_a_device_is_passed_on_as_it_is(tmp_path: Path, split_file: Path) -> None:
    made = job_in(tmp_path, split_file, epochs=1)
    train(replace(made, cell=made.cell.model_copy(update={"seeds": (0,)})), "cpu")
    one = replace(made, cell=made.cell.model_copy(update={"seeds": (0,)}))
    prediction.predict(one, tmp_path / "again.parquet", torch.device("cpu"))
    again = (tmp_path / "again.parquet").read_bytes()
    assert again == (made.out / "predictions.parquet").read_bytes()
