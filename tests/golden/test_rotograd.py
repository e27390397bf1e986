"""RotoGrad's rotations and translations against background/rotograd.md, sections 1.2 to 1.5."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch
from torch import Tensor

from counterpoise.methods._base import State
from counterpoise.methods.rotograd import polar, step_towards, target_rotation

from ..support import method_of, random_signals, signal_of

RNG = np.random.default_rng(12)
D = 5


def rotations(count: int, d: int = D, seed: int = 0) -> np.ndarray:
    """Random rotations (count, d, d)."""
    return scipy.stats.special_ortho_group.rvs(d, count, random_state=seed).reshape(count, d, d)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def target(
    own: np.ndarray, shared: np.ndarray, current: np.ndarray, tie: str = "proximal"
) -> np.ndarray:
    """R* of one task: gradients (B, d), rotation (d, d)."""
    found = target_rotation(*(torch.from_numpy(np.ascontiguousarray(x)) for x in
                              (own[None], shared, current[None])), tie)  # fmt: skip
    return found[0].numpy()


def objective(rotation: np.ndarray, own: np.ndarray, shared: np.ndarray) -> float:
    """sum_i ||R g_i - g^k_i||^2, Eq. 16 of the submission."""
    return float(((shared @ rotation.T - own) ** 2).sum())


def is_rotation(matrix: np.ndarray, tolerance: float) -> bool:
    gap = np.abs(np.swapaxes(matrix, -1, -2) @ matrix - np.eye(matrix.shape[-1])).max()
    return gap < tolerance and bool(np.all(np.linalg.det(matrix) > 0))


# The closed form -----------------------------------------------------------------------------


@pytest.mark.parametrize("tie", ["proximal", "svd"])
def test_a_planted_rotation_is_recovered(tie: str) -> None:
    """g^k_i = Q g_i with 40 items in five dimensions: only Q fits."""
    (planted,), shared = rotations(1), normal(40, D)
    found = target(shared @ planted.T, shared, np.eye(D), tie)
    # The pull of 1e-6 towards R_k is what `proximal` gives up.
    np.testing.assert_allclose(found, planted, atol=1e-12 if tie == "svd" else 2e-5)


def test_the_formula_as_the_appendix_prints_it_is_transposed() -> None:
    """R* = U V^T of sum_i g_i g^k_i^T is Q^T: background/rotograd.md has 7.31 against 0.0005."""
    (planted,), shared = rotations(1), normal(40, D)
    own = shared @ planted.T
    u, _, vh = np.linalg.svd(shared.T @ own)
    printed = u @ vh
    np.testing.assert_allclose(printed, planted.T, atol=1e-12)
    assert objective(printed, own, shared) > 1e3 * objective(
        target(own, shared, np.eye(D)), own, shared
    )


@pytest.mark.parametrize("seed", range(6))
def test_it_is_scipys_solution_of_the_procrustes_problem(seed: int) -> None:
    """Where that is a rotation; else the best rotation, which costs twice the smallest value."""
    own, shared = normal(30, D, seed=seed), normal(30, D, seed=seed + 100)
    best, _ = scipy.linalg.orthogonal_procrustes(shared, own)  # shared @ best ~ own
    found = target(own, shared, np.eye(D), "svd")
    assert is_rotation(found, 1e-12)
    if np.linalg.det(best) > 0:
        np.testing.assert_allclose(found, best.T, atol=1e-10)
    else:
        least = np.linalg.svd(own.T @ shared, compute_uv=False)[-1]
        expected = objective(best.T, own, shared) + 4 * least
        assert objective(found, own, shared) == pytest.approx(expected, rel=1e-10)


def test_both_cases_of_that_test_occur() -> None:
    signs = [
        np.linalg.det(scipy.linalg.orthogonal_procrustes(normal(30, D, seed=s + 100),
                                                         normal(30, D, seed=s))[0])
        for s in range(6)
    ]  # fmt: skip
    assert min(signs) < 0 < max(signs)


@pytest.mark.parametrize("tie", ["proximal", "svd"])
@pytest.mark.parametrize("outputs", [1, 2, D])
def test_no_rotation_does_better(outputs: int, tie: str) -> None:
    """Against random rotations and small turns of the solution itself."""
    own = normal(20, outputs, seed=1) @ normal(outputs, D, seed=2)  # rank of the task's head
    shared, (current,) = normal(20, D, seed=3), rotations(1, seed=4)
    found = target(own, shared, current, tie)
    least = objective(found, own, shared)
    tried = [*rotations(150, seed=5)]
    for n in range(150):
        skew = np.triu(normal(D, D, seed=n + 10), 1) * 0.05
        tried.append(found @ scipy.linalg.expm(skew - skew.T))
    # `proximal` is the solution of a problem that is 1e-6 apart.
    assert all(objective(r, own, shared) >= least * (1 - 1e-5) for r in tried)


def test_a_planted_reflection_gives_the_best_rotation() -> None:
    """det R* = +1, as appendix A.2 asks: the direction that matters least is turned."""
    shared = normal(60, D) * [5.0, 4.0, 3.0, 2.0, 0.1]
    mirror = np.diag([1.0, 1.0, 1.0, -1.0, 1.0])
    found = target(shared @ mirror, shared, np.eye(D), "svd")
    assert np.linalg.det(found) == pytest.approx(1.0)
    np.testing.assert_allclose(np.diag(found), [1, 1, 1, -1, -1], atol=0.05)


# The tie-break -------------------------------------------------------------------------------


@pytest.fixture(params=[1, 3])
def deficient(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients of a linear head with so few outputs, the shared one, and a rotation."""
    own = normal(20, request.param, seed=1) @ normal(request.param, 8, seed=2)
    (current,) = rotations(1, 8, seed=3)
    return own, normal(20, 8, seed=4), current


