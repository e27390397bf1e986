"""Unknown labels: in losses, counts, normalisation, epochs, and what is recorded."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from counterpoise import prepared, registry
from counterpoise.datasets import toy
from counterpoise.datasets._part import Part, is_known, mean_of_known
from counterpoise.methods._base import Combined, Epoch, Method, Signal, State
from counterpoise.report.splits import split_view
from counterpoise.tasks import Task
from counterpoise.training.engine import Interrupted, Replicate
from counterpoise.training.job import _means
from counterpoise.training.losses import LOSSES
from counterpoise.training.problem import Problem, outputs_of
from counterpoise.training.step import count_correct, train_step

from ..support import error_of, hidden, same_tensors, small_cell, small_problem

ROWS = torch.arange(40)
SOME = {"left": ROWS % 3 > 0, "sum": ROWS % 5 < 2}
ALL_LOSSES = {**LOSSES, **toy.LOSSES}


def problem_of(method: str = "uniform", **changes: Any) -> Problem:
    """The small problem, some labels of two tasks unknown in both parts."""
    problem = small_problem(small_cell(method, **changes))
    problem.parts["train"] = hidden(problem.parts["train"], SOME)
    few = {name: known[:20] for name, known in SOME.items()}
    problem.parts["validation"] = hidden(problem.parts["validation"], few)
    return problem


# Parts ---------------------------------------------------------------------------------------


def test_a_part_knows_which_labels_it_lacks() -> None:
    part = problem_of().parts["train"]
    assert part.known == {"left": 26, "sum": 16, "density": 40}
    _, targets = part.batch(torch.tensor([0, 1, 2]))
    masks = part.masks(targets)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "left": [False, True, True], "sum": [True, True, False],
    }  # fmt: skip
    assert small_problem(small_cell()).parts["train"].masks(targets) == {}
    # The count is the whole part's: a batch may happen to know all labels.
    assert all(mask.all() for mask in part.masks(part.batch(torch.tensor([1, 5, 10]))[1]).values())


# Losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_LOSSES)
@pytest.mark.parametrize("placeholder", ["usual", "infinite outputs"])
def test_a_loss_is_that_of_the_known_rows(name: str, placeholder: str) -> None:
    draws = torch.Generator().manual_seed(2)
    outputs = torch.randn(9, 2, generator=draws, dtype=torch.float64)
    target = torch.tensor([1, 0, -1, 1, 1, -1, 0, 1, -1])
    if name == "mse":
        target = torch.where(target < 0, torch.nan, target.double())
    known = is_known(target)
    assert int(known.sum()) == 6
    if placeholder != "usual" and name in LOSSES:
        outputs[~known] = torch.inf
    outputs.requires_grad_()
    loss = ALL_LOSSES[name]
    found = loss(outputs, target, known)
    rows = known.nonzero()[:, 0]
    expected = loss(outputs[rows], target[rows])
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=0.0)
    slopes = [torch.autograd.grad(value, outputs)[0] for value in (found, expected)]
    torch.testing.assert_close(*slopes, rtol=1e-13, atol=0.0)
    assert (slopes[0][~known] == 0).all()


@pytest.mark.parametrize("name", ALL_LOSSES)
def test_a_loss_without_a_label_is_zero_and_flat(name: str) -> None:
    outputs = torch.randn(4, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    target = torch.full((4,), torch.nan) if name == "mse" else torch.full((4,), -1)
    value = ALL_LOSSES[name](outputs, target, is_known(target))
    assert float(value.detach()) == 0
    assert (torch.autograd.grad(value, outputs)[0] == 0).all()


@pytest.mark.parametrize("name", LOSSES)
def test_a_mask_of_all_is_no_mask(name: str) -> None:
    outputs = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    target = torch.tensor([0, 1, 1, 0, 1, 0])
    target = target.double() if name == "mse" else target
    every = torch.ones(6, dtype=torch.bool)
    torch.testing.assert_close(
        LOSSES[name](outputs, target, every), LOSSES[name](outputs, target), rtol=1e-14, atol=0.0
    )


def test_the_mean_of_known_values() -> None:
    values, known = torch.tensor([1.0, torch.nan, 4.0]), torch.tensor([True, False, True])
    assert float(mean_of_known(values, known)) == 2.5
    assert float(mean_of_known(torch.tensor([1.0, 3.0]), None)) == 2.0


def test_an_unknown_class_is_no_right_answer() -> None:
    softmax = Task("digit", "Digit", 3, "nll", ("accuracy",), classes=3)
    assert count_correct(softmax, torch.eye(3), torch.tensor([0, -1, 2])) == 2
    binary = Task("mass", "Mass", 1, "bce", ("auroc",), classes=2)
    logits = torch.tensor([[-1.0], [0.5], [2.0], [-3.0]])
    assert count_correct(binary, logits, torch.tensor([0, -1, 1, -1])) == 2


# A step --------------------------------------------------------------------------------------


class Watching(Method):
    """Plain training that shows its signal."""

    signal = "features"
    seen: Signal

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        type(self).seen = signal
        return super().combine(state, signal)


def step(
    problem: Problem, rows: Tensor, normaliser: Tensor | None, latest: Tensor | None, **more: Any
) -> Any:
    network, method = problem.build(0)
    part = problem.parts["train"]
    inputs, targets = part.batch(rows)
    return train_step(
        network, Watching(method.options, method.shape), {}, problem.tasks, problem.losses(),
        normaliser, inputs, targets, step=0, epoch=0, masks=part.masks(targets), latest=latest,
        **{"normalise": True, **more},
    )  # fmt: skip


def test_a_task_is_normalised_by_its_first_batch_with_a_label() -> None:
    problem = problem_of()
    without, within = torch.tensor([2, 3, 4]), torch.tensor([0, 1, 2])  # of `sum`
    _, first, report = step(problem, without, None, None)
    assert first.isnan().tolist() == [False, True, False]
    assert Watching.seen.losses.tolist() == [1.0, 1.0, 1.0]
    assert (Watching.seen.gradients[1] == 0).all() and float(report.losses[1]) == 1.0
    assert report.known.tolist() == [2.0, 0.0, 3.0]
    _, second, report = step(problem, within, first, report.losses)
    assert torch.equal(second[[0, 2]], first[[0, 2]]) and second[1] == report.losses[1]
    assert float(Watching.seen.losses[1]) == 1.0
    _, third, last = step(problem, without, second, report.losses * 2)
    assert torch.equal(third, second) and last.losses[1] == 2 * report.losses[1]
    assert float(Watching.seen.losses[1]) == 2.0, "it stands at the last known loss"


def test_without_normalisation_an_unseen_loss_counts_as_one() -> None:
    _, scales, report = step(problem_of(), torch.tensor([2, 3, 4]), None, None, normalise=False)
    assert torch.equal(scales, torch.ones(3))
    assert float(report.losses[1]) == float(Watching.seen.losses[1]) == 1.0


def test_gradients_of_masked_items_are_zero() -> None:
    problem = problem_of()
    step(problem, ROWS[:15], None, None)
    for place, task in enumerate(problem.tasks[:2]):
        rows = Watching.seen.task_gradients[place]
        known = SOME[task.name][:15]
        assert (rows[~known] == 0).all() and (rows[known] != 0).any(dim=1).all()


def test_the_median_cosine_is_that_of_the_known_items() -> None:
    problem = problem_of()
    report = step(problem, ROWS[:15], None, None)[2]
    pulled = Watching.seen.gradients
    cosines = torch.nn.functional.cosine_similarity(pulled, pulled.sum(0)[None], dim=-1)
    for place, name in enumerate(("left", "sum")):
        expected = cosines[place][SOME[name][:15]].median()
        torch.testing.assert_close(report.cosines[place], expected)
    torch.testing.assert_close(report.cosines[2], cosines[2].median())


# Epochs --------------------------------------------------------------------------------------


def known_rows(part: Part, name: str) -> Tensor:
    return is_known(part.targets[name]).nonzero()[:, 0]


def test_epoch_means_are_over_known_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a rate so small that nothing moves; one task has three labels in three batches."""
    problem = problem_of(epochs=1, learning_rate=1e-30, optimizer="sgd")
    few = {"sum": (ROWS == 3) | (ROWS == 5) | (ROWS == 30)}
    problem.parts["train"] = hidden(problem.parts["train"], few)
    problem.parts["train"].targets["sum"][few["sum"]] = torch.tensor([3.0, 8.0, 5.0])
    made = Replicate(problem, 0, tmp_path / "state", 1e9)
    told: list[Epoch] = []
    monkeypatch.setattr(
        type(made.method), "end_of_epoch", lambda self, state, epoch: told.append(epoch) or state
    )
    made.run(lambda _: None, lambda: False)
    assert made.trouble is None
    row = made.history[0]
    for word, part in problem.parts.items():
        outputs = outputs_of(made.network, made.method, made.method_state, part)
        for k, (task, loss) in enumerate(zip(problem.tasks, problem.losses(), strict=True)):
            rows = known_rows(part, task.name)
            answers, target = outputs[k][rows], part.targets[task.name][rows]
            expected = float(loss(answers, target))
            word_of = {"train": "training", "validation": "validation"}[word]
            assert row[f"{word_of}_loss/{task.name}"] == pytest.approx(expected, rel=1e-5)
            values = told[0].losses if word == "train" else told[0].validation_losses
            assert float(values[k]) == pytest.approx(expected, rel=1e-5)
            if task.classes:
                right = float((answers.argmax(1) == target).double().mean())
                shares = told[0].accuracies if word == "train" else told[0].validation_accuracies
                assert float(shares[k]) == pytest.approx(right)
                if word == "validation":
                    assert row[f"validation_metric/{task.name}"] == pytest.approx(right)


