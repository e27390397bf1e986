"""Localisation scores of many pictures as means with intervals over patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from counterpoise.evaluation.resampling import (
    item_weights,
    percentile_interval,
    schemes_of,
    units_of,
)

SCORES = ("pointing", "energy", "overlap.0.25", "overlap.0.5", "overlap.0.75")
CENTRE = "centre"

Estimate = tuple[float, float, float]
"""A mean with the ends of its 95 % interval."""


@dataclass(frozen=True)
class Localised:
    """One way of making maps.

    Attributes:
        trained: whether the maps are of the trained network.
        scores: of all pairs of a picture and a finding, the mean over seeds first.
        beyond_centre: the same of the difference from the centre prior, pair by pair.
    """

    way: str
    trained: bool
    scores: dict[str, Estimate]
    beyond_centre: dict[str, Estimate]


def localised(scores: pd.DataFrame) -> Iterator[Localised]:
    """Every way of an explanation's scores, in their order; patients are resampled together."""
    pair = ["task", "item"]
    averaged = scores.groupby(["way", *pair], sort=False)[list(SCORES)].mean()
    first = scores.drop_duplicates(pair).set_index(pair)
    scheme = schemes_of(units_of(first.reset_index()), "localisation")[0]
    weights = np.concatenate(list(item_weights(scheme)))
    ways = list(dict.fromkeys(scores["way"]))
    tables = {way: averaged.loc[way].reindex(first.index) for way in ways}
    for way in ways:
        own, centre = tables[way], tables.get(CENTRE)
        trained = "/" not in way and way not in (CENTRE, "random")
        beyond = {}
        if centre is not None and way != CENTRE:
            beyond = {s: _estimate((own[s] - centre[s]).to_numpy(), weights) for s in SCORES}
        yield Localised(
            way, trained, {s: _estimate(own[s].to_numpy(), weights) for s in SCORES}, beyond
        )


def _estimate(values: np.ndarray, weights: np.ndarray) -> Estimate:
    resampled = (weights @ values) / weights.sum(axis=1)
    return float(values.mean()), *percentile_interval(resampled)
