"""Training of one replicate: schedules, selection, bad ends, and being killed at any moment."""

from __future__ import annotations

import copy
import io
import math
import os
import pickle
from collections.abc import Callable
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from counterpoise import registry
from counterpoise.errors import UserError
from counterpoise.methods._base import Combined, Epoch, Method, Signal, State
from counterpoise.metrics import METRICS, Metric
from counterpoise.spec.cell import Cell, Schedule
from counterpoise.training.engine import (
    Interrupted,
    Replicate,
    learning_rate,
)
from counterpoise.training.passage import split_batches
from counterpoise.training.problem import outputs_of
from counterpoise.training.seeding import generator, seed_of
from counterpoise.training.state import load_state, save_state
from counterpoise.training.step import task_outputs

from ..support import error_of, files_in, same_tensors, small_cell, small_problem

CPU = torch.device("cpu")


def never() -> bool:
    return False


def after(steps: int) -> Callable[[], bool]:
    """True at the given call and ever after."""
    count = iter(range(1, steps))

    def stop() -> bool:
        return next(count, None) is None

    return stop


def replicate(cell: Cell, path: Path, seed: int = 0, save_every: float = 0.0) -> Replicate:
    return Replicate(small_problem(cell), seed, path, save_every)


def trained(cell: Cell, path: Path, **options: Any) -> Replicate:
    made = replicate(cell, path, **options)
    made.run(lambda _: None, never)
    return made


# Learning rate -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({"kind": "constant"}, [0.1] * 6),
        ({"kind": "step", "every": 2, "factor": 0.1}, [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]),
        ({"kind": "exponential", "factor": 0.5}, [0.1, 0.05, 0.025, 0.0125, 0.00625, 0.003125]),
        # Half a cosine over six epochs: 0.05 (1 + cos(pi e / 6)).
        ({"kind": "cosine"}, [0.1, 0.0933013, 0.075, 0.05, 0.025, 0.0066987]),
    ],
)
def test_schedules(schedule: dict[str, Any], rates: list[float]) -> None:
    found = [learning_rate(Schedule(**schedule), 0.1, epoch, 6) for epoch in range(6)]
    assert found == pytest.approx(rates, rel=1e-5)


def test_the_schedule_is_followed_and_recorded(tmp_path: Path) -> None:
    cell = small_cell(epochs=3, schedule=Schedule(kind="exponential", factor=0.5))
    made = trained(cell, tmp_path / "seed.state")
    assert [row["learning_rate"] for row in made.history] == [0.01, 0.005, 0.0025]
    assert made.rate == 0.0025


def test_one_step_of_sgd_by_hand(tmp_path: Path) -> None:
    """The parameters move against the gradient of the sum of the losses of the first batch."""
    cell = small_cell(optimizer="sgd", batch_size=40, epochs=1, selection="last")
    made = replicate(cell, tmp_path / "seed.state")
    problem, network = made.problem, copy.deepcopy(made.network)
    inputs, targets = problem.parts["train"].batch(torch.arange(40))
    z = network.trunk(inputs)
    total = sum(
        loss(network.heads[task.name](z), targets[task.name])
        for task, loss in zip(problem.tasks, problem.losses(), strict=True)
    )
    total.backward()
    made.run(lambda _: None, never)
    for one, other in zip(network.parameters(), made.network.parameters(), strict=True):
        # The order of the batch differs, so that sums differ in the last digits.
        torch.testing.assert_close(one - 0.01 * one.grad, other, rtol=1e-4, atol=1e-6)


# History and selection -----------------------------------------------------------------------


def test_an_epoch_leaves_a_row_with_every_quantity_of_every_task(tmp_path: Path) -> None:
    made = trained(small_cell("rotograd", epochs=2), tmp_path / "seed.state")
    assert [row["epoch"] for row in made.history] == [0, 1]
    quantities = {"training_loss", "weight", "gradient_norm", "cosine", "validation_loss",
                  "validation_metric"}  # fmt: skip
    for row in made.history:
        assert {f"{q}/{t}" for q in quantities for t in ("left", "sum", "density")} < set(row)
        assert all(math.isfinite(value) for value in row.values())
        weights = [row[f"weight/{task}"] for task in ("left", "sum", "density")]
        assert sum(weights) == pytest.approx(3)


