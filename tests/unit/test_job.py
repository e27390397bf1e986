"""A cell from data to scores, as the workflow's commands call it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from counterpoise import prepared
from counterpoise.evaluation.evaluate import evaluate
from counterpoise.files import is_sealed, sha256_file
from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.training import engine
from counterpoise.training import job as training_job
from counterpoise.training.engine import Interrupted
from counterpoise.training.job import PATIENCE, STOPPED, WORKFLOW, Job, train
from counterpoise.training.predict import predict
from counterpoise.training.problem import RESULTS, Problem, device_of, tasks_of

from ..support import computed_split, error_of, files_in

OPTIONS = {"problem": "negation"}


def cell(**changes: Any) -> Cell:
    protocol = {"epochs": 2, "batch_size": 64, "learning_rate": 0.01, **changes}
    return Cell(
        dataset="toy", source="formula", dataset_options=OPTIONS,
        network=Component(name="mlp"), method=Component(name="rotograd"),
        tasks=("label", "negated"), seeds=(0, 1), protocol=Protocol(**protocol),
    )  # fmt: skip


@pytest.fixture(scope="session")
def split_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    split = computed_split("toy", "formula", OPTIONS, tmp_path_factory.mktemp("made"))
    told = json.loads((split.parent / "prepared.json").read_text(encoding="utf-8"))
    assert told["files"]["points.parquet"] == sha256_file(split.parent / "points.parquet")
    return split


def job(folder: Path, split: Path, **changes: Any) -> Job:
    return Job(folder, cell(**changes), "name", "digest", split, folder / "work", folder / "out")


def results(folder: Path) -> dict[str, bytes]:
    names = ("weights.safetensors", "history.parquet")
    return {name: (folder / "out" / name).read_bytes() for name in names}


def test_a_cell_leaves_weights_history_and_record(tmp_path: Path, split_file: Path) -> None:
    made = job(tmp_path, split_file)
    train(made, "cpu")
    assert files_in(tmp_path) == sorted(f"out/{name}" for name in RESULTS)
    tensors = load_file(made.out / "weights.safetensors")
    assert {name.partition("/")[0] for name in tensors} == {"0", "1"}
    assert tensors["0/method.rotation"].shape == (2, 2, 2)
    record = json.loads((made.out / "record.json").read_text(encoding="utf-8"))
    assert is_sealed(record)
    assert record["files"] == {
        name: sha256_file(made.out / name) for name in RESULTS if name != "record.json"
    }
    assert record["data"] == {"split": sha256_file(split_file)}
    assert record["training_targets"] == {"label": [0.5, 0.5], "negated": [0.5, 0.5]}
    assert Cell(**record["cell"]) == made.cell
    assert record["device"] == "CPU" and record["threads"] == 1
    assert {s["status"] for s in record["seeds"].values()} == {"finished"}
    assert record["seeds"]["1"]["steps"] == 2 * 256 / 64
    assert record["peak_memory_mib"] > 0 and record["environment"]["libraries"]["torch"]


@pytest.mark.parametrize("replicates", ["alone", "together"])
def test_without_epochs_a_network_is_scored_as_it_starts(
    replicates: str, tmp_path: Path, split_file: Path
) -> None:
    made = job(tmp_path, split_file, epochs=0, selection="last")
    train(made, "cpu", replicates=replicates)
    tensors = load_file(made.out / "weights.safetensors")
    part = prepared.load_part("toy", OPTIONS, split_file, "validation")
    problem = Problem(made.cell, tasks_of(made.cell), {"validation": part}, device_of("cpu"))
    for seed in made.cell.seeds:
        network, _ = problem.build(seed)
        for name, value in network.state_dict().items():
            assert torch.equal(tensors[f"{seed}/network.{name}"], value), name
    record = json.loads((made.out / "record.json").read_text(encoding="utf-8"))
    assert {seed["steps"] for seed in record["seeds"].values()} == {0}
    assert {seed["status"] for seed in record["seeds"].values()} == {"finished"}
    history = pd.read_parquet(made.out / "history.parquet")
    assert list(history.columns) == ["seed", "epoch", "quantity", "task", "value"]
    assert history.empty and len(pd.read_parquet(made.out / "predictions.parquet"))


def test_seeds_side_by_side_give_what_each_gives_alone(tmp_path: Path, split_file: Path) -> None:
    """The job's results, which say how its seeds were trained."""
    plain = Component(name="gradnorm")
    made = {}
    for way in ("alone", "together", "auto"):
        one = job(tmp_path / way, split_file, optimizer="sgd")
        one = replace(one, cell=one.cell.model_copy(update={"method": plain}))
        train(one, "cpu", replicates=way)
        made[way] = (one, json.loads((one.out / "record.json").read_text(encoding="utf-8")))
    counts = {way: made[way][1]["seeds"]["1"]["side_by_side"] for way in made}
    assert counts == {"alone": 1, "together": 2, "auto": 1}
    weights = {way: load_file(made[way][0].out / "weights.safetensors") for way in made}
    for name, value in weights["alone"].items():
        torch.testing.assert_close(weights["together"][name], value, rtol=1e-4, atol=1e-5)
        assert torch.equal(weights["auto"][name], value)


