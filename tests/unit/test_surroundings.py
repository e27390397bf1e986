"""Environment, hardware, provenance, the catalogue: what surrounds the results."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure

from counterpoise import __version__, lazy, registry
from counterpoise.devices import count_gpus
from counterpoise.errors import UserError, UserErrors, nearest
from counterpoise.methods import uniform
from counterpoise.provenance import commit, environment, peak_memory_mib
from counterpoise.reproduction.style import house_style, to_svg
from counterpoise.spec.tier import Config
from counterpoise.training.job import WORKFLOW
from counterpoise.workflow import IN_WORKFLOW, job_environment

from ..support import ROOT, error_of

# Errors --------------------------------------------------------------------------------------


def test_an_error_says_where_what_and_what_to_do() -> None:
    error = UserError("it is broken", where="file.yaml:3", remedy="mend it")
    assert str(error) == "file.yaml:3: it is broken\n  what to do: mend it"
    assert str(UserError("it is broken")) == "it is broken"
    both = UserErrors([error, UserError("so is this")])
    assert str(both) == f"{error}\nso is this"


@pytest.mark.parametrize(
    ("word", "expected"),
    [("gradnrom", "did you mean 'gradnorm'?"), ("zzz", "use one of: gradnorm, uniform")],
)
def test_nearest(word: str, expected: str) -> None:
    assert nearest(word, ["uniform", "gradnorm"]) == expected


# Jobs ----------------------------------------------------------------------------------------


def test_settings_travel_by_the_environment() -> None:
    found = job_environment(Config(tier="sample", mirror="/data", methods=("uniform", "gradnorm")))
    assert found["COUNTERPOISE_TIER"] == "sample"
    assert found["COUNTERPOISE_MIRROR"] == "/data"
    assert found["COUNTERPOISE_METHODS"] == "uniform,gradnorm"
    assert found["COUNTERPOISE_PAPERS"] == "all" and found["COUNTERPOISE_DEVICE"] == "auto"
    assert "COUNTERPOISE_MIRROR" not in job_environment(Config())


def test_jobs_run_with_the_interpreter_that_runs_the_workflow() -> None:
    first = job_environment(Config())["PATH"].split(os.pathsep)[0]
    assert Path(first) == Path(sys.executable).parent


@pytest.mark.parametrize(
    ("visible", "count"),
    [("0,2", 2), ("", 0), ("-1", 0), ("GPU-abc", 1), ("0, 1", 2), ("0,-1,1", 1), ("NoDevFiles", 0)],
)  # fmt: skip
def test_visible_gpus(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert count_gpus() == count


@pytest.mark.parametrize(
    ("script", "count"), [("echo 'GPU 0: A (x)'; echo 'GPU 1: B (y)'", 2), ("exit 9", 0)]
)
def test_gpus_of_the_driver(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, count: int
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    tool.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert count_gpus() == count
    tool.unlink()
    assert count_gpus() == 0


# Provenance ----------------------------------------------------------------------------------


def test_the_commit_and_whether_files_differ_from_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Whatever the user's own settings of git are, and whatever repository is above."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert commit(tmp_path) == {"id": None, "dirty": None}

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.run(
            ["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "-q")
    (tmp_path / "file").write_text("one", encoding="utf-8")
    git("add", "file")
    git("commit", "-qm", "first")
    assert commit(tmp_path) == {"id": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "new").write_text("not tracked", encoding="utf-8")
    assert commit(tmp_path)["dirty"] is False
    (tmp_path / "file").write_text("two", encoding="utf-8")
    assert commit(tmp_path)["dirty"] is True


def test_the_environment_names_versions() -> None:
    found = environment(("numpy",))
    assert found["libraries"] == {"numpy": np.__version__}
    assert found["python"].startswith(f"{sys.version_info.major}.{sys.version_info.minor}.")
    assert peak_memory_mib() > 10


# The catalogue -------------------------------------------------------------------------------


def test_a_method_file_defines_one_method(monkeypatch: pytest.MonkeyPatch) -> None:
    class Second(uniform.Uniform):
        """Another."""

    Second.__module__ = uniform.__name__
    monkeypatch.setattr(uniform, "Second", Second, raising=False)
    registry.method.cache_clear()
    try:
        error = error_of(lambda: registry.method("uniform"))
    finally:
        registry.method.cache_clear()
    assert "exactly one subclass of Method" in error.what and error.where.endswith("uniform.py")


def test_lazy_modules_are_the_real_ones() -> None:
    assert lazy.np.float64 is np.float64
    assert isinstance(registry.find("methods", "uniform"), ModuleType)


# Figures -------------------------------------------------------------------------------------


def drawn(salt: str) -> str:
    with house_style(salt):
        figure = Figure(figsize=(2, 2))
        figure.add_subplot().plot([0, 1], [1, 1 / 3], label="a < b")
        return to_svg(figure, salt, "Title <1>", "What it shows")


def test_a_figure_is_the_same_bytes_each_time() -> None:
    assert drawn("one") == drawn("one")


def test_figures_on_one_page_share_no_identifier() -> None:
    def identifiers(svg: str) -> set[str]:
        return {part.split('"')[0] for part in svg.split(' id="')[1:]}

    one, other = identifiers(drawn("one")), identifiers(drawn("other"))
    assert len(one) > 1 and not one & other
    svg = drawn("one")
    used = {part.split('"')[0] for part in svg.split('href="#')[1:]}
    used |= {part.split(")")[0] for part in svg.split("url(#")[1:]}
    assert used <= one


def test_a_figure_has_a_title_and_takes_the_pages_colour() -> None:
    svg = drawn("one")
    assert '<title id="one-title">Title &lt;1&gt;</title>' in svg
    assert 'aria-labelledby="one-title one-desc"' in svg
    assert "currentColor" in svg and "#010203" not in svg


def test_a_job_knows_the_workflow_by_the_variable_that_the_workflow_sets() -> None:
    assert IN_WORKFLOW == WORKFLOW and job_environment(Config())[WORKFLOW] == str(os.getpid())


def test_the_version_to_cite_is_that_of_the_package() -> None:
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {__version__}" in lines


def test_make_check_runs_what_a_commit_does() -> None:
    """But for the schemas, whose test is test_schema.py, and with Snakemake's own linter."""
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    arguments = {".", "Snakefile", "workflow"}
    checked = {
        " ".join(w for w in line.split() if not w.startswith("-") and w not in arguments)
        for line in recipe[1].splitlines()
    }
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    entries = [hook["entry"].split() for repo in hooks["repos"] for hook in repo["hooks"]]
    hooked = {" ".join(w for w in words if not w.startswith("-")) for words in entries}
    assert checked - {"snakemake"} == hooked - {"counterpoise schema"}
