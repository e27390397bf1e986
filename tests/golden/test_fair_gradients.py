"""Nash-MTL, FairGrad, PCD and ExcessMTL, held to their equations, worked examples and TorchJD."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchjd import aggregation

from counterpoise import registry
from counterpoise.tasks import Task

from .gradients import (  # fmt: skip
    INDEPENDENT,
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

# Nash-MTL ------------------------------------------------------------------------------------


@independent
def test_nash_mtl_solves_its_equation(jacobian: Tensor) -> None:
    """G alpha = 1 / alpha, alpha > 0: the residual, and the length sqrt(K) that follows from it."""
    alpha = mixing("nash_mtl", jacobian)
    assert alpha.min() > 0
    close(jacobian @ (jacobian.T @ alpha) * alpha, np.ones(len(jacobian)))
    close((alpha @ jacobian).norm(), len(jacobian) ** 0.5)


@pytest.mark.parametrize("jacobian", PAIRS)
def test_nash_mtl_of_two_tasks(jacobian: Tensor) -> None:
    """alpha_k = b / ||g_k|| by symmetry, with b^2 (1 + cos) = 1."""
    norms = jacobian.norm(dim=1)
    cosine = float(jacobian[0] @ jacobian[1] / norms.prod())
    close(mixing("nash_mtl", jacobian), 1 / norms / (1 + cosine) ** 0.5)


def unfairness(jacobian: Tensor, a: Tensor, alpha: float) -> float:
    """How far weights are from solving the equation, relatively."""
    return float((jacobian @ (jacobian.T @ a) * a ** (1 / alpha) - 1).abs().max())


# What solvers that stop early leave in the weights is about their residual, times the condition.
SLACK = 30


@pytest.mark.parametrize("jacobian", [case for case in INDEPENDENT if case.id != "uneven"])
@pytest.mark.filterwarnings("ignore:You are solving a parameterized problem that is not DPP")
def test_nash_mtl_is_torchjds(jacobian: Tensor) -> None:
    """As near as TorchJD's convex programs come to the equation.

    Of gradients whose lengths differ a thousandfold they are off by two orders of magnitude.
    """
    tasks = len(jacobian)
    theirs = aggregation.NashMTL(tasks, max_norm=0.0, update_weights_every=1, optim_niter=100)
    expected = theirs.weighting(jacobian)
    error = unfairness(jacobian, expected, 1.0)
    assert error < 0.1
    close(update("nash_mtl", jacobian), expected @ jacobian, 1e-6 + SLACK * error)


def test_nash_mtl_as_the_public_code_has_it() -> None:
    """Gradients (3, 0) and (0, 4): alpha = (1/3, 1/4); clipped, the update (1, 1) / sqrt(2)."""
    jacobian = rows([3.0, 0.0], [0.0, 4.0])
    close(mixing("nash_mtl", jacobian), [1 / 3, 1 / 4])
    close(update("nash_mtl", jacobian, max_norm=1.0), np.full(2, 0.5**0.5))
    close(update("nash_mtl", jacobian, max_norm=2.0), np.ones(2))
    close(decided("nash_mtl", jacobian, heads="weighted").weights, [1 / 3, 1 / 4])


def test_nash_mtl_bargains_every_third_step() -> None:
    method, state = made("nash_mtl", normal(1, 3, 6), every=3)
    found = []
    for step in range(6):
        combined, state = method.combine(state, shown(normal(step, 3, 6), step=step))
        found.append(combined.mixing)
    for step, expected in enumerate([0, 0, 0, 3, 3, 3]):
        close(found[step], mixing("nash_mtl", normal(expected, 3, 6)), 1e-9)


@pytest.mark.parametrize("name", ["nash_mtl", "fairgrad"])
def test_at_a_pareto_stationary_point_weights_stay_finite(name: str) -> None:
    """g1 + g2 = 0 has no fair weights; they grow until the ridge stops them, and cancel out."""
    jacobian = rows([1.0, 2.0], [-1.0, -2.0])
    found = mixing(name, jacobian)
    assert torch.isfinite(found).all() and found.max() < 1e6
    assert (found @ jacobian).norm() < 1e-3


# FairGrad ------------------------------------------------------------------------------------


@independent
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 20.0])
def test_fairgrad_solves_its_equation(jacobian: Tensor, alpha: float) -> None:
    a = mixing("fairgrad", jacobian, alpha=alpha)
    assert a.min() > 0
    close(jacobian @ (jacobian.T @ a) * a ** (1 / alpha), np.ones(len(jacobian)))


@pytest.mark.parametrize("decades", [1, 3, 6])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 5.0, 20.0])
def test_fairgrad_solves_its_equation_where_lengths_differ_much(alpha: float, decades: int) -> None:
    """Tasks of small a add next to nothing to the function that a minimises."""
    jacobian = normal(3, 8, 50) * torch.logspace(-decades, 0, 8, dtype=torch.float64)[:, None]
    a = mixing("fairgrad", jacobian, alpha=alpha)
    residual = (jacobian @ jacobian.T @ a) * a ** (1 / alpha) - 1
    # The smallest task's cosines come out of a Gramian whose entries differ by 1e12.
    assert float(residual.abs().max()) < 1e-6


@independent
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_fairgrad_is_torchjds(jacobian: Tensor, alpha: float) -> None:
    """As near as TorchJD's least squares come to the equation."""
    unit = jacobian / jacobian.norm(dim=1).max()
    expected = aggregation.FairGradWeighting(alpha=alpha)(unit @ unit.T)
    error = unfairness(unit, expected, alpha)
    assert error < 0.1
    close(update("fairgrad", unit, alpha=alpha), expected @ unit, 1e-6 + SLACK * error)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_fairgrad_of_orthogonal_gradients(alpha: float, scale: float) -> None:
    """||g||^2 a = a^(-1/alpha): a = ||g||^(-2 alpha / (1 + alpha))."""
    sizes = torch.tensor([0.01, 1.0, 70.0], dtype=torch.float64) * scale
    found = mixing("fairgrad", sizes.diag(), alpha=alpha)
    close(found / sizes ** (-2 * alpha / (1 + alpha)), np.ones(3))


