"""On a finished demo: what would run, what has changed and whether all is sound, within seconds.

Seconds are a machine's (docs/measurements.md has ours). What is held here is how often Snakemake could have
started meanwhile.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.checkouts import Checkout, asked, jobs


def test_answers_on_the_demo_take_seconds(demo: Checkout, tmp_path: Path) -> None:
    clone = Checkout(Path(shutil.copytree(demo.root, tmp_path / "demo", symlinks=True)))
    start, _ = asked(clone, "snakemake", "--version", times=3)
    spent = {}
    spent["check"], said = asked(clone, "counterpoise", "check")
    assert " sound, 0 planned but not made yet" in said and "damaged" not in said
    dry = ("snakemake", "-n", "--cores", "1", "--config", "tier=demo")
    spent["dry run"], said = asked(clone, *dry)
    assert jobs(said) == {}
    assert clone.run("git", "init", "-q").returncode == 0
    done = clone.run("dvc", "commit", "-q", "-f", "data", "results", "report")
    assert done.returncode == 0, done.stderr
    spent["dvc status"], said = asked(clone, "dvc", "status", "data", "results", "report")
    assert "up to date" in said
    # Measured: check 2.1, dry run 3.4, dvc status 0.5 starts.
    limits = {"check": 4, "dry run": 6, "dvc status": 2}
    assert {name: s / start for name, s in spent.items() if s > limits[name] * start} == {}