def test_training_losses_are_means_over_items_and_not_over_batches(tmp_path: Path) -> None:
    """40 items in batches of 16, 16 and 8, with a rate so small that nothing moves."""
    cell = small_cell(epochs=1, learning_rate=1e-30, optimizer="sgd")
    made = trained(cell, tmp_path / "seed.state")
    part, network = made.problem.parts["train"], made.network
    inputs, targets = part.batch(torch.arange(40))
    for task, loss in zip(made.problem.tasks, made.problem.losses(), strict=True):
        outputs = network.heads[task.name](network.trunk(inputs)).detach()
        expected = float(loss(outputs, targets[task.name]))
        assert made.history[0][f"training_loss/{task.name}"] == pytest.approx(expected, rel=1e-5)


def test_the_best_epoch_on_validation_is_kept(tmp_path: Path) -> None:
    made = trained(small_cell(epochs=6, learning_rate=0.02), tmp_path / "seed.state")
    values = [row["selection"] for row in made.history]
    best = values.index(min(values))
    assert 0 < best < 5, "neither the first nor the last"
    assert made.best["epoch"] == best and made.best["value"] == values[best]
    until = trained(small_cell(epochs=best + 1, learning_rate=0.02), tmp_path / "other.state")
    last = {f"network.{k}": v for k, v in until.network.state_dict().items()}
    assert same_tensors({k: made.best["tensors"][k] for k in last}, last)


def test_the_last_epoch_is_kept_where_the_paper_says_so(tmp_path: Path) -> None:
    made = trained(
        small_cell(epochs=6, learning_rate=0.05, selection="last"), tmp_path / "seed.state"
    )
    last = {f"network.{k}": v for k, v in made.network.state_dict().items()}
    assert made.best["epoch"] == 5 and same_tensors(made.best["tensors"], last)


def test_selection_is_the_mean_of_the_normalised_validation_losses(tmp_path: Path) -> None:
    cell = small_cell(epochs=1, loss_normalisation="first_batch")
    made = trained(cell, tmp_path / "seed.state")
    row, first = made.history[0], made.normaliser
    assert first is not None
    losses = [row[f"validation_loss/{task.name}"] for task in made.problem.tasks]
    expected = sum(a / float(b) for a, b in zip(losses, first, strict=True)) / 3
    assert row["selection"] == pytest.approx(expected)


def test_what_a_method_remembers_is_kept_with_the_weights(tmp_path: Path) -> None:
    """Evaluation needs the rotations of the epoch that is evaluated."""
    made = trained(small_cell("rotograd", selection="last"), tmp_path / "seed.state")
    kept = made.best["tensors"]
    assert torch.equal(kept["method.rotation"], made.method_state["rotation"])
    assert kept["method.rotation"] is not made.method_state["rotation"]


def test_a_metric_that_is_undefined_on_validation_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An AUROC without positives, say: it is None by the metrics' contract."""
    undefined = Metric("Accuracy", "higher", lambda *_: None)
    monkeypatch.setitem(METRICS, "accuracy", undefined)
    told: list[Any] = []
    made = replicate(small_cell(epochs=2), tmp_path / "seed.state")
    made.run(told.append, never)
    assert made.trouble is None and len(told) == 2
    assert [row["validation_metric/left"] for row in made.history] == [None, None]


# Seeds ---------------------------------------------------------------------------------------


def test_seeds_come_from_words_alone() -> None:
    assert seed_of("a", 1) == seed_of("a", 1)
    assert (
        len(
            {seed_of("a", 1), seed_of("a", 2), seed_of("b", 1), seed_of("a", "1", 0), seed_of("a1")}
        )
        == 5
    )
    # Words do not run into each other.
    assert seed_of("ab", "c") != seed_of("a", "bc")
    # sha256("a\x1f1"), its first eight bytes as a big-endian number, halved.
    assert seed_of("a", 1) == int(sha256(b"a\x1f1").hexdigest()[:16], 16) // 2


def test_draws_for_one_purpose_do_not_depend_on_others() -> None:
    expected = torch.randperm(9, generator=generator("order", 0))
    torch.manual_seed(5)
    torch.rand(3)
    assert torch.equal(torch.randperm(9, generator=generator("order", 0)), expected)


def initial(cell: Cell, seed: int) -> dict[str, torch.Tensor]:
    return dict(small_problem(cell).build(seed)[0].state_dict())


