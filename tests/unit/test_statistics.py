"""Intervals and Delta_m against SciPy and the papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from counterpoise.evaluation.statistics import (
    Part,
    Sample,
    borrowed_interval,
    degrees_of_sum,
    delta_m,
    difference_interval,
    interval_of,
    p_value,
    quantile_of_sum,
    relative_gains,
    summarise,
    welch_interval,
)


def draws(seed: int, size: int, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, scale, size)


@pytest.mark.parametrize("values", [draws(0, 2), draws(1, 3), draws(2, 40, 1e-3, 1e3)])
def test_mean_and_sample_deviation(values: np.ndarray) -> None:
    found = summarise(values.tolist())
    assert found.n == len(values)
    # Both are exact to rounding; a mean of 1000 with a spread of 0.001 costs six digits.
    assert found.mean == pytest.approx(np.mean(values), rel=1e-14)
    assert found.sd == pytest.approx(np.std(values, ddof=1), rel=1e-9)


def test_one_value_has_no_deviation_and_none_has_no_mean() -> None:
    assert summarise([2.5]) == Sample(2.5, None, 1)
    with pytest.raises(ValueError, match="no values"):
        summarise([])


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [2, 3, 5, 30])
def test_interval_of_a_mean_is_students(n: int, level: float) -> None:
    values = draws(n, n)
    low, high = stats.t.interval(level, n - 1, values.mean(), stats.sem(values))
    sample = summarise(values.tolist())
    assert sample.part is not None
    found = interval_of(sample.mean, [sample.part], level)
    assert found == pytest.approx((low, high), rel=1e-10)


@pytest.mark.parametrize(("n", "m", "scale"), [(3, 10, 1.0), (2, 2, 5.0), (10, 3, 0.01)])
def test_interval_of_a_difference_is_welchs(n: int, m: int, scale: float) -> None:
    one, other = draws(1, n), draws(2, m, scale, 0.7)
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    found = welch_interval(summarise(one.tolist()), summarise(other.tolist()))
    assert found == pytest.approx((expected.low, expected.high), rel=1e-10)


def test_no_interval_without_a_spread() -> None:
    one, many = summarise([1.0]), summarise([1.0, 2.0])
    assert one.part is None and interval_of(one.mean, []) is None
    assert welch_interval(one, many) is None and welch_interval(many, one) is None


@pytest.mark.parametrize(("n", "runs"), [(3, 3), (5, 10), (4, 1)])
def test_a_borrowed_spread_is_one_variance(n: int, runs: int) -> None:
    """Student's interval of a difference whose variance is known from one of the samples."""
    ours = summarise(draws(n, n).tolist())
    low, high = borrowed_interval(ours, 0.25, runs)  # type: ignore[misc]
    half = stats.t.ppf(0.975, n - 1) * ours.sd * np.sqrt(1 / n + 1 / runs)
    assert (low, high) == pytest.approx((ours.mean - 0.25 - half, ours.mean - 0.25 + half))
    assert borrowed_interval(Sample(1.0, None, 1), 0.25, runs) is None


def test_samples_without_spread_differ_by_a_point() -> None:
    assert welch_interval(Sample(3.0, 0.0, 3), Sample(1.0, 0.0, 5)) == (2.0, 2.0)


@pytest.mark.parametrize(("n", "m"), [(3, 10), (5, 400)])
def test_degrees_are_satterthwaites(n: int, m: int) -> None:
    """Two samples: the degrees are those of Welch's test, and the p-value is on the safe side."""
    one, other = draws(3, n), draws(4, m, 2.0, 0.4)
    parts = [summarise(sample.tolist()).part for sample in (one, other)]
    assert None not in parts
    known = [part for part in parts if part is not None]
    expected = stats.ttest_ind(one, other, equal_var=False)
    assert degrees_of_sum(known) == pytest.approx(expected.df)
    assert p_value(float(one.mean() - other.mean()), known) > expected.pvalue
    assert p_value(0.7, known[:1]) == pytest.approx(
        2 * stats.t.sf(0.7 / stats.sem(one), len(one) - 1)
    )