def test_fairgrad_with_one_is_nash_mtl() -> None:
    jacobian = normal(3, 5, 8)
    close(mixing("fairgrad", jacobian), mixing("nash_mtl", jacobian), 1e-12)
    close(decided("fairgrad", jacobian, heads="weighted").weights, mixing("fairgrad", jacobian))


# PCD -----------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("tau", [0.0, 0.02, 0.3])
def test_pcd_is_torchjds_step_after_step(jacobian: Tensor, tau: float) -> None:
    method, state = made("pcd", jacobian, tau=tau, beta=0.9)
    theirs = aggregation.PCD(tau=tau, beta=0.9)
    for step in range(4):
        now = jacobian + 0.1 * normal(step, *jacobian.shape) * jacobian.norm(dim=1)[:, None]
        combined, state = method.combine(state, shown(now))
        assert combined.mixing is not None
        close(combined.mixing @ now, theirs(now))


def test_pcd_of_two_tasks_by_hand() -> None:
    """Unit gradients (1, 0) and (-0.6, 0.8), tau = 0.5: g2.d >= 0.5 fails for d = g1, by 1.1.

    d = g1 + 1.1 g2 = (0.34, 0.88), brought to the length of g1. Either may lead: for the second,
    d = g2 + 1.1 g1 = (0.5, 0.8).
    """
    jacobian = rows([1.0, 0.0], [-0.6, 0.8])
    for primary, expected in (("", [0.34, 0.88]), ("task0", [0.34, 0.88]), ("task1", [0.5, 0.8])):
        found = update("pcd", jacobian, tau=0.5, primary=primary)
        close(found, np.array(expected) / np.hypot(*expected))


def test_pcd_drops_promises_that_exclude_each_other() -> None:
    jacobian = rows([2.0, 1.0], [0.0, 1.0], [0.0, -1.0])
    close(update("pcd", jacobian, tau=0.5), [2.0, 1.0])
    close(update("pcd", torch.cat([jacobian[:1] * 0, jacobian[1:]]), tau=0.5), [0.0, 0.0])


def test_pcd_names_a_task_that_there_is() -> None:
    kind = registry.method("pcd")
    tasks = (
        Task(
            name="left",
            label="Left",
            loss="cross_entropy",
            metrics=("accuracy",),
            outputs=10,
            classes=10,
        ),
    )
    assert kind.problems(kind.Options(primary="left"), tasks) == []
    assert "did you mean 'left'?" in kind.problems(kind.Options(primary="lef"), tasks)[0]
