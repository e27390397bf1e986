"""Small words that several rules say."""

from __future__ import annotations

from typing import Any

from counterpoise.spec.paper import Paper


def label_of(paper: Paper, experiment: str, run: str) -> str:
    """A run's name for people."""
    return paper.experiments[experiment].runs[run].label or run.replace("_", " ")


def trouble_text(seed: str, bad: dict[str, Any]) -> str:
    """How a seed came to a bad end, as its record has it."""
    task = f" in task {bad['task']}" if bad.get("task") else ""
    return f"seed {seed}: {bad['what']}{task} at step {bad['step']}"
