"""Losses against their formulas, metrics against scikit-learn."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import sklearn.metrics
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from counterpoise import registry
from counterpoise.datasets import toy
from counterpoise.metrics import METRICS, metric
from counterpoise.training.losses import LOSSES

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 3, (50, 10))
CLASSES = RNG.integers(0, 10, 50)
VALUES = RNG.normal(5, 4, 50)
BINARY = RNG.integers(0, 2, 50)
# Losses are computed in float64 here, so that formulas agree to rounding.
EXACT = 1e-12


def loss(name: str, outputs: np.ndarray, targets: np.ndarray) -> float:
    return float(LOSSES[name](torch.from_numpy(outputs), torch.from_numpy(targets)))


def test_nll_is_the_mean_negative_log_of_the_softmax() -> None:
    share = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    expected = -np.log(share[np.arange(50), CLASSES]).mean()
    assert loss("nll", LOGITS, CLASSES) == pytest.approx(expected, rel=EXACT)
    found = sklearn.metrics.log_loss(CLASSES, share, labels=range(10))
    assert loss("nll", LOGITS, CLASSES) == pytest.approx(found, rel=1e-9)


def test_bce_one_hot_sums_a_binary_cross_entropy_over_the_classes() -> None:
    share = 1 / (1 + np.exp(-LOGITS))
    hot = np.eye(10)[CLASSES]
    terms = -(hot * np.log(share) + (1 - hot) * np.log(1 - share))
    assert loss("bce_one_hot", LOGITS, CLASSES) == pytest.approx(terms.sum(1).mean(), rel=EXACT)


def test_bce_is_that_of_one_logit() -> None:
    share = 1 / (1 + np.exp(-LOGITS[:, 0]))
    expected = -np.log(np.where(BINARY == 1, share, 1 - share)).mean()
    assert loss("bce", LOGITS[:, :1], BINARY) == pytest.approx(expected, rel=EXACT)


def test_mse() -> None:
    expected = sklearn.metrics.mean_squared_error(VALUES, LOGITS[:, 0])
    assert loss("mse", LOGITS[:, :1], VALUES) == pytest.approx(expected, rel=EXACT)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_extreme_outputs_are_finite(name: str) -> None:
    """A saturated sigmoid or softmax must not give the logarithm of zero."""
    outputs = np.full((4, 10 if name in {"nll", "bce_one_hot"} else 1), -200.0)
    outputs[:, 0] = 200.0
    target = np.ones(4) if name == "mse" else np.ones(4, dtype=np.int64)
    assert math.isfinite(loss(name, outputs, target))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_a_mean_over_the_batch(name: str) -> None:
    outputs = LOGITS if name in {"nll", "bce_one_hot"} else LOGITS[:, :1]
    targets = VALUES if name == "mse" else (CLASSES if outputs.shape[1] > 1 else BINARY)
    twice = loss(name, np.tile(outputs, (2, 1)), np.tile(targets, 2))
    assert twice == pytest.approx(loss(name, outputs, targets), rel=EXACT)


# Metrics -------------------------------------------------------------------------------------


def score(name: str, outputs: np.ndarray, targets: np.ndarray) -> float | None:
    return METRICS[name].compute(outputs, targets)


def test_accuracy_of_classes() -> None:
    expected = sklearn.metrics.accuracy_score(CLASSES, LOGITS.argmax(1))
    assert score("accuracy", LOGITS, CLASSES) == pytest.approx(expected)


def test_accuracy_of_one_logit() -> None:
    expected = sklearn.metrics.accuracy_score(BINARY, LOGITS[:, 0] > 0)
    assert score("accuracy", LOGITS[:, :1], BINARY) == pytest.approx(expected)


def test_error_is_summed_in_double_precision() -> None:
    """In float32 the squares of a hundred thousand large numbers lose digits."""
    outputs = (RNG.normal(0, 1, 100_000) + 4000).astype(np.float32)
    targets = np.zeros(100_000, np.float32)
    expected = sklearn.metrics.mean_squared_error(targets.astype(float), outputs.astype(float))
    assert score("mse", outputs[:, None], targets) == pytest.approx(expected, rel=1e-10)


# A binary task -------------------------------------------------------------------------------

ORACLES = {
    "auroc": sklearn.metrics.roc_auc_score,
    "auprc": sklearn.metrics.average_precision_score,
    "f1": lambda y, logits, **k: sklearn.metrics.f1_score(y, logits > 0, zero_division=0, **k),
    "accuracy": lambda y, logits, **k: sklearn.metrics.accuracy_score(y, logits > 0, **k),
    "bce": lambda y, logits, **k: sklearn.metrics.log_loss(y, 1 / (1 + np.exp(-logits)), labels=[0, 1], **k),
    "mse": sklearn.metrics.mean_squared_error,
}  # fmt: skip


@st.composite
def binary_scores(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits with many ties, targets of both classes, and four rows of weights with zeros."""
    size = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = rng.integers(-3, 4, size) * draw(st.sampled_from([0.0, 0.5, 1.0]))
    targets = rng.integers(0, 2, size)
    weights = np.stack([
        np.ones(size), rng.integers(0, 4, size), rng.random(size), rng.integers(1, 3, size)
    ]).astype(float)  # fmt: skip
    there = weights @ targets
    assume(((there > 0) & (there < weights.sum(1))).all())
    return logits.astype(np.float32), targets, weights


