"""What a step of each method costs, counted by hooks: passes of the trunk and of the heads."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from counterpoise.training.engine import Replicate

from ..support import method_cases, small_cell, small_problem

TASKS = ("left", "sum", "density")
PASSES = {"losses": 1, "features": 1, "last_layer": 1, "gramian": 3, "jacobian": 3}
"""Backward passes of the trunk a step, for three tasks; one more where that is asked for."""
CASES = method_cases()


def counted(name: str, options: dict[str, Any], tmp_path: Any) -> tuple[Replicate, Counter[str]]:
    """One step with every pass counted."""
    cell = small_cell(name, options=options, tasks=TASKS, learning_rate=1e-4)
    made = Replicate(small_problem(cell), 0, tmp_path / "state")
    count: Counter[str] = Counter()

    def watch(module: torch.nn.Module, what: str) -> None:
        def passed(_module: torch.nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            count[f"{what} forward"] += 1
            if output.requires_grad:
                output.register_hook(lambda _: count.update([f"{what} backward"]))

        module.register_forward_hook(passed)

    layers = [m for m in made.network.trunk.modules() if list(m.parameters(recurse=False))]
    for place, layer in enumerate(layers):
        watch(layer, "trunk" if place == 0 else f"layer {place}")
    for head in made.network.heads.values():
        watch(head, "head")
    made._step(torch.arange(16))
    assert len(layers) > 2
    for place in range(1, len(layers)):
        again = count.pop(f"layer {place} backward")
        # The last layer is asked for its own K gradients, too, and for nothing before it.
        asked = (
            len(TASKS)
            if made.method.signal == "last_layer" and layers[place:] == layers[-1:]
            else 0
        )
        assert again == count["trunk backward"] + asked, f"layer {place}"
        assert count.pop(f"layer {place} forward") == count["trunk forward"]
    assert made.trouble is None
    return made, count


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_step_costs_what_the_signal_says(
    name: str, options: dict[str, Any], tmp_path: Any, record_property: Any
) -> None:
    made, count = counted(name, options, tmp_path)
    again = 1 + made.method.looks_back
    assert count["trunk backward"] == PASSES[made.method.signal] + made.method.passes_again
    assert count["trunk forward"] == again
    assert count["head forward"] == again * len(TASKS), "a head is evaluated once"
    assert count.pop("head backward") == len(TASKS) * (1 + made.method.second_order)
    record_property("cost", {"method": name, **count})  # for docs/methods.md


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_step_moves_the_network_and_stays_finite(
    name: str, options: dict[str, Any], tmp_path: Any
) -> None:
    cell = small_cell(name, options=options, tasks=TASKS, epochs=1 if options else 2)
    made = Replicate(small_problem(cell), 0, tmp_path / "state")
    before = made._tensors()
    made.run(lambda _: None, lambda: False)
    assert made.trouble is None, made.trouble
    after = made._tensors()
    moved = {key for key in before if not torch.equal(before[key], after[key])}
    assert {key for key in before if key.startswith("network.trunk")} <= moved
    assert {key for key in before if key.startswith("network.heads")} <= moved
    assert all(torch.isfinite(value).all() for value in after.values())
