"""How often intervals hold the truth: benchmarks/intervals.py in small, and in full when slow."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from scipy.special import ndtr

from ..support import ROOT


@pytest.fixture(scope="module")
def intervals() -> Iterator[ModuleType]:
    """The benchmark as a module."""
    path = ROOT / "benchmarks" / "intervals.py"
    spec = importlib.util.spec_from_file_location("benchmark_intervals", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def bounds(low: float, high: float, count: int) -> tuple[float, float]:
    """Rates that a simulation may give: four Monte Carlo standard errors around an interval."""
    return (
        low - 4 * math.sqrt(low * (1 - low) / count),
        high + 4 * math.sqrt(high * (1 - high) / count),
    )


def check(module: ModuleType, world: object, draw: object, truth: float, sets: int) -> None:
    hits = module.coverage(world, draw, truth, sets)
    for seeds in module.SEEDS:
        low, high = bounds(0.93, 0.97, sets)
        assert low <= hits["used", seeds] / sets <= high, (world, seeds, hits)


SMALL = 300
worlds = pytest.mark.parametrize(
    "name", ["chance of seed and item dominates", "patients of four images"]
)


@worlds
def test_intervals_hold_the_truth_as_often_as_they_say(intervals: ModuleType, name: str) -> None:
    world = next(world for world in intervals.WORLDS if world.name == name)
    check(intervals, world, intervals._one, world.truth, SMALL)


@worlds
def test_intervals_are_no_wider_than_they_must_be(intervals: ModuleType, name: str) -> None:
    """So few sets cannot show it by their hits: how often each width misses a normal mean can."""
    world = next(world for world in intervals.WORLDS if world.name == name)
    draws = np.random.default_rng(0)
    sets = [intervals._one(world, draws) for _ in range(SMALL)]
    for seeds in intervals.SEEDS:
        shown = [intervals.first(one, seeds) for one in sets]
        error = math.sqrt(np.mean([(one.sample.mean - world.truth) ** 2 for one in shown]))
        halves = np.array([(high - low) / 2 for low, high in (one.interval() for one in shown)])
        assert 0.03 < 2 * ndtr(-halves / error).mean() < 0.07, seeds


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.95])
def test_no_share_of_the_seeds_is_too_much_for_the_quantile(
    intervals: ModuleType, share: float
) -> None:
    """By integration, not simulation: 95 % intervals of normal data miss 5 %, give or take one."""
    for seeds in intervals.SEEDS:
        used = intervals.misses(intervals.quantile_of_sum, seeds, share, points=200)
        assert 0.04 < used < 0.06
    old = intervals.misses(intervals.satterthwaite, 3, share, points=200)
    assert old > 0.065 or share < 0.7, "why Satterthwaite's degrees are not used"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.7, 0.9])
def test_a_difference_of_many_is_told_apart_no_oftener_than_the_level_says(
    intervals: ModuleType, share: float
) -> None:
    """One of seven with three seeds; the quantile of a score misses in up to 1.35 % there."""
    level = 1 - 0.05 / 7
    missed, score = (
        intervals.misses(rule, 3, share, level, points=200)
        for rule in (intervals.quantile_of_difference, intervals.quantile_of_sum)
    )
    assert 0.002 < missed < 0.0075
    assert score > 0.01 or share < 0.9, "why differences have a quantile of their own"


def test_seeds_alone_are_not_enough_and_the_plain_sum_is_too_much(intervals: ModuleType) -> None:
    """Why the rule is what it is: 55 and 99 percent in the full simulation."""
    worlds = {world.name: world for world in intervals.WORLDS}
    patients = worlds["patients dominate"]
    hits = intervals.coverage(patients, intervals._one, patients.truth, SMALL)
    assert hits["seeds alone", 10] / SMALL < 0.7
    chance = worlds["chance of seed and item dominates"]
    hits = intervals.coverage(chance, intervals._one, chance.truth, SMALL)
    assert hits["plain sum", 10] / SMALL > 0.98


def test_equal_methods_are_seldom_called_different(intervals: ModuleType) -> None:
    world = next(world for world in intervals.EQUAL if world.name == "both")
    for single, family in intervals.false_positives(world, 150).values():
        assert max(single, family) / 150 <= bounds(0.05, 0.05, 150)[1]


@pytest.mark.slow
def test_the_whole_simulation(intervals: ModuleType) -> None:
    for world, draw, truth in intervals.settings():
        known = intervals.gain_truth(world) if math.isnan(truth) else truth
        check(intervals, world, draw, known, intervals.SETS)
    for world in intervals.EQUAL:
        for single, family in intervals.false_positives(world, intervals.SETS).values():
            assert max(single, family) / intervals.SETS <= bounds(0.05, 0.05, intervals.SETS)[1]
