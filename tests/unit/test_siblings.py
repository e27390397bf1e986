"""Cells that train beside a job's own: the same results, honest records, and no clash of jobs."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from filelock import FileLock
from pydantic import ValidationError
from safetensors.torch import load_file

from counterpoise import registry
from counterpoise.spec.cell import Candidate, Cell, Component, Protocol
from counterpoise.training import engine, prefetch, replicates, siblings
from counterpoise.training import job as training_job
from counterpoise.training.engine import Interrupted, Replicate
from counterpoise.training.job import Job, train
from counterpoise.training.problem import RESULTS
from counterpoise.training.replicates import Together, fit_together

from ..support import computed_split, gone_astray, small_cell, small_problem

OPTIONS = {"train_pairs": 128, "validation_pairs": 40, "test_pairs": 40}
TASKS = ("left", "sum", "density")
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def split_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return computed_split("multimnist", "digits", OPTIONS, tmp_path_factory.mktemp("made"))


def job(folder: Path, split: Path, name: str, **changes: Any) -> Job:
    """A cell of LeNet's in a folder of several; ``changes`` are of the cell or the protocol."""
    protocol = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-3, "optimizer": "sgd"}
    fields: dict[str, Any] = {"method": Component(name="gradnorm"), "tasks": TASKS, "seeds": (0, 1)}
    for key, value in changes.items():
        (fields if key in Cell.model_fields else protocol)[key] = value
    cell = Cell(
        dataset="multimnist", source="digits", dataset_options=OPTIONS,
        network=Component(name="lenet", options={"size": "reduced"}),
        protocol=Protocol(**protocol), **fields,
    )  # fmt: skip
    return Job(
        folder, cell, name, "digest", split, folder / "work" / name, folder / "cells" / name / "d"
    )


def grid(folder: Path, split: Path, **changes: Any) -> list[Job]:
    """Three points of a search."""
    points = [Component(name="gradnorm", options={"alpha": alpha}) for alpha in (0.5, 1.5, 3.0)]
    return [job(folder, split, f"p{n}", method=m, **changes) for n, m in enumerate(points)]


def single_tasks(folder: Path, split: Path, **changes: Any) -> list[Job]:
    """Three networks of one task each, and of one shape."""
    plain, names = Component(name="uniform"), ("sum", "product", "density")
    return [job(folder, split, name, method=plain, tasks=(name,), **changes) for name in names]


def record_of(made: Job) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((made.out / "record.json").read_text(encoding="utf-8"))
    return found


def ways(made: Job) -> set[tuple[int, bool, str]]:
    """How its seeds have trained."""
    ends = record_of(made)["seeds"].values()
    return {(end["side_by_side"], end["resumed"], end["status"]) for end in ends}


def assert_as_alone(made: list[Job], split: Path, folder: Path, make: Any, **changes: Any) -> None:
    """Weights, histories and predictions of jobs are those of the same cells trained alone."""
    for one, other in zip(make(folder, split, **changes), made, strict=True):
        assert one.cell == other.cell
        train(one, "cpu", replicates="alone")
        weights, same = (load_file(j.out / "weights.safetensors") for j in (one, other))
        assert weights.keys() == same.keys()
        for name, value in weights.items():
            torch.testing.assert_close(same[name], value, rtol=1e-3, atol=2e-5)
        for name in ("history.parquet", "predictions.parquet"):
            expected, found = (pd.read_parquet(j.out / name) for j in (one, other))
            if "quantity" in expected:  # medians and counts jump
                jump = expected["quantity"].str.contains("cosine|metric|accuracy")
                expected, found = expected[~jump], found[~jump]
            pd.testing.assert_frame_equal(found, expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "are"),
    [
        ({"options": {"alpha": 0.5}}, True),
        ({"learning_rate": 0.1}, True),
        ({}, False),
        ({"options": {"alpha": 1}}, False),
        ({"options": {"beta": 0.5}}, False),
        ({"method": "uniform"}, False),
        ({"epochs": 3}, False),
        ({"seeds": (0, 1)}, False),
        ({"tasks": ("left", "sum", "product")}, False),
        ({"pretraining": "other/cell"}, False),
    ],
)
def test_siblings_differ_in_real_numbers(changes: dict[str, Any], are: bool) -> None:
    plain: dict[str, Any] = {"method": "gradnorm", "options": {"alpha": 1.5}}
    one, other = small_cell(**plain), small_cell(**{**plain, **changes})
    assert one.is_sibling_of(other) is are is other.is_sibling_of(one)


