"""Steps that do not wait for the one before them: results are those of steps that do, bit by bit.

A CPU never looks ahead; here it is made to, by the code that a GPU runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from counterpoise.spec.cell import Cell, Component
from counterpoise.training import lookahead
from counterpoise.training.engine import Interrupted, Replicate
from counterpoise.training.lookahead import Answer

from ..support import same_tensors, small_cell, small_problem

Spoil = Callable[[int, Tensor], Tensor]
NORMALISED = Component(name="resnet", options={"depth": 18})
METHODS = ["uniform", "deepchest", "gradnorm", "uw", "famo", "rotograd", "imtl_l", "stch"]


def never() -> bool:
    return False


def made(cell: Cell, folder: Path, spoil: Spoil | None = None) -> Replicate:
    """A replicate whose last task's loss may be changed, given how often it was asked for."""
    replicate = Replicate(small_problem(cell), 0, folder / "state", 1e9)
    if spoil is not None:
        *rest, last = replicate.losses
        count = iter(range(1000))
        replicate.losses = (*rest, lambda *given: spoil(next(count), last(*given)))
    return replicate


def both(
    cell: Cell, folder: Path, patch: pytest.MonkeyPatch, spoil: Spoil | None = None
) -> tuple[Replicate, Replicate]:
    """One that waits, and one that does not."""
    waiting = made(cell, folder / "waiting", spoil)
    patch.setattr(lookahead, "DEVICES", {"cpu"})
    ahead = made(cell, folder / "ahead", spoil)
    assert ahead.ahead and not waiting.ahead
    return waiting, ahead


def assert_same(one: Replicate, other: Replicate) -> None:
    assert one.trouble == other.trouble
    assert (one.epoch, one.batch, one.step) == (other.epoch, other.batch, other.step)
    assert same_tensors(one.network.state_dict(), other.network.state_dict())
    assert same_tensors(one.method_state, other.method_state)
    sums = [{k: v.nan_to_num(-1.0) for k, v in r.sums.items()} for r in (one, other)]
    assert same_tensors(*sums)  # right answers are NaN of tasks without classes
    assert one.history == other.history
    for name, values in one.optimizer.state().items():
        assert all(map(torch.equal, values, other.optimizer.state()[name])), name
    assert other.taken is None


@pytest.mark.parametrize("method", METHODS)
def test_a_good_run(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = small_cell(method, weight_decay=0.1)
    waiting, ahead = both(cell, tmp_path, monkeypatch)
    for replicate in (waiting, ahead):
        replicate.run(lambda _: None, never)
        assert replicate.trouble is None
    assert_same(waiting, ahead)


@pytest.mark.parametrize("step", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("method", METHODS)
def test_a_bad_end(method: str, step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At an epoch's first, second and last step: the state before it is kept, and it is named."""
    cell = small_cell(method, weight_decay=0.1)
    # An epoch has three steps; then the task's loss is asked for once in validation.
    calls = 2 if method == "famo" else 1
    first = calls * step + step // 3

    def spoil(call: int, value: Tensor) -> Tensor:
        return value * torch.nan if call >= first else value

    waiting, ahead = both(cell, tmp_path, monkeypatch, spoil)
    for replicate in (waiting, ahead):
        replicate.run(lambda _: None, never)
    assert waiting.trouble is not None
    assert (waiting.trouble["step"], waiting.trouble["task"]) == (step, "density")
    assert_same(waiting, ahead)


@pytest.mark.parametrize("step", [0, 1, 2, 3])
def test_what_an_update_leads_to(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The losses after it are not finite: that step is named, and the method stays as before it."""
    second = 2 * step + step // 3 + 1

    def spoil(call: int, value: Tensor) -> Tensor:
        return value * torch.nan if call == second else value

    waiting, ahead = both(small_cell("famo"), tmp_path, monkeypatch, spoil)
    for replicate in (waiting, ahead):
        replicate.run(lambda _: None, never)
    assert waiting.trouble is not None
    assert waiting.trouble["step"] == step and "after the update" in waiting.trouble["what"]
    assert_same(waiting, ahead)


def test_running_averages_are_those_before_the_bad_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(call: int, value: Tensor) -> Tensor:
        return value * torch.inf if call == 1 else value

    cell = small_cell(network=NORMALISED, epochs=1, batch_size=13)
    waiting, ahead = both(cell, tmp_path, monkeypatch, spoil)
    for replicate in (waiting, ahead):
        replicate.run(lambda _: None, never)
    assert waiting.trouble is not None and waiting.trouble["step"] == 1
    assert_same(waiting, ahead)


@pytest.mark.parametrize("bad", [False, True])
def test_a_state_is_saved_only_of_steps_known_to_be_good(
    bad: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(call: int, value: Tensor) -> Tensor:
        return value * torch.nan if bad and call == 1 else value

    cell = small_cell("gradnorm")
    pair = both(cell, tmp_path, monkeypatch, spoil)
    resumed = []
    for replicate in pair:
        asked = iter([False, True])
        with pytest.raises(Interrupted):
            replicate.run(lambda _: None, lambda asked=asked: next(asked))
        again = made(cell, replicate.path.parent)
        assert again.resume()
        resumed.append(again)
    assert (resumed[0].trouble is not None) is bad
    assert resumed[0].step == (1 if bad else 2)
    assert_same(*resumed)
    for replicate in resumed:
        replicate.run(lambda _: None, never)
    assert_same(*resumed)


def test_an_error_after_a_bad_step_is_that_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method that stumbles over a state that is no number is none to blame."""

    def spoil(call: int, value: Tensor) -> Tensor:
        if call > 1:
            raise ValueError
        return value * torch.nan if call == 1 else value

    waiting, ahead = both(small_cell(), tmp_path, monkeypatch, spoil)
    for replicate in (waiting, ahead):
        replicate.run(lambda _: None, never)
    assert_same(waiting, ahead)


@pytest.mark.parametrize(
    ("method", "optimizer"),
    [("uniform", "sgd"), ("uniform", "rmsprop"), ("pcgrad", "adam"), ("db_mtl", "adam")],
)
def test_what_waits_all_the_same(
    method: str, optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Optimizers that cannot be held back, and steps of K backward passes."""
    monkeypatch.setattr(lookahead, "DEVICES", {"cpu"})
    assert not made(small_cell(method, optimizer=optimizer), tmp_path).ahead


def test_an_answer() -> None:
    assert Answer(torch.tensor(True)).heard() is True
    assert Answer(torch.tensor(False)).heard() is False
