"""Scores of all findings together, and the new scores of one, held to scikit-learn."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import torch
from scipy import special
from scipy.stats import hmean
from sklearn.calibration import calibration_curve
from torchvision.ops import sigmoid_focal_loss

from counterpoise import registry
from counterpoise.evaluation.evaluate import _behind_together, evaluate
from counterpoise.evaluation.joint import (
    JOINT,
    best_thresholds,
    diagram,
    findings,
    joint_scores,
    rarest,
)
from counterpoise.files import read_json, write_json
from counterpoise.metrics import CALIBRATION_BINS, METRICS, reliability
from counterpoise.tasks import TOGETHER, Task

from .test_evaluate import cell_of

TASKS = 5
NEVER = 4
"""The finding that no item has."""


def drawn(seed: int, count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Logits that know something, on a grid so that there are ties, and labels."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((count, TASKS)) < [0.5, 0.2, 0.1, 0.05, 0.0]).astype(np.int64)
    logits = np.round(rng.normal(1.5 * targets - 1.5, 1.0), 1)
    return logits, targets


def test_the_names_are_known_without_numpy() -> None:
    assert tuple(JOINT) == TOGETHER


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_f1_is_scikit_learns_for_each_average(average: str) -> None:
    logits, targets = drawn(1)
    data = findings(logits, targets, np.zeros(TASKS))
    there = slice(None) if average == "micro" else slice(NEVER)  # scikit-learn counts it as 0
    expected = sklearn.metrics.f1_score(
        targets[:, there], logits[:, there] > 0, average=average, zero_division=0
    )
    assert joint_scores(data)[f"f1_{average}"] == pytest.approx(expected)


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
def test_thresholds_come_from_validation_and_hold_on_test(average: str) -> None:
    before, labels = drawn(2)
    logits, targets = drawn(3)
    thresholds = best_thresholds(before, labels)
    for t in range(NEVER):
        tried = {
            float(bound): sklearn.metrics.f1_score(labels[:, t], before[:, t] >= bound)
            for bound in np.unique(before[:, t])
        }
        assert tried[thresholds[t]] == pytest.approx(max(tried.values()))
        assert all(f1 < max(tried.values()) for bound, f1 in tried.items() if bound > thresholds[t])
    assert thresholds[NEVER] == np.inf
    data = findings(logits, targets, thresholds)
    there = slice(None) if average == "micro" else slice(NEVER)
    expected = sklearn.metrics.f1_score(
        targets[:, there], (logits >= thresholds)[:, there], average=average, zero_division=0
    )
    assert joint_scores(data)[f"f1_{average}_best"] == pytest.approx(expected)


def test_micro_auroc_is_scikit_learns() -> None:
    logits, targets = drawn(4)
    expected = sklearn.metrics.roc_auc_score(targets.ravel(), logits.ravel())
    data = findings(logits, targets, np.zeros(TASKS))
    assert joint_scores(data)["auroc_micro"] == pytest.approx(expected)


def test_unknown_labels_have_no_part() -> None:
    logits, targets = drawn(5)
    rng = np.random.default_rng(6)
    hidden = rng.random(targets.shape) < 0.3
    partial = np.where(hidden, -1, targets)
    data = findings(logits, partial, np.zeros(TASKS))
    found = joint_scores(data)
    known = ~hidden
    expected = sklearn.metrics.f1_score(targets[known], logits[known] > 0)
    assert found["f1_micro"] == pytest.approx(expected)
    expected = sklearn.metrics.roc_auc_score(targets[known], logits[known])
    assert found["auroc_micro"] == pytest.approx(expected)
    other = findings(np.where(hidden, 99.0, logits), partial, np.zeros(TASKS))
    assert joint_scores(other) == found


@pytest.mark.parametrize("name", JOINT)
def test_a_weight_of_two_is_an_item_twice(name: str) -> None:
    logits, targets = drawn(7, 60)
    rng = np.random.default_rng(8)
    weights = rng.integers(0, 3, 60)
    thresholds = np.full(TASKS, -0.5)
    data = findings(logits, targets, thresholds)
    again = np.repeat(np.arange(60), weights)
    expected = joint_scores(findings(logits[again], targets[again], thresholds))[name]
    found = JOINT[name](data, np.stack([weights.astype(float), np.ones(60)]))
    assert found[0] == pytest.approx(expected)
    assert found[1] == pytest.approx(joint_scores(data)[name])


# One finding ----------------------------------------------------------------------------------


def test_focal_loss_is_torchvisions() -> None:
    logits, targets = drawn(9)
    expected = sigmoid_focal_loss(
        torch.from_numpy(logits[:, 1]), torch.from_numpy(targets[:, 1]).double(),
        alpha=-1, gamma=2, reduction="mean",
    )  # fmt: skip
    found = METRICS["focal"].compute(logits[:, 1:2], targets[:, 1])
    assert found == pytest.approx(float(expected))
    saturated = METRICS["focal"].compute(np.array([[1e4], [-1e4]]), np.array([1, 1]))
    assert saturated == pytest.approx(5e3)


@pytest.mark.parametrize("finding", range(NEVER))
def test_sensitivity_is_read_off_scikit_learns_curve(finding: int) -> None:
    logits, targets = drawn(10)
    alarms, hits, _ = sklearn.metrics.roc_curve(
        targets[:, finding], logits[:, finding], drop_intermediate=False
    )
    expected = hits[alarms <= 0.1 + 1e-12].max()
    found = METRICS["sensitivity_90"].compute(logits[:, [finding]], targets[:, finding])
    assert found == pytest.approx(expected)


def test_rare_findings_are_the_half_with_the_fewest_positives() -> None:
    logits, targets = drawn(12)
    data = findings(logits, targets, np.zeros(TASKS))
    assert rarest(data.targets).tolist() == [3, NEVER]
    alone = findings(logits[:, 3:], targets[:, 3:], np.zeros(2))
    assert joint_scores(data)["sensitivity_90_rare"] == joint_scores(alone)["sensitivity_90"]


def test_rare_findings_rest_on_few_patients() -> None:
    """Degrees of freedom: the harmonic mean of the rarer classes, and of all or the rare findings."""
    _, targets = drawn(12)
    columns = {f"target.{name}": targets[:, t] for t, name in enumerate("abcde")}
    frame = pd.DataFrame({"item": np.arange(len(targets)), **columns})
    tasks = [Task(name, name, 1, "bce", ("auroc",), classes=2) for name in "abcde"]
    found = _behind_together(tasks, frame, np.arange(len(frame))[:, None])
    rarer = np.array([max(1, min(n, len(targets) - n) or len(targets)) for n in targets.sum(0)])
    assert found["f1_macro"] == pytest.approx(hmean(rarer))
    assert found["sensitivity_90_rare"] == pytest.approx(hmean(rarer[[3, NEVER]]))


def test_sensitivity_needs_both_classes_and_may_be_zero() -> None:
    sensitivity = METRICS["sensitivity_90"].compute
    assert sensitivity(np.zeros((3, 1)), np.ones(3)) is None
    assert sensitivity(np.zeros((3, 1)), np.zeros(3)) is None
    assert sensitivity(np.zeros((3, 1)), np.array([1, 0, 0])) == 0.0  # no threshold passes 90 %
    assert sensitivity(np.array([[2.0], [0], [1]]), np.array([1, 0, 0])) == 1.0


def test_reliability_is_scikit_learns_calibration_curve() -> None:
    logits, targets = drawn(11)
    probability = special.expit(logits[:, 0])
    shares, means = calibration_curve(targets[:, 0], probability, n_bins=CALIBRATION_BINS)
    table = reliability(logits[:, 0], targets[:, 0])
    there = table[:, 0] > 0
    np.testing.assert_allclose(table[there, 1], means)
    np.testing.assert_allclose(table[there, 2], shares)
    assert table[:, 0].sum() == len(logits)
    weights = table[there, 0] / len(logits)
    expected = float((weights * np.abs(means - shares)).sum())
    assert METRICS["ece"].compute(logits[:, :1], targets[:, 0]) == pytest.approx(expected)
    bins = diagram(findings(logits, targets, np.zeros(TASKS)), tuple("abcde"))["a"]
    assert len(bins) == there.sum() and sum(row[0] for row in bins) == len(logits)


def test_calibration_of_a_certain_and_right_answer_is_perfect() -> None:
    targets = np.array([1, 0, 1])
    assert METRICS["ece"].compute((1000.0 * (2 * targets - 1))[:, None], targets) == 0.0


def test_a_sigmoid_applied_twice_and_the_losses_that_it_would_give() -> None:
    """Of always saying 0.2, or one half, of a finding with the release's mean prevalence.

    By hand: sigmoid(0.2) = 0.54983, sigmoid(0.5) = 0.62246; the printed losses after fine-tuning
    are 0.787 to 0.795 and 0.0595 to 0.0609 (the thoracic paper's Table 2).
    """
    targets = np.tile(np.repeat([1, 0], [52, 948])[:, None], 2)

    def always(probability: float) -> dict[str, float | None]:
        logits = np.full(targets.shape, special.logit(probability))
        return joint_scores(findings(logits, targets, np.zeros(2)))

    found = always(0.2)
    assert found["bce_twice"] == pytest.approx(0.052 * 0.59814 + 0.948 * 0.79814, abs=2e-5)
    assert found["focal"] == pytest.approx(0.0620, abs=1e-4)
    once = 0.052 * 0.45017**2 * 0.59814 + 0.948 * 0.54983**2 * 0.79814
    assert found["focal_twice"] == pytest.approx(once, abs=2e-5)
    assert always(0.5)["bce_twice"] == pytest.approx(0.948, abs=5e-4)
    # Right and certain about each item is the least that the fault can come to.
    certain = np.where(targets == 1, 1000.0, -1000.0)
    least = joint_scores(findings(certain, targets, np.zeros(2)))
    assert least["bce_twice"] == pytest.approx(0.052 * np.log1p(np.exp(-1)) + 0.948 * np.log(2))
    assert least["focal_twice"] == pytest.approx(0.1655, abs=1e-4)


# In a file of scores --------------------------------------------------------------------------


def test_a_cells_scores_hold_those_of_all_findings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("mass", "hernia")
    tasks = tuple(Task(name, name, 1, "bce", ("auroc",), classes=2) for name in names)
    module = SimpleNamespace(tasks=lambda _: tasks, Options=dict)
    monkeypatch.setattr(registry, "find", lambda kind, name: module)
    frames = []
    for seed in (0, 1):
        for n, part in enumerate(("validation", "test")):
            logits, targets = drawn(20 + 2 * seed + n, 80)
            frame = pd.DataFrame({"seed": seed, "part": part, "item": range(80)})
            frame["patient"] = np.arange(80) // 2
            for t, name in enumerate(names):
                frame[f"target.{name}"] = targets[:, t]
                frame[f"output.{name}.0"] = logits[:, t]
            frames.append(frame)
    table = pd.concat(frames, ignore_index=True)
    table.to_parquet(tmp_path / "p.parquet")
    write_json(tmp_path / "r.json", {"training_targets": {name: [0.8, 0.2] for name in names}})
    evaluate(cell_of(*names), tmp_path / "p.parquet", tmp_path / "r.json", tmp_path / "s.json")
    written = read_json(tmp_path / "s.json")
    (before, labels), (logits, targets) = drawn(20, 80), drawn(21, 80)
    thresholds = best_thresholds(before[:, :2], labels[:, :2])
    expected = joint_scores(findings(logits[:, :2], targets[:, :2], thresholds))
    assert written["scores"]["0"]["test"]["all"] == pytest.approx(expected)
    assert set(written["resamples"]["test"]["tasks"]["all"]["draws"]["f1_micro_best"]) == {"0", "1"}
    assert written["constant"]["test"]["all"]["f1_macro_best"] > 0
    assert sum(row[0] for row in written["reliability"]["1"]["mass"]) == 80
