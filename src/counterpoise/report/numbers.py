"""How numbers are written: the precision of the printed one, true minus signs, short units."""

from __future__ import annotations

import math
import re
from typing import Any

from counterpoise.spec.paper import parse_printed

MINUS, SPACE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
_SIGN = re.compile(r"(?<![\w./-])(?<!\w\[)-(?=\.?\d)")
"""A minus before a number; a hyphen within a name has a letter before it, an index a bracket."""
MOST_DECIMALS = 6
FIVE_DIGITS = 10_000


def decimals_of(printed: str | None) -> int | None:
    """Decimals that a printed number shows; None where nothing is printed."""
    parsed = parse_printed(printed) if printed else None
    if parsed is None:
        return None
    return min(MOST_DECIMALS, max(0, -int(parsed.value.as_tuple().exponent)))


def decimals_for(mean: float, spread: float | None) -> int:
    """Decimals that show two digits of the spread, or four of the mean where there is none."""
    scale, digits = (spread, 2) if spread else (abs(mean), 4)
    if not scale or not math.isfinite(scale):
        return 2
    return min(MOST_DECIMALS, max(0, digits - 1 - math.floor(math.log10(scale))))


def fixed(value: float, decimals: int) -> str:
    """``value`` with so many decimals and a true minus; never a negative zero."""
    if not math.isfinite(value):
        return "not finite"
    text = f"{value:.{decimals}f}"
    if text.startswith("-"):
        text = text[1:] if float(text) == 0 else MINUS + text[1:]
    return text


def signed(value: float, decimals: int) -> str:
    """The same with a plus sign where it is positive."""
    text = fixed(value, decimals)
    return f"+{text}" if value > 0 and text.strip("0.") else text


def significant(value: float | None, digits: int = 4) -> str:
    """So many significant digits, without an exponent where that is readable."""
    if value is None:
        return "undefined"
    if value == 0 or not math.isfinite(value):
        return fixed(value, 0)
    magnitude = math.floor(math.log10(abs(value)))
    if -5 <= magnitude < 9:
        return fixed(value, max(0, digits - 1 - magnitude))
    return f"{value:.{digits - 1}e}".replace("-", MINUS)


def signs(text: str) -> str:
    """Text whose numbers have true minus signs."""
    return _SIGN.sub(MINUS, text)


def split_printed(printed: str | None) -> tuple[str, str]:
    """``"93.50 ±00.47"`` as value and spread, so that decimals can be aligned.

    Zeros that only pad a spread are left out; results.json and the CSV keep them.
    """
    if printed is None:
        return "", ""
    value, sign, spread = printed.partition("±")
    short = re.sub(r"^0+(?=\d)", "", spread.strip())
    return value.strip().replace("-", MINUS), f"±{short}" if sign else ""


def count(value: int) -> str:
    """Thousands apart."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def plural(number: int, word: str) -> str:
    """``1 seed``, ``3 seeds``, with thousands apart and in one line."""
    return f"{count(number)}{SPACE}{word}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """A time as a decimal number in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.1f}{SPACE}s"
    minutes = seconds / 60
    return f"{minutes:.1f}{SPACE}min" if minutes < 90 else f"{minutes / 60:.1f}{SPACE}h"


def value_text(value: Any) -> str:
    """An option's value for people. Four digits stand together: they may be a year."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return count(value) if abs(value) >= FIVE_DIGITS else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(value_text(item) for item in value)
    return str(value)


def options_text(options: dict[str, Any]) -> str:
    """Options in one line; entries of an option that has some as ``option.entry``."""
    flat: dict[str, Any] = {}
    for key, value in options.items():
        entries = value.items() if isinstance(value, dict) and value else None
        flat |= {key: value} if entries is None else {f"{key}.{k}": v for k, v in entries}
    return ", ".join(f"{key} {value_text(value)}" for key, value in sorted(flat.items()))
