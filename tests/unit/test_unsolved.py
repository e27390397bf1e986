"""Decompositions and solvers that do not converge: a documented path, or a recorded end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor

from counterpoise import registry
from counterpoise.methods import _torchjd
from counterpoise.methods._gramian import LevelMethod, gradients_of
from counterpoise.methods._rotation import polar
from counterpoise.methods._solving import Unsolved, solving
from counterpoise.training.engine import Replicate
from counterpoise.training.replicates import Parted, Together, fit_together

from ..support import method_of, same_tensors, signal_of, small_cell, small_problem

K, D = 3, 4


def never() -> bool:
    return False


def failing(error: Exception, whole: Any, when: Callable[..., bool] = lambda *_: True) -> Any:
    def instead(*arguments: Any, **options: Any) -> Any:
        if when(*arguments):
            raise error
        return whole(*arguments, **options)

    return instead


SINGULAR = torch.linalg.LinAlgError("linalg.svd: The algorithm failed to converge (error code: 3)")


# Rotations -----------------------------------------------------------------------------------


@pytest.fixture
def matrices() -> Tensor:
    return torch.randn(K, D, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.fixture
def current(matrices: Tensor) -> Tensor:
    return torch.linalg.qr(matrices.flip(0))[0]


def test_decompositions_that_fail_together_are_made_one_by_one(
    matrices: Tensor, current: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = polar(matrices, current, proper=True)
    svd = failing(SINGULAR, torch.linalg.svd, lambda m: m.ndim == 3)
    monkeypatch.setattr(torch.linalg, "svd", svd)
    torch.testing.assert_close(polar(matrices, current, proper=True), expected)


def test_a_matrix_that_resists_is_conditioned(
    matrices: Tensor, current: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = polar(matrices, current)
    svd = failing(SINGULAR, torch.linalg.svd, lambda m: m.ndim == 3 or torch.equal(m, matrices[1]))
    monkeypatch.setattr(torch.linalg, "svd", svd)
    found = polar(matrices, current)
    assert torch.equal(found[0], expected[0]) and not torch.equal(found[1], expected[1])
    # A billionth of R_k, over the smallest singular values of the matrix, which is about one.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_a_task_whose_matrix_resists_for_good_stays(
    matrices: Tensor, current: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = polar(matrices, current)
    largest = matrices[1].abs().amax()

    def resists(m: Tensor) -> bool:
        own = (matrices[1], matrices[1] / largest)
        return m.ndim == 3 or any(torch.allclose(m, one, atol=1e-6) for one in own)

    monkeypatch.setattr(torch.linalg, "svd", failing(SINGULAR, torch.linalg.svd, resists))
    found = polar(matrices, current)
    assert torch.equal(found[1], current[1])
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize(
    ("name", "options"),
    [("rotograd", {"tie_break": "svd"}), ("rotograd", {"translation": "offset"}),
     ("rotograd", {"update": "closed_form"}), ("rotograd_sgd", {})],
)  # fmt: skip
def test_a_run_without_any_decomposition_goes_on_with_its_rotations(
    name: str, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.linalg, "svd", failing(SINGULAR, None))
    cell = small_cell(name, options=options, epochs=1)
    made = Replicate(small_problem(cell), 0, tmp_path / "state")
    made.run(lambda _: None, never)
    assert made.trouble is None and made.step == 3
    rotation = made.method_state["rotation"]
    assert torch.equal(rotation, torch.eye(rotation.shape[-1]).expand_as(rotation))


# Gramians ------------------------------------------------------------------------------------


def test_a_gramian_without_eigenvalues_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.linalg, "eigh", failing(SINGULAR, None))
    found = gradients_of(torch.tensor([[4.0, 1.0], [1.0, 9.0]]), torch.float32)
    assert not found.told and float(found.scale) == 1
    assert torch.equal(found.gramian, torch.eye(2, dtype=torch.float64))


GRAMIAN = [n for n in registry.names("methods") if issubclass(registry.method(n), LevelMethod)]


@pytest.mark.parametrize("name", GRAMIAN)
def test_methods_then_take_the_plain_sum(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(9))  # TorchJD's own decomposition of the identity succeeds
    eigh = failing(SINGULAR, torch.linalg.eigh, lambda *_: next(calls) == 0)
    monkeypatch.setattr(torch.linalg, "eigh", eigh)
    method = method_of(name, K, D)
    state = method.initial_state()
    own = torch.randn(K, 5, D, generator=torch.Generator().manual_seed(2))
    combined, following = method.combine(state, signal_of(method, state, own))
    assert combined.mixing is not None and torch.equal(combined.mixing, torch.ones(K))
    assert all(torch.isfinite(value).all() for value in following.values())


# Ends ----------------------------------------------------------------------------------------


def pinv() -> tuple[Any, str]:
    return torch.linalg, "pinv"


def solve() -> tuple[Any, str]:
    return np.linalg, "solve"


def nnls() -> tuple[Any, str]:
    return scipy.optimize, "nnls"


def quadprog() -> tuple[Any, str]:
    return _torchjd.importlib.import_module("torchjd.linalg").QuadprogProjector, "__call__"


def clarabel() -> tuple[Any, str]:
    return _torchjd.importlib.import_module("cvxpy").Problem, "solve"


class SolverError(Exception):
    __module__ = "cvxpy.error"


ENDS = [
    ("config", pinv, SINGULAR, "a matrix decomposition that did not converge"),
    ("nash_mtl", solve, np.linalg.LinAlgError("Singular matrix"), "Newton's method"),
    ("fairgrad", solve, np.linalg.LinAlgError("Singular matrix"), "Newton's method"),
    ("mgda", nnls, RuntimeError("Maximum number of iterations reached."), "shortest convex"),
    ("pcd", nnls, RuntimeError("Maximum number of iterations reached."), "nearest direction"),
    ("upgrad", quadprog, ValueError("matrix G is not positive definite"), "UPGradWeighting"),
    ("cagrad", clarabel, SolverError("Solver 'CLARABEL' failed."), "CAGradWeighting"),
]


@pytest.mark.parametrize(("name", "place", "error", "said"), ENDS, ids=[e[0] for e in ENDS])
def test_a_solver_that_fails_ends_the_run_as_a_result(
    name: str,
    place: Callable[[], tuple[Any, str]],
    error: Exception,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    problem = small_problem(small_cell(name, epochs=2))
    good = Replicate(problem, 0, tmp_path / "good", 1e9)
    bad = Replicate(problem, 0, tmp_path / "bad", 1e9)
    order = bad.begin_epoch()
    for replicate in (good, bad):
        for step in range(2):
            replicate._step(order[16 * step : 16 * (step + 1)])
    owner, attribute = place()
    broken = failing(error, None)
    monkeypatch.setattr(owner, attribute, broken)
    told: list[Any] = []
    bad.run(told.append, never)
    assert bad.trouble is not None and said in bad.trouble["what"]
    place_of_it = {"task": None, "epoch": 0, "step": 2, "method": name}
    assert {key: bad.trouble[key] for key in place_of_it} == place_of_it
    assert said in told[-1].message
    assert same_tensors(bad.network.state_dict(), good.network.state_dict())
    assert same_tensors(bad.method_state, good.method_state)
    again = Replicate(problem, 0, tmp_path / "bad")
    assert again.resume() and again.finished and again.trouble == bad.trouble


def test_side_by_side_each_finds_its_own_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the step that fails for all of them together each can go on alone."""
    problem = small_problem(small_cell("config", epochs=2, optimizer="sgd", learning_rate=1e-3))
    alone = Replicate(problem, 0, tmp_path / "alone", 1e9)
    alone.run(lambda _: None, never)
    made = [Replicate(problem, seed, tmp_path / f"{seed}", 1e9) for seed in (0, 1)]
    assert fit_together(made)
    whole, calls = torch.linalg.pinv, iter(range(100))
    # Steps 0 and 1 of both; step 2 of both together; then seed 0's other four, and seed 1's step 2.
    pinv = failing(SINGULAR, whole, lambda *_: next(calls) in (2, 7))
    monkeypatch.setattr(torch.linalg, "pinv", pinv)
    with pytest.raises(Parted, match="did not converge"):
        Together(made).run(lambda _: None, never)
    for replicate in made:
        assert replicate.step == 2 and replicate.resumed
        replicate.run(lambda _: None, never)
    assert made[0].trouble is None and made[0].step == alone.step == 6
    for key, value in alone.network.state_dict().items():
        torch.testing.assert_close(made[0].network.state_dict()[key], value, rtol=1e-4, atol=1e-5)
    assert made[1].trouble is not None and made[1].trouble["step"] == 2


def test_a_mistake_in_the_program_passes() -> None:
    with pytest.raises(TypeError), solving("a sum"):
        sum(["a"])  # type: ignore[list-item]
    with pytest.raises(RuntimeError, match="shape"), solving("a product"):
        raise RuntimeError("shape '[2]' is invalid")
    with pytest.raises(Unsolved, match="a root"), solving("a root"):
        raise ValueError("math domain error")
