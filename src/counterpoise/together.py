"""Names of the scores of several binary tasks together, for checks that load no numpy.

Trainings read :mod:`counterpoise.tasks` and not this module: a score that is added here is computed
from what is trained already.
"""

from __future__ import annotations

from counterpoise import tasks

TOGETHER = (*tasks.TOGETHER, "focal_twice")
"""Keys of :data:`counterpoise.evaluation.joint.JOINT`, in its order."""
