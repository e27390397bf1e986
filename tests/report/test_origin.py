"""Where numbers come from: made here, pulled, left by older code, or committed as reference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.checkouts import Checkout


@pytest.fixture
def clone(finished: Checkout, tmp_path: Path) -> Checkout:
    """The finished smoke tier without what Snakemake and DVC remember."""
    return finished.copy(tmp_path / "clone")


def report(clone: Checkout) -> tuple[str, dict[str, Any]]:
    """The page and its numbers, built anew."""
    done = clone.run("counterpoise", "report", "--tier", "smoke")
    assert done.returncode == 0, done.stderr
    folder = clone.root / "reports/smoke"
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return (folder / "index.html").read_text(encoding="utf-8"), results


def marks(results: dict[str, Any]) -> set[str]:
    return {m for n in results["numbers"] if n["ours"] is not None for m in n["marks"]}


def test_results_made_here_have_no_mark_of_their_origin(clone: Checkout) -> None:
    _, results = report(clone)
    assert not {"pulled", "stale"} & marks(results)


def test_results_without_their_logs_are_marked_as_pulled(clone: Checkout) -> None:
    shutil.rmtree(clone.root / "logs")
    page, results = report(clone)
    assert "pulled" in marks(results)
    assert all(cell["pulled"] for cell in results["cells"].values())
    assert "#i-inbox" in page


def test_results_of_older_code_are_shown_and_marked_as_stale(clone: Checkout) -> None:
    numbers = report(clone)[1]["numbers"]
    before = {(n["link"], n["column"]): n["ours"] for n in numbers if n["ours"]}
    shown = {
        (n["link"], n["column"]) for n in numbers if n["ours"] and n["run"].endswith("/uniform")
    }
    (cell,) = clone.cells("*-uniform")
    cell.rename(cell.with_name("0" * 12))
    shutil.rmtree(clone.root / "results/smoke/papers")
    page, results = report(clone)
    stale = [n for n in results["numbers"] if "stale" in n["marks"]]
    assert {(n["link"], n["column"]) for n in stale} == shown, "numbers of its history, too"
    for number in stale:
        assert number["ours"] == before[number["link"], number["column"]]
    assert "the older result 000000000000 is shown" in page
    assert clone.run("counterpoise", "gate", "--tier", "smoke").returncode == 1


def test_a_reference_is_shown_beside_ours_and_grows_stale(clone: Checkout) -> None:
    done = clone.run("counterpoise", "reference", "small", "--tier", "smoke", "--note", "A *test*.")
    assert done.returncode == 0, done.stderr
    folder = clone.root / "reports/reference/small"
    assert done.stdout.strip() == "reports/reference/small"
    assert len(list(folder.glob("cells/*/*/record.json"))) == 2
    page, results = report(clone)
    ours = {(n["link"], n["column"]): n for n in results["numbers"] if n["ours"] is not None}
    assert ours
    for number in ours.values():
        assert number["references"]["small"]["ours"]["mean"] == number["ours"]["mean"]
        assert "stale" not in number["references"]["small"]["marks"]
    assert '<tr class="reference">' in page and "tier smoke" in page
    said = [n for n in results["numbers"] if "small" in n["references"] and n["printed"]]
    assert f", tier smoke, with {len(said)}\N{NO-BREAK SPACE}printed numbers: " in page
    assert "<dt>Cost</dt><dd>2\N{NO-BREAK SPACE}cells with 2\N{NO-BREAK SPACE}seeds, " in page
    assert (
        'Committed runs from <a href="#reference:small">small</a>, a tendency: <span class="tag'
        in page
    )
    assert page.count("Shown beside ours: ") == len(
        {(n["paper"], n["table"]) for n in ours.values()}
    )
    assert results["references"]["small"]["note"] == "A *test*."
    header = (clone.root / "reports/smoke/tables/rotograd-table-3.csv").read_text().splitlines()[0]
    assert header.endswith("small_mean,small_sd,small_n,small_state,small_marks")
    assert (
        "small, tier smoke"
        in (clone.root / "reports/smoke/tables/rotograd-table-3.tex").read_text()
    )
    clone.edit(
        "src/counterpoise/methods/rotograd.py", "PROXIMAL_EPSILON = 1e-6", "PROXIMAL_EPSILON = 2e-6"
    )
    again = report(clone)[1]["numbers"]
    stale = {
        n["run"] for n in again if "stale" in n["references"].get("small", {}).get("marks", [])
    }
    assert stale == {"reduced/rotograd"}


def test_a_damaged_reference_is_named_and_hides_nothing(clone: Checkout) -> None:
    folder = clone.root / "reports/reference"
    for name, content in (("empty", None), ("broken", "{"), ("wrong", '{"format": 2}')):
        (folder / name).mkdir(parents=True)
        if content is not None:
            (folder / name / "reference.json").write_text(content)
    page, results = report(clone)
    for name in ("empty", "broken", "wrong"):
        assert f"reports/reference/{name}" in page
    assert results["references"] == {}


def test_an_unfinished_tier_is_no_reference(checkout: Checkout) -> None:
    done = checkout.run("counterpoise", "reference", "early", "--tier", "smoke")
    assert done.returncode == 1 and "record.json" in done.stderr
    assert not (checkout.root / "reports/reference/early").exists()
