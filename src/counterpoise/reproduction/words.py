"""Small words that several rules say."""

from __future__ import annotations


def plural(number: int, word: str) -> str:
    """``1 seed``, ``3 seeds``."""
    return f"{number} {word}{'s' * (number != 1)}"