def test_one_part_keeps_its_degrees_and_a_known_one_makes_a_normal() -> None:
    assert degrees_of_sum([Part(0.3, 4)]) == pytest.approx(4)
    assert degrees_of_sum([Part(0.0, 2), Part(0.5, 30)]) == pytest.approx(30)
    low, high = interval_of(1.0, [Part(4.0, np.inf)])  # type: ignore[misc]
    assert (low, high) == pytest.approx((1 - 2 * 1.959964, 1 + 2 * 1.959964), rel=1e-5)
    assert p_value(1.959964 * 2, [Part(4.0, np.inf)]) == pytest.approx(0.05, rel=1e-4)


def test_the_quantile_of_a_sum_lies_between_those_of_its_parts() -> None:
    few, many = Part(0.5, 2), Part(0.5, np.inf)
    assert quantile_of_sum([few], 0.95) == pytest.approx(stats.t.ppf(0.975, 2))
    assert quantile_of_sum([many], 0.95) == pytest.approx(stats.norm.ppf(0.975), rel=1e-5)
    # By hand: 1.95996^2 + (4.30265^2 - 1.95996^2) / 4 = 7.5098.
    assert quantile_of_sum([few, many], 0.95) == pytest.approx(7.5098**0.5, rel=1e-4)
    assert quantile_of_sum([few, Part(0.0, 1)], 0.95) == pytest.approx(stats.t.ppf(0.975, 2))


@pytest.mark.parametrize("level", [0.95, 1 - 0.05 / 7, 0.9975])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 1.0])
def test_the_interval_of_a_difference_ends_where_its_p_value_is_the_error(
    share: float, level: float
) -> None:
    parts = [Part(share, 2), Part(1 - share, 1e6)]
    low, high = difference_interval(3.0, parts, level)  # type: ignore[misc]
    assert (high - 3, 3 - low) == pytest.approx([high - 3] * 2)
    assert p_value(high - 3, parts) == pytest.approx(1 - level, rel=1e-6)
    if share == 1.0:
        assert high - 3 == pytest.approx(stats.t.ppf(0.5 + level / 2, 2))
    else:  # where a family is looked at, that of a score is too short
        assert high - 3 > quantile_of_sum(parts, level)


@pytest.mark.parametrize("seeds_share", [0.1, 0.5, 0.9])
def test_of_seven_equal_methods_none_is_called_different_more_often_than_once_in_twenty(
    seeds_share: float,
) -> None:
    """Three seeds, and items whose part is known; 4,000 families, two standard errors."""
    rng = np.random.default_rng(0)
    seeds = rng.normal(0.0, np.sqrt(3 * seeds_share), (4000, 7, 3))
    means = seeds.mean(axis=2) + rng.normal(0.0, np.sqrt(1 - seeds_share), (4000, 7))
    variances = seeds.var(axis=2, ddof=1) / 3
    wrong = 0
    for family in zip(means.tolist(), variances.tolist(), strict=True):
        parts = [[Part(variance, 2), Part(1 - seeds_share, 1e6)] for variance in family[1]]
        wrong += any(7 * p_value(m, p) < 0.05 for m, p in zip(family[0], parts, strict=True))
    assert wrong / 4000 < 0.05 + 2 * np.sqrt(0.05 * 0.95 / 4000)


@pytest.mark.parametrize("largest", [1.0, 100.0])
def test_the_interval_of_a_share_stays_within_its_bounds(largest: float) -> None:
    """Symmetric on the logit scale, with the error that the delta method gives there."""
    part = Part((0.05 * largest) ** 2, 9)
    low, high = interval_of(0.97 * largest, [part], largest=largest)  # type: ignore[misc]
    assert 0 < low < 0.97 * largest < high < largest
    half = stats.t.ppf(0.975, 9) * 0.05 / (0.97 * 0.03)
    assert np.log([low / (largest - low), high / (largest - high)]) == pytest.approx(
        np.log(0.97 / 0.03) + half * np.array([-1, 1])
    )
    # Far from the bounds and narrow it is the symmetric one.
    part = Part((0.001 * largest) ** 2, 9)
    plain = interval_of(0.5 * largest, [part])
    assert interval_of(0.5 * largest, [part], largest=largest) == pytest.approx(plain, rel=1e-5)
    assert interval_of(largest, [part], largest=largest) == interval_of(largest, [part])


