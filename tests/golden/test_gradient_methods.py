"""Methods that follow from the Gramian, held to optimality conditions and worked examples."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy.linalg import polar
from scipy.optimize import minimize, nnls
from torch import Tensor
from torchjd import aggregation, linalg

from counterpoise.methods._gramian import gradients_of
from counterpoise.training.signals import Rows

from ..support import error_of
from . import measured
from .gradients import (
    PAIRS,
    close,
    decided,
    every,
    independent,
    made,
    mixing,
    normal,
    rows,
    shown,
    update,
)

GRAMIAN = ["aligned_mtl", "cagrad", "config", "dualproj", "fairgrad", "gradvac", "imtl", "imtl_g", "mgda", "nash_mtl", "pcd", "pcgrad", "upgrad"]  # fmt: skip

# What they share ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRAMIAN)
def test_features_are_seen_as_parameters_are(name: str) -> None:
    """A batch of one, a trunk that is a bias: both levels show the same gradients."""
    jacobian = normal(9, 4, 6)
    more = {"draws": {"order": normal(8, 4, 4)}}
    found = [decided(name, jacobian, more, level=at).mixing for at in ("parameters", "features")]
    close(*found, 1e-9)


@pytest.mark.parametrize("name", GRAMIAN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gramian_that_says_nothing_gives_the_plain_sum(name: str, dtype: torch.dtype) -> None:
    """Zero, or beyond the range of float32."""
    for gramian in (
        torch.zeros(3, 3),
        torch.full((3, 3), torch.inf),
        torch.full((3, 3), torch.nan),
    ):
        method, state = made(name, normal(1, 3, 4))
        combined, following = method.combine(
            state,
            shown(normal(1, 3, 4), gramian=gramian.to(dtype), draws={"order": normal(1, 3, 3)}),
        )
        assert combined.mixing is not None and combined.mixing.tolist() == [1, 1, 1]
        assert all(torch.equal(following[k], v) for k, v in state.items())


def test_rounding_is_not_taken_for_a_direction() -> None:
    """Two gradients that are equal but for float32's rounding have one direction, beside others a
    billion times as large; the Gramian is the engine's."""
    one = normal(3, 1, 50).float()
    other = one * (1 + 1e-7 * normal(5, 1, 50).float())
    jacobian = torch.cat([one * 1e-6, other * 1e-6, normal(4, 2, 50).float() * 1e3])
    found = gradients_of(Rows([list(jacobian)], 0).gramian(), torch.float32)
    assert found is not None
    singular = torch.linalg.svdvals(found.units)
    assert int((singular > 1e-12).sum()) == 3
    close(found.rows @ found.rows.T * found.scale**2, jacobian.double() @ jacobian.double().T, 1e-5)


@pytest.mark.parametrize("name", ["cagrad", "upgrad"])
def test_what_is_not_installed_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "torchjd.aggregation", None)
        assert "TorchJD" in str(error_of(lambda: mixing(name, normal(1, 2, 3))))
    monkeypatch.setattr("torchjd._mixins.find_spec", lambda module: None)
    error = error_of(lambda: mixing(name, normal(1, 2, 3)))
    assert "counterpoise[methods]" in error.remedy and "not installed" in error.what


# MGDA ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("jacobian", PAIRS)
def test_mgda_of_two_tasks(jacobian: Tensor) -> None:
    """||gamma g1 + (1 - gamma) g2|| is least at gamma = (g2 - g1).g2 / ||g1 - g2||^2, or an end."""
    one, two = jacobian
    gamma = float(((two - one) @ two / (one - two).square().sum()).clamp(0, 1))
    close(mixing("mgda", jacobian), [gamma, 1 - gamma])


@every
def test_mgda_fulfils_the_conditions_of_the_minimum(jacobian: Tensor) -> None:
    """g_k.d >= ||d||^2 for every task, with equality where alpha_k > 0: for a convex problem that
    is enough. It is the sum of equalities that shows how near: sum_k alpha_k g_k.d = ||d||^2."""
    alpha = mixing("mgda", jacobian)
    assert alpha.min() >= 0
    close(alpha.sum(), 1.0)
    found = alpha @ jacobian
    longest = jacobian.norm(dim=1).max()
    slack = jacobian @ found - found @ found
    assert slack.min() >= -1e-9 * longest * found.norm()
    assert (slack * alpha).abs().max() <= 1e-9 * longest * found.norm()


