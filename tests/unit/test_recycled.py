"""Memory that is used again: at once when it is free, and never before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from counterpoise import recycled, registry
from counterpoise.training.engine import Replicate

from ..support import same_tensors, small_cell, small_problem

LIKE = torch.zeros(())
KEEPING = [name for name in registry.names("methods") if registry.method(name).signal == "jacobian"]
"""Methods whose state may lie in the memory of a Jacobian."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tensor counts as a large one."""
    monkeypatch.setattr(recycled, "LEAST", 0)
    monkeypatch.setattr(recycled, "_free", [])


def test_it_is_used_again_once_the_last_view_is_gone() -> None:
    one = recycled.empty((3, 5), LIKE)
    place, view = one.data_ptr(), one[1].detach()
    del one
    assert recycled.empty((3, 5), LIKE).data_ptr() != place
    view.fill_(2.0)
    del view
    places = {tensor.data_ptr() for tensor in [recycled.empty((3, 5), LIKE) for _ in range(2)]}
    assert place in places and len(places) == 2


def test_blocks_of_another_size_go_back_to_the_system() -> None:
    recycled.empty((3, 5), LIKE)
    other = recycled.empty((4, 5), LIKE.double())
    assert (other.shape, other.dtype) == ((4, 5), torch.float64)
    assert not recycled._free


def test_small_tensors_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recycled, "LEAST", 61)
    recycled.empty((3, 5), LIKE)
    assert not recycled._free
    recycled.empty((4, 5), LIKE)
    assert len(recycled._free) == 1


def test_replicates_have_memory_of_their_own() -> None:
    def doubled(row: torch.Tensor) -> torch.Tensor:
        return recycled.empty_like(row).copy_(row).mul_(2)

    rows = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(torch.vmap(doubled)(rows), 2 * rows)


@pytest.mark.parametrize("parts", [None, 8])
@pytest.mark.parametrize("name", KEEPING)
def test_no_step_sees_what_another_has_left(
    name: str, parts: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks are filled with what is not a number when they are given out."""
    problem = small_problem(small_cell(name, micro_batch=parts), 80)

    def after(steps: int) -> Replicate:
        replicate = Replicate(problem, 0, tmp_path / "state")
        for step in range(steps):
            replicate._step(torch.arange(16 * step, 16 * (step + 1)))
        assert replicate.trouble is None
        return replicate

    monkeypatch.setattr(recycled, "LEAST", 1 << 40)
    expected = after(5)
    monkeypatch.setattr(recycled, "LEAST", 0)
    real, fresh = recycled.empty, []

    class Counting:
        """torch, whose fresh blocks are counted."""

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

        def empty(self, *words: Any, **more: Any) -> torch.Tensor:
            fresh.append(words)
            return torch.empty(*words, **more)

    def spoilt(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        return real(shape, like).fill_(torch.nan)

    monkeypatch.setattr(recycled, "torch", Counting())
    monkeypatch.setattr(recycled, "empty", spoilt)
    found = after(5)
    assert same_tensors(found._tensors(), expected._tensors())
    assert same_tensors(found.method_state, expected.method_state)
    recycled.clear()
    assert not recycled._free
    matrices = (2 if parts else 1) + 2 * sum(
        t.ndim == 2 and t.shape[1] > 99 for t in found.method_state.values()
    )
    assert 1 <= len(fresh) <= matrices