def test_proximal_has_the_objective_of_the_plain_svd_and_is_nearer(
    deficient: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    own, shared, current = deficient
    near, plain = (target(own, shared, current, tie) for tie in ("proximal", "svd"))
    # background/rotograd.md, 1.4: 24.10125553 against 24.10125554.
    assert objective(near, own, shared) == pytest.approx(objective(plain, own, shared), rel=1e-6)
    assert np.linalg.norm(near - current) < 0.9 * np.linalg.norm(plain - current)


def test_proximal_is_the_nearest_of_all_minimisers(
    deficient: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    """U diag(I, Q) V^T is a minimiser for every orthogonal Q of the free directions."""
    own, shared, current = deficient
    found = target(own, shared, current)
    u, s, vh = np.linalg.svd(own.T @ shared)
    free = int((s < 1e-9 * s[0]).sum())
    distances = []
    for n in range(400):
        block = np.eye(8)
        block[-free:, -free:] = rotations(1, free, seed=n)[0]
        other = u @ block @ vh
        if np.linalg.det(other) < 0:
            other = u @ block @ np.diag([1.0] * 7 + [-1.0]) @ vh
        assert objective(other, own, shared) == pytest.approx(
            objective(found, own, shared), rel=1e-5
        )
        distances.append(np.linalg.norm(other - current))
    assert np.linalg.norm(found - current) < min(distances)


def test_a_plain_svd_depends_on_nothing_but_the_gradients() -> None:
    own, shared = normal(20, D, seed=1), normal(20, D, seed=2)
    one, other = (target(own, shared, r, "svd") for r in rotations(2, seed=3))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bad", [0.0, np.inf, np.nan])
@pytest.mark.parametrize("tie", ["proximal", "svd"])
def test_a_task_without_a_usable_gradient_keeps_its_rotation(tie: str, bad: float) -> None:
    own, shared, current = normal(3, 6, D), normal(6, D), rotations(3)
    own[1] = bad
    found = target_rotation(*map(torch.from_numpy, (own, shared, current)), tie).numpy()
    np.testing.assert_allclose(found[1], current[1], atol=1e-12)
    for k in (0, 2):
        np.testing.assert_allclose(found[k], target(own[k], shared, current[k], tie), atol=1e-9)


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_the_size_of_the_gradients_is_no_matter(scale: float) -> None:
    own, shared, (current,) = normal(20, D), normal(20, D, seed=1), rotations(1)
    np.testing.assert_allclose(
        target(own * scale, shared, current), target(own, shared, current), atol=1e-9
    )


# The step ------------------------------------------------------------------------------------


def stepped(
    current: np.ndarray, goal: np.ndarray, rate: float, tie: str = "proximal"
) -> np.ndarray:
    arrays = (torch.from_numpy(x[None].copy()) for x in (current, goal))
    return step_towards(*arrays, rate, tie)[0].numpy()


def test_polar_is_scipys_factor() -> None:
    matrices = normal(4, D, D)
    found = polar(torch.from_numpy(matrices), torch.eye(D).repeat(4, 1, 1)).numpy()
    for matrix, nearest in zip(matrices, found, strict=True):
        np.testing.assert_allclose(nearest, scipy.linalg.polar(matrix)[0], atol=1e-10)


def test_a_step_is_the_projection_of_the_straight_way() -> None:
    """R <- polar(R - alpha (R - R*)), Algorithm 1; in the plane a turn by a part of the angle."""

    def turn(angle: float) -> np.ndarray:
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    # (1 - a) (cos 0, sin 0) + a (cos t, sin t) has the angle atan2(a sin t, 1 - a + a cos t).
    rate, angle = 0.3, 2.0
    expected = np.arctan2(rate * np.sin(angle), 1 - rate + rate * np.cos(angle))
    np.testing.assert_allclose(stepped(np.eye(2), turn(angle), rate), turn(expected), atol=1e-12)
    np.testing.assert_array_equal(stepped(np.eye(2), turn(angle), 1.0), turn(angle))


def rank_one_step(
    head: np.ndarray, pull: np.ndarray, current: np.ndarray, rate: float
) -> np.ndarray:
    """background/rotograd.md, 1.4: the exact step for M_k = w c^T, without any SVD."""
    u = current @ pull / np.linalg.norm(pull)
    wh = head / np.linalg.norm(head)
    cos = u @ wh
    q = wh - cos * u
    q /= np.linalg.norm(q)
    sin = np.sqrt(1 - cos**2)
    phi = np.arctan2(rate * sin, (1 - rate) + rate * cos)
    one = np.outer((np.cos(phi) - 1) * u + np.sin(phi) * q, current.T @ u)
    two = np.outer((np.cos(phi) - 1) * q - np.sin(phi) * u, current.T @ q)
    return current + one + two


@pytest.mark.parametrize("rate", [0.02, 0.3])
@pytest.mark.parametrize("seed", range(5))
def test_the_step_of_a_regression_head_is_the_shortcut_for_rank_one(seed: int, rate: float) -> None:
    d, batch = 12, 30
    head, deltas = normal(d, seed=seed), normal(batch, seed=seed + 20)
    shared, (current,) = normal(batch, d, seed=seed + 40), rotations(1, d, seed=seed)
    own = np.outer(deltas, head)  # g^k_i = delta_i w
    expected = rank_one_step(head, shared.T @ deltas, current, rate)
    found = stepped(current, target(own, shared, current), rate)
    # `proximal` has an epsilon of 1e-6 in R*, of which a step takes the share `rate`.
    np.testing.assert_allclose(found, expected, atol=2e-6 * rate)


def test_a_half_turn_is_begun_and_ends() -> None:
    """An exactly reversed gradient (Figure 3c): every way is equally short, none may be no way."""
    current, goal = np.eye(2), -np.eye(2)
    np.testing.assert_allclose(stepped(current, goal, 0.05, "svd"), current, atol=1e-12)
    for _ in range(300):
        current = stepped(current, goal, 0.05)
        assert is_rotation(current, 1e-9)
    np.testing.assert_allclose(current, goal, atol=1e-4)


def test_two_tasks_find_a_common_direction() -> None:
    """g^k = Q_k h for ever: the relative rotation Q_1 Q_2^T is what must be learned."""
    method = method_of("rotograd", 2, 3, magnitudes="none", leader_learning_rate=0.1, decay=1.0)
    planted = torch.from_numpy(rotations(2, 3, seed=8)).float()
    base = torch.from_numpy(normal(12, 3)).float()
    own, state = torch.einsum("kij,bj->kbi", planted, base), method.initial_state()
    for step in range(200):
        combined, state = method.combine(state, signal_of(method, state, own, step=step))
    found = state["rotation"][0] @ state["rotation"][1].T
    torch.testing.assert_close(found, planted[0] @ planted[1].T, atol=1e-4, rtol=0)
    assert combined.shared is not None
    # Gradients that agree add up: no cancellation is left.
    assert float(combined.shared.norm()) == pytest.approx(2 * float(base.norm()), rel=1e-4)


@pytest.mark.parametrize("steps", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_many_steps_keep_rotations_rotations(steps: int) -> None:
    """Stored in float32 after each, as a method's state is."""
    draws = torch.from_numpy(normal(20, 2, 1, 3, 4))
    rotation = torch.eye(4)[None]
    for step in range(steps):
        own, shared = draws[step % 20]
        current = rotation.double()
        goal = target_rotation(own, shared[0], current, "proximal")
        rotation = step_towards(current, goal, 0.1, "proximal").float()
    # Each step projects in float64 and stores with an error of 1e-7, which does not add up.
    assert is_rotation(rotation.double().numpy(), 1e-6)
    assert (rotation - torch.eye(4)).abs().max() > 0.1


# Parts of a step -----------------------------------------------------------------------------


def one_step(state: State, own: Tensor, z: Tensor, **options: object) -> State:
    method = method_of("rotograd", own.shape[0], own.shape[2], **options)
    return method.combine(state, signal_of(method, state, own, z=z, step=3))[1]


def used_state(tasks: int = 3, d: int = D, **options: object) -> State:
    method = method_of("rotograd", tasks, d, leader_learning_rate=0.3, decay=1.0, **options)
    return random_signals(method, method.initial_state(), 8)


@pytest.mark.parametrize("translation", ["means", "offset"])
def test_at_fixed_rotations_the_translation_does_not_move_the_map(translation: str) -> None:
    """background/rotograd.md, 1.5: exactly, whatever the batch (no gradient, so no rotation)."""
    options = {"magnitudes": "none", "translation": translation}
    state = used_state(**options)
    z = torch.from_numpy(normal(9, D)).float() * 2 + 3
    following = one_step(state, torch.zeros(3, 9, D), z, leader_learning_rate=0.5, **options)
    # Projected once more, in float64, and stored as float32.
    torch.testing.assert_close(following["rotation"], state["rotation"], atol=1e-6, rtol=0)
    method = method_of("rotograd", 3, D, **options)
    probe = torch.from_numpy(normal(20, D, seed=5)).float()
    # Values of about five in float32.
    torch.testing.assert_close(
        method.represent(following, probe), method.represent(state, probe), atol=1e-5, rtol=1e-5
    )
    if translation == "means":
        assert (following["centre"] - state["centre"]).abs().max() > 0.1, "the pivot does move"


def test_a_turn_is_about_the_centre_of_the_batch() -> None:
    """With both means there already, the image of the batch's centre stays where it is."""
    method = method_of("rotograd", 1, D, magnitudes="none", leader_learning_rate=0.4)
    z = torch.from_numpy(normal(30, D)).float() + 4
    state = method.initial_state() | {"centre": z.mean(0), "offset": z.mean(0)[None]}
    planted = torch.from_numpy(rotations(1)).float()
    shown = signal_of(method, state, torch.zeros(1, 30, D), z=z)
    turned = method.represent(state | {"rotation": planted}, z)
    torch.testing.assert_close(
        turned[0].mean(0), shown.representations[0].mean(0), atol=1e-5, rtol=0
    )
    assert (turned - shown.representations).abs().max() > 0.5


def test_means_follow_the_batch_at_the_rate_of_the_leader() -> None:
    method = method_of("rotograd", 2, D, leader_learning_rate=0.25, decay=0.5, magnitudes="none")
    z = torch.from_numpy(normal(8, D)).float() + 2
    state = method.initial_state()
    shown = signal_of(method, state, torch.zeros(2, 8, D), z=z, step=1)
    following = method.combine(state, shown)[1]
    # zbar <- zbar + alpha (mean z - zbar), alpha = 0.25 * 0.5^1, and R_k = I, so zbar_k likewise.
    torch.testing.assert_close(following["centre"], 0.125 * z.mean(0))
    torch.testing.assert_close(following["offset"], (0.125 * z.mean(0)).expand(2, D))


def test_rotations_are_drawn_to_the_weighted_gradient() -> None:
    """The second task's gradients are those of the first, turned by Q; nearly all weight is on one."""
    base, (planted,) = torch.from_numpy(normal(30, 3)).float(), rotations(1, 3)
    turned = base @ torch.from_numpy(planted).float().T
    own = torch.stack([base, turned])
    options = {"update": "closed_form", "magnitudes": "none"}
    method = method_of("rotograd", 2, 3, **options)
    for omega, expected in (
        ([2.0 - 2e-6, 2e-6], [np.eye(3), planted]),
        ([2e-6, 2.0 - 2e-6], [planted.T, np.eye(3)]),
    ):
        state = method.initial_state() | {"omega": torch.tensor(omega)}
        _, following = method.combine(state, signal_of(method, state, own))
        # The weight of the other task, a millionth, and the pull of `proximal`, the same.
        np.testing.assert_allclose(following["rotation"], expected, atol=1e-4)
        assert torch.equal(following["omega"], state["omega"])


def test_the_closed_form_sets_rotations_to_their_targets() -> None:
    """Last row of Table 1, in one step and whatever the rate."""
    own, z = torch.from_numpy(normal(3, 20, D)).float(), torch.zeros(20, D)
    state = used_state()
    method = method_of("rotograd", 3, D)
    shown = signal_of(method, state, own, z=z)
    shared = torch.einsum("k,kbd->bd", state["omega"], shown.gradients)
    expected = target_rotation(
        own.double(), shared.double(), state["rotation"].double(), "proximal"
    )
    following = one_step(state, own, z, update="closed_form", leader_learning_rate=0.001)
    torch.testing.assert_close(following["rotation"].double(), expected, atol=1e-6, rtol=0)
    iterative = one_step(state, own, z, leader_learning_rate=0.001)
    assert (iterative["rotation"] - state["rotation"]).abs().max() < 0.01


def test_weights_are_those_of_gradnorm() -> None:
    """Rotations change no norm, so that both methods move the weights alike at step 0."""
    own = torch.from_numpy(normal(3, 10, D)).float() * torch.tensor([1.0, 5.0, 0.2])[:, None, None]
    found = []
    for name in ("gradnorm", "rotograd"):
        method = method_of(name, 3, D, target="mean_of_norms")
        state = method.initial_state()
        found.append(method.combine(state, signal_of(method, state, own))[1]["omega"])
    torch.testing.assert_close(*found)
    assert (found[0] - 1).abs().max() > 0.01


def test_a_linear_head_can_undo_a_rotation() -> None:
    """W <- W R_old R_new^T and the bias for the rest: the functions that can be learned are the same.

    background/rotograd.md, 0.6 and 1.9.
    """
    method = method_of("rotograd", 3, D)
    old, new = used_state(), random_signals(method, used_state(), 3)
    z = torch.from_numpy(normal(12, D)).float()
    weight, bias = torch.from_numpy(normal(4, D, seed=2)).float(), torch.ones(4)
    for k in range(3):
        before = method.represent(old, z)[k] @ weight.T + bias
        turn = old["rotation"][k] @ new["rotation"][k].T
        moved = weight @ turn
        shift = weight @ (old["rotation"][k] @ (new["centre"] - old["centre"]) + old["offset"][k])
        after = method.represent(new, z)[k] @ moved.T + bias + shift - moved @ new["offset"][k]
        torch.testing.assert_close(after, before, atol=1e-4, rtol=1e-4)
    assert (old["rotation"] - new["rotation"]).abs().max() > 0.01
