"""On a CUDA device: the first steps are those of the CPU, alone and side by side."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from counterpoise.training.engine import Replicate
from counterpoise.training.problem import Problem
from counterpoise.training.replicates import Together

from ..support import gone_astray, small_cell, small_problem

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
CLOSE = 0.01
"""Of the way that a tensor goes in two epochs along the gradient, in float32 without tf32."""


@pytest.fixture(autouse=True)
def _exact_products() -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False


def trained(method: str, device: str, folder: Path, *, together: bool = False) -> list[Replicate]:
    cell = small_cell(method, optimizer="sgd", learning_rate=1e-3)
    there = torch.device(device)
    plain = small_problem(cell)
    parts = {name: part.to(there) for name, part in plain.parts.items()}
    problem = Problem(cell, plain.tasks, parts, there)
    made = [Replicate(problem, seed, folder / f"{device}{seed}", 1e9) for seed in (0, 1)]
    if together:
        Together(made).run(lambda _: None, lambda: False)
    else:
        for replicate in made:
            replicate.run(lambda _: None, lambda: False)
    return made


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("method", ["uniform", "deepchest", "gradnorm", "db_mtl", "gradvac", "uw"])
def test_the_first_steps_are_those_of_the_cpu(method: str, together: bool, tmp_path: Path) -> None:
    expected = trained(method, "cpu", tmp_path)
    found = trained(method, "cuda", tmp_path, together=together)
    for one, other in zip(expected, found, strict=True):
        assert gone_astray(other, one, CLOSE) == []