@every
def test_mgda_is_never_longer_than_what_frank_wolfe_finds(jacobian: Tensor) -> None:
    """TorchJD's search approaches the same minimum from above."""
    searched = aggregation.MGDA(epsilon=1e-9, max_iters=2000)(jacobian).norm()
    ours = update("mgda", jacobian).norm()
    assert ours <= searched * (1 + 1e-9)
    # It slows down before the end; where tasks are more than parameters, long before.
    assert (searched - ours) / jacobian.norm(dim=1).max() < 2e-2


@pytest.mark.parametrize(
    ("normalisation", "expected"),
    [
        ("none", [16 / 25, 9 / 25]),
        ("l2", [1 / 6, 1 / 8]),  # (1, 0) and (0, 1): alpha = 1/2 each
        ("loss", [4 / 13, 9 / 26]),  # (3, 0) and (0, 2): alpha = 4/13, 9/13
        ("loss+", [0.2 / 3, 0.8 / 8]),  # (1, 0) and (0, 1/2): alpha = 1/5, 4/5
    ],
)
def test_mgda_of_normalised_gradients_by_hand(normalisation: str, expected: list[float]) -> None:
    """Of orthogonal vectors alpha is as 1 / ||.||^2. Gradients (3, 0) and (0, 4), losses 1 and 2."""
    losses = torch.tensor([1.0, 2.0], dtype=torch.float64)
    combined = decided(
        "mgda", rows([3.0, 0.0], [0.0, 4.0]), {"losses": losses}, normalisation=normalisation
    )
    close(combined.mixing, expected)


# CAGrad --------------------------------------------------------------------------------------


@independent
@pytest.mark.parametrize("c", [0.2, 0.5, 0.9])
def test_cagrad_reaches_its_dual(jacobian: Tensor, c: float) -> None:
    """The least of g_w.g_0 + c ||g_0|| ||g_w|| over the simplex by SLSQP, from several starts; and
    min_k g_k.d over the ball, which no w's value is below: equality proves both."""
    unit = (jacobian / jacobian.norm(dim=1).max()).numpy()
    tasks, mean = len(unit), unit.mean(0)
    size = np.linalg.norm(mean)

    def value(w: np.ndarray) -> float:
        return float(w @ unit @ mean + c * size * np.linalg.norm(w @ unit))

    starts = [np.full(tasks, 1 / tasks), *(0.9 * np.eye(tasks) + 0.1 / tasks)]
    total = {"type": "eq", "fun": lambda w: w.sum() - 1}
    least = min(
        minimize(value, w, bounds=[(0, 1)] * tasks, constraints=total, tol=1e-12).fun
        for w in starts
    )
    v = mixing("cagrad", torch.from_numpy(unit), c=c).numpy()
    w = (v - 1 / tasks) / (v - 1 / tasks).sum()
    assert w.min() >= -1e-9
    close(v - 1 / tasks, c * size / np.linalg.norm(w @ unit) * w, 1e-9)
    # Clarabel stops near 1e-7 of the objective, quadratic around the minimum: w is known to its root,
    # and so is d, of which min_k g_k.d is linear.
    worst = (unit @ (v @ unit)).min()
    assert abs(value(w) - least) <= 1e-6 * size
    assert abs(worst - least) <= 1e-4 * size
    # In units of ||g_0||: the least itself may be near zero.
    measured.record([value(w), worst, size], [least, least, size])


def test_cagrad_by_hand() -> None:
    """g1 = (1, 0) and g2 = (0, 1): w = 1/2 each by symmetry, g_w = g_0, d = (1 + c) g_0."""
    for rescale, divisor in (("none", 1), ("square", 1.25), ("linear", 1.5)):
        found = mixing("cagrad", torch.eye(2, dtype=torch.float64), c=0.5, rescale=rescale)
        close(found, np.full(2, 0.75 / divisor))


def test_cagrad_goes_on_when_one_task_has_no_gradient() -> None:
    """Any d of the ball with g_k.d >= 0 is best, g_0 for one; TorchJD stops, outside the ball."""
    jacobian = rows([1.0, 2.0], [0.0, 0.0], [2.0, 1.0])
    close(update("cagrad", jacobian), [1.0, 1.0])
    assert not aggregation.CAGrad(c=0.5)(jacobian).any()


# Aligned-MTL ---------------------------------------------------------------------------------