def test_history_has_one_row_a_number(tmp_path: Path, split_file: Path) -> None:
    train(job(tmp_path, split_file, trace_outputs=True), "cpu")
    history = pd.read_parquet(tmp_path / "out/history.parquet")
    assert list(history.columns) == ["seed", "epoch", "quantity", "task", "value"]
    assert not history.duplicated(["seed", "epoch", "quantity", "task"]).any()
    counts = history.groupby(["quantity", "task"]).size()
    assert set(counts) == {4}, "two seeds, two epochs"
    for quantity in ("training_loss", "validation_metric", "weight", "gradient_norm", "cosine"):
        assert {("label",), ("negated",)} == {(t,) for q, t in counts.index if q == quantity}
    assert set(history[history.quantity == "learning_rate"].task) == {""}
    assert set(history[history.quantity == "output"].task) == {"label/0", "negated/0"}
    assert sorted(set(history.seed)) == [0, 1] and sorted(set(history.epoch)) == [0, 1]


def test_training_again_gives_the_same_bytes(tmp_path: Path, split_file: Path) -> None:
    for name in ("one", "other"):
        train(job(tmp_path / name, split_file), "cpu")
    assert results(tmp_path / "one") == results(tmp_path / "other")


def test_a_cell_that_is_asked_to_stop_goes_on_to_the_same_bytes(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM in the second of two seeds, between two epochs."""
    train(job(tmp_path / "whole", split_file), "cpu")
    made, step, steps = job(tmp_path / "stopped", split_file), engine.train_step, []

    def kills_itself(*arguments: Any, **options: Any) -> Any:
        steps.append(1)
        if len(steps) == 11:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(*arguments, **options)

    monkeypatch.setattr(engine, "train_step", kills_itself)
    with pytest.raises(Interrupted):
        train(made, "cpu")
    assert not made.out.exists() and (made.work / "seed-1.state").is_file()
    train(made, "cpu")
    assert results(tmp_path / "stopped") == results(tmp_path / "whole")
    assert len(steps) == 16, "no step is made twice"
    assert not made.work.exists()
    record = json.loads((made.out / "record.json").read_text(encoding="utf-8"))
    assert record["seeds"]["1"]["resumed"] is True


@pytest.mark.parametrize("hardware", ["CPU", "NVIDIA of another process"])
def test_seeds_that_another_hardware_has_trained_are_not_timed(
    hardware: str, tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record's device is that of the process that writes it, here after a kill."""
    made = job(tmp_path, split_file)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "hardware_of", lambda _: hardware, raising=False)
    monkeypatch.setattr(training_job, "predict", killed)
    with pytest.raises(KeyboardInterrupt):
        train(made, "cpu")
    monkeypatch.undo()
    train(made, "cpu")
    record = json.loads((made.out / "record.json").read_text(encoding="utf-8"))
    assert record["device"] == "CPU"
    assert {end["resumed"] for end in record["seeds"].values()} == {hardware != "CPU"}


def test_what_a_killed_training_was_writing_is_gone(tmp_path: Path, split_file: Path) -> None:
    made = job(tmp_path, split_file)
    made.out.mkdir()
    for name in RESULTS:
        half = Path(name)
        (made.out / f".{half.stem}-0123abcd{half.suffix}").write_text("half", encoding="utf-8")
    others = made.out / ".scores-0123abcd.json"
    others.write_text("of who evaluates", encoding="utf-8")
    train(made, "cpu")
    expected = sorted([*(f"out/{name}" for name in RESULTS), f"out/{others.name}"])
    assert files_in(tmp_path) == expected


