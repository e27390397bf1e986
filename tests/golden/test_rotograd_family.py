"""The methods around RotoGrad: its variants, its comparisons, and what it says of norms at Z."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor, nn

from counterpoise.methods import rotograd
from counterpoise.methods._base import Combined, Epoch, Method, State
from counterpoise.methods.rotograd import (
    heads_of,
    leaders_moves,
    step_towards,
    target_rotation,
    turn_towards,
)
from counterpoise.methods.rotograd_sgd import descend
from counterpoise.training.engine import Replicate
from counterpoise.training.signals import jacobian_of
from counterpoise.training.step import task_outputs

from ..support import method_of, random_signals, signal_of, small_cell, small_problem
from .test_gradnorm import Transcription, double
from .test_rotograd import is_rotation, normal, rank_one_step, rotations


def tensor(values: Any) -> Tensor:
    return torch.as_tensor(np.asarray(values, dtype=np.float64))


def decided(
    method: Method,
    state: State,
    own: Any,
    *,
    losses: Any = None,
    z: Any = None,
    step: int = 0,
    **more: Any,
) -> tuple[Combined, State]:
    """One step in float64; ``more`` are fields of the signal."""
    gradients = tensor(own)
    shown = signal_of(
        method, state, gradients, step=step,
        losses=torch.ones(len(gradients)).double() if losses is None else tensor(losses),
        z=torch.zeros(gradients.shape[1:]).double() if z is None else tensor(z),
    )  # fmt: skip
    return method.combine(state, replace(shown, **more))


def plane(angle: float) -> np.ndarray:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


# g_1 = (3, 0) and g_2 = (0, 4), one item.
ORTHOGONAL = [[[3.0, 0.0]], [[0.0, 4.0]]]


# RotoGrad, heads with one output -------------------------------------------------------------


def one_output(tasks: int, batch: int, d: int, seed: int = 0) -> np.ndarray:
    """Gradients delta_i w behind linear heads with one output."""
    return normal(tasks, batch, 1, seed=seed) * normal(tasks, 1, d, seed=seed + 1)


@pytest.mark.parametrize("rate", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("d", [2, 3, 12, 64])
def test_a_turn_in_one_plane_is_the_step_by_two_svds(d: int, rate: float) -> None:
    own, shared, current = one_output(4, 20, d), normal(20, d, seed=7), rotations(4, d)
    arrays = [tensor(x) for x in (own, shared, current)]
    head = heads_of(arrays[0])
    assert head is not None
    found = turn_towards(*arrays, head, rate)
    expected = step_towards(arrays[2], target_rotation(*arrays, "proximal"), rate, "proximal")
    # `proximal` has an epsilon of 1e-6 in R*, of which a step takes the share `rate`.
    torch.testing.assert_close(found, expected, atol=3e-6 * rate, rtol=0)
    assert (found - arrays[2]).abs().max() > 0.1 * rate / math.sqrt(d)
    assert is_rotation(found.numpy(), 1e-13)


@pytest.mark.parametrize("rate", [0.02, 0.3, 1.0])
def test_a_turn_in_one_plane_is_the_published_formula(rate: float) -> None:
    """background/rotograd.md, 1.4, written again in numpy in the tests of RotoGrad."""
    deltas, heads = normal(3, 20, seed=1), normal(3, 9, seed=2)
    shared, current = normal(20, 9, seed=3), rotations(3, 9)
    own = deltas[:, :, None] * heads[:, None, :]
    (found,) = leaders_moves(*map(tensor, (own, shared, current)), [rate], "proximal")
    for k in range(3):
        expected = rank_one_step(heads[k], shared.T @ deltas[k], current[k], rate)
        np.testing.assert_allclose(found[k], expected, atol=1e-13)


def test_heads_with_one_output_are_told_from_others() -> None:
    exact = one_output(3, 20, 8)
    rounded = exact.astype(np.float32).astype(np.float64)
    for own in (exact, rounded, rounded * 1e-30, rounded * 1e20):
        found = heads_of(tensor(own))
        assert found is not None
        turned = np.abs((found.numpy() * normal(3, 1, 8, seed=1)[:, 0]).sum(1))
        # The head's own direction, by either sign.
        expected = np.linalg.norm(normal(3, 1, 8, seed=1)[:, 0], axis=1)
        np.testing.assert_allclose(turned, expected, rtol=1e-6)
    for change in (normal(20, 8, seed=5), np.nan):
        other = exact.copy()
        other[1] += 1e-3 * change
        assert heads_of(tensor(other)) is None, "one task with a richer head is enough"
    silent = exact.copy()
    silent[2] = 0
    assert heads_of(tensor(silent)) is not None


def test_a_task_without_gradient_is_not_turned() -> None:
    own, current = one_output(3, 20, 6), rotations(3, 6)
    own[1] = 0
    (found,) = leaders_moves(*map(tensor, (own, normal(20, 6), current)), [0.5], "proximal")
    found = found.numpy()
    np.testing.assert_array_equal(found[1], current[1])
    assert all(np.abs(found[k] - current[k]).max() > 0.01 for k in (0, 2))
    (still,) = leaders_moves(*map(tensor, (own, np.zeros((20, 6)), current)), [0.5], "proximal")
    np.testing.assert_array_equal(still, current)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e20])
def test_the_size_of_the_gradients_is_no_matter_to_the_turn(scale: float) -> None:
    own, shared, current = one_output(3, 20, 6), normal(20, 6), rotations(3, 6)
    found, expected = (
        leaders_moves(*map(tensor, (own * s, shared * s, current)), [0.3], "proximal")[0]
        for s in (scale, 1.0)
    )
    torch.testing.assert_close(found, expected, atol=1e-13, rtol=0)


@pytest.mark.parametrize("d", [2, 5])
def test_half_a_turn_in_one_plane_is_begun_and_ends(d: int) -> None:
    """c = -R^T w: exactly reversed, as in Figure 3c."""
    head, deltas = normal(d), normal(20, seed=1)
    own = (deltas[:, None] * head)[None]
    shared, rotation = -own[0], torch.eye(d).double()[None]
    for _ in range(300):
        rotation = leaders_moves(tensor(own), tensor(shared), rotation, [0.05], "proximal")[0]
        assert is_rotation(rotation.numpy(), 1e-12)
    np.testing.assert_allclose(rotation[0] @ tensor(head), -head, atol=1e-4)
    at_once = leaders_moves(
        tensor(own), tensor(shared), torch.eye(d).double()[None], [1.0], "proximal"
    )[0]
    np.testing.assert_allclose(at_once[0] @ tensor(head), -head, atol=1e-12)


@pytest.mark.parametrize("translation", ["means", "offset"])
def test_thirty_steps_do_not_depend_on_the_way(
    translation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole method with and without the shortcut, in float64."""
    method = method_of("rotograd", 3, 8, leader_learning_rate=0.1, translation=translation)

    def trained() -> State:
        state = double(method.initial_state())
        for step in range(30):
            own, z = one_output(3, 12, 8, seed=step), normal(12, 8, seed=step + 1) + 1
            _, state = decided(method, state, own, z=z, step=step)
        return state

    short = trained()
    monkeypatch.setattr(rotograd, "heads_of", lambda _: None)
    for key, value in trained().items():
        # The millionth by which `proximal` misses, a tenth of it at each of thirty steps.
        torch.testing.assert_close(short[key], value, atol=1e-5, rtol=0)
    assert (short["rotation"] - torch.eye(8)).abs().max() > 0.1


