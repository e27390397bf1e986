"""Whether a map finds the marked region: three numbers of one map and one mask; and if it is empty.

Arrays: maps (N, H, W), not negative; masks (N, H, W) of bool, none empty.
"""

from __future__ import annotations

import numpy as np

SHARES = (0.25, 0.5, 0.75)
"""Shares of a map's maximum from which on a pixel belongs to what the map points out."""


def pointing(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(N,) whether the maximum lies in the mask (Zhang et al. 2018); of several, their share.

    A map without any contrast so scores the mask's share of the picture, as guessing does.
    """
    peaks = maps == maps.max(axis=(1, 2), keepdims=True)
    found: np.ndarray = (peaks & masks).sum(axis=(1, 2)) / peaks.sum(axis=(1, 2))
    return found


def energy(maps: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(N,) share of the map's sum inside the mask (Wang et al. 2020).

    An empty map scores the mask's share of the picture, as guessing does.
    """
    total = maps.sum(axis=(1, 2), dtype=np.float64)
    inside = np.where(masks, maps, 0.0).sum(axis=(1, 2), dtype=np.float64)
    guessed = masks.mean(axis=(1, 2))
    found: np.ndarray = np.where(total > 0, inside / np.where(total > 0, total, 1.0), guessed)
    return found


def overlap(maps: np.ndarray, masks: np.ndarray, share: float) -> np.ndarray:
    """(N,) intersection over union of the mask and the pixels of that share of its maximum."""
    called = maps >= share * maps.max(axis=(1, 2), keepdims=True)
    both = (called & masks).sum(axis=(1, 2))
    found: np.ndarray = both / (called | masks).sum(axis=(1, 2))
    return found


def empty(maps: np.ndarray) -> np.ndarray:
    """(N,) 1.0 where a map shows nothing: where nothing speaks for the finding, Grad-CAM is so."""
    found: np.ndarray = (maps.max(axis=(1, 2)) <= 0).astype(np.float64)
    return found


def centre_prior(count: int, shape: tuple[int, int]) -> np.ndarray:
    """Maps that fall from the middle of the picture outwards, as a Gaussian of a quarter of it."""
    y, x = (np.linspace(-1, 1, size) for size in shape)
    one = np.exp(-2 * (y[:, None] ** 2 + x[None] ** 2))
    return np.broadcast_to(one, (count, *shape))


def random_maps(count: int, coarse: tuple[int, int], seed: int) -> np.ndarray:
    """(count, h, w) noise of the size of a network's last map, each drawn for itself.

    Enlarged as a network's map is, its peaks have the same preference for the rim, where nothing
    beyond is averaged in.
    """
    return np.random.default_rng(seed).random((count, *coarse))
