"""GradNorm's weights against the formulas of background/rotograd.md, section 1.3."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from counterpoise.methods._base import Method, State

from ..support import method_of, signal_of

OPTIONS = [
    {"target": target, "weight_optimizer": optimizer, "alpha": alpha}
    for target, optimizer, alpha in itertools.product(
        ("norm_of_mean", "mean_of_norms"), ("adam", "sgd"), (0.0, 0.5, 1.5)
    )
]


class Transcription:
    """The rule in float64 numpy, written from the formulas.

    G_k = ||grad_Z l_k||_F; r_k = l_k(t)/l_k(0) over its mean; T_k = (1/K) ||sum_j omega_j g_j|| r_k^a
    or mean_j(omega_j G_j) r_k^a; the derivative of |omega_k G_k - T_k| is sign(...) G_k; a step of
    SGD or Adam (Kingma and Ba, Algorithm 1) at rate lr * decay^t; omega >= 1e-4, sum omega = K.
    """

    def __init__(self, tasks: int, lr: float, decay: float, options: dict[str, Any]) -> None:
        self.omega, self.lr, self.decay, self.options = np.ones(tasks), lr, decay, options
        self.first, self.second, self.t = np.zeros(tasks), np.zeros(tasks), 0
        self.initial: np.ndarray | None = None

    def update(self, losses: np.ndarray, gradients: np.ndarray) -> None:
        tasks = len(losses)
        if self.initial is None:
            self.initial = losses
        norms = np.sqrt((gradients**2).sum(axis=(1, 2)))
        ratio = losses / self.initial
        r = ratio / ratio.mean()
        if self.options["target"] == "norm_of_mean":
            total = sum(w * g for w, g in zip(self.omega, gradients, strict=True))
            height = np.sqrt((total**2).sum()) / tasks
        else:
            height = (self.omega * norms).mean()
        slope = np.sign(self.omega * norms - height * r ** self.options["alpha"]) * norms
        rate = self.lr * self.decay**self.t
        self.t += 1
        if self.options["weight_optimizer"] == "adam":
            self.first = 0.9 * self.first + 0.1 * slope
            self.second = 0.999 * self.second + 0.001 * slope**2
            first = self.first / (1 - 0.9**self.t)
            second = self.second / (1 - 0.999**self.t)
            slope = first / (np.sqrt(second) + 1e-8)
        omega = np.maximum(self.omega - rate * slope, 1e-4)
        self.omega = omega * tasks / omega.sum()


def double(state: State) -> State:
    """The state in float64, so that it can be held to the transcription closely."""
    return {name: value.double() for name, value in state.items()}


def updated(method: Method, state: State, losses: Any, gradients: Any, step: int) -> State:
    own = torch.as_tensor(gradients, dtype=torch.float64)
    shown = signal_of(
        method, state, own, losses=torch.as_tensor(losses, dtype=torch.float64),
        z=torch.zeros(own.shape[1:], dtype=torch.float64), step=step,
    )  # fmt: skip
    return method.combine(state, shown)[1]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_sixty_steps_agree_with_the_transcription(options: dict[str, Any]) -> None:
    rng = np.random.default_rng(7)
    lr, decay = (0.02, 0.99) if options["weight_optimizer"] == "adam" else (0.002, 0.99)
    method = method_of("gradnorm", 3, 4, leader_learning_rate=lr, decay=decay, **options)
    state, expected = double(method.initial_state()), Transcription(3, lr, decay, options)
    sizes = np.array([4.0, 1.0, 0.3])[:, None, None]
    for step in range(60):
        gradients = rng.normal(0, 1, (3, 5, 4)) * sizes
        losses = rng.uniform(0.2, 2.0, 3)
        state = updated(method, state, losses, gradients, step)
        expected.update(losses, gradients)
        # Sixty steps of rounding in float64.
        np.testing.assert_allclose(state["omega"].numpy(), expected.omega, rtol=1e-10)
    moved = np.abs(expected.omega - 1).max()
    plain_adam = options["weight_optimizer"] == "adam" and options["target"] == "norm_of_mean"
    assert moved > (1e-6 if plain_adam else 0.1), "the test would see no difference"


@pytest.mark.parametrize("options", OPTIONS)
def test_sixty_steps_at_the_last_shared_layer(options: dict[str, Any]) -> None:
    """The same rule, of the gradients that ``signal.last_layer`` shows and of no others."""
    rng = np.random.default_rng(6)
    lr = 0.02 if options["weight_optimizer"] == "adam" else 0.002
    method = method_of("gradnorm", 3, 4, at="w", leader_learning_rate=lr, **options)
    assert method.signal == "last_layer"
    state, expected = double(method.initial_state()), Transcription(3, lr, 0.99, options)
    sizes = np.array([4.0, 1.0, 0.3])[:, None, None]
    for step in range(60):
        gradients = rng.normal(0, 1, (3, 5, 4)) * sizes
        losses = rng.uniform(0.2, 2.0, 3)
        state = updated(method, state, losses, gradients, step)
        # The trunk of these tests is a bias: its gradient is the sum over the batch.
        expected.update(losses, gradients.sum(axis=1, keepdims=True))
        np.testing.assert_allclose(state["omega"].numpy(), expected.omega, rtol=1e-10)


def test_z_and_w_differ_where_items_cancel_by_hand() -> None:
    """g_1 = (3, 0) and (1, 0), g_2 = (0, 4) and (0, -4): at W, (4, 0) and (0, 0)."""
    own = [[[3.0, 0.0], [1.0, 0.0]], [[0.0, 4.0], [0.0, -4.0]]]
    found = {}
    for at in ("z", "w"):
        method = method_of("gradnorm", 2, 2, at=at, **{**HALVED, "leader_learning_rate": 0.01})
        state = updated(method, double(method.initial_state()), [2.0, 3.0], own, 0)
        found[at] = state["omega"]
    # Z: G = (sqrt 10, sqrt 32), T = sqrt(42)/2 = 3.2404 between them, so the slope is
    # (-sqrt 10, sqrt 32). W: G = (4, 0), T = 2; the slope is (4, 0).
    raw = np.array([1 + 0.01 * np.sqrt(10), 1 - 0.01 * np.sqrt(32)])
    np.testing.assert_allclose(found["z"], 2 * raw / raw.sum(), rtol=1e-12)
    np.testing.assert_allclose(found["w"], [2 * 0.96 / 1.96, 2 / 1.96], rtol=1e-12)


# g_1 = (3, 0) and g_2 = (0, 4), one item: G = (3, 4), ||g_1 + g_2|| = 5.
ORTHOGONAL = [[[3.0, 0.0]], [[0.0, 4.0]]]
HALVED = {"leader_learning_rate": 0.1, "decay": 0.5, "alpha": 1.0, "weight_optimizer": "sgd"}


def test_two_steps_of_sgd_by_hand() -> None:
    method = method_of("gradnorm", 2, 2, **HALVED)
    state = updated(method, double(method.initial_state()), [2.0, 3.0], ORTHOGONAL, 0)
    # r = (1, 1); T = 5/2 for both; omega G - T = (0.5, 1.5), so the slope is (3, 4);
    # omega = (1 - 0.3, 1 - 0.4) = (0.7, 0.6), times 2/1.3.
    np.testing.assert_allclose(state["omega"], [14 / 13, 12 / 13], rtol=1e-12)
    state = updated(method, state, [1.0, 3.0], ORTHOGONAL, 1)
    # l/l(0) = (0.5, 1), mean 0.75, r = (2/3, 4/3). ||omega_1 g_1 + omega_2 g_2|| = sqrt(42^2 +
    # 48^2)/13 = 4.90623; T = (1.63541, 3.27082) is below omega G = (3.23077, 3.69231); slope (3, 4)
    # at the halved rate 0.05: (1.076923 - 0.15, 0.923077 - 0.2) = (0.926923, 0.723077), times
    # 2/1.65.
    np.testing.assert_allclose(state["omega"], [1.123543, 0.876457], atol=5e-7)


def test_a_step_towards_the_mean_of_norms_by_hand() -> None:
    method = method_of("gradnorm", 2, 2, target="mean_of_norms", **HALVED)
    state = updated(method, double(method.initial_state()), [2.0, 3.0], ORTHOGONAL, 0)
    # T = (3 + 4)/2; omega G - T = (-0.5, 0.5); slope (-3, 4); (1.3, 0.6), times 2/1.9.
    np.testing.assert_allclose(state["omega"], [2.6 / 1.9, 1.2 / 1.9], rtol=1e-12)


def test_a_step_of_adam_by_hand() -> None:
    method = method_of(
        "gradnorm", 2, 2, target="mean_of_norms", leader_learning_rate=0.1, alpha=1.0
    )
    state = updated(method, double(method.initial_state()), [2.0, 3.0], ORTHOGONAL, 0)
    # The first step of Adam is the sign of the slope: (1.1, 0.9).
    np.testing.assert_allclose(state["omega"], [1.1, 0.9], rtol=1e-8)


def test_a_weight_never_reaches_zero_by_hand() -> None:
    method = method_of(
        "gradnorm", 2, 2, leader_learning_rate=1.0, alpha=0.0, weight_optimizer="sgd"
    )
    state = updated(
        method, double(method.initial_state()), [1.0, 1.0], [[[0.1, 0.0]], [[0.0, 4.0]]], 0
    )
    # T = sqrt(0.01 + 16)/2 = 2.0006; slope (-0.1, 4); (1.1, 1 - 4), and the second becomes 1e-4.
    np.testing.assert_allclose(state["omega"], [2.2 / 1.1001, 2e-4 / 1.1001], rtol=1e-12)


def test_a_task_that_lags_behind_gets_more_weight() -> None:
    """Equal gradients, but the second loss has not fallen: its target is higher."""
    method = method_of("gradnorm", 2, 2, alpha=1.0, target="mean_of_norms")
    equal = [[[1.0, 0.0]], [[0.0, 1.0]]]
    state = updated(method, double(method.initial_state()), [1.0, 1.0], equal, 0)
    for step in range(1, 20):
        state = updated(method, state, [0.2, 1.0], equal, step)
    assert state["omega"][1] > 1.1 > 0.9 > state["omega"][0]


def test_with_the_mean_of_norms_weighted_norms_become_equal() -> None:
    """Chen et al. (2018): that is what GradNorm is for (alpha = 0, constant gradients)."""
    method = method_of(
        "gradnorm", 3, 3, alpha=0.0, target="mean_of_norms", leader_learning_rate=0.05
    )
    state = double(method.initial_state())
    gradients = torch.eye(3)[:, None, :] * torch.tensor([1.0, 2.0, 5.0])[:, None, None]
    for step in range(600):
        state = updated(method, state, [1.0, 1.0, 1.0], gradients, step)
    weighted = state["omega"].numpy() * [1.0, 2.0, 5.0]
    # omega ~ (1, 1/2, 1/5) 3/1.7; the rate has decayed to 0.0001, which is how close it gets.
    np.testing.assert_allclose(weighted, 3 / 1.7, rtol=0.02)


@pytest.mark.parametrize(
    ("unit", "expected"), [("iteration", 0.1 * 0.5**7), ("epoch", 0.1 * 0.5**2)]
)
def test_the_rate_decays_by_iteration_or_by_epoch(unit: str, expected: float) -> None:
    """The step's size shows the rate: slope (-3, 4) on weights of one."""
    method = method_of("gradnorm", 2, 2, target="mean_of_norms", decay_unit=unit, **HALVED)
    state = double(method.initial_state()) | {"initial_losses": torch.ones(2).double()}
    own = torch.tensor(ORTHOGONAL, dtype=torch.float64)
    shown = signal_of(method, state, own, losses=torch.ones(2).double(),
                      z=torch.zeros(1, 2).double(), step=7, epoch=2)  # fmt: skip
    _, following = method.combine(state, shown)
    raw = np.array([1 + 3 * expected, 1 - 4 * expected])
    np.testing.assert_allclose(following["omega"], 2 * raw / raw.sum(), rtol=1e-10)
