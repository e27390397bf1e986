"""What a method does when a solver from another library finds no solution."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

LIBRARIES = ("clarabel", "cvxpy", "numpy", "qpsolvers", "quadprog")
"""Libraries whose own exceptions report that a solver failed."""


class Unsolved(ArithmeticError):
    """The solver finds no solution to a method's problem; the run ends, and that is recorded."""


@contextmanager
def solving(problem: str, said_by: type[Exception] = ValueError) -> Iterator[None]:
    """Name the problem if a solver fails; any other exception is a bug and is raised as it is.

    Args:
        problem: what is solved, in words.
        said_by: the exception by which the solver reports failure, if it has no class of its own
            (as cvxpy has): quadprog and NumPy raise a ValueError, SciPy's non-negative least
            squares a RuntimeError.

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
