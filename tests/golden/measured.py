"""The relative errors that a test's comparisons have, for the table of docs/methods.md.

The error of one comparison is max |found - expected| / max |expected|. Comparisons with zeros alone
have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass
class Errors:
    """What one test has compared.

    Attributes:
        values: the relative errors.
        single: whether some of what was found is in float32.
    """

    values: list[float] = field(default_factory=list)
    single: bool = False


_open: list[Errors] = []


@contextmanager
def collecting() -> Iterator[Errors]:
    """The errors of the comparisons made meanwhile."""
    errors = Errors()
    _open.append(errors)
    try:
        yield errors
    finally:
        _open.pop()


def array(values: Any) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
    elif isinstance(values, (list, tuple)):
        values = [array(value) for value in values]
    return np.asarray(values)


def relative_error(found: Any, expected: Any) -> float | None:
    """None where there is nothing to divide by, or no number."""
    one, other = array(found).astype(float), array(expected).astype(float)
    largest = np.abs(other).max(initial=0.0)
    if not (0 < largest < np.inf):
        return None
    return float(np.abs(one - other).max(initial=0.0) / largest)


def record(found: Any, expected: Any) -> None:
    """Take a comparison down, whatever it is that compares."""
    error = relative_error(found, expected)
    if error is None:
        return
    for errors in _open:
        errors.values.append(error)
        errors.single |= array(found).dtype == np.float32


def recording(compare: Callable[..., None]) -> Callable[..., None]:
    """The same comparison, taken down."""

    def recorded(actual: Any, expected: Any, *rest: Any, **options: Any) -> None:
        compare(actual, expected, *rest, **options)
        record(actual, expected)

    return recorded
