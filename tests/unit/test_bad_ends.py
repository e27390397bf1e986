"""How a run ends that cannot go on: the right task by name, and the last good state."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoise import registry
from counterpoise.methods._base import Combined, Epoch, Method, Signal, State
from counterpoise.spec.cell import Component
from counterpoise.training.engine import Replicate
from counterpoise.training.replicates import Together, fit_together

from ..support import method_of, same_tensors, small_cell, small_problem

RANGE = "loss out of the method's range"
NORMALISED = Component(name="resnet", options={"depth": 18})
ORIGINAL = registry.method


def never() -> bool:
    return False


def made(folder: Path, name: str, seeds: tuple[int, ...] = (0,), **changes: Any) -> list[Replicate]:
    """Replicates of one problem."""
    changes = {"epochs": 2, "optimizer": "sgd", "learning_rate": 1e-3, **changes}
    problem = small_problem(small_cell(name, **changes))
    return [Replicate(problem, seed, folder / f"{seed}.state", 1e9) for seed in seeds]


def spoilt(replicate: Replicate, loss: Callable[[int, Tensor], Tensor]) -> None:
    """Change the last task's loss, given the number of times that it was asked for."""
    *rest, last = replicate.losses
    count = iter(range(1000))
    replicate.losses = (*rest, lambda *given: loss(next(count), last(*given)))


def after_steps(replicate: Replicate, count: int) -> Replicate:
    """The good state to compare with."""
    order = replicate.begin_epoch()
    for step in range(count):
        replicate._step(order[16 * step : 16 * (step + 1)])
    assert replicate.trouble is None
    return replicate


def assert_kept(ended: Replicate, good: Replicate) -> None:
    """Network, running averages and the method's state, to the last bit."""
    assert same_tensors(ended.network.state_dict(), good.network.state_dict())
    assert same_tensors(ended.method_state, good.method_state)


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> Callable[[type[Method]], None]:
    """Let a class be the method `made_up`."""

    def use(kind: type[Method]) -> None:
        monkeypatch.setattr(registry, "method", lambda n: kind if n == "made_up" else ORIGINAL(n))

    return use


# The task ------------------------------------------------------------------------------------

NAMES = registry.names("methods")
NEED_A_RANGE = [n for n in NAMES if not method_of(n, 1, 3).usable(torch.tensor([-1.0])).all()]


def negative_from_step_2(replicate: Replicate) -> None:
    """Only the last task's loss: it can make the weights of all of them, or a state, not a number."""
    calls = 2 if replicate.method.looks_back else 1
    spoilt(replicate, lambda call, value: value - 1e3 * (call >= 2 * calls))


@pytest.mark.parametrize("name", NEED_A_RANGE)
def test_the_task_whose_loss_has_no_logarithm_or_rate_is_named(name: str, tmp_path: Path) -> None:
    (ended,), (good,) = made(tmp_path / "a", name), made(tmp_path / "b", name)
    negative_from_step_2(ended)
    ended.run(lambda _: None, never)
    place = {"task": "density", "epoch": 0, "step": 2, "method": name}
    assert ended.trouble == {"what": RANGE, **place}
    assert_kept(ended, after_steps(good, 2))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NEED_A_RANGE])
def test_a_method_that_says_nothing_of_a_range_needs_none(name: str, tmp_path: Path) -> None:
    (run,) = made(tmp_path, name)
    negative_from_step_2(run)
    run.run(lambda _: None, never)
    assert run.trouble is None and run.epoch == 2


def test_rotations_alone_need_no_rate(tmp_path: Path) -> None:
    (run,) = made(tmp_path, "rotograd", options={"magnitudes": "none"}, epochs=1)
    spoilt(run, lambda _, value: value - 1e3)
    run.run(lambda _: None, never)
    assert run.trouble is None


def test_bounds_of_losses_are_what_they_must_be_above(tmp_path: Path) -> None:
    (run,) = made(tmp_path, "famo", options={"min_losses": {"density": 1e6}})
    run.run(lambda _: None, never)
    assert run.trouble is not None
    assert (run.trouble["what"], run.trouble["task"]) == (RANGE, "density")


@pytest.mark.parametrize("name", ["famo", "gradnorm", "gls", "rotograd_sgd"])
def test_side_by_side_the_same_is_recorded(name: str, tmp_path: Path) -> None:
    """Of two replicates the second has a bad loss; the first goes on to its end."""
    pair = made(tmp_path / "a", name, (0, 1))
    (good,) = made(tmp_path / "b", name, (1,))
    assert fit_together(pair)
    together = Together(pair)
    *rest, last = together.losses
    calls = 2 if good.method.looks_back else 1
    count = iter(range(1000))
    shift = torch.tensor([0.0, 1e3])

    def second(*given: Tensor) -> Tensor:
        value: Tensor = last(*given)
        return value - shift * (next(count) >= 2 * calls)

    together.losses = (*rest, second)
    together.run(lambda _: None, never)
    assert pair[0].trouble is None and pair[0].epoch == 2
    place = {"task": "density", "epoch": 0, "step": 2, "method": name}
    assert pair[1].trouble == {"what": RANGE, **place}
    for key, value in after_steps(good, 2).network.state_dict().items():
        torch.testing.assert_close(pair[1].network.state_dict()[key], value, rtol=1e-4, atol=1e-5)


