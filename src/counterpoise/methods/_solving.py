"""What a method does where a solver of another library finds no solution."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = ("clarabel", "cvxpy", "numpy", "qpsolvers", "quadprog")
"""Those whose own exceptions say that they failed."""


class Unsolved(ArithmeticError):
    """A method's problem has no solution that its solver finds; it ends the run as a result."""


@contextmanager
def solving(problem: str, said_by: type[Exception] = ValueError) -> Iterator[None]:
    """Name the problem where a solver fails; any other exception is a mistake, and passes.

    Args:
        problem: what is solved, in words.
        said_by: how the solver says so, if not by a class of its own (cvxpy): quadprog and NumPy by
            a ValueError, SciPy's non-negative least squares by a RuntimeError.

    Raises:
        Unsolved: the solver failed.
    """
    try:
        yield
    except Exception as error:
        own = type(error).__module__.partition(".")[0] in LIBRARIES
        if not (own or isinstance(error, said_by)):
            raise
        raise Unsolved(problem) from error
