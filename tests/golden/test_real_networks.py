"""The real networks at their own size: two steps of training, then eight images by heart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.ops import StochasticDepth

from counterpoise.datasets._part import Part
from counterpoise.generators.chest_phantom import radiograph, scenes
from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.training.engine import Replicate
from counterpoise.training.problem import Problem, tasks_of

FINDINGS = ("atelectasis", "effusion", "hernia")
IMAGES = 8
MOST_STEPS = 60
BY_HEART = 0.1
"""Mean cross-entropy in nats: a probability of nine tenths for every label."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "options", "pixels"),
    [
        ("alexnet", {}, 224),
        ("resnet", {"depth": 152}, 224),
        ("inception", {}, 299),
        ("efficientnet", {}, 224),
        ("squeezenet", {}, 224),
        ("densenet", {}, 224),
    ],
)
def test_two_steps_and_eight_images_by_heart(
    name: str, options: dict[str, Any], pixels: int, tmp_path: Path
) -> None:
    # Without batch normalisation a rate of 1e-3 throws AlexNet and SqueezeNet off.
    rate = 1e-4 if name in ("alexnet", "squeezenet") else 1e-3
    cell = Cell(
        dataset="chestxray14",
        source="phantom",
        dataset_options={"size": pixels},
        network=Component(name=name, options=options),
        method=Component(name="uniform"),
        tasks=FINDINGS,
        protocol=Protocol(epochs=1, batch_size=IMAGES, learning_rate=rate),
        seeds=(0,),
    )
    images = torch.from_numpy(np.stack([radiograph(s, pixels)[0] for s in scenes(IMAGES, 0)]))
    targets = {key: torch.arange(IMAGES) // 2**k % 2 for k, key in enumerate(FINDINGS)}
    part = Part(images[:, None], targets, 0.449, 0.226)
    problem = Problem(cell, tasks_of(cell), {"train": part, "validation": part})
    replicate = Replicate(problem, 0, tmp_path / "seed.state", 0)
    before = {key: value.clone() for key, value in replicate.network.named_parameters()}
    index = torch.arange(IMAGES)
    for _ in range(2):
        replicate._step(index)
    assert replicate.trouble is None and replicate.step == 2
    for key, value in replicate.network.named_parameters():
        assert not torch.equal(value, before[key]), key
    for layer in replicate.network.modules():  # what drops at random learns by heart slowly
        if isinstance(layer, torch.nn.Dropout | StochasticDepth):
            layer.eval()
    while replicate.step < MOST_STEPS:
        replicate._step(index)
        assert replicate.trouble is None and replicate.latest is not None
        if float(replicate.latest.mean()) < BY_HEART:
            break
    assert float(replicate.latest.mean()) < BY_HEART, f"not after {replicate.step} steps"