def outcome(made: Replicate) -> dict[str, Tensor]:
    return {**made.best["tensors"], **made.network.state_dict(), **made.method_state}


@pytest.mark.parametrize("method", ["rotograd", "famo", "dwa", "imtl_l"])
@pytest.mark.parametrize("stop", [1, 2, 4])
def test_a_resumed_run_with_unknown_labels_ends_with_the_same_bits(
    tmp_path: Path, method: str, stop: int
) -> None:
    """Stopped where the loss of a task stands at what an earlier batch gave."""
    problem = problem_of(method, epochs=2, loss_normalisation="first_batch")
    only = {"sum": ROWS == 5}
    problem.parts["train"] = hidden(problem.parts["train"], only)
    whole = Replicate(problem, 0, tmp_path / "whole", 1e9)
    whole.run(lambda _: None, lambda: False)
    assert whole.trouble is None and whole.epoch == 2
    path = tmp_path / "state"
    calls = iter(range(stop - 1))
    with pytest.raises(Interrupted):
        Replicate(problem, 0, path, 1e9).run(lambda _: None, lambda: next(calls, None) is None)
    again = Replicate(problem, 0, path, 1e9)
    assert again.resume() and again.step == stop and again.latest is not None
    again.run(lambda _: None, lambda: False)
    assert again.history == whole.history
    assert same_tensors(outcome(again), outcome(whole))