def test_nothing_is_certain_without_parts_and_all_without_variance() -> None:
    for interval in (interval_of, difference_interval):
        assert interval(1.0, []) is None
        assert interval(1.0, [Part(0.0, 3)]) == (1.0, 1.0)
    assert (p_value(0.0, [Part(0.0, 3)]), p_value(1.0, [Part(0.0, 3)])) == (1.0, 0.0)


def test_other_items_widen_the_interval_of_a_difference() -> None:
    ours, theirs, items = Sample(3.0, 0.3, 4), Sample(2.5, 0.4, 6), Part(0.09, 99)
    low, high = welch_interval(ours, theirs, items=[items, items])  # type: ignore[misc]
    total = 0.3**2 / 4 + 0.4**2 / 6 + 2 * 0.09
    degrees = total**2 / ((0.3**2 / 4) ** 2 / 3 + (0.4**2 / 6) ** 2 / 5 + 2 * 0.09**2 / 99)
    half = stats.t.ppf(0.975, degrees) * np.sqrt(total)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))
    borrowed = borrowed_interval(ours, 2.5, 6, items=[items, items])
    assert borrowed is not None and borrowed[0] < 0 < borrowed_interval(ours, 2.0, 6)[0]  # type: ignore[index]


def test_delta_m_by_hand() -> None:
    # Accuracy 0.90 over 0.80 is a gain of 0.125; error 3 over 4 one of 0.25; error 6 over 5 a loss
    # of 0.2. Their mean is 0.175 / 3.
    found = delta_m([0.9, 3.0, 6.0], [0.8, 4.0, 5.0], [False, True, True])
    assert found == pytest.approx((0.125 + 0.25 - 0.2) / 3)


def test_delta_m_of_the_reference_itself_is_zero() -> None:
    assert delta_m([0.5, 2.0], [0.5, 2.0], [False, True]) == 0.0


def test_delta_m_has_no_value_beside_a_reference_of_zero() -> None:
    assert delta_m([1.0, 1.0], [1.0, 0.0], [True, True]) is None


def test_a_gain_has_the_sign_of_better_and_none_over_zero() -> None:
    scores = np.array([[0.9, 0.4, 1.0], [3.0, 6.0, 1.0]])
    references = np.array([[0.8, 0.8, 0.0], [4.0, 4.0, 2.0]])
    found = relative_gains(scores, references, [False, True])
    expected = [[0.125, -0.5, math.nan], [0.25, -0.5, 0.5]]
    assert found == pytest.approx(np.array(expected), nan_ok=True)
    assert relative_gains(scores[:, 0], references[:, 0], [False, True]) == pytest.approx(
        [0.125, 0.25]
    )


def test_a_gain_over_a_negative_reference_is_a_gain() -> None:
    found = relative_gains(np.array([-1.0, -3.0]), np.array([-2.0, -2.0]), [False, True])
    assert found == pytest.approx([0.5, 0.5])


def test_delta_m_of_unequal_lists_is_an_error() -> None:
    with pytest.raises(ValueError, match="different tasks"):
        delta_m([1.0, 2.0], [1.0], [True])


# Table 3 of the RotoGrad submission: left, right (accuracy), sum, product, density (error).
SINGLE = (93.50, 90.65, 6.44, 159.08, 1.62)
LOWER = (False, False, True, True, True)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        # By hand from the printed means; the paper prints 0.18 and 0.06 (means of per-run values).
        ((89.01, 84.62, 4.54, 134.95, 0.23), 0.238),  # rotograd
        ((90.15, 86.65, 5.14, 149.21, 0.51), 0.174),  # uniform
        ((89.15, 85.32, 5.07, 144.91, 0.31), 0.201),  # gradnorm Z
        ((89.37, 85.58, 5.60, 160.00, 1.65), 0.001),  # adversarial
    ],
)
def test_delta_m_of_the_printed_means(scores: tuple[float, ...], expected: float) -> None:
    found = delta_m(scores, SINGLE, LOWER)
    assert found == pytest.approx(expected, abs=5e-4)


def test_means_of_large_numbers_keep_their_digits() -> None:
    assert summarise([1e16, 1.0, -1e16]).mean == pytest.approx(1 / 3)
