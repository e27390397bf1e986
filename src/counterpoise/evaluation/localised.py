"""Localisation scores over many images as means, with what patients add to their uncertainty."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd

from counterpoise.evaluation.measured import Draws, Measured, combined
from counterpoise.evaluation.resampling import item_weights, schemes_of, units_of
from counterpoise.metrics import weighted_mean
from counterpoise.spec.explanation import CENTRE, Localisation

SCORES = get_args(Localisation)

Localised = dict[str, dict[str, Measured]]
"""By way of making maps, and by score."""


def localised(scores: pd.DataFrame, items: str = "") -> Localised:
    """Every way of an explanation's scores, in their order.

    By seed the mean over all pairs of a picture and a finding, of untrained networks over their
    draws as well. Patients are resampled, for all ways and seeds alike.

    Args:
        scores: as :func:`counterpoise.explain.job.explain` writes them.
        items: names the pairs, so that only what was scored on the same ones is combined.
    """
    pair = ["task", "item"]
    pairs = scores.drop_duplicates(pair).reset_index(drop=True)
    units = units_of(pairs)
    weights = np.concatenate(list(item_weights(schemes_of(units, "localisation")[0])))
    patients = len(np.unique(units))
    order = pd.MultiIndex.from_frame(pairs[pair])
    found: Localised = {}
    for way, rows in scores.groupby("way", sort=False):
        by_seed = {
            str(seed): own.groupby(pair)[list(SCORES)].mean().reindex(order)
            for seed, own in rows.groupby("seed")
        }
        found[str(way)] = {
            score: _measured(
                {seed: table[score].to_numpy() for seed, table in by_seed.items()},
                weights,
                patients,
                items,
            )
            for score in SCORES
        }
    return found


def _measured(
    by_seed: dict[str, np.ndarray], weights: np.ndarray, patients: int, items: str
) -> Measured:
    draws = np.stack([weighted_mean(values, weights) for values in by_seed.values()])
    values = {seed: float(values.mean()) for seed, values in by_seed.items()}
    return Measured(values, Draws(draws[None], (1,), patients, items))


def above_centre(found: Localised, way: str, score: str) -> Measured:
    """The score of a way less that of pointing at the centre, pair by pair."""
    return combined([found[way][score], found[CENTRE][score]], lambda values: values[0] - values[1])
