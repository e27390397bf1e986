"""Losses against their formulas, metrics against scikit-learn."""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np
import pytest
import sklearn.metrics
import torch

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
