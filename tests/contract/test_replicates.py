"""A method's functions under torch.func.vmap over replicates: the results that each has alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoise import registry
from counterpoise.methods._base import Combined, Epoch, Method, Signal, State

from ..support import method_cases, method_of

R, K, B, D = 3, 4, 7, 6
STEPS = ((0, 0), (1, 0), (2, 0), (20, 1), (21, 2), (40, 4), (41, 4), (50, 5), (1000, 6))
"""Steps and their epochs: the first ones, a burn-in's end, a warm-up's last epoch and the one after
it, and a step at which rotations are renewed."""
TOLERANCE = 1e-10
"""Of a tensor's norm, in float64: batched kernels sum in another order, which leaves some 1e-16 a
step, and divisions by small singular values enlarge that."""
DRAWN = "draws/"

Tensors = dict[str, Tensor]
Function = Callable[[State, Tensors], tuple[Tensors, State]]
"""Of a state and what is shown: all that a method answers, and the following state."""


def names(*, sequential: bool) -> list[str]:
    return [
        n for n in registry.names("methods") if bool(registry.method(n).sequential) is sequential
    ]


CASES = method_cases(names(sequential=False))


def wide(tensors: Tensors) -> Tensors:
    """In float64, so that only a wrong result is far from the right one."""
    return {k: v.double() if v.is_floating_point() else v for k, v in tensors.items()}


def shown_to(method: Method, seed: int) -> Tensors:
    """What one replicate's step and epoch bring, at random."""
    generator = torch.Generator().manual_seed(seed)
    rows = ("losses", "after", "correct", "head_norms", "mean", "share", "later", "held_out")
    positive = {row: torch.rand(K, generator=generator) + 0.3 for row in rows}
    own = torch.randn(K, B, D, generator=generator)
    z = torch.randn(B, D, generator=generator) + 1
    drawn = {f"{DRAWN}{key}": value for key, value in method.draw(generator, B).items()}
    return wide({**positive, "own": own, "z": z, **drawn})


def answers(combined: Combined) -> Tensors:
    """The tensors of a decision."""
    forms = {
        "weights": combined.weights,
        "mixing": combined.mixing,
        "shared": combined.shared,
        "trunk": combined.trunk,
        "through_gradients": combined.through_gradients,
    }
    return {**{k: v for k, v in forms.items() if v is not None}, **combined.gradients}


def signal_of(method: Method, state: State, shown: Tensors, step: int, epoch: int) -> Signal:
    """The signal that the engine would make; the trunk is a bias, as elsewhere in these tests."""
    pulled = method.pull_back(state, shown["own"])
    jacobian = pulled.sum(1)
    levels = {"last_layer": jacobian, "gramian": jacobian @ jacobian.T, "jacobian": jacobian}
    return Signal(
        losses=shown["losses"],
        z=shown["z"],
        representations=method.represent(state, shown["z"]),
        task_gradients=shown["own"],
        gradients=pulled,
        step=step,
        epoch=epoch,
        epochs=10,
        correct=shown["correct"],
        head_norms=shown["head_norms"],
        draws={k.removeprefix(DRAWN): v for k, v in shown.items() if k.startswith(DRAWN)},
        **{k: v for k, v in levels.items() if k == method.signal},
    )


def a_step(method: Method, step: int, epoch: int, ends: bool) -> Function:
    """All functions of one step, and of the epoch's end where it has come."""

    def taken(state: State, shown: Tensors) -> tuple[Tensors, State]:
        signal = signal_of(method, state, shown, step, epoch)
        combined, state = method.combine(state, signal)
        if method.looks_back:
            state = method.after_step(state, shown["after"])
        if ends:
            values = (shown[key] for key in ("mean", "share", "later", "held_out"))
            state = method.end_of_epoch(state, Epoch(*values, epoch))
        at_z = {"representations": signal.representations, "pulled": signal.gradients}
        return {**at_z, **answers(combined)}, state

    return taken


def stacked(replicates: list[Tensors]) -> Tensors:
    """Along a new first axis, that of the replicates."""
    return {key: torch.stack([one[key] for one in replicates]) for key in replicates[0]}


def assert_same(together: Tensors, alone: list[Tensors], where: str) -> None:
    """Replicate by replicate, so that a large one hides no small one's error."""
    assert together.keys() == alone[0].keys()
    for key, values in together.items():
        for one, expected in zip(values, (other[key] for other in alone), strict=True):
            assert torch.isfinite(expected).all(), f"{key}, {where}"
            assert one.dtype == expected.dtype and one.shape == expected.shape, f"{key}, {where}"
            gap = float((one - expected).double().norm())
            assert gap <= TOLERANCE * float(expected.double().norm()), f"{key}, {where}: {gap}"


def run_both_ways(name: str, options: dict[str, Any]) -> None:
    """Train replicates side by side and one by one; what they see differs from the first step."""
    method = method_of(name, K, D, **options)
    alone = [wide(method.initial_state()) for _ in range(R)]
    together = stacked(alone)
    epochs = [epoch for _, epoch in STEPS]
    for (step, epoch), following in zip(STEPS, [*epochs[1:], None], strict=True):
        function = a_step(method, step, epoch, ends=epoch != following)
        shown = [shown_to(method, 100 * step + replicate) for replicate in range(R)]
        mapped: Function = torch.func.vmap(function)
        found, together = mapped(together, stacked(shown))
        results = [function(*replicate) for replicate in zip(alone, shown, strict=True)]
        alone = [state for _, state in results]
        assert_same(found, [told for told, _ in results], f"step {step}")
        assert_same(together, alone, f"state after step {step}")


@pytest.mark.parametrize(("name", "options"), CASES)
def test_replicates_side_by_side_have_the_results_of_each_alone(
    name: str, options: dict[str, Any]
) -> None:
    run_both_ways(name, options)


@pytest.mark.parametrize("name", names(sequential=True))
def test_what_is_declared_sequential_is(name: str) -> None:
    """A reason that no longer holds is found: torch must refuse to map some option set."""
    try:
        for options in registry.method(name).option_sets():
            run_both_ways(name, options)
    except RuntimeError:
        return
    pytest.fail(f"{name} runs under vmap: drop its `sequential`")
