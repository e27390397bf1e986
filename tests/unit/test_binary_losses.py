"""Losses of binary tasks against torch, torchvision and formulas written anew in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor
from torch.nn import functional
from torchvision.ops import sigmoid_focal_loss

from counterpoise.spec.cell import BinaryLoss, ClassBalanced, ClassWeighted
from counterpoise.training.binary import binary_loss, class_weights
from counterpoise.training.losses import bce

DRAWS = torch.Generator().manual_seed(5)
LOGITS = torch.randn(60, 1, generator=DRAWS, dtype=torch.float64) * 3
TARGET = (torch.rand(60, generator=DRAWS) < 0.3).long()
COUNTS = (700, 50)
EXACT = 1e-12
"""Both sides are in float64: they differ by the order of a few operations."""

SPECS = {
    "bce": {"kind": "bce"},
    "focal": {"kind": "focal"},
    "focal, no alpha": {"kind": "focal", "gamma": 0.5, "alpha": None},
    "asymmetric": {"kind": "asymmetric"},
    "asymmetric, small power": {"kind": "asymmetric", "gamma_negative": 0.5},
    "class_weighted": {"kind": "class_weighted"},
    "class_weighted, positives": {"kind": "class_weighted", "form": "positive", "mean": "items"},
    "class_balanced": {"kind": "class_balanced"},
    "sigmoid_twice": {"kind": "sigmoid_twice"},
}
every = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def loss_of(spec: dict[str, object], counts: tuple[int, int] = COUNTS):  # type: ignore[no-untyped-def]
    return binary_loss(TypeAdapter(BinaryLoss).validate_python(spec), counts)


def value(spec: dict[str, object], logits: Tensor = LOGITS, target: Tensor = TARGET) -> float:
    return float(loss_of(spec)(logits, target))


@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (1.0, 0.7), (3.5, None)])
def test_focal_loss_is_torchvisions(gamma: float, alpha: float | None) -> None:
    given = -1 if alpha is None else alpha  # torchvision's word for none
    expected = sigmoid_focal_loss(LOGITS[:, 0], TARGET.double(), given, gamma, reduction="mean")
    found = value({"kind": "focal", "gamma": gamma, "alpha": alpha})
    assert found == pytest.approx(float(expected), rel=EXACT)


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    plain = float(bce(LOGITS, TARGET))
    assert value({"kind": "focal", "gamma": 0, "alpha": None}) == pytest.approx(plain, rel=EXACT)
    half = value({"kind": "focal", "gamma": 0, "alpha": 0.5})
    assert half == pytest.approx(plain / 2, rel=EXACT)


def test_class_weights_are_those_of_torchs_cross_entropy_over_two_logits() -> None:
    """As DeepChest's code has them: N / n_c, and the mean over the weights."""
    two = torch.cat([torch.zeros_like(LOGITS), LOGITS], dim=1)
    weight = torch.tensor([750 / 700, 750 / 50], dtype=torch.float64)
    expected = functional.cross_entropy(two, TARGET, weight)
    assert value({"kind": "class_weighted"}) == pytest.approx(float(expected), rel=EXACT)


def test_weights_of_positives_are_torchs_pos_weight() -> None:
    expected = functional.binary_cross_entropy_with_logits(
        LOGITS[:, 0], TARGET.double(), pos_weight=torch.tensor(700 / 50, dtype=torch.float64)
    )
    found = value({"kind": "class_weighted", "form": "positive", "mean": "items"})
    assert found == pytest.approx(float(expected), rel=EXACT)


def test_class_balanced_weights_by_hand() -> None:
    """Effective numbers 1 + b + b^2 + ... by summing, normalised to two classes."""
    beta = 0.9
    effective = [sum(beta**k for k in range(n)) for n in (40, 3)]
    assert effective[1] == pytest.approx(2.71)
    expected = np.array([1 / e for e in effective])
    expected *= 2 / expected.sum()
    found = class_weights(ClassBalanced(kind="class_balanced", beta=beta), (40, 3))
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-9)


