"""Augmentation: torchvision's functions, uniform draws, and the same change however it is batched."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch import Tensor

from counterpoise.spec.augment import Augment, ResizedCrop
from counterpoise.training.augment import (
    TRIES,
    augmented,
    key_of,
    resample,
    shifted,
    uniform,
    windows,
)
from counterpoise.training.engine import Interrupted, Replicate
from counterpoise.training.replicates import Together, fit_together

from ..support import error_of, same_tensors, small_cell, small_problem

ALL = Augment(rotation=20, resized_crop=ResizedCrop(), crop=0.1, flip=0.5, brightness=0.3)


def pictures(count: int, height: int = 20, width: int = 24, channels: int = 1) -> Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(5))


def keys(count: int, seed: int = 0, epoch: int = 0) -> Tensor:
    return torch.full((count,), key_of("a/b", seed, epoch))


def never() -> bool:
    return False


# Draws ---------------------------------------------------------------------------------------


def test_draws_are_those_of_splitmix64() -> None:
    """Steele, Lea and Flood's generator by Python's integers, which have no sign."""
    mask = (1 << 64) - 1

    def expected(key: int, item: int, draw: int) -> float:
        z = (key + (item * (7 + 2 * TRIES) + draw + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        return float((z ^ (z >> 31)) >> 11) / 2.0**53

    items = torch.tensor([0, 1, 2, 100, 112_119])
    for draw in (0, 6, 26):
        for key in (0, 1, key_of("a/b", 3, 7)):
            found = uniform(torch.full((5,), key), items, draw)
            assert found.tolist() == [expected(key, int(item), draw) for item in items]


def test_draws_are_uniform_and_independent() -> None:
    """Items, draws, epochs and seeds: Kolmogorov-Smirnov and correlations of 20,000 draws."""
    count = 20_000
    items = torch.arange(count)
    streams = [uniform(keys(count, seed, epoch), items, draw)
               for seed in (0, 1) for epoch in (0, 1) for draw in (0, 1)]  # fmt: skip
    for stream in streams:
        assert stats.kstest(stream.numpy(), "uniform").pvalue > 1e-3
        assert abs(np.corrcoef(stream[:-1], stream[1:])[0, 1]) < 4 / math.sqrt(count)
    off = np.corrcoef(torch.stack(streams).numpy()) - np.eye(len(streams))
    assert np.abs(off).max() < 4.5 / math.sqrt(count)


# Each change ---------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", [-30.0, 0.0, 7.5, 90.0])
def test_rotation_is_torchvisions(angle: float) -> None:
    """To 1e-5 of an intensity: coordinates there are of single precision."""
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    images = pictures(3, 21, 21)
    expected = functional.rotate(images, angle, interpolation=functional.InterpolationMode.BILINEAR)
    found = resample(images, torch.full((3,), angle, dtype=torch.float64), None)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("window", [(0, 0, 20, 24), (3, 5, 9, 11), (0, 20, 2, 4), (19, 0, 1, 1)])
def test_a_resized_crop_is_torchvisions(window: tuple[int, int, int, int]) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    images = pictures(2)
    expected = functional.resized_crop(images, *window, [20, 24], antialias=True)
    sides = tuple(torch.full((2,), value) for value in window)
    found = resample(images, torch.zeros(2, dtype=torch.float64), sides)  # type: ignore[arg-type]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_crop_with_padding_is_torchvisions() -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    images = pictures(4)
    down, right = torch.tensor([-2, 0, 2, 1]), torch.tensor([1, 0, -2, 2])
    padded = functional.pad(images, [2, 2, 2, 2])
    found = shifted(images, down, right)
    for n in range(4):
        top, left = int(down[n]) + 2, int(right[n]) + 2
        assert torch.equal(found[n], functional.crop(padded[n], top, left, 20, 24))


def test_flip_and_brightness_are_torchvisions() -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    images, count = pictures(64), 64
    items = torch.arange(count)
    flipped = augmented(images, Augment(flip=1.0), keys(count), items)
    assert torch.equal(flipped, functional.horizontal_flip(images))
    factors = 1 + (2 * uniform(keys(count), items, 6) - 1) * 0.8
    brighter = augmented(images, Augment(brightness=0.8), keys(count), items)
    for n in range(count):
        expected = functional.adjust_brightness(images[n], float(factors[n]))
        torch.testing.assert_close(brighter[n], expected, atol=1e-6, rtol=0)


def test_the_share_of_flips_is_its_probability() -> None:
    """Within four standard deviations of a binomial."""
    count = 4000
    images = torch.linspace(0, 1, 4).expand(count, 1, 2, 4)
    changed = augmented(images, Augment(flip=0.3), keys(count), torch.arange(count))
    share = float((changed[:, 0, 0, 0] > 0.5).double().mean())
    assert share == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / count))


def test_every_shift_of_a_crop_is_equally_frequent() -> None:
    """A bright pixel in the middle of 11 x 11, moved by at most two: 25 places, chi-square."""
    count = 5000
    images = torch.zeros(count, 1, 11, 11)
    images[..., 5, 5] = 1
    changed = augmented(images, Augment(crop=2 / 11), keys(count), torch.arange(count))
    assert torch.equal(changed.sum((1, 2, 3)), torch.ones(count))
    places = changed.sum(0)[0]
    assert places[3:8, 3:8].sum() == count
    assert stats.chisquare(places[3:8, 3:8].flatten().numpy()).pvalue > 1e-3


def test_windows_have_torchvisions_distribution() -> None:
    """Areas, ratios and places of 4000 windows beside those that torchvision draws."""
    transforms = pytest.importorskip("torchvision.transforms")
    count, side = 4000, (60, 60)
    crop = ResizedCrop()
    found = torch.stack(windows(crop, side, keys(count), torch.arange(count))).numpy()
    torch.manual_seed(1)
    image = torch.zeros(1, *side)
    drawn = np.array([
        transforms.RandomResizedCrop.get_params(image, list(crop.scale), list(crop.ratio))
        for _ in range(count)
    ]).T  # fmt: skip
    for quantity in (lambda w: w[2] * w[3], lambda w: w[3] / w[2], lambda w: w[0], lambda w: w[1]):
        assert stats.ks_2samp(quantity(found), quantity(drawn)).pvalue > 1e-3
    assert (found[0] + found[2] <= 60).all() and (found[1] + found[3] <= 60).all()
    assert found.min(1).tolist()[:2] == [0, 0]


def test_where_no_window_fits_it_is_the_largest_in_the_middle() -> None:
    """A square has no window of its whole area twice as wide as high: torchvision's fallback."""
    crop = ResizedCrop(scale=(1.0, 1.0), ratio=(2.0, 2.0))
    found = [int(v) for v in windows(crop, (20, 20), keys(1), torch.arange(1))]
    assert found == [5, 0, 10, 20]
    crop = ResizedCrop(scale=(1.0, 1.0), ratio=(0.5, 0.5))
    assert [int(v) for v in windows(crop, (20, 20), keys(1), torch.arange(1))] == [0, 5, 20, 10]


