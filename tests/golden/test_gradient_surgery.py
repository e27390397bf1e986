"""PCGrad, GradVac, GradDrop and RGW: held to vectors in place of Gramians, and to TorchJD.

TorchJD draws from torch's global generator. The tests draw the same numbers from it beforehand and
hand them to our methods, so that both see one order.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchjd import aggregation

from .gradients import PAIRS, close, decided, every, made, normal, rows, shown


def orders(tasks: int, *, skip_own: bool) -> Tensor:
    """The orders that TorchJD will draw next, task by task, as numbers that sort alike."""
    ranks = torch.zeros(tasks, tasks)
    for i in range(tasks):
        others = [j for j in range(tasks) if j != i or not skip_own]
        order = [others[k] for k in torch.randperm(len(others)).tolist()]
        ranks[i, torch.tensor(order)] = torch.arange(len(order), dtype=torch.float32)
    return ranks


# PCGrad --------------------------------------------------------------------------------------


def operated(jacobian: Tensor, order: Tensor) -> Tensor:
    """Algorithm 1 on the vectors themselves."""
    total = torch.zeros_like(jacobian[0])
    for i, visits in enumerate(order.argsort(dim=1).tolist()):
        own = jacobian[i].clone()
        for j in visits:
            if j != i and own @ jacobian[j] < 0:
                own -= own @ jacobian[j] / jacobian[j].square().sum() * jacobian[j]
        total += own
    return total


@every
def test_pcgrad_is_algorithm_1(jacobian: Tensor) -> None:
    for seed in range(5):
        order = normal(seed, len(jacobian), len(jacobian))
        found = decided("pcgrad", jacobian, {"draws": {"order": order}}).mixing
        assert found is not None
        close(found @ jacobian, operated(jacobian, order), 1e-9)


@every
def test_pcgrad_is_torchjds(jacobian: Tensor) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        order = orders(len(jacobian), skip_own=False)
        torch.manual_seed(3)
        expected = aggregation.PCGradWeighting()(jacobian @ jacobian.T)
    close(decided("pcgrad", jacobian, {"draws": {"order": order}}).mixing, expected, 1e-9)


@pytest.mark.parametrize("jacobian", PAIRS)
def test_pcgrad_of_two_tasks(jacobian: Tensor) -> None:
    """If they conflict, each loses its projection: v_k = 1 - g1.g2 / ||g_k||^2."""
    product = float((jacobian[0] @ jacobian[1]).clamp(max=0))
    found = decided("pcgrad", jacobian, {"draws": {"order": normal(1, 2, 2)}}).mixing
    close(found, 1 - product / jacobian.square().sum(1), 1e-9)


def test_the_order_comes_from_the_generator() -> None:
    method, _ = made("pcgrad", normal(1, 4, 6))
    draw = [method.draw(torch.Generator().manual_seed(s), 8)["order"] for s in (1, 1, 2)]
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])


# GradVac -------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("beta", [0.5, 0.01])
def test_gradvac_is_torchjds_step_after_step(jacobian: Tensor, beta: float) -> None:
    method, state = made("gradvac", jacobian, beta=beta)
    theirs = aggregation.GradVacWeighting(beta=beta, eps=0.0)
    with torch.random.fork_rng():
        for step in range(6):
            now = jacobian + 0.3 * normal(step, *jacobian.shape) * jacobian.norm(dim=1)[:, None]
            torch.manual_seed(step)
            order = orders(len(jacobian), skip_own=True)
            torch.manual_seed(step)
            expected = theirs(now @ now.T)
            combined, state = method.combine(state, shown(now, draws={"order": order}))
            close(combined.mixing, expected)
            # The diagonal is nobody's target.
            close(state["rho"], theirs.state_dict()["_phi_t"])


@pytest.mark.parametrize("jacobian", PAIRS)
def test_gradvac_brings_the_cosine_to_its_target(jacobian: Tensor) -> None:
    """Two tasks, target 0.4: whoever is less similar is turned until cos(g', g_j) = 0.4.

    g' = g1 + a g2, and g2 + b g1 for the other: v = (1 + b, 1 + a).
    """
    method, _ = made("gradvac", jacobian, beta=0.5)
    before = float(torch.nn.functional.cosine_similarity(*jacobian, dim=0))
    state = {"rho": torch.full((2, 2), 0.4, dtype=torch.float64)}
    combined, following = method.combine(state, shown(jacobian, draws={"order": normal(1, 2, 2)}))
    assert combined.mixing is not None
    for own, other in ((0, 1), (1, 0)):
        turned = jacobian[own] + (combined.mixing[other] - 1) * jacobian[other]
        after = torch.nn.functional.cosine_similarity(turned, jacobian[other], dim=0)
        close(after, max(before, 0.4), 1e-9)
        close(following["rho"][own, other], 0.2 + 0.5 * before, 1e-9)


def test_the_first_step_of_gradvac_is_pcgrads() -> None:
    jacobian, more = normal(2, 5, 8), {"draws": {"order": normal(1, 5, 5)}}
    close(decided("gradvac", jacobian, more).mixing, decided("pcgrad", jacobian, more).mixing, 1e-9)


def test_gradvac_leaves_out_a_task_without_gradient() -> None:
    jacobian = rows([1.0, 0.0], [0.0, 0.0], [-1.0, 1.0])
    method, state = made("gradvac", jacobian)
    combined, following = method.combine(state, shown(jacobian, draws={"order": normal(1, 3, 3)}))
    # g1.g3 = -1: v = 1 + 1 / 1 and 1 + 1 / 2.
    close(combined.mixing, [2.0, 1.0, 1.5], 1e-9)
    assert not following["rho"][1].any() and not following["rho"][:, 1].any()


# GradDrop ------------------------------------------------------------------------------------


def dropped(gradients: Tensor, z: Tensor, u: Tensor, **options: Any) -> Tensor:
    """What Z receives, for (K, B, d) gradients."""
    tasks, _, features = gradients.shape
    method, state = made("graddrop", torch.zeros(tasks, features), **options)
    combined, _ = method.combine(
        state, shown(normal(1, tasks, 2), gradients=gradients, z=z, draws={"u": u})
    )
    assert combined.shared is not None and combined.weights.tolist() == [1] * tasks
    return combined.shared


def test_graddrop_by_hand() -> None:
    """Gradients (2, -1, 1) and (-1, 3, 1): P = (1 + 1/3) / 2, (1 + 2/4) / 2 and 1.

    u = 1/2, 0.9, 1/2 picks +, - and +. With a leak of a half, half of -1 and of 3 passes too.
    """
    gradients = rows([2.0, -1.0, 1.0], [-1.0, 3.0, 1.0])[:, None]
    z, u = torch.ones(1, 3), torch.tensor([[0.5, 0.9, 0.5]])
    close(dropped(gradients, z, u), [[2.0, -1.0, 2.0]])
    close(dropped(gradients, z, u, leak=0.5), [[1.5, 0.5, 2.0]])


def test_graddrop_decides_for_a_batch() -> None:
    """One feature, two items, z = (1, -2): task one's (3, 1) counts 3 - 1 = 2, task two's (-2, 1)
    counts -2 - 1 = -3, so P = (1 - 1/5) / 2 = 0.4. Whoever is picked keeps both of its items."""
    gradients = rows([3.0, 1.0], [-2.0, 1.0])[..., None]
    z = torch.tensor([[1.0], [-2.0]])
    for u, expected in ((0.3, [[3.0], [1.0]]), (0.5, [[-2.0], [1.0]])):
        close(dropped(gradients, z, torch.tensor([[u]])), expected)


def test_an_item_whose_feature_is_zero_has_no_say_in_graddrop() -> None:
    """As above with z = (1, 0), as after a ReLU: 3 against -2, P = (1 + 1/5) / 2 = 0.6."""
    gradients = rows([3.0, 1.0], [-2.0, 1.0])[..., None]
    z = torch.tensor([[1.0], [0.0]])
    for u, expected in ((0.5, [[3.0], [1.0]]), (0.7, [[-2.0], [1.0]])):
        close(dropped(gradients, z, torch.tensor([[u]])), expected)


@pytest.mark.parametrize("leak", [0.0, 0.3])
def test_graddrop_is_torchjds(leak: float) -> None:
    gradients = normal(2, 5, 7, 6)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        u = torch.rand(7 * 6, dtype=torch.float64)
        torch.manual_seed(4)
        theirs = aggregation.GradDrop(leak=torch.full((5,), leak, dtype=torch.float64))
        expected = theirs(gradients.flatten(1)).view(7, 6)
    found = dropped(gradients, torch.ones(7, 6), u.view(7, 6), leak=leak, pooling="element")
    close(found, expected, 1e-12)


# RGW -----------------------------------------------------------------------------------------


def test_random_weights_are_torchjds() -> None:
    jacobian = normal(2, 5, 7)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        x = torch.randn(5, dtype=torch.float64)
        torch.manual_seed(4)
        expected = aggregation.RandomWeighting()(jacobian)
    close(decided("rgw", jacobian, {"draws": {"x": x}}).mixing, expected, 1e-12)
