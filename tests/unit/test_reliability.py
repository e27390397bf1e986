"""The reliability diagram: bins of several seeds and findings together, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.evaluation.joint import diagram, findings
from counterpoise.metrics import CALIBRATION_BINS, reliability
from counterpoise.reproduction.drawings.reliability import pool, with_intervals


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1.5, 1.5, (200, 3))
    return logits, (rng.random((200, 3)) < 1 / (1 + np.exp(-logits))).astype(int)


def test_pooled_bins_are_those_of_all_labels_at_once() -> None:
    parts = [drawn(seed) for seed in range(3)]
    diagrams = [
        rows
        for logits, targets in parts
        for rows in diagram(findings(logits, targets, np.zeros(3)), tuple("abc")).values()
    ]
    every = reliability(*(np.concatenate(each).ravel() for each in zip(*parts, strict=True)))
    assert len(every) == CALIBRATION_BINS
    # Bins stand in the file with six digits.
    np.testing.assert_allclose(pool(diagrams), every[every[:, 0] > 0], rtol=1e-4)


def test_intervals_are_of_the_labels_of_one_seed_and_hold_the_share() -> None:
    bins = np.array([[30.0, 0.1, 0.0], [300.0, 0.5, 0.5], [3.0, 0.9, 1.0]])
    once, thrice = with_intervals(bins, 1), with_intervals(bins, 3)
    for table in (once, thrice):
        assert (table[:, 3] <= bins[:, 2]).all() and (bins[:, 2] <= table[:, 4]).all()
    assert (thrice[:, 4] - thrice[:, 3] > once[:, 4] - once[:, 3]).all()
    half = 1.96 * np.sqrt(0.25 / 300)
    assert once[1, 4] - once[1, 3] == pytest.approx(2 * half, rel=0.02)


def test_without_labels_there_are_no_bins() -> None:
    assert with_intervals(pool([]), 1).shape == (0, 5)
