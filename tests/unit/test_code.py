"""Digests of code: what changes them and what they cover."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoise import code, registry, syntax
from counterpoise.code import closure, code_digests, library_version, module_digest, path_of
from counterpoise.planning.cells import SCORING
from counterpoise.planning.exhibits import EXPLAIN
from counterpoise.syntax import syntax_digest

from ..support import ROOT, error_of

SOURCE = '''"""What it is."""

import math

LIMIT = 2


class Thing:
    """A thing."""

    size: int = 1
    """How big."""

    def area(self) -> float:
        """Its area."""
        return math.pi * self.size**2  # a circle
'''
SAME = {
    "comment": ("  # a circle", "  # round"),
    "docstring of the module": ("What it is.", "What it was."),
    "docstring of a function": ("Its area.", "The area that it covers."),
    "docstring of an attribute": ("How big.", "Its radius."),
    "no docstring": ('        """Its area."""\n', ""),
    "layout": ("LIMIT = 2\n", "LIMIT = (\n    2\n)\n\n"),
    "quotes": ("import math\n", "import math\n\n# 'a'\n"),
}
OTHER = {
    "number": ("LIMIT = 2", "LIMIT = 3"),
    "operator": ("self.size**2", "self.size**3"),
    "name": ("def area", "def surface"),
    "default": ("size: int = 1", "size: int = 2"),
    "import": ("import math\n", "import cmath as math\n"),
    "text that is used": ("LIMIT = 2", 'LIMIT = "2"'),
}


def digest_of_text(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = folder / "module.py"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(code, "path_of", lambda _: path)
    module_digest.cache_clear()
    try:
        return module_digest("counterpoise.module")
    finally:
        module_digest.cache_clear()


@pytest.mark.parametrize("name", SAME)
def test_what_runs_the_same_has_the_same_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    edited = SOURCE.replace(*SAME[name])
    assert edited != SOURCE
    one, other = (digest_of_text(text, tmp_path, monkeypatch) for text in (SOURCE, edited))
    assert one == other


EVERY_PYTHON = '''"""What it is."""
from math import pi

class Circle:
    """A circle."""
    radius: float = 1.0

    def area(self, *, scale=1):
        """Its area."""
        return scale * pi * self.radius**2

    async def draw(self, *rest: int, **named): pass

def nothing(): ...
print(f"{nothing()!r:>{3}}", Circle(), [], ())
'''


GOLDEN = "71ad76d45f42"
"""Of the text above by ``ast.dump`` of Python 3.11, when it was all that a digest was made by."""


def test_a_digest_is_as_it_was() -> None:
    assert syntax_digest(EVERY_PYTHON.encode()) == GOLDEN


@pytest.mark.parametrize("python", ["python3.11", "python3.12", "python3.13"])
def test_every_python_gives_the_same_digest(python: str) -> None:
    """Python 3.12 adds parameters of types to the tree, 3.13 leaves out empty lists."""
    script = f"import runpy; print(runpy.run_path({syntax.__file__!r})['syntax_digest'](open(0, 'rb').read()))"
    try:
        subprocess.run([python, "-c", ""], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"{python} is not installed")
    done = subprocess.run([python, "-c", script], input=EVERY_PYTHON.encode(), capture_output=True)
    assert done.stdout.decode().strip() == GOLDEN, done.stderr


def test_remembered_digests_end_with_the_rules_that_made_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: dict[str, str] = {}
    monkeypatch.setattr(code, "_remembered", lambda: kept)
    before = digest_of_text(SOURCE, tmp_path, monkeypatch)
    monkeypatch.setattr(code, "_rules", lambda: b"other rules")
    monkeypatch.setattr(code, "syntax_digest", lambda source: "0" * 12)
    assert digest_of_text(SOURCE, tmp_path, monkeypatch) == "0" * 12 != before


@pytest.mark.parametrize("name", OTHER)
def test_what_may_run_otherwise_has_another_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    edited = SOURCE.replace(*OTHER[name])
    one, other = (digest_of_text(text, tmp_path, monkeypatch) for text in (SOURCE, edited))
    assert one != other


def test_a_module_that_is_not_python_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = error_of(lambda: digest_of_text("x = 1\ny = (\n", tmp_path, monkeypatch))
    assert error.where == f"{tmp_path / 'module.py'}:2" and "not valid Python" in error.what


def test_a_file_of_the_package_that_is_not_python_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method half typed, say: the graph of imports is read before any digest."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "__init__.py").write_text("x = 1\ny = (\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(code, "PACKAGE", "broken")
    error = error_of(lambda: code._graph.__wrapped__())
    assert error.where.startswith(f"{broken / '__init__.py'}:") and "not valid Python" in error.what


@pytest.mark.parametrize("name", registry.names("methods"))
def test_a_method_covers_its_helpers_and_packages_but_no_other_method(name: str) -> None:
    found = closure(registry.module_name("methods", name))
    assert {"counterpoise", "counterpoise.methods", "counterpoise.methods._base"} <= found
    others = {registry.module_name("methods", n) for n in registry.names("methods") if n != name}
    assert not found & others


def test_helpers_are_found_through_imports() -> None:
    for name in ("gradnorm", "rotograd"):
        assert "counterpoise.methods._leader" in closure(f"counterpoise.methods.{name}")
    assert "counterpoise.methods._leader" not in closure("counterpoise.methods.uniform")


@pytest.mark.parametrize("kind", ["networks", "datasets"])
def test_networks_and_datasets_do_not_cover_each_other(kind: registry.Kind) -> None:
    names = {name: registry.module_name(kind, name) for name in registry.names(kind)}
    for name, module in names.items():
        # A network that is made of others covers them, and no more.
        parts = getattr(registry.find(kind, name), "BASES", {})
        assert closure(module) & set(names.values()) == {module, *(names[part] for part in parts)}


PAPERS = ("spec.paper", "spec.claim", "spec.figure", "spec.experiment", "spec.study", "spec.tier")
"""Of what papers say and tiers run: a new kind of figure or claim, say."""


@pytest.mark.parametrize("entry", ["counterpoise.training.job"])
def test_an_edit_of_plan_report_or_tables_trains_nothing_again(entry: str) -> None:
    later = ("plan", "project", "report", "reproduction", "cli", "status", "evaluation",
             *PAPERS, "spec.explanation", "spec.names", "workflow", "download")  # fmt: skip
    covered = [m for m in closure(entry) if m.startswith(tuple(f"counterpoise.{x}" for x in later))]
    assert covered == []


@pytest.mark.parametrize("entry", [SCORING, EXPLAIN])
def test_an_edit_of_what_papers_say_scores_and_explains_nothing_again(entry: str) -> None:
    assert not closure(entry) & {f"counterpoise.{name}" for name in PAPERS}


def test_training_covers_what_it_computes_with() -> None:
    needed = {"engine", "step", "losses", "modules", "seeding", "state"}
    assert {f"counterpoise.training.{name}" for name in needed} <= closure(
        "counterpoise.training.job"
    )


def test_digests_cover_the_closures_of_all_entries() -> None:
    entries = ["counterpoise.methods.gradnorm", "counterpoise.networks.lenet"]
    found = code_digests(entries)
    assert set(found) == closure(entries[0]) | closure(entries[1])
    assert all(found[name] == module_digest(name) for name in found)
    assert all(path_of(name).is_file() for name in found)


def test_library_versions_have_no_build_label() -> None:
    import torch

    assert library_version("torch") == torch.__version__.split("+")[0]
    assert "is not installed" in error_of(lambda: library_version("no-such-library")).what
    assert library_version("no-such-library", optional=True) == "absent"


def test_layers_are_kept() -> None:
    """The contracts of import-linter in pyproject.toml."""
    ran = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("content", [None, "{", "[]", '{"a": 1}', '{"a": "../../x"}'])
def test_remembered_digests_change_nothing(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever lies there: the digests are the same, and the file is whole at the end."""
    expected = code_digests(["counterpoise.plan"])
    store = tmp_path / "digests.json"
    if content is not None:
        store.write_text(content, encoding="utf-8")
    program = (
        "import pathlib; from counterpoise import code;"
        f"code.REMEMBERED = pathlib.Path({str(store)!r});"
        "print(code.code_digests(['counterpoise.plan']) == " + repr(expected) + ")"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "True", done.stderr
        assert set(expected.values()) <= set(json.loads(store.read_text("utf-8")).values())
