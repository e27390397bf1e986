"""The page's HTML: valid, whole, and safe whatever a paper file says."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

from counterpoise.plan import load_plan
from counterpoise.report.build import build_report

from .conftest import parse

ATTACK = "<script>alert(1)</script><img src=x onerror=alert(2)>\"' {{ 7 * 7 }} \\input{/etc/passwd} $x_1$ & %"


def test_the_html_is_valid(parsed: Any) -> None:
    _, errors = parsed
    assert errors == []


def test_headings_go_down_one_level_at_a_time(parsed: Any) -> None:
    tree, _ = parsed
    levels = [int(node.tag[1]) for node in tree.iter() if re.fullmatch("h[1-6]", str(node.tag))]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_links_to_files_lead_to_files(page_file: Path, parsed: Any) -> None:
    tree, _ = parsed
    links = {node.get("href", "") for node in tree.iter("a")}
    files = {link for link in links if not link.startswith(("#", "https://"))}
    assert len(files) > 60
    missing = [file for file in files if not (page_file.parent / unquote(file)).is_file()]
    assert missing == []


def _hurt(value: Any, key: str = "") -> Any:
    """A paper file in which every text that people read holds an attack."""
    told = {
        "title", "short", "authors", "summary", "note", "label", "group", "place", "trend", "sentence",
        "comment", "reading", "condition", "topic", "paper_says", "choice", "reason", "what", "why",
        "effect", "bibtex", "version", "origin", "unavailable", "alternatives",
    }  # fmt: skip
    if isinstance(value, dict):
        return {k: _hurt(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_hurt(v, key) for v in value]
    return f"{value} {ATTACK}" if isinstance(value, str) and key in told else value


def _named(paper: dict[str, Any]) -> None:
    """Names as they are, which else come from the labels."""
    from counterpoise.spec.paper import slug

    for table in paper["tables"]:
        for entry in (*table["rows"], *table["columns"]):
            entry.setdefault("id", slug(entry["label"]))


def test_a_hostile_paper_file_stays_text(config_copy: Path) -> None:
    """Every text of it, in the page and in the tables for authors."""
    path = config_copy / "config/papers/thoracic.yaml"
    paper = yaml.safe_load(path.read_text(encoding="utf-8"))
    _named(paper)
    path.write_text(yaml.safe_dump(_hurt(paper), allow_unicode=True), encoding="utf-8")
    plan = load_plan(config_copy, {"tier": "smoke", "papers": ["thoracic"], "methods": "all"})
    build_report(config_copy, plan)
    text = (config_copy / plan.report).read_text(encoding="utf-8")
    tree, errors = parse(text)
    assert errors == []
    assert text.count("&lt;script&gt;alert(1)") > 100
    assert len(list(tree.iter("script"))) == 1
    assert not list(tree.iter("img"))
    assert "{{ 7 * 7 }}" in text and " 49 \\" not in text
    for node in tree.iter():
        assert not [name for name in node.attrib if name.startswith("on")]
    files = sorted((config_copy / plan.csv_folder).glob("thoracic-*"))
    assert len(files) > 5
    for file in files:
        written = file.read_text(encoding="utf-8")
        if file.suffix == ".tex":
            written = re.sub(r"(?m)^%.*$", "", written)  # a comment, on its one line
            assert r"\textbackslash{}input\{/etc/passwd\}" in written
            assert not re.search(r"\\input|(?<!\\)\$x|(?<!\\)& %", written)
        elif file.suffix == ".md":
            assert r"\<script\>" in written and "<script>" not in written
