"""Copies of the checkout in which the real Snakemake and DVC run."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]
PARTS = (
    ".gitignore",
    "Snakefile",
    "profiles",
    "workflow",
    "config",
    "src",
    "dvc.yaml",
    ".dvcignore",
    "pyproject.toml",
    "requirements.lock",
)


@dataclass(frozen=True)
class Checkout:
    """A copy of the project that imports its own source."""

    root: Path
    variables: tuple[tuple[str, str], ...] = ()
    """Of the environment, besides those that it always has."""

    @property
    def environment(self) -> dict[str, str]:
        foreign = ("COUNTERPOISE_", "PYTEST_ADDOPTS")
        kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
        kept |= {"PYTHONPATH": str(self.root / "src"), "DVC_NO_ANALYTICS": "1"}
        kept["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), kept["PATH"]])
        kept["HOME"] = str(self.root)
        kept["CUDA_VISIBLE_DEVICES"] = ""  # results of a GPU are not the same to the last byte
        return kept | dict(self.variables)

    def run(self, *command: str, timeout: float = 1500) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True,
            timeout=timeout, check=False,
        )  # fmt: skip

    def snakemake(self, *arguments: str, tier: str = "smoke", cores: str = "2", **kw: str) -> str:
        """Run Snakemake well; returns what it printed."""
        done = self.try_snakemake(*arguments, tier=tier, cores=cores, **kw)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout + done.stderr

    def try_snakemake(
        self, *arguments: str, tier: str = "smoke", cores: str = "2", **config: str
    ) -> subprocess.CompletedProcess[str]:
        words = [f"{key}={value}" for key, value in {"tier": tier, **config}.items()]
        return self.run("snakemake", "--cores", cores, "--config", *words, "--", *arguments)

    def planned(self, tier: str = "smoke") -> dict[str, int]:
        """Rules that a dry run wants, with their number of jobs."""
        done = self.run("snakemake", "-n", "--cores", "1", "--config", f"tier={tier}")
        assert done.returncode == 0, done.stderr[-3000:]
        found = jobs(done.stdout)
        assert found or "Nothing to be done" in done.stdout + done.stderr, done.stdout[-3000:]
        return found

    def cells(self, name: str = "*", tier: str = "smoke") -> list[Path]:
        """Folders of the cells whose name ends so."""
        return sorted((self.root / "results" / tier / "cells").glob(f"{name}/*"))

    def bytes_of(self, names: tuple[str, ...], tier: str = "smoke") -> dict[str, bytes]:
        """Contents of result files by path."""
        found = [p for name in names for p in (self.root / "results" / tier).rglob(name)]
        return {str(p.relative_to(self.root)): p.read_bytes() for p in sorted(found)}

    def copy(self, target: Path) -> Checkout:
        """The same with all results, as one finds it after a pull: no metadata of Snakemake."""
        shutil.copytree(self.root, target, ignore=shutil.ignore_patterns(".snakemake", ".dvc"))
        return Checkout(target)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.root / name
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")


def jobs(output: str) -> dict[str, int]:
    """The table of jobs that Snakemake prints, without its sum; empty if nothing is to be done."""
    table = re.search(r"^job +count\n-+ +-+\n(.*?)\ntotal", output, re.MULTILINE | re.DOTALL)
    if table is None:
        return {}
    rows = (line.split() for line in table[1].splitlines())
    return {name: int(count) for name, count in rows if name not in ("all", "total")}


def asked(checkout: Checkout, *command: str, times: int = 2) -> tuple[float, str]:
    """Processor time of a command, the least of some times, and what it says."""
    seconds = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = checkout.run(*command)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert answer.returncode == 0, answer.stderr[-2000:]
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds), answer.stdout


def make_checkout(folder: Path) -> Checkout:
    folder.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    shutil.copytree(
        ROOT / ".dvc",
        folder / ".dvc",
        ignore=shutil.ignore_patterns("tmp", "cache", "config.local"),
    )
    references = folder / "reports" / "reference"  # the repository has some, and DVC asks for it
    references.mkdir(parents=True)
    (references / ".gitkeep").touch()
    return Checkout(folder)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A clean checkout."""
    return make_checkout(tmp_path / "checkout")


def _made(folder: Path, tier: str) -> Checkout:
    """A checkout whose tier is done. Of pytest's workers one makes it, and the others wait."""
    done = folder.with_name(f"{folder.name}.done")
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not done.exists():
            assert not folder.exists(), f"another worker could not make {folder}"
            make_checkout(folder).snakemake("all", tier=tier)
            done.touch()
    return Checkout(folder)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """What all of pytest's workers see, and no other run of pytest."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def finished(shared_folder: Path) -> Checkout:
    """A checkout whose smoke tier is done; do not change it, copy it."""
    # A folder as people name them: every workflow test on it also tests that.
    return _made(shared_folder / "Röntgen 数据", "smoke")


@pytest.fixture(scope="session")
def demo(shared_folder: Path) -> Checkout:
    """A checkout whose demo is done: the one time that the whole demo runs."""
    return _made(shared_folder / "demo", "demo")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The demo's tests come last: it takes all cores."""
    items.sort(key=lambda item: "demo" in getattr(item, "fixturenames", ()))
