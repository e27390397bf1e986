"""Gradient conflict over time."""

from __future__ import annotations

from counterpoise.reproduction.views.courses import rows_of, small_panels
from counterpoise.reproduction.views.facts import Drawn, Facts

TITLE = "Gradient conflict over time"


def draw(facts: Facts) -> Drawn | None:
    """Each task's cosine with the gradient that the trunk receives."""
    courses = {
        run.label: course
        for run in facts.together
        if not (course := run.course("cosine", facts.tasks)).empty
    }
    if not courses:
        return None
    canvas, axes = small_panels(courses, "cosine", 0.0)
    low = min(0.0, *(float(course.to_numpy().min()) for course in courses.values()))
    axes[0].set_ylim(low - 0.05, 1.02)
    against = [
        f"{label} ({share:.0%})"
        for label, course in courses.items()
        if (share := float((course < 0).to_numpy().mean())) > 0
    ]
    note = (
        "Cosine between a task's gradient at the shared representation and the gradient that the "
        "trunk receives: the median over the items of a batch, averaged over an epoch and over "
        "seeds. Below zero, the update works against the task, which happens "
    )
    note += f"in {', '.join(against)} of epochs and tasks." if against else "nowhere here."
    return Drawn(canvas, rows_of(courses), note)
