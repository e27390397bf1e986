"""How numbers are written, held to texts written by hand: the report's tests use these functions."""

from __future__ import annotations

import math

import pytest

from counterpoise.report.numbers import (
    decimals_for,
    decimals_of,
    duration,
    fixed,
    signed,
    significant,
    split_printed,
    value_text,
)


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (89.4567, 2, "89.46"),
        (0.5, 3, "0.500"),
        (1234.5678, 0, "1235"),
        (-3.14159, 2, "\u22123.14"),
        (-0.006, 2, "\u22120.01"),
        (-0.004, 2, "0.00"),
        (-0.0, 0, "0"),
        (math.nan, 2, "not finite"),
        (-math.inf, 2, "not finite"),
    ],
)
def test_a_number_with_so_many_decimals(value: float, decimals: int, text: str) -> None:
    """With a true minus sign, U+2212, and none before a zero."""
    assert fixed(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [
        (0.53, 1, "+0.5"),
        (100.0, 0, "+100"),
        (-0.53, 1, "\u22120.5"),
        (0.0, 1, "0.0"),
        (0.004, 2, "0.00"),
        (-0.004, 2, "0.00"),
    ],
)
def test_a_difference_has_a_sign_unless_it_rounds_to_zero(
    value: float, decimals: int, text: str
) -> None:
    assert signed(value, decimals) == text


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 4, "undefined"),
        (0.0, 4, "0"),
        (math.nan, 4, "not finite"),
        (-2.71828, 4, "\u22122.718"),
        (123456.7, 4, "123457"),
        (0.0456, 2, "0.046"),
        (0.0000123456, 4, "0.00001235"),
        (-0.00000123456, 4, "\u22121.235e\u221206"),
        (1_234_567_890.0, 4, "1.235e+09"),
    ],
)
def test_a_number_with_so_many_digits(value: float | None, digits: int, text: str) -> None:
    """Digits before the point are never cut, and exponents come only far from one."""
    assert significant(value, digits) == text


@pytest.mark.parametrize(
    ("mean", "spread", "decimals"),
    [
        (89.46, 0.47, 2),
        (89.46, 1.0, 1),
        (89.46, 12.3, 0),
        (8946.0, 250.0, 0),
        (0.9, 0.0012, 4),
        (0.1234, None, 4),
        (-12.34, None, 2),
        (12345.0, None, 0),
        (5.0, 0.0, 3),
        (1e-9, None, 6),
        (0.0, None, 2),
        (math.nan, None, 2),
        (1.0, math.inf, 2),
    ],
)
def test_decimals_show_two_digits_of_the_spread_or_four_of_the_mean(
    mean: float, spread: float | None, decimals: int
) -> None:
    assert decimals_for(mean, spread) == decimals


@pytest.mark.parametrize(
    ("printed", "decimals"),
    [
        (None, None), ("", None), ("-", None), ("7", 0), ("93.50", 2), ("93.5 ±00.47", 1),
        ("≈0.910", 3), ("-0.25", 2), ("1.5e3", 0), ("1e-5", 5), ("1e-9", 6),
    ],
)  # fmt: skip
def test_decimals_of_a_printed_number(printed: str | None, decimals: int | None) -> None:
    """Six at most, as of our own."""
    assert decimals_of(printed) == decimals


@pytest.mark.parametrize(
    ("printed", "value", "spread"),
    [
        (None, "", ""),
        ("93.50", "93.50", ""),
        ("93.50 ±00.47", "93.50", "±0.47"),
        ("-1.5 ± 12", "\u22121.5", "±12"),
        ("5±00", "5", "±0"),
    ],
)
def test_a_printed_number_is_parted_into_value_and_spread(
    printed: str | None, value: str, spread: str
) -> None:
    assert split_printed(printed) == (value, spread)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0\u00a0s"),
        (89.9, "89.9\u00a0s"),
        (90, "1.5\u00a0min"),
        (5399, "90.0\u00a0min"),
        (5400, "1.5\u00a0h"),
        (86_400, "24.0\u00a0h"),
    ],
)
def test_a_time_is_told_in_the_unit_that_suits_it(seconds: float, text: str) -> None:
    """One line never ends between number and unit."""
    assert duration(seconds) == text


def test_four_digits_of_an_option_stand_together() -> None:
    assert value_text(2020) == "2020"
    assert value_text([60000, 512]) == "60\N{NARROW NO-BREAK SPACE}000, 512"
