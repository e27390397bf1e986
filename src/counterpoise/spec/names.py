"""Names with a meaning of their own, in papers' files as in those of results."""

from __future__ import annotations

SINGLE_TASK = "single_task"
"""Not a method but a plan: one network per task, each trained alone."""

DELTA_M = "delta_m"

ALL_TASKS = "all"
"""In place of a task: the mean over all of them."""
