"""What the demo's report says, for people, for machines and for authors: the same numbers."""

from __future__ import annotations

import csv
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from counterpoise.report.numbers import (
    decimals_for,
    decimals_of,
    duration,
    fixed,
    signed,
    split_printed,
)
from counterpoise.report.svg_check import is_drawing
from tests.checkouts import Checkout, asked


def test_the_page_stays_small(page_file: Path) -> None:
    assert page_file.stat().st_size < 3_000_000


def test_it_is_built_in_the_time_of_some_starts(
    demo: Checkout, page_file: Path, tmp_path: Path
) -> None:
    """Seconds are a machine's (docs/measurements.md has ours); Snakemake starts on the same one."""
    clone = demo.copy(tmp_path / "clone")  # a report made by hand would ask for the gate again
    page = page_file.read_bytes()
    start, _ = asked(clone, "snakemake", "--version", times=3)
    spent, _ = asked(clone, "counterpoise", "report", "--tier", "demo")
    assert spent < 10 * start
    assert (clone.root / page_file.relative_to(demo.root)).read_bytes() == page


def test_every_drawing_of_ours_is_nothing_but_a_drawing(demo: Checkout) -> None:
    drawn = [*(demo.root / "results").rglob("*.svg")]
    assert len(drawn) > 40
    assert [p.name for p in drawn if not is_drawing(p.read_text(encoding="utf-8"))] == []


