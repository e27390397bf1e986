"""Uniform weights: the plain sum of the (normalised) task losses.

The *uniform* baseline of the RotoGrad submission (section 5.2.2) and *equal weighting* of the other
papers: omega_k = 1 for every task, always. With a single task it is plain training, so the
single-task reference networks are trained with it as well.
"""

from __future__ import annotations

from counterpoise.methods._base import Method


class Uniform(Method):
    """omega_k = 1."""

    label = "Uniform"
    signal = "losses"
    properties = frozenset(
        {
            "neutral_start",
            "weighted_loss",
            "weights_sum_to_tasks",
            "equal_tasks_equal_weights",
            "plain_with_one_task",
            "never_lengthens",
        }
    )
