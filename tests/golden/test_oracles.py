"""Every method is held to an oracle, and docs/methods.md says to which."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torchjd import aggregation, scalarization

from counterpoise import registry
from counterpoise.methods._base import Property
from counterpoise.methods._catalogue import PROMISES

from ..contract import test_costs
from ..support import ROOT, method_of
from . import measured
from .oracles import LEFT_OUT, LIBMTL_HAS, ROWS, TORCHJD_HAS
from .table import (
    COLUMNS,
    EVIDENCE,
    FILE,
    Counts,
    Errors,
    covers,
    digit,
    error_of,
    evidence,
    page,
)

NAMES = registry.names("methods")
HELD = [name for name in NAMES if name in ROWS]
ORACLES = [oracle for row in ROWS.values() for oracle in row.oracles]


def names_in_the_repository() -> list[str]:
    """Methods that git knows. A file that somebody drops beside them needs nothing else."""
    found = subprocess.run(
        ["git", "ls-files", "src/counterpoise/methods/*.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    known = {Path(line).stem for line in found.stdout.splitlines()}
    return [name for name in NAMES if name in known] if known else NAMES


def test_every_method_has_an_oracle() -> None:
    assert sorted(ROWS) == names_in_the_repository()
    assert all(row.oracles for row in ROWS.values())
    assert all(oracle.tests or oracle.also for oracle in ORACLES)


@pytest.mark.parametrize("name", HELD)
def test_what_torchjd_computes_is_held_to_something_else(name: str) -> None:
    module = registry.find("methods", name)
    adapted = {getattr(member, "__module__", "") for member in vars(module).values()}
    if "counterpoise.methods._torchjd" in adapted:
        assert not all(oracle.is_torchjd for oracle in ROWS[name].oracles)


def test_some_methods_are_torchjds() -> None:
    """So that the test before this one sees them."""
    torchjds = [
        n for n in NAMES if "torchjd" in getattr(registry.find("methods", n), "LIBRARIES", ())
    ]
    assert len(torchjds) > 4
    for name in torchjds:
        members = vars(registry.find("methods", name)).values()
        assert any(getattr(m, "__module__", "").endswith("._torchjd") for m in members), name


@pytest.mark.parametrize(
    "pattern", sorted({p for oracle in ORACLES for p in (*oracle.tests, *oracle.also)})
)
def test_the_tests_that_are_named_exist(pattern: str) -> None:
    """With the case of theirs that is named, if one is: it is the method."""
    name, _, start = pattern.partition("[")
    file, function = name.split("::")
    module = importlib.import_module(f"tests.golden.{file.removesuffix('.py')}")
    test = getattr(module, function, None)
    assert callable(test)
    if start:
        marks = (mark for mark in test.pytestmark if mark.name == "parametrize")
        cases = [getattr(case, "values", case) for mark in marks for case in mark.args[1]]
        assert start.removesuffix("-") in {first for first, *_ in cases}


@pytest.mark.parametrize("name", HELD)
def test_papers_are_those_of_the_methods_own_words(name: str) -> None:
    said = re.sub(r"\s+", " ", registry.find("methods", name).__doc__ or "")
    for number in re.findall(r"\d{4}\.\d{5}", ROWS[name].paper):
        assert number in said


def without_errors(text: str) -> list[str]:
    at = 1 + COLUMNS.index("largest relative error")
    lines = [line.split("|") for line in text.splitlines()]
    full = len(COLUMNS) + 2
    return ["|".join([*c[:at], *c[at + 1 :]]) if len(c) == full else "|".join(c) for c in lines]


def test_the_page_is_up_to_date(request: pytest.FixtureRequest) -> None:
    """All but the errors; the passes that are counted are those of PASSES, as test_costs.py holds."""
    if request.config.getoption("--methods-table"):
        pytest.skip("it is written at the end of this run")
    errors: Errors = {
        pattern: {"largest": 0.0, "single": False} for oracle in ORACLES for pattern in oracle.tests
    }
    counts: Counts = {}
    for name in NAMES:
        made = [method_of(name, 3, 4, **o) for o in registry.method(name).option_sets()]
        counts[name] = [
            {
                "trunk backward": test_costs.PASSES[m.signal] + m.passes_again,
                "trunk forward": 1 + m.looks_back,
            }
            for m in made
        ]
    found = FILE.read_text(encoding="utf-8")
    made = without_errors(page(errors, counts))
    own = [f"/{name}.py)" for name in NAMES if name not in HELD]
    assert all(any(place in line for line in made) for place in own), "it would be in the table"
    made = [line for line in made if not any(place in line for place in own)]
    assert without_errors(found) == made, "run the command in it"
    told = [json.loads(text) for text in (EVIDENCE.read_text(encoding="utf-8"), evidence(errors))]
    for methods in told:
        for row in methods.values():
            row["oracles"] = [what for what, _ in row["oracles"]]
    assert told[0] == told[1], "run the command in docs/methods.md"


def test_every_promise_has_its_words() -> None:
    assert set(PROMISES) == set(get_args(Property))


BASES = {"Aggregator", "GramianWeightedAggregator", "Scalarizer", "WeightedAggregator", "Weighting"}
"""What TorchJD's methods are made of."""


def test_all_that_torchjd_offers_is_here_or_left_out_with_a_reason() -> None:
    offered = {
        f"{module.__name__.rpartition('.')[2]}.{name.removesuffix('Weighting') or name}"
        for module in (aggregation, scalarization)
        for name in module.__all__
        if name not in BASES
    }
    assert offered <= set(TORCHJD_HAS), "say in oracles.py what they are here, or why they are not"
    assert len(offered) > 30


@pytest.mark.parametrize("names", [TORCHJD_HAS, LIBMTL_HAS], ids=["torchjd", "libmtl"])
def test_names_of_other_libraries_lead_to_what_there_is(names: dict[str, str]) -> None:
    for theirs, ours in names.items():
        method, _, option = ours.partition(".")
        if not ours:
            assert any(theirs.rpartition(".")[2] in key.split(", ") for key in LEFT_OUT), theirs
        else:
            assert method in NAMES, theirs
            assert not option or option in registry.method(method).Options.model_fields, theirs


def test_errors_are_relative_to_the_largest_value() -> None:
    with measured.collecting() as errors:
        measured.record(torch.tensor([1.0, 4.5]), [1.0, 4.0])
        measured.record([0.1, 0.2], np.zeros(2))  # nothing to divide by
        measured.record([1.0, torch.tensor(3.0)], 2.0)
    assert errors.values == [0.125, 0.5] and errors.single
    with measured.collecting() as errors:
        torch.testing.assert_close(torch.ones(2).double(), torch.ones(2).double())
        np.testing.assert_allclose([1.0], [2.0], rtol=1)
    assert errors.values == [0.0, 0.5] and not errors.single, "the fixture wraps both"


def test_the_largest_error_of_an_oracle() -> None:
    (oracle, *_) = ROWS["gls"].oracles
    (pattern,) = oracle.tests
    errors: Errors = {
        f"{pattern}options6-GeometricMean-False]": {"largest": 3.4e-9, "single": False},
        pattern.replace("gls", "gls_other") + "]": {"largest": 1.0, "single": False},
    }
    assert error_of(oracle, errors) == "3e-9"
    with pytest.raises(LookupError, match="measured nothing"):
        error_of(oracle, {})
    assert covers("a.py::test", "a.py::test[one]") and not covers("a.py::test", "a.py::test_two")
    assert [digit(x) for x in (0.0, 2.6e-16, 0.04)] == ["0", "3e-16", "4e-2"]