@pytest.mark.parametrize(
    "name, options",
    [
        ("rotograd", {"leader_learning_rate": 0.1, "magnitudes": "none"}),
        ("rotograd_sgd", {"rotation_learning_rate": 0.01}),
    ],
)
@pytest.mark.parametrize("steps", [1_050, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_turns_keep_rotations_rotations(
    name: str, options: dict[str, Any], steps: int
) -> None:
    """In float32, as a method's state is; every thousandth step renews them."""
    method = method_of(name, 2, 16, decay=1.0, **options)
    gradients = [tensor(one_output(2, 3, 16, seed=s)).float() for s in range(20)]
    state = method.initial_state()
    for step in range(steps):
        _, state = method.combine(state, signal_of(method, state, gradients[step % 20], step=step))
    # A thousand roundings of 6e-8 add up as a random walk does.
    assert is_rotation(state["rotation"].double().numpy(), 2e-5)
    assert (state["rotation"] - torch.eye(16)).abs().max() > 0.1


# rotograd-sgd --------------------------------------------------------------------------------


def test_a_gradient_step_of_the_rotations_by_hand() -> None:
    method = method_of("rotograd_sgd", 2, 2, rotation_learning_rate=0.01)
    _, state = decided(method, double(method.initial_state()), ORTHOGONAL)
    # g = (3, 4). Task 1: 2 (g - g_1) g^T = [[0, 0], [24, 32]]; I - 0.01 of it is
    # [[1, 0], [-0.24, 0.68]], and the nearest rotation of a matrix M in the plane has the angle
    # atan2(M_21 - M_12, M_11 + M_22). Task 2: 2 (3, 0) g^T = [[18, 24], [0, 0]].
    expected = [plane(math.atan2(-0.24, 1.68)), plane(math.atan2(0.24, 1.82))]
    np.testing.assert_allclose(state["rotation"], expected, atol=1e-12)


def test_the_step_follows_the_derivative_of_the_objective() -> None:
    """Eq. 8 by automatic differentiation, and that of its second problem is zero."""
    own, shared, current = normal(3, 7, 4), normal(7, 4, seed=1), tensor(rotations(3, 4))
    z, shift = tensor(normal(7, 4, seed=2)), torch.zeros(3, 4).double().requires_grad_()
    rotation = current.clone().requires_grad_()
    turned = torch.einsum("kij,bj->kbi", rotation, tensor(shared))
    (turned - tensor(own)).square().sum(2).mean(1).sum().backward()
    points = torch.einsum("kij,bj->kbi", current, z)
    (points + shift[:, None] - points.detach()).square().sum(2).mean(1).sum().backward()
    assert shift.grad is not None and not shift.grad.any()
    assert rotation.grad is not None
    found = descend(tensor(own), tensor(shared), current, 0.05)
    for k in range(3):
        moved = (current[k] - 0.05 * rotation.grad[k]).numpy()
        expected, _ = scipy.linalg.polar(moved)
        assert np.linalg.det(expected) > 0
        np.testing.assert_allclose(found[k], expected, atol=1e-12)


def test_a_long_step_never_ends_in_a_reflection() -> None:
    own, shared, current = normal(40, 7, 3), normal(7, 3, seed=1), rotations(40, 3)
    found = descend(*map(tensor, (own, shared, current)), 5.0).numpy()
    slopes = 2 / 7 * (current @ shared.T - own.transpose(0, 2, 1)) @ shared
    assert np.linalg.det(current - 5.0 * slopes).min() < 0, "the test would see no difference"
    assert is_rotation(found, 1e-10)


@pytest.mark.parametrize("rate", [0.001, 0.05, 5.0])
def test_few_items_turn_a_part_of_the_space_only(rate: float) -> None:
    """The nearest rotation of the whole matrix is that of its part where the gradients are."""
    d, tasks = 24, 30
    own, shared, current = normal(tasks, 2, d), normal(2, d, seed=1), rotations(tasks, d)
    own[1], own[2] = 0, own[2, :1]  # no gradient, and two items that are alike
    own[3] = shared @ current[3].T  # where the objective is at its least
    own[4] = (shared * [[-8.0], [10.0]]) @ current[4].T  # mirrored, and nothing made shorter
    found = descend(*map(tensor, (own, shared, current)), rate).numpy()
    mirrored = 0
    for k in range(tasks):
        moved = current[k] - rate * (current[k] @ shared.T - own[k].T) @ shared
        u, stretches, vh = np.linalg.svd(moved)
        sign = np.sign(np.linalg.det(u @ vh))
        expected = u @ np.diag([1.0] * (d - 1) + [sign]) @ vh
        if sign < 0 and stretches[-1] > 1 - 1e-9:  # many directions are as good to turn
            mirrored += 1
            assert np.trace(found[k].T @ moved) == pytest.approx(stretches.sum() - 2)
        else:
            np.testing.assert_allclose(found[k], expected, atol=1e-9)
    assert is_rotation(found, 1e-10)
    assert mirrored or rate < 1, "the test would see no difference"


def test_few_items_turn_replicates_side_by_side() -> None:
    own, shared, current = normal(4 * 3, 2, 11), normal(4, 2, 11, seed=1), rotations(4 * 3, 11)
    own[3, 0, 0] = np.nan
    each = [tensor(own).reshape(4, 3, 2, 11), tensor(shared), tensor(current).reshape(4, 3, 11, 11)]
    found = torch.vmap(lambda *one: descend(*one, 0.05))(*each)
    expected = torch.stack([descend(*one, 0.05) for one in zip(*each, strict=True)])
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_a_gradient_that_is_no_number_moves_no_rotation() -> None:
    own, shared, current = normal(3, 2, 24), normal(2, 24, seed=1), rotations(3, 24)
    own[1, 0, 0] = np.nan
    found = descend(*map(tensor, (own, shared, current)), 0.05).numpy()
    np.testing.assert_array_equal(found[1], current[1])
    assert np.abs(found[0] - current[0]).max() > 1e-3


def test_thirty_steps_of_rotograd_sgd_agree_with_a_transcription() -> None:
    tasks, batch, d, lr = 3, 5, 4, 0.02
    options = {"target": "mean_of_norms", "weight_optimizer": "adam", "alpha": 0.5}
    method = method_of("rotograd_sgd", tasks, d, rotation_learning_rate=0.1, decay=0.9, **options)
    state, weights = double(method.initial_state()), Transcription(tasks, lr, 0.9, options)
    turned = np.stack([np.eye(d)] * tasks)
    rng = np.random.default_rng(4)
    for step in range(30):
        own, losses = rng.normal(size=(tasks, batch, d)) / batch, rng.uniform(0.5, 1.5, tasks)
        combined, state = decided(method, state, own, losses=losses, step=step)
        back = np.stack([own[k] @ turned[k] for k in range(tasks)])  # rows: (R^T g)^T = g^T R
        total = np.tensordot(weights.omega, back, 1)
        np.testing.assert_allclose(combined.shared, total, rtol=1e-9, atol=1e-12)
        weights.update(losses, back)
        for k in range(tasks):
            slope = np.zeros((d, d))
            for i in range(batch):  # gradients of the items' own losses: B times the mean's
                g, goal = batch * total[i], batch * own[k, i]
                slope += 2 / batch * np.outer(turned[k] @ g - goal, g)
            u, _, vh = np.linalg.svd(turned[k] - 0.1 * 0.9**step * slope)
            sign = np.sign(np.linalg.det(u @ vh))
            turned[k] = u @ np.diag([1.0] * (d - 1) + [sign]) @ vh
        np.testing.assert_allclose(state["rotation"], turned, atol=1e-9)
        np.testing.assert_allclose(state["omega"], weights.omega, rtol=1e-9)
    assert np.abs(turned - np.eye(d)).max() > 0.1


def test_the_step_does_not_depend_on_how_many_items_are_alike() -> None:
    method, found = method_of("rotograd_sgd", 2, 3, rotation_learning_rate=0.1), []
    own = normal(2, 4, 3)
    for copies in (1, 5):
        repeated = np.tile(own, (1, copies, 1)) / (4 * copies)
        found.append(decided(method, double(method.initial_state()), repeated)[1]["rotation"])
    torch.testing.assert_close(*found, atol=1e-12, rtol=0)
    assert (found[0] - torch.eye(3)).abs().max() > 0.01


# The author's library ------------------------------------------------------------------------

# Six steps of PyPI's rotograd 0.1.6.0 with geotorch 0.3.0, in float64: the problem of the test
# below as its `RotoGrad(nn.Linear, heads, 3, burn_in_period=3)`, rotations set to the identity (as
# the library asks for; geotorch replaces it by random ones), leader Adam 0.05 times 0.9^t, backbone
# SGD 0.1, printed: the gradient that the representation received at steps 2, 3 and 5, and all
# rotations after step 5.
LIBRARY_SHARED = {
    2: [-0.5604234376, 0.0215585278, 0.7056611546, 0.1500851069, 0.2875904113, -0.1307453692,
        -0.0913202643, -0.3503571431, -0.0668571492, -0.0211721148, 0.1264990215, 0.1849485894],
    3: [-0.7723026454, 0.0715338846, 0.9609767057, 0.084156282, 0.2361302266, 0.0002699349,
        -0.0368553553, -0.4351484114, -0.1715289552, -0.0348958717, 0.1761846743, 0.2431929815],
    5: [-1.1265364346, 0.2718648099, 1.5352719778, -0.3809540567, 0.2368717759, 0.6407282574,
        0.3079940357, -0.7030149561, -0.7153120854, -0.1230020277, 0.322793834, 0.4579104752],
}  # fmt: skip
LIBRARY_ROTATIONS = [
    [0.9482399565, -0.24406514, -0.2031580476, 0.1916248614, 0.9499320038, -0.2467976919,
     0.2532210445, 0.1950932999, 0.9475324306],
    [0.9738211218, -0.209189577, 0.088950231, 0.2147313726, 0.9749482337, -0.0580205074,
     -0.0745845852, 0.0756020008, 0.9943447476],
    [0.9490736927, 0.1980056005, 0.2450569483, -0.2477537711, 0.9495499897, 0.1922833481,
     -0.1946206429, -0.2432048503, 0.9502495494],
]  # fmt: skip


def ramp(n: int, *shape: int) -> Tensor:
    """Numbers that are easily made elsewhere."""
    return torch.cos(1 + n + torch.arange(math.prod(shape)).double() ** 2 / 7).view(*shape)


def test_six_steps_agree_with_the_authors_library() -> None:
    method = method_of("rotograd_library", 3, 3, leader_learning_rate=0.05, decay=0.9, burn_in=3)
    state, x, weight, target = (
        double(method.initial_state()),
        ramp(0, 4, 3),
        ramp(1, 3, 3),
        ramp(9, 4, 2),
    )
    heads = [ramp(2 + k, 3, 2) * (1.0, 5.0, 0.3)[k] for k in range(3)]
    for step in range(6):
        z = x @ weight.T
        leaves = method.represent(state, z).requires_grad_()
        losses = [((torch.tanh(leaves[k] @ heads[k]) - target) ** 2).mean() for k in range(3)]
        torch.stack(losses).sum().backward()
        assert leaves.grad is not None
        shown = signal_of(method, state, leaves.grad, z=z, step=step)
        combined, state = method.combine(state, shown)
        assert combined.mixing is not None and torch.equal(combined.weights, torch.ones(3))
        shared = torch.einsum("k,kbd->bd", combined.mixing, shown.gradients)
        if step in LIBRARY_SHARED:
            # Ten digits are printed; the guards of divisions differ by 1e-15.
            np.testing.assert_allclose(shared.flatten(), LIBRARY_SHARED[step], rtol=0, atol=1e-10)
        weight = weight - 0.1 * shared.T @ x
    found = method.represent(state, torch.eye(3).double()).mT.flatten(1)
    np.testing.assert_allclose(found, LIBRARY_ROTATIONS, rtol=0, atol=1e-10)


def test_a_step_of_the_library_by_hand() -> None:
    method = method_of("rotograd_library", 2, 2, leader_learning_rate=0.05)
    combined, state = decided(method, double(method.initial_state()), ORTHOGONAL)
    # n = (3, 4), both ratios one: a = (1/2, 1/2), C = 3.5. m = ||(1.5, 2)|| = 2.5, so that
    # v = (1.25, 1.25), between the two: task 1 turns it to the right and task 2 to the left, by the
    # first step of Adam, which is the sign of the slope.
    np.testing.assert_allclose(combined.mixing, [3.5 / 3, 3.5 / 4], rtol=1e-12)
    np.testing.assert_allclose(state["rotation"], [plane(-0.05), plane(0.05)], atol=1e-9)
    turned = np.einsum("kij,kbi->kbj", state["rotation"], ORTHOGONAL)
    np.testing.assert_allclose(turned[0, 0], [3 * np.cos(0.05), 3 * np.sin(0.05)], atol=1e-8)
    combined, state = decided(method, state, np.multiply(ORTHOGONAL, [[[2.0]], [[1.0]]]), step=1)
    # n = (6, 4), ratios (2, 1): a = (2/3, 1/3), C = 16/3.
    np.testing.assert_allclose(combined.mixing, [16 / 18, 16 / 12], rtol=1e-12)
    combined, state = decided(method, state, ORTHOGONAL, step=20)
    # Norms are taken anew after the burn-in: all ratios are one again.
    np.testing.assert_allclose(combined.mixing, [3.5 / 3, 3.5 / 4], rtol=1e-12)
    np.testing.assert_allclose(state["initial_norms"], [3, 4], rtol=1e-12)


def test_forty_steps_of_the_library_agree_with_a_transcription() -> None:
    """The slope by scipy's derivative of the exponential, the rest in numpy."""
    tasks, batch, d, lr, decay, burn_in = 3, 6, 4, 0.03, 0.97, 7
    method = method_of(
        "rotograd_library", tasks, d, leader_learning_rate=lr, decay=decay, burn_in=burn_in
    )
    state, rng = double(method.initial_state()), np.random.default_rng(3)
    lower, one, two = (np.zeros((tasks, d, d)) for _ in range(3))
    initial = np.ones(tasks)
    for step in range(40):
        own = rng.normal(size=(tasks, batch, d)) * np.array([5.0, 1.0, 0.2])[:, None, None]
        combined, state = decided(method, state, own, step=step)
        turned = np.stack([scipy.linalg.expm(part - part.T) for part in lower])
        back = np.stack([own[k] @ turned[k] for k in range(tasks)])
        norms = np.array([np.sqrt((b**2).sum()) for b in back])
        if step in (0, burn_in):
            initial = norms
        share = norms / initial / (norms / initial).sum()
        expected = (share @ norms) / norms
        np.testing.assert_allclose(combined.mixing, expected, rtol=1e-9)
        length = np.sqrt((back.mean(0) ** 2).sum())
        v = sum(b * length / n for b, n in zip(back, norms, strict=True)) / tasks
        for k in range(tasks):
            by_rotation = 2 * (turned[k] @ v.T - own[k].T) @ v
            # The adjoint of the derivative at A is the derivative at A^T.
            skew = lower[k] - lower[k].T
            by_skew = scipy.linalg.expm_frechet(skew.T, by_rotation, compute_expm=False)
            slope = np.tril(by_skew - by_skew.T, -1)
            one[k] = 0.9 * one[k] + 0.1 * slope
            two[k] = 0.999 * two[k] + 0.001 * slope**2
            first, second = one[k] / (1 - 0.9 ** (step + 1)), two[k] / (1 - 0.999 ** (step + 1))
            lower[k] -= lr * decay**step * first / (np.sqrt(second) + 1e-8)
        np.testing.assert_allclose(state["lower"], lower, rtol=1e-7, atol=1e-10)
        expected = [scipy.linalg.expm(part - part.T) for part in lower]
        np.testing.assert_allclose(state["rotation"], expected, atol=1e-9)
    assert np.abs(lower).max() > 0.1


def test_rotations_of_the_library_come_to_agree() -> None:
    """g^k = Q_k h for ever, as in the test of RotoGrad: R_1 R_2^T becomes Q_1 Q_2^T."""
    method = method_of("rotograd_library", 2, 3, leader_learning_rate=0.04, decay=0.98)
    planted, base = rotations(2, 3, seed=8), normal(12, 3)
    own, state = np.einsum("kij,bj->kbi", planted, base), double(method.initial_state())
    for step in range(250):
        _, state = decided(method, state, own, step=step)
    found = state["rotation"][0] @ state["rotation"][1].T
    # Adam's rate has decayed to 3e-4, which is how close it gets.
    np.testing.assert_allclose(found, planted[0] @ planted[1].T, atol=1e-3)


# d-grad --------------------------------------------------------------------------------------


def random_maps(tasks: int, d: int) -> State:
    return {"matrix": tensor(normal(tasks, d, d)), "shift": tensor(normal(tasks, d, seed=1))}


def test_gradients_of_the_maps_by_hand() -> None:
    """z = (2, 1), g = (3, 5): dA = g z^T, dc = g."""
    method = method_of("d_grad", 1, 2)
    combined, _ = decided(method, double(method.initial_state()), [[[3.0, 5.0]]], z=[[2.0, 1.0]])
    np.testing.assert_array_equal(combined.gradients["matrix"], [[[6, 3], [10, 5]]])
    np.testing.assert_array_equal(combined.gradients["shift"], [[3, 5]])


def test_gradients_of_the_maps_are_those_of_the_losses() -> None:
    """Automatic differentiation of sum_k l_k through maps, with random heads."""
    tasks, batch, d = 3, 7, 4
    method, state = method_of("d_grad", tasks, d), random_maps(tasks, d)
    heads, z = (
        tensor(normal(tasks, d, 2, seed=2)),
        tensor(normal(batch, d, seed=3)).requires_grad_(),
    )

    def total(representations: Tensor) -> Tensor:
        return torch.tanh(representations @ heads).square().mean((1, 2)).sum()

    leaves = method.represent(state, z).detach().requires_grad_()
    (own,) = torch.autograd.grad(total(leaves), leaves)
    shown = signal_of(method, state, own, z=z.detach())
    combined, following = method.combine(state, shown)
    matrix, shift = (state[name].clone().requires_grad_() for name in ("matrix", "shift"))
    points = torch.einsum("kij,bj->kbi", matrix, z) + shift[:, None]
    by_matrix, by_shift, by_z = torch.autograd.grad(total(points), (matrix, shift, z))
    torch.testing.assert_close(combined.gradients["matrix"], by_matrix, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(combined.gradients["shift"], by_shift, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(shown.gradients.sum(0), by_z, rtol=1e-12, atol=1e-14)
    assert following is state, "the optimizer moves it"


def test_the_networks_optimizer_moves_the_maps(tmp_path: Path) -> None:
    """One step of SGD from the identity, without weight decay; maps are saved with the weights."""
    cell = small_cell("d_grad", optimizer="sgd", weight_decay=0.1)
    made = Replicate(small_problem(cell), 0, tmp_path / "state")
    problem = made.problem
    inputs, targets = problem.parts["train"].batch(torch.arange(16))
    z = made.network.trunk(inputs).detach()
    leaves = z.repeat(3, 1, 1).requires_grad_()
    outputs = task_outputs(made.network, leaves)
    values = [
        loss(output, targets[task.name])
        for loss, output, task in zip(problem.losses(), outputs, problem.tasks, strict=True)
    ]
    (own,) = torch.autograd.grad(torch.stack(values).sum(), leaves)
    made._step(torch.arange(16))
    assert made.normaliser is not None
    own = own / made.normaliser[:, None, None]
    expected = {"matrix": torch.eye(25) - 0.01 * own.mT @ z, "shift": -0.01 * own.sum(1)}
    for name, value in expected.items():
        torch.testing.assert_close(made.method_state[name], value, rtol=1e-5, atol=1e-7)
        assert torch.equal(made._tensors()[f"method.{name}"], made.method_state[name])
    assert expected["shift"].abs().max() > 1e-3


# AvgNorm -------------------------------------------------------------------------------------

NUMERATORS = ("sum", "mean", "avgnorm")


@pytest.mark.parametrize(
    ("numerator", "expected"),
    [("sum", [5 / 3, 5 / 4]), ("mean", [2.5 / 3, 2.5 / 4]), ("avgnorm", [3.5 / 3, 3.5 / 4])],
)
def test_weights_of_avg_norm_by_hand(numerator: str, expected: list[float]) -> None:
    """||(3, 4)|| = 5, half of it, and (3 + 4)/2, over 3 and 4."""
    method = method_of("avg_norm", 2, 2, numerator=numerator)
    combined, state = decided(method, {}, ORTHOGONAL)
    np.testing.assert_allclose(combined.weights, expected, rtol=1e-8)
    assert state == {}


@pytest.mark.parametrize(
    ("numerator", "aligned", "orthogonal"),
    [("sum", 4, 2), ("mean", 1, 0.5), ("avgnorm", 1, 1)],
)
def test_four_tasks_of_one_norm(numerator: str, aligned: float, orthogonal: float) -> None:
    """background/methods.md, 2.1: T, 1, 1 with aligned gradients, sqrt T, 1 / sqrt T, 1 else."""
    method = method_of("avg_norm", 4, 4, numerator=numerator)
    for own, expected in ((np.ones((4, 1, 4)), aligned), (np.eye(4)[:, None], orthogonal)):
        weights = decided(method, {}, own)[0].weights
        np.testing.assert_allclose(weights, [expected] * 4, rtol=1e-7)


@pytest.mark.parametrize("numerator", NUMERATORS)
def test_all_weighted_gradients_have_one_norm_at_the_last_layer(numerator: str) -> None:
    own = normal(4, 6, 5) * np.array([9.0, 1.0, 0.1, 3.0])[:, None, None]
    method = method_of("avg_norm", 4, 5, numerator=numerator)
    rows = own.sum(1)  # the trunk of these tests is a bias
    norms = np.sqrt((rows**2).sum(1))
    scale = {
        "sum": np.sqrt((rows.sum(0) ** 2).sum()),
        "mean": np.sqrt((rows.sum(0) ** 2).sum()) / 4,
        "avgnorm": norms.mean(),
    }[numerator]
    weights = decided(method, {}, own)[0].weights.numpy()
    np.testing.assert_allclose(weights, scale / (norms + 1e-8), rtol=1e-12)
    np.testing.assert_allclose(weights * norms, scale, rtol=1e-6)


@pytest.mark.parametrize(("numerator", "expected"), [("sum", 0), ("mean", 0), ("avgnorm", 1)])
def test_where_gradients_cancel_the_step_shrinks(numerator: str, expected: float) -> None:
    method = method_of("avg_norm", 2, 2, numerator=numerator)
    weights = decided(method, {}, [[[1.0, 2.0]], [[-1.0, -2.0]]])[0].weights
    np.testing.assert_allclose(weights, [expected] * 2, atol=1e-7)


# GradNorm of DeepChest's code ----------------------------------------------------------------


def test_a_step_of_deepchests_gradnorm_by_hand() -> None:
    method = method_of("gradnorm_deepchest", 2, 2)
    state = method.initial_state()
    # Norms over two items (3, 4) in the trunk and (4, 3) in the heads: 5 for both. One right answer
    # of the first task, both of the second.
    own = [[[1.5, 0.0], [1.5, 0.0]], [[0.0, 4.0], [0.0, 0.0]]]
    more = {"correct": tensor([1.0, 2.0]), "head_norms": tensor([4.0, 3.0])}
    combined, state = decided(method, state, own, **more)
    assert torch.equal(combined.weights, torch.ones(2))
    # T = 5 (1^0.12, 2^0.12) = (5, 5.433674): 1 - 0.12 (5 - T).
    np.testing.assert_allclose(state["omega"], [1.0, 1.052041], atol=1e-6)
    combined, state = decided(method, state, own, step=1, **more)
    np.testing.assert_allclose(combined.weights, [1.0, 1.052041], atol=1e-6)
    # Norms of the weighted losses (5, 5.260204), mean 5.130102; counts 2 and 4, so that T is
    # (5.575062, 6.058616): 1 - 0.12 (5 - T_1) and 1.052041 - 0.12 (5.260204 - T_2).
    np.testing.assert_allclose(state["omega"], [1.069007, 1.147850], atol=2e-6)


def test_deepchests_gradnorm_agrees_with_a_transcription() -> None:
    tasks, batch = 3, 4
    method, rng = method_of("gradnorm_deepchest", tasks, 5), np.random.default_rng(2)
    state, omega = double(method.initial_state()), np.ones(tasks)
    for epoch in range(3):
        count = np.zeros(tasks)
        for _ in range(8):
            own = rng.normal(size=(tasks, batch, 5)) * np.array([0.3, 0.1, 0.02])[:, None, None]
            right, heads = rng.integers(0, batch + 1, tasks).astype(float), rng.random(tasks)
            right[2] = np.nan  # without classes: counted as always right
            more = {"correct": tensor(right), "head_norms": tensor(heads)}
            combined, state = decided(method, state, own, **more)
            np.testing.assert_allclose(combined.weights, omega, rtol=1e-10)
            norms = np.array(
                [omega[k] * np.hypot(np.linalg.norm(own[k].sum(0)), heads[k]) for k in range(tasks)]
            )
            count += np.where(np.isnan(right), batch, right)
            omega = np.maximum(omega - 0.12 * (norms - norms.mean() * count**0.12), 1e-6)
        none = torch.full((tasks,), torch.nan)
        state = method.end_of_epoch(state, Epoch(none, none, none, none, epoch))
        assert not state["count"].any()
    assert np.ptp(omega) > 0.01


def test_weights_of_deepchests_gradnorm_grow_without_bound() -> None:
    """background/methods.md, 1.3: about 8 after 50 steps, 1e7 after 300, ratios of 1.2 to 1.4."""
    sizes = np.linspace(0.8, 1.2, 14)
    own = np.zeros((14, 128, 14))
    own[:, 0] = 0.2 * np.diag(sizes)
    method = method_of("gradnorm_deepchest", 14, 14)
    state, means = method.initial_state(), {}
    for step in range(301):
        heads = {"head_norms": torch.zeros(14)}
        combined, state = decided(method, state, own, step=step, **heads)
        means[step] = float(combined.weights.mean())
    assert 4 < means[50] < 16
    assert 1e6 < means[300] < 1e8
    assert float(state["omega"].max() / state["omega"].min()) < 1.4


# Proposition A.1 -----------------------------------------------------------------------------


def derivative_of_z(trunk: nn.Module, inputs: Tensor, own: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The derivative of Z as (Bd, P), and the gradients (K, P) that come of (K, B, d) at Z."""
    parameters, z = list(trunk.parameters()), trunk(inputs)
    found = jacobian_of(z, parameters, own, keep=True)
    units = torch.eye(z.numel(), dtype=z.dtype).view(-1, *z.shape)
    return jacobian_of(z, parameters, units).numpy(), found.numpy()


def trunk_and_inputs(hidden: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(4)
    trunk = nn.Sequential(nn.Linear(6, hidden), nn.Tanh(), nn.Linear(hidden, 3)).double()
    return trunk, torch.randn(5, 6).double()


def test_norms_at_z_bound_those_at_the_parameters() -> None:
    """Proposition A.1: C / ||J^+|| <= ||omega_k grad_theta L_k|| <= ||J|| C, with ||.|| spectral."""
    trunk, inputs = trunk_and_inputs(hidden=12)
    own = normal(500, 5, 3)
    height = 2.5  # C, to which the omega_k bring all tasks
    own *= height / np.sqrt((own**2).sum((1, 2), keepdims=True))
    derivative, found = derivative_of_z(trunk, inputs, tensor(own))
    assert np.linalg.matrix_rank(derivative) == 15
    norms = np.linalg.norm(found, axis=1)
    lower = height / np.linalg.norm(np.linalg.pinv(derivative), 2)
    upper = height * np.linalg.norm(derivative, 2)
    assert lower < norms.min() and norms.max() < upper
    # Both are attained, by singular vectors: there are no closer ones.
    left, singular, _ = np.linalg.svd(derivative)
    extreme = height * left[:, [0, -1]].T.reshape(2, 5, 3)
    _, ends = derivative_of_z(trunk, inputs, tensor(extreme))
    np.testing.assert_allclose(np.linalg.norm(ends, axis=1), [upper, lower], rtol=1e-9)
    assert singular[0] > 3 * singular[-1], "equal norms at Z are far from equal norms below"


def test_the_condition_of_the_proposition_is_on_all_items() -> None:
    """It asks for rank d; with more than one item that is not enough, the rank must be B d.

    Two equal items whose gradients are opposite: the norm at Z is C, that below is zero.
    """
    trunk, inputs = trunk_and_inputs(hidden=12)
    inputs[1] = inputs[0]
    own = np.zeros((1, 5, 3))
    own[0, 0], own[0, 1] = [1.0, 2.0, 2.0], [-1.0, -2.0, -2.0]
    derivative, found = derivative_of_z(trunk, inputs, tensor(own))
    assert np.linalg.matrix_rank(derivative) == 12 > 3
    assert np.linalg.norm(found) < 1e-12 < np.linalg.norm(own)


def test_a_layer_below_gives_no_bound() -> None:
    """Why the submission measures at Z: W a strict subset of the parameters may see nothing.

    Items whose gradients sum to zero do not move the last bias, but all else.
    """
    trunk, inputs = trunk_and_inputs(hidden=12)
    own = normal(1, 5, 3)
    own -= own.mean(1, keepdims=True)
    _, found = derivative_of_z(trunk, inputs, tensor(own))
    assert np.linalg.norm(found[:, -3:]) < 1e-12 < 0.1 < np.linalg.norm(found)


# All of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rotograd", "rotograd_sgd", "rotograd_library"])
def test_rotations_stay_rotations(name: str) -> None:
    options = {"rotation_learning_rate": 0.1} if name == "rotograd_sgd" else {}
    method = method_of(name, 3, 5, leader_learning_rate=0.1, decay=1.0, **options)
    state = random_signals(method, method.initial_state(), 100)
    # Stored in float32.
    assert is_rotation(state["rotation"].double().numpy(), 1e-5)
    assert (state["rotation"] - torch.eye(5)).abs().max() > 0.1


@pytest.mark.parametrize("burn_in", [0, 2])
def test_a_task_without_gradient_at_the_burn_in_is_not_spoilt(burn_in: int) -> None:
    """Its norm then would be 1e-15, and its ratio 1e15 times that of the others for ever after."""
    method = method_of("rotograd_library", 2, 3, burn_in=burn_in)
    state = method.initial_state()
    own = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(4))
    for step in range(5):
        present = own.clone()
        if step == burn_in:
            present[1] = 0
        combined, state = method.combine(state, signal_of(method, state, present, step=step))
    norms = own.flatten(1).norm(dim=1)
    torch.testing.assert_close(state["initial_norms"].float(), norms)
    assert combined.mixing is not None
    # Both are where they began: C is the mean of the norms.
    torch.testing.assert_close(combined.mixing * norms, norms.mean().expand(2))