def test_siblings_may_differ_in_the_single_task() -> None:
    one, other, two = (small_cell(tasks=tasks) for tasks in (("sum",), ("left",), ("sum", "left")))
    assert one.is_sibling_of(other) and not one.is_sibling_of(two)
    assert not one.is_sibling_of(small_cell("fixed", tasks=("left",)))


def variants(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Options of a method, and the same with one real number changed."""
    found, options = [], registry.method(name).Options
    for given in registry.method(name).option_sets():
        full = options(**given).model_dump(mode="json")
        for key, value in full.items():
            for other in (value / 2, 0.0, 1.0) if isinstance(value, float) else ():
                try:
                    options(**{**full, key: other})
                except ValidationError:
                    continue
                if other != value:
                    found.append((full, {**full, key: other}))
                    break
    return found


@pytest.mark.parametrize(
    ("name", "options", "others"),
    [
        (name, *pair)
        for name in registry.names("methods")
        if not registry.method(name).sequential and not registry.method(name).descends
        for pair in variants(name)
    ],
)
def test_points_of_any_grid_learn_beside_each_other_what_each_learns_alone(
    name: str, options: dict[str, Any], others: dict[str, Any], tmp_path: Path
) -> None:
    """As one model: a method's real options change no form of its decisions."""
    rest: dict[str, Any] = {"epochs": 1, "batch_size": 20, "learning_rate": 1e-3}
    cells = [small_cell(name, options=each, optimizer="sgd", **rest) for each in (options, others)]
    assert cells[0].is_sibling_of(cells[1])
    made = {
        way: [
            Replicate(small_problem(c), 0, tmp_path / f"{way}{n}", 1e9) for n, c in enumerate(cells)
        ]
        for way in ("alone", "together")
    }
    assert fit_together(made["together"])
    Together(made["together"]).run(lambda _: None, lambda: False)
    for one, other in zip(made["alone"], made["together"], strict=True):
        one.run(lambda _: None, lambda: False)
        assert gone_astray(other, one, 1e-3) == [] and one.trouble == other.trouble


@pytest.fixture
def no_step(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """From here on nothing may train."""

    def trains(*_: Any, **__: Any) -> None:
        pytest.fail("a step was taken")

    monkeypatch.setattr(replicates, "train_step", trains)
    monkeypatch.setattr(engine, "train_step", trains)
    return monkeypatch


@pytest.mark.parametrize("make", [grid, single_tasks])
def test_one_job_trains_its_siblings(
    make: Any, tmp_path: Path, split_file: Path, request: pytest.FixtureRequest
) -> None:
    """A grid, single tasks: one of the jobs trains all; the others predict and write."""
    made = make(tmp_path / "made", split_file)
    first, *others = made
    train(first, "cpu", replicates="together", siblings=lambda: others)
    assert first.is_done and not first.work.exists()
    assert not any(other.out.exists() for other in others), "each writes its own"
    request.getfixturevalue("no_step")
    for other in others:
        train(other, "cpu", replicates="together", siblings=lambda: made)
    assert not any(one.work.exists() for one in made)
    request.getfixturevalue("monkeypatch").undo()
    for one in made:
        assert ways(one) == {(6, False, "finished")}
    assert record_of(first)["peak_memory_mib"] > 0
    assert {record_of(other)["peak_memory_mib"] for other in others} == {None}, "it is not theirs"
    assert_as_alone(made, split_file, tmp_path / "alone", make)


def test_on_a_cpu_nobody_is_asked_unless_seeds_train_together(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> list[Job]:
        pytest.fail("siblings were asked for")

    for way in ("auto", "alone"):
        made = job(tmp_path / way, split_file, "p")
        train(made, "cpu", replicates=way, siblings=asked)
        assert ways(made) == {(1, False, "finished")}
    # Of a large network a machine may not hold more than the seeds that it was told to.
    monkeypatch.setattr(training_job, "SMALL", 10)
    made = job(tmp_path, split_file, "p")
    train(made, "cpu", replicates="together", siblings=asked)
    assert ways(made) == {(2, False, "finished")}


def test_single_seeds_train_beside_each_other(tmp_path: Path, split_file: Path) -> None:
    """As a grid's points mostly have; one without siblings trains alone."""
    made = grid(tmp_path, split_file, seeds=(0,))
    train(made[0], "cpu", replicates="together", siblings=lambda: made[1:2])
    train(made[2], "cpu", replicates="together", siblings=lambda: made[:2])
    assert ways(made[0]) == {(2, False, "finished")}
    assert ways(made[2]) == {(1, False, "finished")}, "the second is trained, the first is done"


def test_one_that_diverges_says_so_itself(tmp_path: Path, split_file: Path) -> None:
    made = [
        job(tmp_path, split_file, f"p{n}", learning_rate=rate)
        for n, rate in enumerate((1e-3, 1e12))
    ]
    train(made[0], "cpu", replicates="together", siblings=lambda: made)
    train(made[1], "cpu", replicates="together")
    assert ways(made[0]) == {(4, False, "finished")} and ways(made[1]) == {(4, False, "diverged")}


def test_one_that_cannot_be_mapped_trains_alone(tmp_path: Path, split_file: Path) -> None:
    """A grid whose method runs on the host, and a point that looks at something else."""
    host = Component(name="mgda")
    made = [
        job(tmp_path / "host", split_file, f"p{n}", method=host, epochs=1, learning_rate=rate)
        for n, rate in enumerate((1e-3, 2e-3, 3e-3))
    ]
    train(made[0], "cpu", replicates="together", siblings=lambda: made[1:])
    assert ways(made[0]) == {(1, False, "finished")} and not made[1].work.exists()
    first, second, _ = grid(tmp_path, split_file, epochs=1)
    at_w = Component(name="gradnorm", options={"at": "w"})
    other = job(tmp_path, split_file, "w", method=at_w, epochs=1)
    train(first, "cpu", replicates="together", siblings=lambda: [other, second])
    folders = list(other.work.glob("*"))
    train(other, "cpu", replicates="together")
    assert ways(first) == {(4, False, "finished")}
    assert folders == [], "of one that is asked and does not fit"
    assert ways(other) == {(2, False, "finished")}, "by its own job, with its own seeds"


def test_where_inputs_stay_on_the_host_no_sibling_is_taken(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seeds of the job itself still train side by side."""
    monkeypatch.setattr(prefetch, "fits", lambda *_: False)
    first, other, _ = grid(tmp_path, split_file, epochs=1)
    train(first, "cpu", replicates="together", siblings=lambda: [other])
    assert ways(first) == {(2, False, "finished")} and not other.work.exists()


@pytest.mark.parametrize("goes_on", ["the same job", "a sibling's job", "each alone"])
def test_a_stop_in_between_loses_nothing(
    goes_on: str, tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real, steps = grid(tmp_path / "made", split_file), Together._step, iter(range(100))

    def stops(self: Together, index: torch.Tensor) -> None:
        real(self, index)
        if next(steps) == 4:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Together, "_step", stops)
    with pytest.raises(Interrupted):
        train(made[0], "cpu", replicates="together", siblings=lambda: made)
    monkeypatch.undo()
    states = {one.name: one.state_of(seed).is_file() for one in made for seed in one.cell.seeds}
    assert states == {"p0": True, "p1": True, "p2": True}
    way = "alone" if goes_on == "each alone" else "together"
    for one in reversed(made) if goes_on == "a sibling's job" else made:
        train(one, "cpu", replicates=way, siblings=lambda: made)
        assert ways(one) == {(6, True, "finished")}
    assert_as_alone(made, split_file, tmp_path / "alone", grid)


def dies(first: Job, others: list[Job]) -> None:
    """A job that is killed after its second step, some states written and the next not."""
    real, saved = Replicate.save, iter(range(100))

    def kills(self: Replicate) -> None:
        if next(saved) == 9:  # six after each step
            os.kill(os.getpid(), signal.SIGKILL)
        real(self)

    Replicate.save = kills  # type: ignore[method-assign]
    train(first, "cpu", save_every=1e-9, replicates="together", siblings=lambda: others)


def test_a_kill_between_two_states_loses_nothing(tmp_path: Path, split_file: Path) -> None:
    """Those ahead and those behind go on apart, and no lock stays."""
    made = grid(tmp_path / "made", split_file)
    process = SPAWN.Process(target=dies, args=(made[0], made[1:]))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    for one in made:
        train(one, "cpu", replicates="together", siblings=lambda: made)
        assert {(resumed, end) for _, resumed, end in ways(one)} == {(True, "finished")}
    assert_as_alone(made, split_file, tmp_path / "alone", grid)


def test_seeds_at_different_steps_are_said_to_train_alone(
    tmp_path: Path, split_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, other, _ = grid(tmp_path, split_file)
    process = SPAWN.Process(target=dies, args=(first, []))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    with caplog.at_level(logging.WARNING):
        train(first, "cpu", replicates="together", siblings=lambda: [other])
    assert ways(first) == {(2, True, "finished")} and not other.work.exists()
    assert caplog.text.count("different steps") == 1


def test_after_a_step_without_a_solution_each_job_trains_its_own(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is saved by then: siblings are let go, and go on from there by their own jobs."""
    made, real, steps = grid(tmp_path / "made", split_file), replicates.train_step, iter(range(99))

    def fails(*arguments: Any, **more: Any) -> Any:
        if next(steps) >= 2:
            raise torch.linalg.LinAlgError("no convergence")
        return real(*arguments, **more)

    monkeypatch.setattr(replicates, "train_step", fails)
    first, *others = made
    train(first, "cpu", replicates="together", siblings=lambda: others)
    assert ways(first) == {(6, True, "finished")}
    for other in others:
        for seed in other.cell.seeds:
            state = engine.load_state(other.state_of(seed), torch.device("cpu"))
            assert state is not None and state["position"] == [0, 2, 2]
        with FileLock(other.work / "lock", timeout=0):
            pass
    for other in others:
        train(other, "cpu", replicates="together", siblings=lambda: made)
        assert ways(other) == {(6, True, "finished")}
    assert_as_alone(made, split_file, tmp_path / "alone", grid)


def runs(own: Job, others: list[Job]) -> None:
    train(own, "cpu", save_every=0, replicates="together", siblings=lambda: others)


def test_jobs_that_start_at_once_neither_clash_nor_wait_for_each_other(
    tmp_path: Path, split_file: Path
) -> None:
    made = grid(tmp_path / "made", split_file, epochs=4)
    started = [SPAWN.Process(target=runs, args=(one, made)) for one in (made[0], made[1])]
    for process in started:
        process.start()
    for process in started:
        process.join(120)
    assert [process.exitcode for process in started] == [0, 0]
    assert made[0].is_done and made[1].is_done
    runs(made[2], made)
    for one in made:
        assert {(resumed, end) for _, resumed, end in ways(one)} == {(False, "finished")}
    assert not any(one.work.exists() for one in made)
    assert_as_alone(made, split_file, tmp_path / "alone", grid, epochs=4)


def test_a_folder_that_is_held_is_left_to_its_holder(tmp_path: Path, split_file: Path) -> None:
    first, held, done = grid(tmp_path, split_file, epochs=1)
    held.work.mkdir(parents=True)
    done.out.mkdir(parents=True)
    for name in RESULTS:
        (done.out / name).touch()
    with FileLock(held.work / "lock"):
        train(first, "cpu", replicates="together", siblings=lambda: [held, done])
    assert ways(first) == {(2, False, "finished")}
    assert not done.work.exists() and not held.state_of(0).exists()


def test_one_that_is_done_in_the_meantime_is_let_go(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job removed the folder just before this one made it again."""
    first, other, _ = grid(tmp_path, split_file, epochs=1)

    class Late(FileLock):
        def acquire(self, *arguments: Any, **more: Any) -> Any:
            if Path(self.lock_file).parent == other.work:
                other.out.mkdir(parents=True)
                for name in RESULTS:
                    (other.out / name).touch()
            return super().acquire(*arguments, **more)

    monkeypatch.setattr(siblings, "FileLock", Late)
    train(first, "cpu", replicates="together", siblings=lambda: [other])
    assert ways(first) == {(2, False, "finished")} and not other.work.exists()


def test_one_that_is_unsound_is_told_by_its_own_job(tmp_path: Path, split_file: Path) -> None:
    first, foreign, _ = grid(tmp_path, split_file, epochs=1)
    foreign.work.mkdir(parents=True)
    engine.save_state(foreign.state_of(0), {"network": {}})
    train(first, "cpu", replicates="together", siblings=lambda: [foreign])
    assert ways(first) == {(2, False, "finished")}


def test_damaged_files_of_a_sibling_end_no_other_job(
    tmp_path: Path, split_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The record of a point that it would choose from is JSON, and not what it must be."""
    first, other, _ = grid(tmp_path, split_file, epochs=1)
    point = other.out.parent.parent / "point" / "1"
    point.mkdir(parents=True)
    pd.DataFrame({"seed": [0]}).to_parquet(point / "history.parquet")
    candidates = (Candidate(key="point/1", options={}),)
    other = replace(other, cell=other.cell.model_copy(update={"candidates": candidates}))
    for content in ("{}", "[]", '{"seeds": 3}', '{"seeds": {"x": {"status": "finished"}}}'):
        (point / "record.json").write_text(content, encoding="utf-8")
        shutil.rmtree(first.out, ignore_errors=True)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            train(first, "cpu", replicates="together", siblings=lambda: [other])
        assert ways(first) == {(2, False, "finished")}
        assert "p1/digest trains by itself" in caplog.text and not other.work.exists()


def test_one_that_starts_does_not_fit_one_that_goes_on(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other, _ = grid(tmp_path, split_file)
    real, steps = Together._step, iter(range(100))

    def stops(self: Together, index: torch.Tensor) -> None:
        real(self, index)
        if next(steps) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Together, "_step", stops)
    with pytest.raises(Interrupted):
        train(first, "cpu", replicates="together")
    train(first, "cpu", replicates="together", siblings=lambda: [other])
    assert ways(first) == {(2, True, "finished")}
    assert not other.work.exists(), "nothing is left behind where nothing was done"


def test_there_is_room_for_so_many(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(siblings, "MOST", 5)
    made = grid(tmp_path, split_file, epochs=1)
    train(made[0], "cpu", replicates="together", siblings=lambda: made)
    assert ways(made[0]) == {(4, False, "finished")} and not made[2].work.exists()


def test_without_memory_for_them_its_own_seeds_train_as_before(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Together._step

    def full(self: Together, index: torch.Tensor) -> None:
        if len(self.members) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        real(self, index)

    monkeypatch.setattr(Together, "_step", full)
    made = grid(tmp_path, split_file, epochs=1)
    train(made[0], "cpu", replicates="together", siblings=lambda: made)
    assert ways(made[0]) == {(2, False, "finished")}
    train(made[1], "cpu", replicates="together")
    assert ways(made[1]) == {(2, False, "finished")}, "nobody holds it"


def test_the_progress_of_each_is_in_its_folder(
    tmp_path: Path, split_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = grid(tmp_path, split_file)
    train(made[0], "cpu", replicates="together", siblings=lambda: made)
    told = json.loads((made[1].work / "progress.json").read_text(encoding="utf-8"))
    assert (told["cell"], told["done"], told["total"]) == ("p1/digest", 4, 4)
    assert told["pid"] == os.getpid()
