"""Rows of the Jacobian by several at once: the same as one after the other, up to rounding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from counterpoise import registry
from counterpoise.training.engine import Replicate
from counterpoise.training.passage import Passage
from counterpoise.training.replicates import Together, fit_together

from ..support import gone_astray, small_cell, small_problem
from .test_networks import build, every

CLOSE = 1e-4
"""Of the way that a tensor goes: the same sums by other kernels."""
BY_ROWS = [
    name
    for name in registry.names("methods")
    if registry.method(name).signal in ("gramian", "jacobian")
]


def trained(name: str, folder: Path, **protocol: Any) -> Replicate:
    cell = small_cell(name, batch_size=20, optimizer="sgd", **protocol)
    made = Replicate(small_problem(cell), 0, folder / "state")
    for start in (0, 20):
        made._step(torch.arange(start, start + 20))
    assert made.trouble is None
    return made


@pytest.mark.parametrize("micro_batch", [None, 8])
@pytest.mark.parametrize("at_once", [2, 8])
@pytest.mark.parametrize("name", BY_ROWS)
def test_the_update_is_the_same(
    name: str, at_once: int, micro_batch: int | None, tmp_path: Path
) -> None:
    """Of three rows: two and one, or all."""
    one, several = (
        trained(name, tmp_path, rows_at_once=rows, micro_batch=micro_batch) for rows in (1, at_once)
    )
    assert gone_astray(several, one, CLOSE) == []


def test_side_by_side_too(tmp_path: Path) -> None:
    cell = small_cell("db_mtl", batch_size=20, optimizer="sgd", rows_at_once=2, seeds=(0, 1))
    problem = small_problem(cell)
    alone, beside = (
        [Replicate(problem, seed, tmp_path / f"{kind}-{seed}") for seed in (0, 1)]
        for kind in ("alone", "beside")
    )
    assert fit_together(beside)
    Together(beside).run(lambda _: None, lambda: False)
    for one, other in zip(alone, beside, strict=True):
        one.run(lambda _: None, lambda: False)
        assert gone_astray(other, one, 10 * CLOSE) == []


@every
@pytest.mark.filterwarnings("error:There is a performance drop")
def test_every_network_gives_the_same_rows(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    """Also where a parameter is not used, and where the graph is needed again."""
    network = build(name, options, shape).eval()
    inputs = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    parameters = network.shared_parameters()
    draws = torch.Generator().manual_seed(1)
    pulled = torch.randn(2, *network.shared(inputs).shape, generator=draws)
    one = Passage(network, inputs, None).jacobian(parameters, pulled)
    both = Passage(network, inputs, None, 2)
    kept = both.jacobian(parameters, pulled, keep=True)
    assert torch.equal(kept, both.jacobian(parameters, pulled))
    torch.testing.assert_close(kept, one, rtol=0.0, atol=1e-5 * float(one.abs().max()))