@independent
@pytest.mark.parametrize("scale", ["minimum", "median", "mean"])
def test_aligned_mtl_makes_singular_values_equal(jacobian: Tensor, scale: str) -> None:
    """J = S Q with Q orthonormal rows (polar decomposition): sqrt(scale) Q replaces J."""
    orthonormal, _ = polar(jacobian.numpy(), side="left")
    close(np.linalg.svd(orthonormal, compute_uv=False), np.ones(len(jacobian)), 1e-9)
    values = np.linalg.svd(jacobian.numpy(), compute_uv=False) ** 2
    # torch's median of an even number is the lower one of the middle pair.
    target = {"minimum": values.min(), "mean": values.mean(), "median": np.sort(values)[(len(values) - 1) // 2]}  # fmt: skip
    expected = target[scale] ** 0.5 * orthonormal.mean(0)
    close(update("aligned_mtl", jacobian, scale=scale), expected)
    close(update("aligned_mtl", jacobian, scale=scale, preference="sum"), expected * len(jacobian))


# IMTL ----------------------------------------------------------------------------------------


@independent
def test_imtl_g_projects_equally(jacobian: Tensor) -> None:
    """Equal projections and a sum of one have one solution if gradients are independent."""
    found = mixing("imtl_g", jacobian)
    close(found.sum(), 1.0)
    projections = jacobian @ (found @ jacobian) / jacobian.norm(dim=1)
    close(projections, projections.mean().expand(len(jacobian)))


@pytest.mark.parametrize("jacobian", PAIRS)
def test_imtl_g_of_two_tasks(jacobian: Tensor) -> None:
    """Unit vectors project equally on their sum: v_k is as 1 / ||g_k||."""
    one, two = jacobian.norm(dim=1).tolist()
    close(mixing("imtl_g", jacobian), [two / (one + two), one / (one + two)])


def test_imtl_of_two_tasks_by_hand() -> None:
    """s = (0, log 2), losses 3 and 1, lengths 3 and 4: scaled lengths 3 and 8, v = 8/11 and 3/11,
    of the raw gradients 8/11 and 6/11; d l'/ds = 3 - 1 and 2 - 1."""
    jacobian = rows([3.0, 0.0], [0.0, 4.0])
    method, _ = made("imtl", jacobian)
    state = {"log_scale": torch.tensor([0.0, np.log(2)], dtype=torch.float64)}
    losses = torch.tensor([3.0, 1.0], dtype=torch.float64)
    combined, following = method.combine(state, shown(jacobian, losses=losses))
    close(combined.mixing, [8 / 11, 6 / 11])
    close(combined.weights, [1.0, 2.0])
    close(combined.gradients["log_scale"], [2.0, 1.0])
    assert torch.equal(following["log_scale"], state["log_scale"])


@independent
def test_imtl_descends_its_scaled_losses(jacobian: Tensor) -> None:
    """The gradient of s by autograd of exp(s) l - s; equal projections of exp(s_k) g_k."""
    method, _ = made("imtl", jacobian)
    s = normal(1, len(jacobian)).requires_grad_()
    losses = normal(2, len(jacobian)).abs() + 0.1
    combined, _ = method.combine({"log_scale": s.detach()}, shown(jacobian, losses=losses))
    (expected,) = torch.autograd.grad((s.exp() * losses - s).sum(), s)
    close(combined.gradients["log_scale"], expected, 1e-12)
    scaled = s.detach().exp()[:, None] * jacobian
    assert combined.mixing is not None
    projections = scaled @ (combined.mixing @ jacobian) / scaled.norm(dim=1)
    close(projections, projections.mean().expand(len(jacobian)))


# Projections ---------------------------------------------------------------------------------


def projected(vector: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """Onto {d : J d >= 0}, among all P parameters: minus the residual of the polar cone's problem.

    The polar cone holds -J'x, x >= 0, and a vector is the sum of its projections on the two.
    """
    x, _ = nnls(jacobian.T, -vector, maxiter=10_000)
    return vector + jacobian.T @ x


# The diagonal's 1e-12 (of a trace of one) is divided by the least eigenvalues, down to 1e-6.
EXACT = {"regularisation": 1e-12}


@every
def test_upgrad_is_the_mean_of_the_projections(jacobian: Tensor) -> None:
    raw = jacobian.numpy()
    expected = np.mean([projected(row, raw) for row in raw], axis=0)
    close(update("upgrad", jacobian, **EXACT), expected)


@every
def test_dualproj_is_the_projection_of_the_mean(jacobian: Tensor) -> None:
    raw = jacobian.numpy()
    close(update("dualproj", jacobian, **EXACT), projected(raw.mean(0), raw))


@every
def test_dualproj_fulfils_the_conditions_of_the_minimum(jacobian: Tensor) -> None:
    """d = g_0 + J'x with x >= 0, J d >= 0 and x_k (g_k.d) = 0."""
    v = mixing("dualproj", jacobian, **EXACT)
    multipliers, found = v - 1 / len(v), v @ jacobian
    products = jacobian @ found / jacobian.norm(dim=1).max() / jacobian.mean(0).norm()
    assert multipliers.min() >= -1e-9
    assert products.min() >= -1e-6
    assert (multipliers * products).abs().max() <= 1e-6


def test_the_cone_by_hand() -> None:
    """g1 = (1, 0), g2 = (-1, 1): g1.g2 = -1.

    g1 without its part against g2: (1, 0) + (-1, 1) / 2 = (1/2, 1/2). g2 without its part against
    g1: (0, 1). UPGrad: the mean, (1/4, 3/4). The mean gradient (0, 1/2) is against neither.
    """
    jacobian = rows([1.0, 0.0], [-1.0, 1.0])
    close(update("upgrad", jacobian, **EXACT), [0.25, 0.75])
    close(update("dualproj", jacobian, **EXACT), [0.0, 0.5])
    # A longer second gradient: the mean (-1, 3/2) is against the first, and (0, 3/2) is left.
    close(update("dualproj", rows([1.0, 0.0], [-3.0, 3.0]), **EXACT), [0.0, 1.5])


@every
def test_torchjds_own_regularisation_is_an_option(jacobian: Tensor) -> None:
    for name, kind in (("upgrad", aggregation.UPGrad), ("dualproj", aggregation.DualProj)):
        close(update(name, jacobian, regularisation=1e-4), kind()(jacobian), 1e-9)


def test_smoothed_weights_by_hand() -> None:
    """(1, 0) and (0, 1), then the gradients above: v = (1/2, 1/2), and then (1, 3/4).

    There (1, 0) becomes g1 + g2 / 2 and (-1, 1) becomes g1 + g2. With nine tenths of the past:
    (0.45 + 0.1, 0.45 + 0.075).
    """
    method, state = made("upgrad", rows([1.0, 0.0], [0.0, 1.0]), smoothing=0.9, **EXACT)
    nothing = rows([0.0, 0.0], [0.0, 0.0])  # takes the plain sum, and is not remembered
    for jacobian, expected in (
        (nothing, [1.0, 1.0]),
        (rows([1.0, 0.0], [0.0, 1.0]), [0.5, 0.5]),
        (nothing, [1.0, 1.0]),
        (rows([1.0, 0.0], [-1.0, 1.0]), [0.55, 0.525]),
    ):
        combined, state = method.combine(state, shown(jacobian))
        assert combined.mixing is not None
        close(combined.mixing, expected)


def test_smoothed_weights_are_torchjds() -> None:
    projector = linalg.QuadprogProjector(reg_eps=1e-8)
    theirs = aggregation.CRMOGMWeighting(aggregation.UPGradWeighting(projector=projector), 0.7)
    method, state = made("upgrad", normal(0, 4, 6), smoothing=0.7)
    for step in range(5):
        jacobian = normal(step, 4, 6)
        combined, state = method.combine(state, shown(jacobian, step=step))
        assert combined.mixing is not None
        gramian = jacobian @ jacobian.T
        # Its own regularisation is relative to the trace, ours to the largest norm.
        close(combined.mixing, theirs(gramian))


# ConFIG --------------------------------------------------------------------------------------


@independent
def test_config_has_one_cosine_with_all(jacobian: Tensor) -> None:
    found = update("config", jacobian)
    cosines = torch.nn.functional.cosine_similarity(jacobian, found[None])
    assert cosines.min() > 0
    close(cosines, cosines.mean().expand(len(jacobian)))
    # In the span of the gradients, which with the cosines leaves one direction.
    outside = found - jacobian.T @ torch.linalg.lstsq(jacobian.T, found).solution
    assert outside.norm() <= 1e-9 * found.norm()
    close(found.norm(), (jacobian @ found / found.norm()).sum())


@every
def test_config_is_torchjds(jacobian: Tensor) -> None:
    close(update("config", jacobian), aggregation.ConFIG()(jacobian))
    blank = torch.cat([jacobian, torch.zeros_like(jacobian[:1])])
    close(update("config", blank), aggregation.ConFIG()(blank))


def test_config_stands_still_between_opposed_gradients() -> None:
    """(1, 0) and (-2, 0): no direction has one cosine with both, and TorchJD gives zero, too."""
    method, state = made("config", rows([1.0, 0.0], [-2.0, 0.0]))
    combined, _ = method.combine(state, shown(rows([1.0, 0.0], [-2.0, 0.0])))
    assert combined.mixing is not None and not combined.mixing.any()


def test_config_by_hand() -> None:
    """g1 = (3, 0), g2 = (0, 4): e = (1, 1) / sqrt(2), length (3 + 4) / sqrt(2)."""
    close(update("config", rows([3.0, 0.0], [0.0, 4.0])), [3.5, 3.5])
