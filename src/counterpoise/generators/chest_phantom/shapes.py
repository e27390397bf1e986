"""Smooth-edged shapes on a grid of pixels: the brushes that the phantom is painted with.

Every brush takes distances in body units and the width of a pixel's view in the same units, and
gives about what a detector of that width averages. So a scene looks the same at every size, and
a blurred system is one with a wider view.
"""

from __future__ import annotations

from functools import cache

from counterpoise.lazy import np


def inside(distance: np.ndarray, view: float, soft: float = 0.0) -> np.ndarray:
    """Share of a pixel that is covered, by its signed distance (positive inside) to an edge.

    ``soft`` is the width over which the edge itself fades.
    """
    t = np.clip(distance / (1.5 * (view + soft)) + 0.5, 0.0, 1.0)
    covered: np.ndarray = t * t * (3.0 - 2.0 * t)
    return covered


def merge(first: np.ndarray, second: np.ndarray, fillet: float) -> np.ndarray:
    """Signed distance of two shapes together, their corner rounded by ``fillet``."""
    gap = np.clip(fillet - np.abs(first - second), 0, None)
    merged: np.ndarray = np.maximum(first, second) + gap * gap / (4 * fillet)
    return merged


def line(distance: np.ndarray, width: float | np.ndarray, view: float) -> np.ndarray:
    """A line of Gaussian profile; one thinner than a pixel grows faint, not jagged."""
    seen = np.sqrt(np.square(width) + (0.5 * view) ** 2)
    drawn: np.ndarray = (width / seen) * np.exp(-0.5 * np.square(distance / seen))
    return drawn


def spot(
    u: np.ndarray, v: np.ndarray, place: tuple[float, float], radius: float, view: float = 0.0,
    aspect: float = 1.0,
) -> np.ndarray:  # fmt: skip
    """A round Gaussian spot, 1 in its middle; ``aspect`` above 1 stretches it downwards."""
    seen = radius**2 + (0.5 * view) ** 2
    squares = np.square(u - place[0]) + np.square((v - place[1]) / aspect)
    drawn: np.ndarray = (radius**2 / seen) * np.exp(squares * (-0.5 / seen))
    return drawn


def cloud(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise (size, size) of about unit variance, ``cells`` cells to a side."""
    grid = rng.standard_normal((cells + 3, cells + 3), dtype=np.float32)
    weights = _spline(size, cells)
    drawn: np.ndarray = weights @ grid @ weights.T
    return drawn


@cache
def _spline(size: int, cells: int) -> np.ndarray:
    """Cubic B-splines averaged over each pixel: (size, cells + 3), squares summing to about 1."""
    samples = 8
    place = (np.arange(size * samples) + 0.5) / (size * samples) * cells
    t = np.abs(place[:, None] - (np.arange(cells + 3) - 1))
    near, far = 2 / 3 - t * t * (1 - t / 2), np.clip(2 - t, 0, None) ** 3 / 6
    spline = np.where(t < 1, near, far).reshape(size, samples, cells + 3).mean(axis=1)
    unit = np.sqrt(151 / 315)  # root of the mean, over places, of the sum of squared splines
    weights: np.ndarray = (spline / unit).astype(np.float32)
    return weights