def test_a_clock_that_is_set_back_changes_nothing(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(job(tmp_path / "one", split_file), "cpu")
    hours = iter(range(10_000, 0, -1))
    monkeypatch.setattr(time, "time", lambda: 3600.0 * next(hours))
    train(job(tmp_path / "other", split_file), "cpu")
    assert results(tmp_path / "one") == results(tmp_path / "other")


def test_a_step_that_does_not_end_is_left_in_time(tmp_path: Path) -> None:
    """The wish to stop is heard between two steps; a process that never gets there ends, too."""
    program = (
        "import os, signal, time; from counterpoise.training.job import Stop; Stop(0.3); "
        "print('ready', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"
    started = time.monotonic()
    process.terminate()
    assert process.wait(30) == STOPPED and time.monotonic() - started < 5
    process.stdout.close()
    assert PATIENCE < 10


def test_a_second_signal_while_the_first_is_heard_is_no_error() -> None:
    program = """
import os, signal, threading
from counterpoise.training.job import Stop

start = threading.Timer.start
def interrupted(timer):
    os.kill(os.getpid(), signal.SIGINT)
    start(timer)
threading.Timer.start = interrupted
with Stop() as stop:
    os.kill(os.getpid(), signal.SIGTERM)
    print(stop.wished)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (said.returncode, said.stdout, said.stderr) == (0, "True\n", "")


def test_the_state_of_an_orphan_is_kept_for_the_rerun(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workflow was killed; the next one may remove what it makes before training it again."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    made = job(tmp_path, split_file)
    monkeypatch.setenv(WORKFLOW, str(ended.pid))
    train(made, "cpu")
    before = results(tmp_path)
    assert made.work.exists()
    shutil.rmtree(made.out)
    monkeypatch.setenv(WORKFLOW, str(os.getpid()))
    monkeypatch.setattr(engine, "train_step", None)  # no step is made again
    train(made, "cpu")
    assert results(tmp_path) == before and not made.work.exists()


def test_a_lock_that_cannot_be_had_is_the_users_to_mend(tmp_path: Path, split_file: Path) -> None:
    made = job(tmp_path, split_file)
    (made.work / "lock").mkdir(parents=True)
    error = error_of(lambda: train(made, "cpu"))
    assert "cannot lock" in error.what and error.where.endswith("lock") and error.remedy


def test_a_second_process_waits_and_does_not_train_again(tmp_path: Path, split_file: Path) -> None:
    """An orphan of a killed workflow and its rerun never write the same state."""
    made, held = job(tmp_path, split_file), threading.Event()
    made.work.mkdir()
    made.out.mkdir()

    def first_process() -> None:
        with FileLock(made.work / "lock"):
            held.set()
            time.sleep(0.3)
            for name in RESULTS:
                (made.out / name).write_text("made by the first process", encoding="utf-8")

    thread = threading.Thread(target=first_process)
    started = time.monotonic()
    thread.start()
    assert held.wait(10)
    train(made, "cpu")
    thread.join()
    assert time.monotonic() - started >= 0.3
    assert (made.out / "record.json").read_text(encoding="utf-8") == "made by the first process"


def test_waiting_for_another_process_can_be_stopped(tmp_path: Path, split_file: Path) -> None:
    made, held, done = job(tmp_path, split_file), threading.Event(), threading.Event()
    made.work.mkdir()
    before = signal.getsignal(signal.SIGTERM)

    def first_process() -> None:
        with FileLock(made.work / "lock"):
            held.set()
            while signal.getsignal(signal.SIGTERM) is before:  # else pytest itself would end
                time.sleep(0.01)
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGTERM)
            done.wait(10)

    thread = threading.Thread(target=first_process)
    thread.start()
    assert held.wait(10)
    try:
        with pytest.raises(Interrupted):
            train(made, "cpu")
    finally:
        done.set()
        thread.join()
    assert not made.out.exists()


def test_prepared_data_that_are_damaged_are_named(tmp_path: Path, split_file: Path) -> None:
    folder = tmp_path / "prepared"
    shutil.copytree(split_file.parent, folder)
    (folder / "points.parquet").write_bytes(b"PAR1 damaged")
    error = error_of(lambda: train(job(tmp_path, folder / "split.parquet"), "cpu"))
    assert error.where == str(folder) and "delete" in error.remedy
    assert not (tmp_path / "out").exists()


def test_a_cell_whose_data_are_missing(tmp_path: Path) -> None:
    error = error_of(lambda: train(job(tmp_path, tmp_path / "split.parquet"), "cpu"))
    assert "cannot find the split" in error.what and error.remedy
    assert not (tmp_path / "out").exists()


def test_a_device_that_is_not_there() -> None:
    assert device_of("cpu") == torch.device("cpu")
    for wish in ("cuda", "mps"):
        if wish == "cuda" and torch.cuda.is_available():
            continue
        error = error_of(lambda wish=wish: device_of(wish))
        assert wish in error.what and "auto" in error.remedy


# Predictions and scores ----------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path: Path, split_file: Path) -> Job:
    made = job(tmp_path, split_file)
    train(made, "cpu")
    return made


def test_predictions_hold_targets_and_outputs_of_every_item(trained: Job) -> None:
    target = trained.out / "predictions.parquet"
    predict(trained, target, "cpu")
    table = pd.read_parquet(target)
    assert set(table.columns) == {"seed", "part", "item", "point", "target.label",
                                  "target.negated", "output.label.0", "output.negated.0"}  # fmt: skip
    items = pd.read_parquet(trained.split)
    for _, rows in table.groupby("seed"):
        for part in ("validation", "test"):
            assert list(rows[rows.part == part].item) == list(items[items.part == part].item)
    assert (table["target.label"] + table["target.negated"] == 1).all()
    first = target.read_bytes()
    predict(trained, target, "cpu")
    assert target.read_bytes() == first


def test_predictions_agree_with_the_validation_of_training(trained: Job) -> None:
    """The selected epoch's metric, from the weights and rotations that were saved."""
    predict(trained, trained.out / "predictions.parquet", "cpu")
    files = [trained.out / f for f in ("predictions.parquet", "record.json", "scores.json")]
    evaluate(trained.cell, *files)
    scores = json.loads((trained.out / "scores.json").read_text(encoding="utf-8"))
    assert scores["predictions"] == sha256_file(trained.out / "predictions.parquet")
    record = json.loads((trained.out / "record.json").read_text(encoding="utf-8"))
    history = pd.read_parquet(trained.out / "history.parquet")
    history = history[history.quantity == "validation_metric"]
    for seed in (0, 1):
        epoch = record["seeds"][str(seed)]["selected_epoch"]
        row = history[(history.seed == seed) & (history.epoch == epoch)].set_index("task").value
        for task in ("label", "negated"):
            found = scores["scores"][str(seed)]["validation"][task]["accuracy"]
            assert found == pytest.approx(row[task])


def test_scores_of_outputs_that_are_not_numbers_are_undefined(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"seed": 0, "part": "test", "item": [0, 1], "target.label": [0, 1], "target.negated": [1, 0],
         "output.label.0": [np.nan, 1.0], "output.negated.0": [1.0, -1.0]}
    )  # fmt: skip
    table.to_parquet(tmp_path / "predictions.parquet")
    shares = {"training_targets": {"label": [0.5, 0.5], "negated": [0.5, 0.5]}}
    (tmp_path / "record.json").write_text(json.dumps(shares), encoding="utf-8")
    files = [tmp_path / f for f in ("predictions.parquet", "record.json", "scores.json")]
    evaluate(cell(), *files)
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["scores"]
    together = scores["0"]["test"].pop("all")
    assert together and set(together.values()) == {None}
    assert scores["0"]["test"] == {"label": {"accuracy": None}, "negated": {"accuracy": 1.0}}


def test_scoring_loads_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys; from counterpoise.evaluation.evaluate import score; import pandas as pd; "
        "from counterpoise.spec.cell import Cell; "
        f"cell = Cell.model_validate_json({cell().model_dump_json()!r}); "
        "columns = {f'{k}.{t}{e}': [0, 1] for t in cell.tasks for k, e in "
        "(('target', ''), ('output', '.0'))}; "
        "found = score(pd.DataFrame({'seed': 0, 'part': 'test', **columns}), cell, {}); "
        "print(found[ '0']['test']['label'], 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "{'accuracy': 1.0} False"


def test_damaged_files_are_named(trained: Job) -> None:
    weights = trained.out / "weights.safetensors"
    predictions = trained.out / "predictions.parquet"
    weights.write_bytes(weights.read_bytes()[:-50])
    error = error_of(lambda: predict(trained, predictions, "cpu"))
    assert error.where == str(weights) and error.remedy
    weights.unlink()
    assert error_of(lambda: predict(trained, predictions, "cpu")).where == str(weights)
    predictions.write_bytes(b"PAR1 damaged")
    scores = trained.out / "scores.json"
    record = trained.out / "record.json"
    error = error_of(lambda: evaluate(trained.cell, predictions, record, scores))
    assert error.where == str(predictions) and error.remedy and not scores.exists()