def test_looking_back_sees_no_change_of_an_unknown_loss(tmp_path: Path) -> None:
    """FAMO's logits follow how much each loss fell: not at all, where there was no label."""
    problem = problem_of("famo", options={"decay": 0.0}, learning_rate=0.1)
    made = Replicate(problem, 0, tmp_path / "state", 1e9)
    seen: list[tuple[Tensor, Tensor]] = []
    after = made.method.after_step

    def watched(state: State, losses: Tensor) -> State:
        seen.append((state["losses_before"], losses.double()))
        return after(state, losses)

    made.method.after_step = watched  # type: ignore[method-assign]
    made._step(torch.tensor([2, 3, 4, 7, 8]))
    before, behind = seen[0]
    assert before[1] == behind[1] == 1.0 and before[0] != behind[0]


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_task_without_any_label_is_refused(tmp_path: Path, part: str) -> None:
    problem = small_problem(small_cell())
    problem.parts[part] = hidden(
        problem.parts[part], {"left": torch.zeros(len(problem.parts[part]), dtype=torch.bool)}
    )
    error = error_of(lambda: Replicate(problem, 0, tmp_path / "state"))
    assert f"'left' is known in the {part} part" in error.what and error.remedy


def test_the_training_means_are_of_known_labels() -> None:
    problem = problem_of()
    found, targets = _means(problem), problem.parts["train"].targets
    left = targets["left"][SOME["left"]].numpy()
    assert found["left"] == pytest.approx((np.bincount(left, minlength=10) / 26).tolist())
    assert found["sum"] == pytest.approx([float(targets["sum"][SOME["sum"]].mean())])


# The dataset's card --------------------------------------------------------------------------

ITEMS = pd.DataFrame({"part": ["train", "train", "train", "validation", "test", "test"]})
MASS, NODULE = [1, 0, -1, 1, 0, -1], [1, -1, 1, 0, 0, 1]


@pytest.mark.parametrize("unknown", [-1, np.nan])
def test_a_card_counts_known_labels(monkeypatch: pytest.MonkeyPatch, unknown: float) -> None:
    labels = pd.DataFrame({"mass": MASS, "nodule": NODULE}).replace(-1, unknown)
    summary = prepared.summarise(ITEMS, labels)
    assert summary["parts"]["train"] == {
        "items": 3, "positives": {"mass": 1, "nodule": 2}, "known": {"mass": 2, "nodule": 2},
    }  # fmt: skip
    assert summary["together"] == [[2, 1], [1, 3]]
    # Of two masses both are judged for a nodule; of three nodules one for a mass.
    assert summary["compared"] == [[2, 2], [1, 3]]
    assert (summary["complete"], summary["none"]) == (3, 1)
    module = SimpleNamespace(
        tasks=lambda _: [Task(n, n.title(), 1, "bce", ("auroc",), 2) for n in ("mass", "nodule")],
        Options=dict,
    )
    monkeypatch.setattr(registry, "find", lambda *_: module)
    data: Any = SimpleNamespace(folder="f", dataset="d", options={})
    view = split_view(data, "", summary)
    nodule, mass = view.rows
    assert [share.percent for share in mass.parts] == ["50 %", "100 %", "0.0 %"]
    assert nodule.together[1] is not None and nodule.together[1].percent == "100 %"
    assert mass.together[0] is not None and mass.together[0].percent == "50 %"
    assert view.none.startswith("1 of 3 images whose labels are all known (33 %)")


def test_a_card_of_known_labels_is_as_it_was() -> None:
    labels = pd.DataFrame({"mass": [1, 0, 0, 1, 0, 1], "nodule": [1, 0, 1, 0, 0, 1]})
    summary = prepared.summarise(ITEMS, labels)
    assert set(summary) == {"parts", "labels", "together", "none"} and summary["none"] == 2
    assert set(summary["parts"]["test"]) == {"items", "positives"}