def test_it_needs_nothing_from_elsewhere(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    for word in ("stylesheet", "@import", 'src="http', "url(http", "<iframe"):
        assert word not in text


def test_stand_in_numbers_are_marked_and_get_no_verdict(results: dict[str, Any]) -> None:
    ours = [n for n in results["numbers"] if n["ours"] is not None]
    assert len(ours) > 80
    for number in ours:
        # The toy problems are formulas: nothing stands in for them, and no number of theirs is printed.
        toy = all(key.startswith("toy-") for key in number["ours"]["cells"])
        assert ("demo" in number["marks"]) != toy
        assert number["verdict"] is None


def test_no_row_is_left_out_that_the_project_can_run(results: dict[str, Any]) -> None:
    absent = [n for n in results["numbers"] if n["ours"] is None and n["printed"] is not None]
    excuses = {n["reason"] for n in absent}
    foreign = {words for words in excuses if words.endswith("among this project's datasets")}
    assert foreign and excuses - foreign == {
        "a configuration value, nothing to measure",
        "counted from the label file, not a result of the paper",
    }
    assert not [n for n in absent if n["paper"] == "rotograd"], "every row of RotoGrad's is run"
    thoracic = {n["row"] for n in absent if n["paper"] == "thoracic" and n["table"] == "table-1"}
    assert not thoracic


def test_claims_settled_by_the_papers_are_settled(results: dict[str, Any]) -> None:
    words = {(c["paper"], c["id"]): c["word"] for c in results["claims"]}
    assert len(words) >= 40
    assert words["thoracic", "inception-f1-15"] == "does not hold"
    assert words["thoracic", "inception-auc-28"] == "holds"
    assert words["deepchest", "seven-percent"] == "does not hold"
    on_stand_in = [c for c in results["claims"] if c["basis"] == "our runs on stand-in data"]
    assert on_stand_in and {c["word"] for c in on_stand_in} == {"inconclusive"}


# Reading back ------------------------------------------------------------------------------------


def shown(number: dict[str, Any]) -> str:
    """Ours as it must be written."""
    ours = number["ours"]
    if ours is None:
        return ""
    decimals = decimals_of(number["printed"])
    if decimals is None:
        decimals = decimals_for(ours["mean"], ours["sd"])
    spread = "" if ours["sd"] is None else f" ±{fixed(ours['sd'], decimals)}"
    return fixed(ours["mean"], decimals) + spread


def tables_of(results: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Numbers by ``paper-table``, in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number in results["numbers"]:
        found.setdefault(f"{number['paper']}-{number['table']}", []).append(number)
    return found


def test_every_csv_holds_the_numbers_of_the_json(page_file: Path, results: dict[str, Any]) -> None:
    for name, wanted in tables_of(results).items():
        path = page_file.parent / "tables" / f"{name}.csv"
        with path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        assert [r["printed"] for r in rows] == [n["printed"] or "" for n in wanted]
        for key, text in (("mean", "ours_mean"), ("sd", "ours_sd"), ("n", "ours_n")):
            values = [n["ours"][key] if n["ours"] else None for n in wanted]
            assert [float(r[text]) if r[text] else None for r in rows] == values
        assert [r["state"] for r in rows] == [n["state"] or "" for n in wanted]
    with (page_file.parent / "tables/claims.csv").open(encoding="utf-8", newline="") as handle:
        claims = list(csv.DictReader(handle))
    assert [(c["id"], c["word"], c["sentence"]) for c in claims] == [
        (c["id"], c["word"], c["sentence"]) for c in results["claims"]
    ]


def printed(number: dict[str, Any]) -> str:
    """The paper's number as it must be written."""
    return " ".join(part for part in split_printed(number["printed"]) if part)


def difference(number: dict[str, Any]) -> str:
    """The difference as it must be written."""
    if number["difference"] is None:
        return ""
    return signed(number["difference"], decimals_of(number["printed"]) or 0)


def plain(node: ET.Element) -> str:
    """The text of one number of the page: value and spread, without footnotes and words."""
    grid = node.find(".//span[@class='n']")
    if grid is None:
        return (node.text or "").strip()
    parts = ("".join(part.itertext()).strip() for part in grid)
    return " ".join(part for part in parts if part)


def test_the_page_holds_the_numbers_of_the_json(parsed: Any, results: dict[str, Any]) -> None:
    tree, _ = parsed
    lines = {node.get("id"): node for node in tree.iter() if node.tag in ("tbody", "tr")}
    columns: dict[str, list[str]] = {}
    for number in results["numbers"]:
        columns.setdefault(number["link"], []).append(number["column"])
    seen = {"printed": 0, "ours": 0, "difference": 0}
    for number in results["numbers"]:
        line, place = lines[number["link"]], columns[number["link"]].index(number["column"])
        rows = {str(row.get("class")): row.findall("td") for row in line.iter("tr")}
        if line.tag == "tr":
            rows = {"printed": line.findall("td")}  # nothing of the table is run
        if number["printed"] is not None:
            assert plain(rows["printed"][place]) == printed(number)
            seen["printed"] += 1
        if number["ours"] is not None:
            link = rows["ours"][place].find("a")
            assert link is not None and plain(link) == shown(number)
            assert link.get("href") == f"#run:{number['paper']}:{number['run'].replace('/', ':')}"
            seen["ours"] += 1
        if number["difference"] is not None:
            assert plain(rows["difference"][place]) == difference(number)
            seen["difference"] += 1
    for what, count in seen.items():
        assert count == sum(number[what] is not None for number in results["numbers"]) > 0


def test_each_number_leads_to_all_that_it_was_made_from(
    parsed: Any, results: dict[str, Any]
) -> None:
    """Of every run: commands, digests, commit, machine, seeds, cost and logs, on its card or once
    for its experiment.
    """
    tree, _ = parsed
    cards = {node.get("id"): node for node in tree.iter("details")}
    for run in results["runs"]:
        shared = cards.get(f"shared:{run['paper']}:{run['experiment']}")
        found = [node for node in (cards[run["link"]], shared) if node is not None]
        text = " ".join(" ".join(part.split()) for node in found for part in node.itertext())
        for key in {*run["cells"].values()}:
            record, name = results["cells"][key]["record"], key.replace("/", "-")
            made = record["environment"]
            for words in (
                f"counterpoise train {key} --tier demo", f"counterpoise evaluate {key} --tier demo",
                f"results/demo/cells/{key}", f"logs/demo/train/{name}.log",
                record["files"]["weights.safetensors"], record["data"]["split"],
                results["cells"][key]["data"], record["commit"]["id"] or "not under version control",
                made["processor"], f"Python {made['python']}", f"torch {made['libraries']['torch']}",
                f"{fixed(record['peak_memory_mib'], 0)} MiB", duration(record["seconds"]),
            ):  # fmt: skip
                assert " ".join(words.split()) in text, (key, words)
            dirty = "with uncommitted changes" in text
            assert dirty == bool(record["commit"]["dirty"])
            table = cards[run["link"]].find(".//tbody")
            assert table is not None
            assert {*record["seeds"]} <= {"".join(n.itertext()) for n in table.iter() if n.text}


def test_latex_and_markdown_hold_the_numbers_of_the_json(
    page_file: Path, results: dict[str, Any]
) -> None:
    read = 0
    kinds = {"paper": printed, "ours": shown, "difference": difference}
    for name, wanted in tables_of(results).items():
        by_row: dict[str, list[dict[str, Any]]] = {}
        for number in wanted:
            by_row.setdefault(number["row"], []).append(number)
        expected = {
            kind: [c for row in by_row.values() if any(c := [text(number) for number in row])]
            for kind, text in kinds.items()
        }
        stem = page_file.parent / "tables" / name
        latex = stem.with_name(f"{name}.tex").read_text(encoding="utf-8")
        latex = latex.replace("$-$", "−").replace(r"$\pm$", "±").replace(r"$\approx$", "≈")
        body = latex.partition(r"\midrule")[2].partition(r"\bottomrule")[0]
        rows = [line.removesuffix(r" \\").split(" & ") for line in body.strip().splitlines()]
        markdown = stem.with_name(f"{name}.md").read_text(encoding="utf-8")
        cells = [line.strip("|").split("|") for line in markdown.splitlines() if line[:1] == "|"]
        for kind, lines in expected.items():
            for file in (rows, cells):
                found = [
                    [c.strip() for c in r[2:]] for r in file if r[1:2] and r[1].strip() == kind
                ]
                assert [row for row in found if any(row)] == lines, (name, kind)
            read += len(lines)
    assert read > 150


def test_every_paper_can_be_cited(page_file: Path, results: dict[str, Any]) -> None:
    text = (page_file.parent / "tables/papers.bib").read_text(encoding="utf-8")
    entries = re.findall(r"^@\w+\{([^,\s]+),", text, re.MULTILINE)
    assert len(entries) == len(set(entries)) == len(results["papers"])
    assert text.count("{") == text.count("}")


def test_views_are_of_runs_that_exist(results: dict[str, Any]) -> None:
    views = {f["id"]: f for f in results["figures"] if f["link"].startswith("view:")}
    assert {name.rpartition("-")[2] for name in views} == {
        "equal", "tradeoff", "gains", "weights", "conflict", "imbalance",
    }  # fmt: skip
    labels = {r["run"]: r for r in results["runs"] if r["experiment"] == "reduced"}
    view = next(f for f in views.values() if f["link"] == "view:rotograd:reduced:tradeoff")
    assert view["drawn"] and view["marks"] == ["demo"] and len(view["data"]) == len(labels)
    record = results["cells"][labels["uniform"]["cells"]["left"]]["record"]
    steps = sum(seed["steps"] for seed in record["seeds"].values())
    row = next(row for row in view["data"] if row["run"] == "uniform")
    assert row["ms per step"] == 1000 * record["seconds"] / steps or abs(
        row["ms per step"] - 1000 * record["seconds"] / steps
    ) < 1e-3 * row["ms per step"]  # fmt: skip


def test_half_of_the_runs_missing_show_with_their_logs_and_fail_the_gate(
    demo: Checkout, tmp_path: Path
) -> None:
    clone = Checkout(tmp_path / "clone")
    for part in ("config", "src", "results", "data/prepared"):
        shutil.copytree(demo.root / part, clone.root / part)
    scored = [cell for cell in clone.cells(tier="demo") if list(cell.glob("scores-*"))]
    gone = scored[::2]  # of the cells that a search tried, nothing is shown
    for cell in gone:
        shutil.rmtree(cell)
    for folder in clone.root.glob("results/demo/papers/*"):
        shutil.rmtree(folder)
    done = clone.run("counterpoise", "report", "--tier", "demo")
    assert done.returncode == 0, done.stderr
    text = (clone.root / "reports/demo/index.html").read_text(encoding="utf-8")
    assert "Incomplete." in text
    for cell in gone:
        assert f"logs/demo/train/{cell.parent.name}-{cell.name}.log" in text
    gate = clone.run("counterpoise", "gate", "--tier", "demo")
    assert gate.returncode == 1
    assert "Traceback" not in gate.stderr
    assert gate.stderr.count("has no result") >= len(gone)


def test_missing_results_show_as_missing(checkout: Checkout) -> None:
    done = checkout.run("counterpoise", "report", "--tier", "smoke")
    assert done.returncode == 0, done.stderr
    text = (checkout.root / "reports/smoke/index.html").read_text(encoding="utf-8")
    assert "missing" in text and "logs/smoke/" in text
