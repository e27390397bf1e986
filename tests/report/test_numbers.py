"""What the demo's report says, for people and for machines."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from tests.checkouts import Checkout


@pytest.fixture(scope="session")
def results(demo: Checkout) -> dict[str, Any]:
    return json.loads((demo.root / "reports/demo/results.json").read_text(encoding="utf-8"))


def test_the_page_stays_small(page_file: Path) -> None:
    assert page_file.stat().st_size < 3_000_000


def test_it_needs_nothing_from_elsewhere(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    for word in ("stylesheet", "@import", 'src="http', "url(http", "<iframe"):
        assert word not in text


def test_stand_in_numbers_are_marked_and_get_no_verdict(results: dict[str, Any]) -> None:
    ours = [n for n in results["numbers"] if n["ours"] is not None]
    assert len(ours) > 80
    for number in ours:
        assert "demo" in number["marks"]
        assert number["verdict"] is None


def test_no_row_is_left_out_that_the_project_can_run(results: dict[str, Any]) -> None:
    absent = [n for n in results["numbers"] if n["ours"] is None and n["printed"] is not None]
    excuses = {n["reason"] for n in absent}
    assert excuses
    for words in excuses:
        assert any(w in words for w in ("not", "none of", "nothing to", "reference")), words
    assert not [n for n in absent if n["paper"] == "rotograd"], "every row of RotoGrad's is run"
    thoracic = {n["row"] for n in absent if n["paper"] == "thoracic" and n["table"] == "table-1"}
    assert thoracic == {"alexnet", "inceptionv3"}


def test_claims_settled_by_the_papers_are_settled(results: dict[str, Any]) -> None:
    words = {(c["paper"], c["id"]): c["word"] for c in results["claims"]}
    assert len(words) >= 40
    assert words["thoracic", "inception-f1-15"] == "does not hold"
    assert words["thoracic", "inception-auc-28"] == "holds"
    assert words["deepchest", "seven-percent"] == "does not hold"
    on_stand_in = [c for c in results["claims"] if c["basis"] == "our runs on stand-in data"]
    assert on_stand_in and {c["word"] for c in on_stand_in} == {"inconclusive"}


def test_csv_and_json_hold_the_same_numbers(demo: Checkout, results: dict[str, Any]) -> None:
    table = demo.root / "reports/demo/tables/rotograd-table-3.csv"
    with table.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    wanted = [n for n in results["numbers"] if (n["paper"], n["table"]) == ("rotograd", "table-3")]
    assert [r["printed"] for r in rows] == [n["printed"] or "" for n in wanted]
    means = [n["ours"]["mean"] if n["ours"] else None for n in wanted]
    assert [float(r["ours_mean"]) if r["ours_mean"] else None for r in rows] == means


def test_a_hostile_paper_file_cannot_put_code_into_the_page(
    finished: Checkout, tmp_path: Path
) -> None:
    clone = finished.copy(tmp_path / "clone")
    attack = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    clone.edit("config/papers/thoracic.yaml", "summary: >-\n", f"summary: >-\n  {attack}\n")
    assert clone.run("counterpoise", "report", "--tier", "smoke").returncode == 0
    text = (clone.root / "reports/smoke/index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text and "<img src=x" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_missing_results_show_as_missing(checkout: Checkout) -> None:
    done = checkout.run("counterpoise", "report", "--tier", "smoke")
    assert done.returncode == 0, done.stderr
    text = (checkout.root / "reports/smoke/index.html").read_text(encoding="utf-8")
    assert "missing" in text and "logs/smoke/" in text