@pytest.mark.parametrize("name", ORACLES)
@given(drawn=binary_scores())
def test_a_binary_score_is_scikit_learns(
    name: str, drawn: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    logits, targets, weights = drawn
    oracle, weighted = ORACLES[name], METRICS[name].weighted
    assert weighted is not None
    # log_loss clips probabilities and works from them, ours from logits: equal to rounding.
    exact = logits.astype(float)
    expected = [oracle(targets, exact, sample_weight=row) for row in weights]
    assert weighted(logits[:, None], targets, weights) == pytest.approx(expected, abs=1e-12)
    assert score(name, logits[:, None], targets) == pytest.approx(oracle(targets, exact), abs=1e-12)


@pytest.mark.parametrize("name", ORACLES)
@given(drawn=binary_scores())
def test_a_weight_of_two_is_an_item_twice(
    name: str, drawn: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> None:
    """What the bootstrap rests on: weights count how often an item was drawn."""
    logits, targets, weights = drawn
    row = weights[1].astype(int)
    weighted = METRICS[name].weighted
    assert weighted is not None
    found = weighted(logits[:, None], targets, weights[1:2])[0]
    again = score(name, np.repeat(logits, row)[:, None], np.repeat(targets, row))
    assert found == pytest.approx(again, abs=1e-12)


def test_bce_agrees_with_the_training_loss() -> None:
    logits = LOGITS[:, :1] * 20  # some saturate
    assert score("bce", logits, BINARY) == pytest.approx(loss("bce", logits, BINARY), rel=EXACT)


def test_bce_of_a_saturated_logit_is_finite() -> None:
    outputs = np.array([[2000.0], [-2000.0]], np.float32)
    assert score("bce", outputs, np.array([0, 1])) == 2000.0
    assert score("bce", outputs, np.array([1, 0])) == 0.0


def test_scores_of_logits_that_are_all_equal() -> None:
    """A constant answer orders nothing: half the pairs, and the share of positives."""
    targets = np.array([1, 0, 0, 0])
    found = {name: score(name, np.full((4, 1), -1.5), targets) for name in ("auroc", "auprc", "f1")}
    assert found == {"auroc": 0.5, "auprc": 0.25, "f1": 0.0}


def test_a_perfect_order() -> None:
    outputs, targets = np.array([[3.0], [1.0], [-1.0], [-2.0]]), np.array([1, 1, 0, 0])
    assert [score(name, outputs, targets) for name in ("auroc", "auprc", "f1")] == [1.0] * 3
    assert score("auroc", -outputs, targets) == 0.0


@pytest.mark.parametrize(
    ("name", "alone", "defined"),
    [("auroc", 1, False), ("auroc", 0, False), ("auprc", 0, False), ("auprc", 1, True),
     ("f1", 0, False), ("f1", 1, True), ("accuracy", 0, True), ("bce", 0, True)],
)  # fmt: skip
def test_scores_of_one_class_alone(name: str, alone: int, defined: bool) -> None:
    targets = np.full(50, alone)
    assert (score(name, LOGITS[:, :1], targets) is not None) == defined
    weighted = METRICS[name].weighted
    assert weighted is not None
    # The same where the other class is there and has no weight, beside a row that is defined.
    targets[:5] = 1 - alone
    weights = np.ones((2, 50))
    weights[0, :5] = 0
    found = weighted(LOGITS[:, :1], targets, weights)
    assert np.isfinite(found).tolist() == [defined, True]


def test_f1_names_its_threshold() -> None:
    assert "0.5" in METRICS["f1"].label


def catalogue() -> list[tuple[str, ModuleType, str]]:
    found = [("", toy, name) for name in METRICS]
    for dataset in registry.names("datasets"):
        module = registry.find("datasets", dataset)
        found += [(dataset, module, name) for name in getattr(module, "METRICS", {})]
    return found


@pytest.mark.parametrize(("dataset", "module", "name"), catalogue())
def test_the_score_of_nothing_is_undefined(dataset: str, module: ModuleType, name: str) -> None:
    assert metric(module, name).compute(np.empty((0, 2)), np.empty(0)) is None


@pytest.mark.parametrize("dataset", registry.names("datasets"))
def test_every_task_has_a_loss_and_metrics(dataset: str) -> None:
    module = registry.find("datasets", dataset)
    for task in module.tasks(module.Options()):
        assert task.loss in {**LOSSES, **getattr(module, "LOSSES", {})}
        assert task.metrics
        for name in task.metrics:
            assert metric(module, name).better in {"higher", "lower"}


# The toy losses of Figure 3 ------------------------------------------------------------------


@pytest.mark.parametrize(("task", "optimum"), [("first", 1.5), ("second", -1.5)])
def test_a_toy_loss_has_its_optimum_of_zero(task: str, optimum: float) -> None:
    """sin(3u)/u has the limit 3 at u = 0, twice; the constant is 6."""
    value = toy.LOSSES[f"landscape_{task}"]
    here = torch.full((1, 2), optimum)
    assert float(value(here, here)) == pytest.approx(0.0, abs=1e-6)
    draws = here + torch.randn(2000, 2, generator=torch.Generator().manual_seed(0)) * 2
    assert all(float(value(point[None], here)) > 0.0 for point in draws[:200])
    torch_value = float(value(draws, here))
    numpy_value = toy.METRICS[f"landscape_{task}"].compute(draws.numpy(), np.zeros(2000))
    assert torch_value == pytest.approx(numpy_value, rel=1e-4)


def test_a_toy_loss_by_hand() -> None:
    # z = (0, 1), s = -1.5: u = (-1.5, -0.5), sin(3u)/u = (-0.65169, 1.99499), |u| = (1.5, 0.5).
    value = toy.LOSSES["landscape_first"](torch.tensor([[0.0, 1.0]]), torch.zeros(1))
    assert float(value) == pytest.approx(6 + 1.5 + 0.5 + 0.651687 - 1.994990, abs=1e-5)


def test_the_steep_toy_loss_is_ten_times_the_other() -> None:
    outputs = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    plain, steep = (
        toy.LOSSES[f"landscape_{n}"](outputs, outputs) for n in ("second", "steep_second")
    )
    assert float(steep) == pytest.approx(10 * float(plain), rel=1e-6)