def test_what_is_named_by_nothing_changes_nothing() -> None:
    images = pictures(5)
    assert torch.equal(augmented(images, Augment(), keys(5), torch.arange(5)), images)


# Independence --------------------------------------------------------------------------------


def test_an_items_change_is_its_own_in_any_batch() -> None:
    """Alone, in parts, in another order and in a stack: equal to the last bit."""
    images, items = pictures(12, channels=3), torch.arange(100, 112)
    whole = augmented(images, ALL, keys(12), items)
    alone = [augmented(images[n : n + 1], ALL, keys(1), items[n : n + 1]) for n in range(12)]
    assert torch.equal(whole, torch.cat(alone))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(augmented(images[order], ALL, keys(12), items[order]), whole[order])
    stacked = augmented(
        images.unflatten(0, (3, 4)), ALL, keys(12).reshape(3, 4), items.reshape(3, 4)
    )
    assert torch.equal(stacked, whole.unflatten(0, (3, 4)))


def test_epochs_and_seeds_differ() -> None:
    images, items = pictures(6), torch.arange(6)
    first = augmented(images, ALL, keys(6), items)
    for other in (keys(6, epoch=1), keys(6, seed=1)):
        changed = augmented(images, ALL, other, items)
        assert all(not torch.equal(a, b) for a, b in zip(first, changed, strict=True))


