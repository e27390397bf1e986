"""The one error that users see: what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(Exception):
    """Bad input or surroundings, reported without a traceback.

    Args:
        what: what is wrong, in one sentence.
        where: the file (with line where known) or the thing that is wrong.
        remedy: what to do about it.
    """

    def __init__(self, what: str, *, where: str | Path = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, str(where), remedy
        super().__init__(what)

    @property
    def errors(self) -> list[UserError]:
        """Itself, or all that are told together."""
        return [self]

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  what to do: {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{advice}"


class UserErrors(UserError):
    """Several errors found in one pass, shown together."""

    def __init__(self, errors: list[UserError]) -> None:
        self._errors = errors
        super().__init__(f"{len(errors)} problems")

    @property
    def errors(self) -> list[UserError]:
        """All of them."""
        return self._errors

    def __str__(self) -> str:
        return "\n".join(str(error) for error in self.errors)


MOST = 60
"""Words that a message lists: all methods, datasets or tiers, but not the cells of a tier."""


def nearest(word: str, choices: Iterable[str], most: int = MOST) -> str:
    """A ``what to do`` line that names the closest valid word, or all of them if they are few."""
    choices = sorted(choices)
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    more = f", and {len(choices) - most} more" if len(choices) > most else ""
    return f"use one of: {', '.join(choices[:most])}{more}"
