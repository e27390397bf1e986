"""Where the workflow writes the logs of a cell."""

from __future__ import annotations

from counterpoise.layout import Training


def log_of(training: Training, step: str) -> str:
    """The log of one step of a cell: ``train`` or ``evaluate``."""
    name = f"{training.name}-{training.digest}"
    scoring = f"-{training.scoring}" if step == "evaluate" else ""
    return f"logs/{training.tier}/{step}/{name}{scoring}.log"