def test_training_alone_and_side_by_side(tmp_path: Path) -> None:
    """Images are equal bit by bit; weights up to the order of sums, as without augmentation."""
    problem = small_problem(small_cell(epochs=2, optimizer="sgd", learning_rate=1e-3, augment=ALL))
    seeds = (0, 1, 2)
    made = {
        way: [Replicate(problem, s, tmp_path / f"{way}{s}.state", 1e9) for s in seeds]
        for way in ("alone", "together")
    }
    for replicate in made["alone"]:
        replicate.run(lambda _: None, never)
    assert fit_together(made["together"])
    together = Together(made["together"])
    together.epoch = 1
    rows = torch.stack([torch.arange(16), torch.arange(3, 19), torch.arange(16)])
    stacked, _, _ = together._batch(rows)
    part = problem.parts["train"]
    for seed in seeds:
        own, _ = part.batch(rows[seed], problem.change([seed], 1, rows[seed]))
        assert torch.equal(stacked[seed], own)
    together.run(lambda _: None, never)
    for one, other in zip(made["alone"], made["together"], strict=True):
        for key, value in one._tensors().items():
            gap = float((other._tensors()[key].double() - value.double()).norm())
            assert gap <= 1e-4 * max(1e-3, float(value.double().norm())), key


@pytest.mark.parametrize("stop_at", [1, 4, 5])
def test_a_resumed_run_ends_in_the_same_bytes(stop_at: int, tmp_path: Path) -> None:
    """Three steps an epoch: stopped in the first, between two and in the second epoch."""
    problem = small_problem(small_cell(epochs=3, augment=ALL))
    whole = Replicate(problem, 0, tmp_path / "whole", 1e9)
    whole.run(lambda _: None, never)
    calls = iter(range(stop_at))
    stopped = Replicate(problem, 0, tmp_path / "parts", 1e9)
    with pytest.raises(Interrupted):
        stopped.run(lambda _: None, lambda: next(calls, None) is None)
    again = Replicate(problem, 0, tmp_path / "parts", 1e9)
    assert again.resume()
    again.run(lambda _: None, never)
    assert same_tensors(whole._tensors(), again._tensors())
    assert whole.history == again.history


def test_it_reaches_training_images_only(tmp_path: Path) -> None:
    """Weights differ from those of a run without, and validation sees images as they are."""
    plain, changed = (
        Replicate(small_problem(small_cell(epochs=1, augment=a)), 0, tmp_path / str(a is None))
        for a in (None, ALL)
    )
    # Training with a rate of nothing: only what validation sees can differ, and does not.
    for replicate in (plain, changed):
        replicate.problem.cell = replicate.problem.cell.model_copy(
            update={
                "protocol": replicate.problem.cell.protocol.model_copy(
                    update={"learning_rate": 1e-30}
                )
            }
        )
        replicate.run(lambda _: None, never)
    (one,), (other,) = plain.history, changed.history
    held_out = [key for key in one if key.startswith("validation")]
    assert held_out and all(one[key] == other[key] for key in held_out)
    assert one["training_loss/left"] != other["training_loss/left"]


def test_a_micro_batch_sees_the_same_images(tmp_path: Path) -> None:
    """The update of parts is that of the batch, up to the order of sums."""
    made = []
    for size in (None, 5):
        cell = small_cell(epochs=1, optimizer="sgd", micro_batch=size, augment=ALL)
        made.append(Replicate(small_problem(cell), 0, tmp_path / str(size), 1e9))
        made[-1].run(lambda _: None, never)
    whole, parts = (replicate._tensors() for replicate in made)
    for key, value in whole.items():
        gap = float((parts[key].double() - value.double()).norm())
        assert gap <= 1e-4 * max(1e-3, float(value.double().norm())), key


# Mistakes ------------------------------------------------------------------------------------


def test_points_cannot_be_augmented(tmp_path: Path) -> None:
    problem = small_problem(small_cell(augment=Augment(flip=0.5)))
    part = problem.parts["train"]
    part.inputs = part.inputs.float()
    error = error_of(lambda: Replicate(problem, 0, tmp_path / "state"))
    assert "are not images" in str(error)


@pytest.mark.parametrize(
    "wrong",
    [
        {"flip": 1.1},
        {"rotation": -1},
        {"crop": 0.6},
        {"brightness": math.nan},
        {"resized_crop": {"scale": [0.5, 0.2]}},
        {"resized_crop": {"scale": [0.0, 0.2]}},
        {"resized_crop": {"ratio": [0.5, math.inf]}},
        {"blur": 1},
    ],
)
def test_what_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        Augment(**wrong)


def test_in_words() -> None:
    assert str(Augment()) == "none"
    assert str(Augment(rotation=30, flip=0.5)) == (
        "rotation up to 30 degrees, horizontal flip of 0.5"
    )
