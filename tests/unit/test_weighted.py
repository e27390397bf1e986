"""Two methods after one another: weights of the losses first, then what else decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoise.methods._base import Epoch, Method, State
from counterpoise.plan import load_plan
from counterpoise.spec.cell import Component
from counterpoise.training.engine import Replicate
from counterpoise.training.step import train_step
from counterpoise.training.weighted import Weighted, weighted_signal

from ..support import (
    edit,
    error_of,
    method_of,
    same_tensors,
    signal_of,
    small_cell,
    small_problem,
)

LOGS = Component(name="scale_invariant")


def gradients_after(cell: Any, steps: int = 4) -> list[Tensor]:
    """Gradients of all parameters after some steps of the engine, in float64."""
    problem = small_problem(cell)
    network, method = problem.build(0)
    network = network.double()
    state: State = {k: v.double() for k, v in method.initial_state().items()}
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
    normaliser = None
    for step in range(steps):
        inputs, targets = problem.parts["train"].batch(torch.arange(8 * step, 8 * step + 8))
        optimizer.zero_grad()
        state, normaliser, _ = train_step(
            network, method, state, problem.tasks, problem.losses(), normaliser, inputs.double(),
            targets, normalise=False, step=step, epoch=0,
            draws=method.draw(torch.Generator().manual_seed(step), 8),
        )  # fmt: skip
        optimizer.step()
    return [p.grad for p in network.parameters() if p.grad is not None]


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_logarithms_before_the_second_half_of_db_mtl_are_db_mtl(beta: float) -> None:
    whole = small_cell("db_mtl", options={"beta": beta})
    halves = small_cell("db_mtl", options={"beta": beta, "log": False}, weighting=LOGS)
    for one, other in zip(gradients_after(whole), gradients_after(halves), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("level", ["parameters", "features"])
def test_pcgrad_sees_the_gradients_of_logarithms(level: str) -> None:
    """PCGrad on the gradients grad l_k / l_k, however it is told of them."""
    rows = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    losses = torch.tensor([0.5, 2.0, 4.0], dtype=torch.float64)
    method = Weighted(method_of("scale_invariant", 3, 5), method_of("pcgrad", 3, 5, level=level))
    alone = method_of("pcgrad", 3, 5, level=level)
    own = rows[:, None, :]
    drawn = method.draw(torch.Generator().manual_seed(1), 1)
    signal = signal_of(method, {}, own, losses=losses, draws=drawn)
    combined, _ = method.combine(method.initial_state(), signal)
    logs = (rows / losses[:, None])[:, None, :]
    expected, _ = alone.combine({}, signal_of(alone, {}, logs, losses=losses, draws=drawn))
    assert combined.mixing is not None and expected.mixing is not None
    torch.testing.assert_close(combined.mixing @ rows, expected.mixing @ logs[:, 0], rtol=1e-7,
                               atol=1e-9)  # fmt: skip
    torch.testing.assert_close(combined.weights, 1 / losses, rtol=1e-7, atol=1e-9)


def test_weights_before_uniform_are_those_weights(tmp_path: Path) -> None:
    """DeepChest alone, and DeepChest before equal weights: the same run, bit by bit."""
    alone = small_cell("deepchest", options={"performance": "loss"}, epochs=3)
    before = Component(name="deepchest", options={"performance": "loss"})
    found = []
    for cell in (alone, small_cell("uniform", weighting=before, epochs=3)):
        run = Replicate(small_problem(cell), 0, tmp_path / cell.method.name)
        run.run(lambda _: None, lambda: False)
        assert run.trouble is None
        found.append(dict(run.network.state_dict()))
        weights = [row["weight/left"] for row in run.history]
        assert weights[0] == 1 and weights[2] != 1
    assert same_tensors(*found)


def test_states_and_draws_keep_apart() -> None:
    """Each has its own state and draws, also where the names are the same."""
    method: Method = Weighted(method_of("deepchest", 3, 4), method_of("gradnorm", 3, 4))
    state = method.initial_state()
    assert {"omega", "weighting.omega"} <= state.keys()
    told = Epoch(torch.ones(3), torch.tensor([0.9, 0.5, 0.8]), torch.ones(3), torch.ones(3), 0)
    later = method.end_of_epoch(state, told)
    torch.testing.assert_close(
        later["weighting.omega"], torch.tensor([1 / 1.05, 1.1, 1 / 1.05]), rtol=1e-6, atol=0
    )
    assert torch.equal(later["omega"], state["omega"])
    twice = Weighted(method_of("rlw", 3, 4), method_of("pcgrad", 3, 4))
    draws = twice.draw(torch.Generator().manual_seed(5), 2)
    alone = method_of("pcgrad", 3, 4).draw(torch.Generator().manual_seed(5), 2)
    assert torch.equal(draws["order"], alone["order"]) and len(draws) > 1


def test_trained_state_stays_where_the_optimizer_looks() -> None:
    method = Weighted(method_of("deepchest", 3, 4), method_of("uw", 3, 4))
    assert method.trained == ("log_variance",) and "log_variance" in method.initial_state()
    own = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    state = method.initial_state() | {"weighting.omega": torch.tensor([1.0, 2.0, 0.5])}
    combined, _ = method.combine(state, signal_of(method, state, own, losses=torch.ones(3)))
    # d/ds of exp(-s) omega l + s / 2 at s = 0.
    torch.testing.assert_close(
        combined.gradients["log_variance"], 0.5 - torch.tensor([1.0, 2.0, 0.5])
    )
    assert combined.weights.tolist() == [1.0, 2.0, 0.5]


def test_every_level_is_weighted_alike() -> None:
    """The Gramian and norms of the weighted signal are those of the weighted rows."""
    omega = torch.tensor([2.0, 0.5, 3.0])
    own = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    for name in ("gradnorm", "pcgrad", "db_mtl", "avg_norm"):
        method = method_of(name, 3, 4)
        state = method.initial_state()
        given = weighted_signal(signal_of(method, state, own), omega)
        expected = signal_of(method, state, omega[:, None, None] * own)
        for field in ("gradients", "task_gradients", "gramian", "last_layer", "jacobian"):
            one, other = getattr(given, field), getattr(expected, field)
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other)
        assert given.losses.tolist() == omega.tolist()


def test_a_method_that_acts_through_the_gradients_is_refused() -> None:
    """They are those of the losses before they are weighted."""
    cell = small_cell("adversarial", weighting=Component(name="rlw"))
    error = error_of(lambda: small_problem(cell).build(0))
    assert "cannot be given weighted losses" in error.what and "weighting" in error.remedy


# In a paper's file ---------------------------------------------------------------------------

RUN = "      uniform: {method: uniform, label: equal weights}\n"
BEFORE = "      both: {{method: {}, label: both, weighting: {{name: {}}}}}\n"


def deepchest(root: Path, run: str) -> Path:
    path = root / "config/papers/deepchest.yaml"
    edit(path, RUN, RUN + run)
    return path


def test_a_run_names_the_weights_before_its_method(config_copy: Path) -> None:
    deepchest(config_copy, BEFORE.format("pcgrad", "deepchest"))
    plan = load_plan(config_copy, {"tier": "demo"})
    (key,) = plan.runs["deepchest", "chest", "both"].keys
    both = plan.trainings[key]
    assert both.cell.weighting is not None and both.cell.weighting.options["growth"] == 1.1
    assert "pcgrad-on-deepchest" in both.name
    named = both.identity["code"]
    assert {f"counterpoise.methods.{name}" for name in ("pcgrad", "deepchest")} <= named.keys()


@pytest.mark.parametrize(
    ("method", "weighting", "said"),
    [
        ("pcgrad", "gradnorm", "does not derive its weights from losses alone"),
        ("pcgrad", "uw", "trains its weights"),
        ("pcgrad", "deepchesst", "unknown method 'deepchesst'"),
        ("adversarial", "deepchest", "cannot be given weighted losses"),
        ("single_task", "deepchest", "cannot be given weighted losses"),
        ("pcgrad", "deepchest, options: {initial_weights: single_task}", "wait for single-task"),
        ("pcgrad", "fixed, options: {weights: {maas: 2}}", "maas"),
    ],
)
def test_what_cannot_come_before_is_told_with_its_line(
    config_copy: Path, method: str, weighting: str, said: str
) -> None:
    path = deepchest(config_copy, BEFORE.format(method, weighting))
    error = error_of(lambda: load_plan(config_copy, {"tier": "demo"}))
    line = (
        path.read_text(encoding="utf-8")
        .splitlines()
        .index(BEFORE.format(method, weighting).rstrip("\n"))
    )
    assert said in str(error) and f"deepchest.yaml:{line + 1}" in str(error)


def test_an_experiment_may_train_some_tasks(config_copy: Path) -> None:
    path = config_copy / "config/papers/deepchest.yaml"
    text = path.read_text(encoding="utf-8")
    old = "    repeats: 3\n    runs:\n      uniform: {method: uniform, label: cross-stitch (Misra"
    path.write_text(text.replace(old, f"    tasks: [mass, effusion]\n{old}"), encoding="utf-8")
    plan = load_plan(config_copy, {"tier": "demo"})
    run = plan.runs["deepchest", "cross_stitch", "uniform"]
    assert list(run.cells) == ["effusion", "mass"], "in the dataset's order"
    edit(path, "tasks: [mass, effusion]", "tasks: [mass, efusion]")
    error = error_of(lambda: load_plan(config_copy, {"tier": "demo"}))
    assert "unknown task 'efusion'" in str(error) and "did you mean 'effusion'?" in str(error)