def test_methods_and_protocols_share_the_initial_network_and_seeds_do_not() -> None:
    first = initial(small_cell("uniform"), 0)
    for name in registry.names("methods"):
        assert same_tensors(first, initial(small_cell(name), 0))
    assert same_tensors(first, initial(small_cell(epochs=9, learning_rate=0.5), 0))
    other = initial(small_cell("uniform"), 1)
    assert all(not torch.equal(first[k], other[k]) for k in first)


def test_building_a_network_leaves_other_draws_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    initial(small_cell(), 0)
    assert torch.equal(torch.rand(4), expected)


def orders(cell: Cell, path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Items of all batches, as the engine asks for them."""
    made = replicate(cell, path, seed)
    part, seen = made.problem.parts["train"], []
    batch = part.batch

    def watched(index: torch.Tensor, change: Any) -> Any:
        seen.append(index.tolist())
        return batch(index, change)

    monkeypatch.setattr(part, "batch", watched)
    made.run(lambda _: None, never)
    return seen


def test_order_differs_by_epoch_and_seed_but_not_by_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {
        (name, seed): orders(small_cell(name), tmp_path / f"{name}{seed}.state", seed, monkeypatch)
        for name, seed in (("uniform", 0), ("rotograd", 0), ("uniform", 1))
    }
    first = seen["uniform", 0]
    assert seen["rotograd", 0] == first != seen["uniform", 1]
    assert [len(batch) for batch in first] == [16, 16, 8, 16, 16, 8]
    one, two = (list(chain.from_iterable(part)) for part in (first[:3], first[3:]))
    assert sorted(one) == sorted(two) == list(range(40)) and one != two


# Being killed --------------------------------------------------------------------------------


def outcome(made: Replicate) -> dict[str, torch.Tensor]:
    """All tensors that a finished replicate leaves."""
    tensors = {**made.best["tensors"], **{f"last.{k}": v for k, v in made.method_state.items()}}
    return {**tensors, **{f"end.{k}": v for k, v in made.network.state_dict().items()}}


@pytest.mark.parametrize("save_every", [0.0, 1e9])
@pytest.mark.parametrize("stops", [(3,), (2, 4, 1), (7, 1)])
@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("rotograd", {"loss_normalisation": "first_batch"}),
        ("gradnorm", {"optimizer": "rmsprop", "selection": "last"}),
        ("uniform", {"schedule": Schedule(kind="cosine"), "optimizer": "adam"}),
    ],
)
def test_a_stopped_run_ends_with_the_same_bits(
    tmp_path: Path, method: str, changes: dict[str, Any], stops: tuple[int, ...], save_every: float
) -> None:
    """Three epochs of three steps, stopped after so many steps of each attempt."""
    cell = small_cell(method, epochs=3, **changes)
    expected = trained(cell, tmp_path / "whole.state")
    path = tmp_path / "seed.state"
    for steps in stops:
        made = replicate(cell, path, save_every=save_every)
        made.resume()
        with pytest.raises(Interrupted):
            made.run(lambda _: None, after(steps))
        done = made.step
    last = replicate(cell, path, save_every=save_every)
    assert last.resume() and last.step == done == sum(stops)
    last.run(lambda _: None, never)
    assert last.history == expected.history
    assert same_tensors(outcome(last), outcome(expected))
    assert last.step == expected.step == 9


def test_a_run_that_is_killed_loses_what_it_had_not_saved_and_nothing_else(tmp_path: Path) -> None:
    cell = small_cell("rotograd", epochs=4)
    expected = trained(cell, tmp_path / "whole.state")

    class Killed(BaseException):
        pass

    def kill_at_two(progress: Any) -> None:
        if progress.epoch == 2:
            raise Killed

    path = tmp_path / "seed.state"
    with pytest.raises(Killed):
        replicate(cell, path).run(kill_at_two, never)
    made = replicate(cell, path)
    assert made.resume() and made.epoch == 1
    made.run(lambda _: None, never)
    assert made.history == expected.history
    assert same_tensors(outcome(made), outcome(expected))


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    cell = small_cell()
    first = trained(cell, tmp_path / "seed.state")
    again = replicate(cell, tmp_path / "seed.state")
    assert again.resume() and again.finished
    again.run(lambda _: pytest.fail("nothing is left to do"), never)
    assert same_tensors(outcome(again), outcome(first)) and again.history == first.history


def test_without_a_state_there_is_nothing_to_resume(tmp_path: Path) -> None:
    made = replicate(small_cell(), tmp_path / "seed.state")
    assert not made.resume() and made.epoch == 0


def test_progress_is_told_after_each_epoch(tmp_path: Path) -> None:
    told: list[Any] = []
    replicate(small_cell(epochs=3), tmp_path / "seed.state", seed=4).run(told.append, never)
    assert [(p.seed, p.epoch, p.epochs) for p in told] == [(4, 1, 3), (4, 2, 3), (4, 3, 3)]
    assert "left" in told[-1].message and "density" in told[-1].message


# State on disk -------------------------------------------------------------------------------


def test_a_damaged_state_costs_one_interval(tmp_path: Path) -> None:
    path = tmp_path / "state.state"
    for number in range(3):
        save_state(path, {"number": number, "tensor": torch.full((5,), float(number))})
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:100], b"", whole[:200] + b"\x00" + whole[201:]):
        path.write_bytes(damaged)
        found = load_state(path, CPU)
        assert found is not None and found["number"] == 1
        assert torch.equal(found["tensor"], torch.ones(5))
    path.unlink()
    assert load_state(path, CPU)["number"] == 1  # type: ignore[index]
    path.with_suffix(".previous").write_bytes(whole[:-1])
    assert load_state(path, CPU) is None
    assert files_in(tmp_path) == ["state.previous"]


def test_a_state_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "seed.state"
    save_state(path, {"number": 1})

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="No space left"):
        save_state(path, {"number": 2})
    assert files_in(tmp_path) == ["seed.state"]
    assert load_state(path, CPU) == {"number": 1}


class Malicious:
    """Something that runs code when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def archive(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["archive", "pickle", "garbage", "nothing"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_state_from_elsewhere_runs_no_code(tmp_path: Path, form: str) -> None:
    """Its checksum is right, as anybody can compute it."""
    mark, path = tmp_path / "mark", tmp_path / "seed.state"
    content = {
        "archive": archive({"network": Malicious(mark)}),
        "pickle": pickle.dumps(Malicious(mark), protocol=2),
        "garbage": b"not a state",
        "nothing": b"",
    }[form]
    path.write_bytes(content + sha256(content).digest())
    try:
        found = load_state(path, CPU)
    except UserError:
        found = None
    assert found is None and not mark.exists()


# Bad ends ------------------------------------------------------------------------------------


def test_a_state_of_another_form_is_named(tmp_path: Path) -> None:
    """Undamaged, and not of this cell: as after a change that its digest does not cover."""
    path = tmp_path / "seed.state"
    for state in ({}, {"network": {"x": torch.ones(1)}}, {"network": None, "method": 3}):
        save_state(path, state)
        made = replicate(small_cell(), path)
        error = error_of(made.resume)
        assert "not a state of this cell" in error.what and str(tmp_path) in error.remedy


def test_divergence_is_recorded_and_the_last_good_state_kept(tmp_path: Path) -> None:
    cell = small_cell(optimizer="sgd", learning_rate=1e6, epochs=50)
    told: list[Any] = []
    made = replicate(cell, tmp_path / "seed.state")
    made.run(told.append, never)
    trouble = made.trouble
    assert trouble is not None and made.finished
    assert trouble["what"].startswith("non-finite")
    assert trouble["task"] in {"left", "sum", "density"}
    assert trouble["step"] == made.step < 150 and trouble["epoch"] == made.epoch
    assert all(torch.isfinite(value).all() for value in made.best["tensors"].values())
    assert "stopped: non-finite" in told[-1].message and trouble["task"] in told[-1].message
    again = replicate(cell, tmp_path / "seed.state")
    assert again.resume() and again.finished and again.trouble == trouble


def test_the_task_that_diverges_is_named(tmp_path: Path) -> None:
    made = replicate(small_cell(epochs=3), tmp_path / "seed.state")
    target = made.problem.parts["train"].targets["density"]
    target[7] = math.inf
    made.run(lambda _: None, never)
    assert made.trouble is not None
    assert (made.trouble["what"], made.trouble["task"]) == ("non-finite loss", "density")
    order = torch.randperm(40, generator=generator(made.problem.cell.seeding, 0, "order", 0))
    assert made.trouble["step"] == order.tolist().index(7) // 16


def test_a_negative_loss_ends_a_run_that_needs_its_rate(tmp_path: Path) -> None:
    """GradNorm's relative training rates have no meaning then; it must not go on with old weights."""
    made = replicate(small_cell("gradnorm", epochs=3), tmp_path / "seed.state")
    _, *rest = made.losses
    made.losses = (lambda outputs, _: outputs.mean() - 50.0 * (made.step > 1), *rest)
    made.run(lambda _: None, never)
    assert made.trouble is not None
    assert (made.trouble["what"], made.trouble["task"], made.trouble["step"]) == (
        "loss out of the method's range", "left", 2,
    )  # fmt: skip


@pytest.mark.parametrize("selection", ["last", "best_validation"])
def test_a_run_that_diverges_in_its_last_step_is_no_good_run(
    tmp_path: Path, selection: str
) -> None:
    """No further step shows it; the validation of that epoch does."""
    cell = small_cell(
        optimizer="sgd", learning_rate=1e25, epochs=1, batch_size=40, selection=selection
    )
    made = trained(cell, tmp_path / "seed.state")
    assert made.step == 1
    assert made.trouble is not None
    assert all(torch.isfinite(value).all() for value in made.best["tensors"].values())


# What a method is told of an epoch ----------------------------------------------------------


def test_a_method_is_told_of_each_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses and right answers counted in passing agree with the history; validation with both."""
    told: list[Epoch] = []
    kind = registry.method("uniform")
    monkeypatch.setattr(
        kind, "end_of_epoch", lambda self, state, epoch: told.append(epoch) or state
    )
    made = replicate(small_cell(epochs=2, learning_rate=1e-9), tmp_path / "state")
    made.run(lambda _: None, lambda: False)
    assert [epoch.epoch for epoch in told] == [0, 1]
    history = made.history[-1]
    tasks = made.problem.tasks
    for k, task in enumerate(tasks):
        for name, found in (
            ("training", told[1].losses),
            ("validation", told[1].validation_losses),
        ):
            assert float(found[k]) == pytest.approx(history[f"{name}_loss/{task.name}"], rel=1e-5)
        if task.classes is None:
            assert math.isnan(told[1].accuracies[k]) and math.isnan(
                told[1].validation_accuracies[k]
            )
    left = next(k for k, task in enumerate(tasks) if task.name == "left")
    assert float(told[1].validation_accuracies[left]) == pytest.approx(
        history["validation_metric/left"]
    )
    # At a learning rate of nothing the count in passing is the accuracy of the network as it is.
    part = made.problem.parts["train"]
    outputs = outputs_of(made.network, made.method, made.method_state, part)[left]
    expected = float((outputs.argmax(1) == part.targets["left"]).float().mean())
    assert float(told[1].accuracies[left]) == pytest.approx(expected)


def test_a_last_batch_of_one_item_joins_the_one_before() -> None:
    order = torch.arange(9)
    assert [len(batch) for batch in split_batches(order, 4)] == [4, 5]
    assert [len(batch) for batch in split_batches(order, 5)] == [5, 4]
    assert [len(batch) for batch in split_batches(order[:1], 4)] == [1]
    assert torch.equal(torch.cat(split_batches(order, 4)), order)


def test_deepchest_weights_move_once_an_epoch(tmp_path: Path) -> None:
    cell = small_cell("deepchest", options={"performance": "loss"}, epochs=3)
    made = replicate(cell, tmp_path / "state")
    made.run(lambda _: None, lambda: False)
    weights = [[row[f"weight/{t.name}"] for t in made.problem.tasks] for row in made.history]
    assert weights[0] == [1.0, 1.0, 1.0]
    moved = {round(after / before, 4) for before, after in zip(*weights[:2], strict=True)}
    assert moved <= {1.1, round(1 / 1.05, 4)} and len(moved) == 2


class Affine(Method):
    """One gain a task, trained beside the network; draws noise and looks back."""

    label, signal = "affine", "features"
    kept, trained, looks_back = ("gain",), ("gain",), True

    def initial_state(self) -> State:
        return {"gain": torch.ones(self.shape.tasks), "looked": torch.zeros(self.shape.tasks)}

    def represent(self, state: State, z: torch.Tensor) -> torch.Tensor:
        return state["gain"][:, None, None] * z

    def pull_back(self, state: State, gradients: torch.Tensor) -> torch.Tensor:
        return state["gain"][:, None, None] * gradients

    def draw(self, generator: torch.Generator, batch: int) -> dict[str, torch.Tensor]:
        return {"noise": torch.rand(self.shape.tasks, generator=generator)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        gradient = (signal.task_gradients * signal.z).sum((1, 2))
        weights = 0.5 + signal.draws["noise"]
        return Combined(weights, gradients={"gain": gradient}), state

    def after_step(self, state: State, losses: torch.Tensor) -> State:
        return {**state, "looked": losses}


@pytest.fixture
def affine(monkeypatch: pytest.MonkeyPatch) -> Cell:
    known = registry.method
    monkeypatch.setattr(registry, "method", lambda n: Affine if n == "affine" else known(n))
    return small_cell("affine", optimizer="sgd", epochs=1, weight_decay=0.5, learning_rate=1e-3)


def test_state_of_a_method_is_trained_beside_the_network(affine: Cell, tmp_path: Path) -> None:
    """One step of SGD on the gains: gain - rate * gradient, without weight decay."""
    made = replicate(affine, tmp_path / "state")
    index = torch.arange(16)
    inputs, targets = made.problem.parts["train"].batch(index)
    gain = torch.ones(3, requires_grad=True)
    z = gain[:, None, None] * made.network.trunk(inputs).detach()
    outputs = task_outputs(made.network, z)
    total = sum(
        loss(output, targets[task.name])
        for task, loss, output in zip(made.problem.tasks, made.losses, outputs, strict=True)
    )
    total.backward()
    made._step(index)
    torch.testing.assert_close(made.method_state["gain"], 1 - 1e-3 * gain.grad)
    # The losses that it looks back at are those of the new network and gains.
    now = outputs_of(made.network, made.method, made.method_state, made.problem.parts["train"])
    for k, task in enumerate(made.problem.tasks):
        expected = made.losses[k](now[k][:16], targets[task.name])
        torch.testing.assert_close(made.method_state["looked"][k], expected, rtol=1e-4, atol=1e-5)


def test_a_resumed_run_trains_a_methods_state_to_the_same_bits(
    affine: Cell, tmp_path: Path
) -> None:
    """Draws come from words alone, and the optimizer goes on with the state that was saved."""
    cell = affine.model_copy(
        update={"protocol": affine.protocol.model_copy(update={"epochs": 3, "optimizer": "adam"})}
    )
    whole = trained(cell, tmp_path / "whole")
    stopped = replicate(cell, tmp_path / "part")
    with pytest.raises(Interrupted):
        stopped.run(lambda _: None, after(5))
    resumed = replicate(cell, tmp_path / "part")
    assert resumed.resume()
    resumed.run(lambda _: None, never)
    assert same_tensors(whole.method_state, resumed.method_state)
    assert same_tensors(whole.network.state_dict(), resumed.network.state_dict())
    assert same_tensors(whole.best["tensors"], resumed.best["tensors"])
    assert not torch.equal(whole.method_state["gain"], torch.ones(3))


def test_a_shared_gradient_that_is_not_finite_is_not_applied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a method that decides about parameters the losses and norms show nothing."""

    class Overflowing(Method):
        label, signal = "overflowing", "jacobian"

        def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
            assert signal.jacobian is not None
            trunk = signal.jacobian.sum(0) * (torch.inf if signal.step == 2 else 1.0)
            return Combined(torch.ones_like(signal.losses), trunk=trunk), state

    known = registry.method
    monkeypatch.setattr(registry, "method", lambda n: Overflowing if n == "over" else known(n))
    made = trained(small_cell("over"), tmp_path / "state")
    assert made.trouble is not None
    assert made.trouble["what"] == "non-finite shared gradient"
    assert (made.trouble["step"], made.trouble["method"]) == (2, "over")
    assert all(torch.isfinite(value).all() for value in made.network.state_dict().values())


def test_a_kill_while_a_state_is_flushed_leaves_the_one_before_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "seed-0.state"
    save_state(path, {"value": 1})

    def kill(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        save_state(path, {"value": 2})
    assert path.is_file()
    assert load_state(path, torch.device("cpu")) == {"value": 1}