def test_asymmetric_loss_by_its_formula() -> None:
    p = 1 / (1 + np.exp(-LOGITS[:, 0].numpy()))
    shifted = np.maximum(p - 0.1, 0)
    terms = np.where(
        TARGET.numpy() == 1, -((1 - p) ** 1.5) * np.log(p), -(shifted**3) * np.log(1 - shifted)
    )
    spec = {"kind": "asymmetric", "gamma_positive": 1.5, "gamma_negative": 3, "margin": 0.1}
    assert value(spec) == pytest.approx(terms.mean(), rel=1e-9)


def test_asymmetric_loss_drops_easy_negatives() -> None:
    logits = torch.full((4, 1), -4.0, requires_grad=True)  # p = 0.018, below the margin
    loss_of({"kind": "asymmetric"})(logits, torch.zeros(4, dtype=torch.int64)).backward()
    assert logits.grad is not None and not logits.grad.any()


def test_asymmetric_loss_of_equal_powers_is_focal_loss() -> None:
    spec = {"kind": "asymmetric", "gamma_positive": 2, "gamma_negative": 2, "margin": 0}
    focal = value({"kind": "focal", "gamma": 2, "alpha": None})
    assert value(spec) == pytest.approx(focal, rel=1e-9)


def test_a_sigmoid_applied_twice_cannot_go_below_its_floor() -> None:
    """Its probabilities lie between 1/2 and sigmoid(1): perfect answers at 5 % positives cost .67."""
    target = torch.arange(100) < 5
    logits = torch.where(target, 40.0, -40.0)[:, None].double()
    right = 0.05 * np.log(1 + np.exp(-1)) + 0.95 * np.log(2)
    assert value({"kind": "sigmoid_twice"}, logits, target.long()) == pytest.approx(right)


@every
def test_masked_items_change_nothing(spec: dict[str, object]) -> None:
    known = torch.arange(60) % 3 > 0
    logits = LOGITS.clone()
    logits[~known] = torch.inf
    logits.requires_grad_()
    masked = loss_of(spec)(logits, torch.where(known, TARGET, -1), known)
    selected = loss_of(spec)(LOGITS[known], TARGET[known])
    assert masked.item() == pytest.approx(float(selected), rel=EXACT)
    masked.backward()
    assert logits.grad is not None
    assert not logits.grad[~known].any() and logits.grad.isfinite().all()


@every
def test_none_known_is_zero(spec: dict[str, object]) -> None:
    known = torch.zeros(60, dtype=torch.bool)
    assert float(loss_of(spec)(LOGITS, TARGET, known)) == 0


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_outputs_are_met(spec: dict[str, object], dtype: torch.dtype) -> None:
    logits = torch.tensor([[400.0], [-400.0], [400.0], [-400.0], [0.0]], dtype=dtype)
    logits.requires_grad_()
    found = loss_of(spec)(logits, torch.tensor([1, 1, 0, 0, 1]))
    found.backward()
    assert found.isfinite() and logits.grad is not None and logits.grad.isfinite().all()


@every
def test_gradients_are_those_of_the_loss(spec: dict[str, object]) -> None:
    """By finite differences, where the loss has a derivative: off the margin's kink."""
    logits = LOGITS.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss_of(spec)(x, TARGET), logits)


@every
def test_replicates_are_weighted_each_for_itself(spec: dict[str, object]) -> None:
    loss = loss_of(spec)
    both = torch.stack([LOGITS, -LOGITS]), torch.stack([TARGET, 1 - TARGET])
    known = torch.stack([TARGET >= 0, torch.arange(60) < 40])
    together = torch.func.vmap(loss)(*both, known)
    alone = [loss(*(x[r] for x in both), known[r]) for r in range(2)]
    assert together.tolist() == pytest.approx([float(x) for x in alone], rel=EXACT)


@pytest.mark.parametrize("kind", ["class_weighted", "class_balanced"])
def test_a_class_that_never_occurs_has_no_weight(kind: str) -> None:
    spec: ClassWeighted | ClassBalanced = TypeAdapter(BinaryLoss).validate_python({"kind": kind})
    weights = class_weights(spec, (30, 0))
    assert weights[1] == 0 and weights[0] > 0 and weights.isfinite().all()
