"""What is being trained now, for people."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import UnionType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from counterpoise.errors import UserError
from counterpoise.files import read_json
from counterpoise.locks import is_held
from counterpoise.wording import duration

TOLD: dict[str, type | UnionType] = {
    "cell": str, "pid": int, "started": float | int, "updated": float | int, "before": int,
    "done": int, "total": int, "message": str,
}  # fmt: skip
"""What a training tells of itself."""


def read_progress(root: Path) -> list[dict[str, Any]]:
    """Progress of all cells under ``work/``, oldest first."""
    found = []
    for path in sorted((root / "work").glob("*/*/*/progress.json")):
        running = is_held(path.with_name("lock"))  # first: a cell that ends now has not stopped
        try:
            progress = read_json(path)
        except UserError:  # removed between listing and reading: the cell is done
            continue
        if isinstance(progress, dict) and all(
            isinstance(progress.get(key), kind) for key, kind in TOLD.items()
        ):
            found.append({**progress, "tier": path.parents[2].name, "running": running})
    return sorted(found, key=lambda progress: progress["started"])


def remaining_seconds(progress: dict[str, Any]) -> float | None:
    """Time left at the pace of this process; None where it is not known yet."""
    done = progress["done"] - progress["before"]
    if done == 0 or progress["updated"] < progress["started"]:  # the clock was set back
        return None
    pace = (progress["updated"] - progress["started"]) / done
    return float(pace * (progress["total"] - progress["done"]))


def _left(progress: dict[str, Any]) -> str:
    if not progress["running"]:
        return "-"
    seconds = remaining_seconds(progress)
    return "?" if seconds is None else duration(seconds)


def _view(root: Path) -> Group:
    table = Table(title=None, box=None, header_style="bold", pad_edge=False)
    for column, justify in (("tier", "left"), ("cell", "left"), ("epochs", "right"),
                            ("left", "right"), ("state", "left"), ("process", "right"),
                            ("last", "left")):  # fmt: skip
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    all_progress = read_progress(root)
    for progress in all_progress:
        table.add_row(
            progress["tier"],
            progress["cell"],
            f"{progress['done']}/{progress['total']}",
            _left(progress),
            "running" if progress["running"] else "stopped",
            str(progress["pid"]) if progress["running"] else "-",
            progress["message"],
        )
    if not all_progress:
        return Group(Text("No cell is being trained."))
    return Group(table)


def show_status(root: Path, watch: bool) -> None:
    """Print the running cells once, or keep showing them."""
    console = Console(width=None if sys.stdout.isatty() else 200)
    if not watch:
        console.print(_view(root))
        return
    with Live(_view(root), console=console, refresh_per_second=1) as live:
        try:
            while True:
                time.sleep(2)
                live.update(_view(root))
        except KeyboardInterrupt:
            return
