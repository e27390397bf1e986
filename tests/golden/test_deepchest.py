"""DeepChest held to the vectors of its public rule, and to a transcription that runs alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from counterpoise.methods._base import Epoch
from counterpoise.spec.paper import parse_printed
from counterpoise.tasks import Task

from ..support import method_of

# background/methods.md 1.1: the rule read in the authors' code (DeepChest-MTL, commit 0c45bdd),
# with vectors worked out from it by hand.
VECTORS = [
    ((1.0, 1.0, 1.0), (0.9, 0.5, 0.8), (0.952381, 1.1, 0.952381)),
    ((1.45, 1.0), (0.5, 0.9), (1.5, 0.952381)),  # growth stops at the cap
    ((1.6, 1.0), (0.5, 0.9), (1.5, 0.952381)),  # a weight above the cap snaps to it
    ((1.0, 1.5), (0.5, 0.9), (1.1, 1.428571)),
    ((1.0,), (0.7,), (0.952381,)),  # one task equals its own mean: it decays
]


def told(accuracies: Any, number: int = 0, losses: Any = None) -> Epoch:
    values = torch.tensor(accuracies)
    nothing = torch.full_like(values, torch.nan)
    shown = nothing if losses is None else torch.tensor(losses)
    return Epoch(shown, values, nothing, nothing, number)


@pytest.mark.parametrize(("before", "accuracies", "after"), VECTORS)
def test_the_published_vectors(before: Any, accuracies: Any, after: Any) -> None:
    first = {f"task{k}": weight for k, weight in enumerate(before)}
    method = method_of("deepchest", len(before), 3, initial_weights=first)
    state = method.end_of_epoch(method.initial_state(), told(accuracies))
    torch.testing.assert_close(state["omega"], torch.tensor(after), rtol=0, atol=5e-7)


# Single-task accuracies that the weights of the public ResNet file imply, and prevalences of
# ChestX-ray14 (background/methods.md 1.1a), in the order of that table.
WEIGHTS = ["1.0102", "1.00535", "1.0104", "1.009", "1.013", "1.006", "1.00715", "1.00055",
           "1.08655", "1.025", "1.0277", "1.0142", "1.0059", "1.0219"]  # fmt: skip
PREVALENCES = [".1031", ".0248", ".0416", ".0205", ".1188", ".0224", ".0150", ".0020", ".1774",
               ".0516", ".0565", ".0302", ".0128", ".0473"]  # fmt: skip
FREQUENT = {0, 4, 8, 10}  # Atelectasis, Effusion, Infiltration, Nodule


def numbers(texts: list[str]) -> list[float]:
    found = [parse_printed(text) for text in texts]
    return [float(number.value) for number in found if number is not None]


def test_at_the_majority_rate_the_frequent_findings_win() -> None:
    """Methods.md 1.1b: simulated there with a_k = 1 - prevalence; sums 14.28, 12.5, 11.1."""
    first = {f"task{k}": w for k, w in enumerate(numbers(WEIGHTS))}
    method = method_of("deepchest", 14, 3, initial_weights=first)
    accuracies = [1 - p for p in numbers(PREVALENCES)]
    state, sums = method.initial_state(), []
    for epoch in range(14):
        sums.append(float(state["omega"].sum()))
        state = method.end_of_epoch(state, told(accuracies, epoch))
    # Weights used *during* epochs 1, 5 and 10 are those after 0, 4 and 9 updates.
    assert sums[0] == pytest.approx(14.24, abs=0.005)
    top = {k for k, w in enumerate(state["omega"].tolist()) if w == 1.5}
    assert top == FREQUENT
    others = [w for k, w in enumerate(state["omega"].tolist()) if k not in FREQUENT]
    expected = [w / 1.05**14 for k, w in enumerate(numbers(WEIGHTS)) if k not in FREQUENT]
    assert others == pytest.approx(expected, rel=1e-5)
    assert sums[0] > sums[9] > float(state["omega"].sum()), "the sum is not held"


def test_a_losing_loss_grows_and_a_stagnating_one_too() -> None:
    level = method_of("deepchest", 3, 3, performance="loss")
    state = level.end_of_epoch(level.initial_state(), told([0.0] * 3, losses=[0.9, 0.1, 0.2]))
    assert state["omega"].tolist() == pytest.approx([1.1, 1 / 1.05, 1 / 1.05])
    trend = method_of("deepchest", 3, 3, performance="loss_trend")
    state = trend.initial_state()
    state = trend.end_of_epoch(state, told([0.0] * 3, 0, [4.0, 1.0, 2.0]))
    assert state["omega"].tolist() == [1.0] * 3, "there is no trend after one epoch"
    # Ratios 0.25, 0.9, 0.5 with mean 0.55: only the second has fallen too little.
    state = trend.end_of_epoch(state, told([0.0] * 3, 1, [1.0, 0.9, 1.0]))
    assert state["omega"].tolist() == pytest.approx([1 / 1.05, 1.1, 1 / 1.05])


def test_floor_and_normalisation_are_what_they_say() -> None:
    held = method_of("deepchest", 2, 3, floor=0.97, normalise=False)
    state = held.end_of_epoch(held.initial_state(), told([0.9, 0.5]))
    assert state["omega"].tolist() == pytest.approx([0.97, 1.1])
    summed = method_of("deepchest", 2, 3, normalise=True)
    state = summed.end_of_epoch(summed.initial_state(), told([0.9, 0.5]))
    assert float(state["omega"].sum()) == pytest.approx(2)
    assert float(state["omega"][1] / state["omega"][0]) == pytest.approx(1.1 * 1.05)


def test_what_does_not_fit_the_tasks_is_told() -> None:
    tasks = (
        Task("edema", "Edema", 1, "bce", ("auroc",), classes=2),
        Task("density", "Density", 1, "mse", ("mse",)),
    )
    kind = type(method_of("deepchest", 2, 3))
    options = kind.Options(initial_weights={"oedema": 1.2})
    unknown, without = kind.problems(options, tasks)
    assert "'oedema'" in unknown and "'edema'" in unknown
    assert "'density'" in without and "loss_trend" in without
    assert kind.problems(kind.Options(performance="loss"), tasks) == []