# What an update leads to ---------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2])
@pytest.mark.parametrize("bad", [-1.0, math.inf])
def test_a_look_back_that_sees_no_good_is_recorded_at_its_step(
    step: int, bad: float, tmp_path: Path
) -> None:
    """Step 2 is the last of the run: no further one shows it."""
    (ended,), (good,) = made(tmp_path / "a", "famo", epochs=1), made(tmp_path / "b", "famo")
    spoilt(ended, lambda call, value: value * bad if call == 2 * step + 1 else value)
    ended.run(lambda _: None, never)
    what = f"{RANGE if bad < 0 else 'non-finite loss'} after the update"
    place = {"task": "density", "epoch": 0, "step": step, "method": "famo"}
    assert ended.trouble == {"what": what, **place}
    after_steps(good, step + 1)
    assert same_tensors(ended.network.state_dict(), good.network.state_dict())
    assert all(torch.isfinite(value).all() for value in ended.method_state.values())
    # The logits are those of before the step whose look back failed.
    (before,) = made(tmp_path / "c", "famo")
    after_steps(before, step)
    assert torch.equal(ended.method_state["logits"], before.method_state["logits"])


def test_a_look_back_that_sees_no_good_is_not_lost_with_a_stop(tmp_path: Path) -> None:
    (ended,) = made(tmp_path, "famo")
    spoilt(ended, lambda call, value: -value if call == 3 else value)
    after_steps(ended, 2)
    ended.save()
    (again,) = made(tmp_path, "famo")
    assert again.resume() and again.finished
    assert again.trouble is not None and again.trouble["step"] == 1


def test_side_by_side_a_look_back_is_recorded_alike(tmp_path: Path) -> None:
    pair = made(tmp_path / "a", "famo", (0, 1), epochs=1)
    (alone,) = made(tmp_path / "b", "famo", (1,), epochs=1)
    spoilt(alone, lambda call, value: -value if call == 3 else value)
    alone.run(lambda _: None, never)
    together = Together(pair)
    *rest, last = together.losses
    count, sign = iter(range(1000)), torch.tensor([1.0, -1.0])
    together.losses = (*rest, lambda *given: last(*given) * sign ** (next(count) == 3))
    together.run(lambda _: None, never)
    assert pair[0].trouble is None and pair[0].epoch == 1
    assert pair[1].trouble == alone.trouble and pair[1].trouble is not None
    for key, value in alone.network.state_dict().items():
        torch.testing.assert_close(pair[1].network.state_dict()[key], value, rtol=1e-4, atol=1e-5)
    for key, value in alone.method_state.items():
        torch.testing.assert_close(pair[1].method_state[key], value, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e38), ("adam", 3e38), ("rmsprop", 3e38)])
def test_an_update_that_leaves_the_range_is_not_made(
    optimizer: str, rate: float, together: bool, tmp_path: Path
) -> None:
    seeds = (0, 1) if together else (0,)
    changes = {"optimizer": optimizer, "learning_rate": rate, "epochs": 1}
    runs = made(tmp_path / "a", "uniform", seeds, **changes)
    good = made(tmp_path / "b", "uniform", seeds, **changes)
    if together:
        Together(runs).run(lambda _: None, never)
    else:
        runs[0].run(lambda _: None, never)
    for ended, before in zip(runs, good, strict=True):
        assert ended.trouble is not None and ended.trouble["step"] == 0
        assert ended.trouble["what"] == "update out of the range of float32"
        assert_kept(ended, before)
        assert all(bool((m == 0).all()) for row in ended.optimizer.moments.values() for m in row)


def test_decay_counts_in_an_update(tmp_path: Path) -> None:
    """Plain descent that decays by more than twice itself grows without any gradient."""
    (run,) = made(tmp_path, "uniform", learning_rate=1e-3, weight_decay=1e15, epochs=50)
    run.run(lambda _: None, never)
    assert run.trouble is not None
    assert all(torch.isfinite(value).all() for value in run.network.state_dict().values())


# Gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [False, True])
def test_a_heads_gradient_that_is_not_finite_names_its_task(
    together: bool, tmp_path: Path, method: Callable[[type[Method]], None]
) -> None:
    """Of a method that decides about the trunk itself nothing else shows it."""

    class Heavy(Method):
        label, signal = "heavy", "features"

        def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
            weights = torch.ones_like(signal.losses)
            # In range itself; the head's gradient is larger than one.
            weights[-1] = torch.finfo(weights.dtype).max if signal.step == 1 else 1.0
            return Combined(weights, shared=signal.gradients.sum(0)), state

    method(Heavy)
    (good,) = made(tmp_path / "b", "made_up")
    if together:
        ended, other = made(tmp_path / "a", "made_up", (0, 1))
        Together([ended, other]).run(lambda _: None, never)
    else:
        (ended,) = made(tmp_path / "a", "made_up")
        ended.run(lambda _: None, never)
    assert ended.trouble is not None
    what, task = ended.trouble["what"], ended.trouble["task"]
    assert (what, task) == ("non-finite gradient of the head", "density")
    assert ended.trouble["step"] == 1
    for key, value in after_steps(good, 1).network.state_dict().items():
        torch.testing.assert_close(ended.network.state_dict()[key], value, rtol=1e-4, atol=1e-5)


def test_a_gradient_of_the_methods_state_that_is_not_finite_is_not_applied(
    tmp_path: Path, method: Callable[[type[Method]], None]
) -> None:
    class Trained(Method):
        label, signal, trained = "trained", "losses", ("scale",)

        def initial_state(self) -> State:
            return {"scale": torch.zeros(3)}

        def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
            slope = state["scale"] + (torch.nan if signal.step == 2 else 1.0)
            return Combined(torch.ones_like(signal.losses), gradients={"scale": slope}), state

    method(Trained)
    (ended,), (good,) = made(tmp_path / "a", "made_up"), made(tmp_path / "b", "made_up")
    ended.run(lambda _: None, never)
    assert ended.trouble is not None and ended.trouble["step"] == 2
    assert ended.trouble["what"] == "non-finite gradient of scale of the method"
    assert_kept(ended, after_steps(good, 2))


def test_a_trunks_gradient_that_overflows_on_its_way_is_not_applied(tmp_path: Path) -> None:
    """Finite at Z, and not at a parameter: the sum over a batch of large inputs."""
    (ended,), (good,) = made(tmp_path / "a", "uniform"), made(tmp_path / "b", "uniform")
    for run in (ended, good):
        first = next(iter(run.network.trunk.parameters()))
        first.register_hook(lambda g: g * math.inf)
    ended.run(lambda _: None, never)
    assert ended.trouble is not None and ended.trouble["what"] == "non-finite shared gradient"
    assert_kept(ended, good)


# Epochs and averages -------------------------------------------------------------------------


def test_what_an_epoch_makes_of_the_state_is_looked_at(
    tmp_path: Path, method: Callable[[type[Method]], None]
) -> None:
    class Epochal(Method):
        label, signal = "epochal", "losses"

        def initial_state(self) -> State:
            return {"rate": torch.ones(3)}

        def end_of_epoch(self, state: State, epoch: Epoch) -> State:
            return {"rate": state["rate"] / torch.tensor([1.0, 1.0, 1.0 - epoch.epoch])}

    method(Epochal)
    (ended,) = made(tmp_path, "made_up", epochs=4)
    ended.run(lambda _: None, never)
    assert ended.trouble == {
        "what": "non-finite rate of the method after the epoch",
        "task": None, "epoch": 1, "step": 6, "method": "made_up",
    }  # fmt: skip
    assert torch.equal(ended.method_state["rate"], torch.ones(3))
    assert len(ended.history) == 2


@pytest.mark.parametrize("together", [False, True])
def test_running_averages_stay_those_of_the_last_good_step(together: bool, tmp_path: Path) -> None:
    """A forward pass moves them before anything else is known of a batch."""
    changes = {"network": NORMALISED, "epochs": 1}
    runs = made(tmp_path / "a", "gls", (0, 1) if together else (0,), **changes)
    good = after_steps(made(tmp_path / "b", "gls", **changes)[0], 1)
    assert any("running_mean" in key for key in good.network.state_dict())
    if together:
        side = Together(runs)
        *rest, last = side.losses
        count = iter(range(1000))
        side.losses = (*rest, lambda *given: last(*given) - 1e3 * (next(count) >= 1))
        side.run(lambda _: None, never)
    else:
        spoilt(runs[0], lambda call, value: value - 1e3 * (call >= 1))
        runs[0].run(lambda _: None, never)
        assert_kept(runs[0], good)
    assert runs[0].trouble is not None and runs[0].trouble["step"] == 1
    found = runs[0].network.state_dict()
    for key, value in good.network.state_dict().items():
        if "running" in key or "batches" in key:
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4)
