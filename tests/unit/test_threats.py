"""The threat model of docs/threats.md: each of its lines names a test, and that test is there."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from counterpoise import prepared
from counterpoise.errors import UserErrors
from counterpoise.files import write_json, write_text
from counterpoise.layout import CELL_FILES
from counterpoise.orders import orders_file, read_order
from counterpoise.plan import Plan, load_plan
from counterpoise.project import load_project
from counterpoise.reference import read_references, save_reference
from counterpoise.report.build import build_report
from counterpoise.report.svg_check import is_drawing
from counterpoise.reproduction.style import house_style, line_style, to_svg
from counterpoise.training.predict import predict
from counterpoise.training.problem import Job
from counterpoise.upkeep.check import check
from counterpoise.upkeep.collect import find_garbage, remove
from counterpoise.upkeep.why import explain

from ..support import ROOT, edit, error_of, files_in, small_cell

LINES = [
    line.split("|")[1:-1]
    for line in (ROOT / "docs/threats.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and "`tests/" in line
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: f"{line[0].strip()}:{line[1].strip()}")
def test_every_line_of_the_threat_model_has_its_test(line: list[str]) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", line[3])
    assert named
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_threat_model_has_lines() -> None:
    table = (ROOT / "docs/threats.md").read_text(encoding="utf-8").count("\n| ") - 1
    assert len(LINES) == table >= 15


class Malicious:
    """An object that makes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_the_weapon_works(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Malicious(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


def test_a_pickle_instead_of_weights_is_refused(tmp_path: Path) -> None:
    mark, weights = tmp_path / "mark", tmp_path / "weights.safetensors"
    weights.write_bytes(pickle.dumps({"0/network.x": Malicious(mark)}))
    split = tmp_path / "split.parquet"
    made = Job(tmp_path, small_cell(), "n", "d", split, tmp_path / "work", tmp_path)
    error = error_of(lambda: predict(made, tmp_path / "predictions.parquet", "cpu"))
    assert "cannot read the weights" in error.what and not mark.exists()


@pytest.mark.parametrize("form", ["npy", "pickle"])
def test_an_array_of_objects_is_refused(tmp_path: Path, form: str) -> None:
    mark, file = tmp_path / "mark", tmp_path / "digits.npy"
    objects = np.array([Malicious(mark)], dtype=object)
    if form == "npy":
        np.save(file, objects, allow_pickle=True)
    else:
        file.write_bytes(pickle.dumps(Malicious(mark)))
    mark.unlink(missing_ok=True)
    items = {"part": ["train"], "item": [0], "left": [0], "right": [0]}
    pd.DataFrame(items).to_parquet(tmp_path / "split.parquet")
    error = error_of(
        lambda: prepared.load_part("multimnist", {}, tmp_path / "split.parquet", "train")
    )
    assert "cannot read the prepared data" in error.what and not mark.exists()


PAPER, DATASET = "config/papers/rotograd.yaml", "config/datasets/multimnist.yaml"
NAMES = {
    "paper": (PAPER, "id: rotograd", "id: ../rotograd"),
    "experiment": (PAPER, "  reduced:\n", "  ../reduced:\n"),
    "run": (PAPER, "      uniform: {method", "      'a; touch hacked': {method"),
    "dataset": (DATASET, "id: multimnist", "id: /etc/multimnist"),
    "source": (DATASET, "  mnist:\n", "  $(touch hacked):\n"),
    "file": (DATASET, "{name: train-images", "{name: ../train-images"),
    "hidden file": (DATASET, "{name: train-images", "{name: .train-images"),
    "tier": ("config/tiers.yaml", "  smoke:\n", "  ../../smoke:\n"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_that_leads_elsewhere_is_refused(config_copy: Path, kind: str) -> None:
    file, old, new = NAMES[kind]
    line = edit(config_copy / file, old, new)
    error = error_of(lambda: load_project(config_copy))
    problems = error.errors if isinstance(error, UserErrors) else [error]
    assert any(
        "should match pattern" in one.what and f"{file}:{line}" in one.where for one in problems
    )
    assert not list(config_copy.rglob("hacked"))


@pytest.mark.parametrize("name", ["os", "_base", "../uniform", "counterpoise.cli", "uniform.py"])
def test_only_the_catalogue_can_be_named(config_copy: Path, name: str) -> None:
    edit(config_copy / PAPER, "{method: gradnorm, label", f"{{method: {name}, label")
    assert "method" in str(error_of(lambda: load_project(config_copy)))


@pytest.mark.parametrize("word", ["../../etc", "..", "/etc/passwd", "smoke;ls", "a\0b", ""])
def test_a_word_on_the_command_line_is_looked_up(config_copy: Path, word: str) -> None:
    plan = load_plan(config_copy, {"tier": "smoke"})
    for look in (
        lambda: plan.training(word, word), lambda: plan.paper(word), lambda: plan.data(word),
        lambda: load_plan(config_copy, {"tier": word}),
    ):  # fmt: skip
        error_of(look)


ATTACK = "<script>alert(1)</script>"


def test_text_on_the_page_is_escaped(config_copy: Path) -> None:
    paper = config_copy / PAPER
    edit(paper, "\ntitle: ", f'\ntitle: "{ATTACK}" #')
    plan = load_plan(config_copy, {"tier": "smoke"})
    for training in plan.trainings.values():
        seed = {"status": ATTACK, "selected_epoch": 0, "steps": 1, "seconds": 1.0, "resumed": False,
                "trouble": {"what": ATTACK, "task": ATTACK, "epoch": 0, "step": 1, "method": ATTACK}}  # fmt: skip
        record = {
            "name": ATTACK, "cell": training.cell.model_dump(mode="json"), "seeds": {"0": seed},
            "commit": {"id": ATTACK, "dirty": True}, "device": ATTACK, "threads": 1, "seconds": 1.0,
            "environment": {"python": ATTACK, "libraries": {ATTACK: ATTACK}, "processor": ATTACK,
                            "system": ATTACK, "cores": 1, "counterpoise": ATTACK},
            "peak_memory_mib": 1.0,
        }  # fmt: skip
        write_json(config_copy / training.file("record.json"), record)
    build_report(config_copy, plan)
    page = (config_copy / plan.report).read_text(encoding="utf-8")
    assert ATTACK not in page and "&lt;script&gt;alert(1)&lt;/script&gt;" in page


@pytest.mark.parametrize(
    "content",
    [ATTACK, '<rect onload="alert(1)"/>', "<rect/onload=alert(1)>", '<rect x="1"onload="a()"/>',
     '<a href="javascript:alert(1)"/>', '<a href="java&#115;cript:alert(1)"/>', "<foreignObject/>",
     '<set attributeName="onclick" to="a()"/>', '<use href="https://example.org/x.svg#a"/>',
     '<image href="https://example.org/x.png"/>', '<image href="data:image/svg+xml;base64,AA=="/>',
     "<style>@import url(https://example.org/x.css);</style>",
     '<rect style="fill:url(https://example.org/x)"/>', '<embed src="https://example.org"/>',
     '</svg><link rel="stylesheet" href="https://example.org/x.css"/><svg>',
     "<title><![CDATA[</title><script>a()</script>]]></title>",
     "<style>main{display:none}body::before{content:'All 200 printed numbers agree'}</style>"],
)  # fmt: skip
def test_a_figure_with_a_script_is_left_out(config_copy: Path, content: str) -> None:
    plan = load_plan(config_copy, {"tier": "smoke"})
    path = config_copy / plan.papers["rotograd"].figures[0]
    pages = []
    for inside in ("<circle r='77777'/>", content):
        write_text(path, f"<svg>{inside}</svg>")
        write_json(path.with_suffix(".json"), {"columns": [], "data": [], "marks": []})
        build_report(config_copy, plan)
        pages.append((config_copy / plan.report).read_text(encoding="utf-8"))
    assert "<circle r='77777'/>" in pages[0]
    assert f"<svg>{content}</svg>" not in pages[1]


OWN = '<style>.abcde-0{fill:#fff;stroke-dasharray:1.1,2}</style><g class="abcde-0"/>'


@pytest.mark.parametrize(
    "svg",
    ["<svg><style>main{display:none}</style></svg>",
     f"<svg>{OWN}<style>.abcde-0{{fill:red}}body{{fill:red}}</style></svg>",
     f"<svg>{OWN}<style>.abcde-0{{fill:red}}<g/>body{{fill:red}}</style></svg>",
     f"<svg>{OWN}<style>.abcde-0 ~ *{{fill:red}}</style></svg>",
     f"<svg>{OWN}<style>.abcde-0,main{{fill:red}}</style></svg>",
     f"<svg>{OWN}<style>.abcde-0{{fill:red;display:none}}</style></svg>",
     f"<svg>{OWN}<style>.abcde-0{{fill:red</style></svg>",
     f"<svg>{OWN}<style>.fghij-0{{fill:red}}</style></svg>",
     "<svg><style>.muted{fill:red}</style></svg>",
     '<svg><style>body{background:image-set("https://example.org/x.png" 1x)}</style></svg>',
     '<svg><g style="fill:image-set(&quot;https://example.org/x.png&quot; 1x)"/></svg>',
     '<svg><g style="fill:src(&quot;https://example.org/x.png&quot;)"/></svg>',
     '<svg><g style="background:image(#a)"/></svg>',
     '<svg><g style="fill:url(https://example.org/x.png)"/></svg>',
     '<svg><g style="fill:var(--paper)"/></svg>',
     '<svg><g fill="image-set(&quot;https://example.org/x.png&quot; 1x)"/></svg>',
     '<svg><g fill="SRC(&quot;https://example.org/x.png&quot;)"/></svg>',
     '<svg><g fill="image(#a)"/></svg>',
     '<svg><g clip-path="url( https://example.org/x.svg#a)"/></svg>',
     '<svg style="position:fixed;inset:0"/>', '<svg transform="scale(99)"/>',
     '<svg class="skip"/>', '<svg><g class="abcde-0 skip"/></svg>', '<svg><g id="main"/></svg>',
     '<svg aria-labelledby="main legend"><g id="main"/></svg>',
     f"<svg><desc>{OWN}</desc></svg>", '<svg><title><g class="abcde-0"/></title></svg>'],
)  # fmt: skip
def test_a_figure_that_reaches_beyond_itself_is_left_out(svg: str) -> None:
    """Its styles would hold for all of the page, whose readers trust what it says."""
    assert is_drawing(f"<svg>{OWN}</svg>")
    assert not is_drawing(svg)


def test_all_that_ours_are_made_of_is_a_drawing() -> None:
    """Maps, fields, bars, bands, points, lines, and styles that occur often."""
    with house_style("paper-figure"):
        figure = Figure(figsize=(6, 4))
        axes = figure.subplots(2, 3).flat
        for number in range(9):
            axes[0].plot([1, 2, 3], [number, 1, 2], label=f"$x_{number}$", **line_style(number))
        axes[0].legend()
        axes[1].imshow(np.eye(8), interpolation="none")
        axes[2].pcolormesh(np.eye(8))
        axes[3].bar([1, 2], [1, 2], hatch="////", edgecolor="#ffffff", linewidth=0)
        axes[4].fill_between([1, 2], [1, 2], [2, 3], alpha=0.2)
        axes[5].scatter([1, 2, 3], [1, 2, 3], c=[1, 2, 3], marker="D")
        axes[5].contour(np.outer(np.arange(4), np.arange(4)))
        axes[5].set_ylabel("loss", rotation=90, fontweight="bold", style="italic")
        svg = to_svg(figure, "paper-figure", "Title <&>", "What @ it (really) shows")
    assert "<style>" in svg and is_drawing(svg)


POLICY = {
    "default-src": "'none'", "img-src": "data:", "style-src": "'unsafe-inline'",
    "script-src": "'unsafe-inline'", "base-uri": "'none'", "form-action": "'none'",
}  # fmt: skip


def test_a_page_may_fetch_nothing(config_copy: Path) -> None:
    """And needs nothing: its scripts, styles and pictures are in it."""
    plan = load_plan(config_copy, {"tier": "smoke"})
    build_report(config_copy, plan)
    page = (config_copy / plan.report).read_text(encoding="utf-8")
    told = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', page)
    assert told is not None
    found = dict(part.strip().split(" ", 1) for part in told[1].split(";"))
    assert found == POLICY
    before, after = page[: told.start()], page[told.end() :]
    assert not re.search(r"<(script|style|link|body)\b", before), "what comes before is not held"
    for needing_more in (r"<form\b", r"<base\b", r"<i?frame\b", r"<object\b", r"\bsrc=",
                         r"<link\b(?![^>]*href=\"data:)", r"\bfetch\(", r"\beval\("):  # fmt: skip
        assert not re.search(needing_more, after), needing_more


def test_every_page_has_the_policy() -> None:
    templates = [*(ROOT / "src/counterpoise/report/templates").glob("*.j2")]
    heads = [t for t in templates if "<head>" in t.read_text(encoding="utf-8")]
    assert heads
    assert all("Content-Security-Policy" in t.read_text(encoding="utf-8") for t in heads)


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"tier": ' + "9" * 5000 + "}",
        "[]",
        '{"identity": {"a": NaN}}',
    ],
    ids=["deep", "long", "list", "nan"],
)
def test_results_that_hold_anything_are_told(config_copy: Path, content: str) -> None:
    """All of it is JSON to Python or to others, and Python can hold the half of it."""
    plan = load_plan(config_copy, {"tier": "smoke"})
    training = next(iter(plan.trainings.values()))
    record = config_copy / training.file("record.json")
    for name in CELL_FILES:
        write_text(record.with_name(name), "")
    write_text(record, content)
    stale = record.parents[1] / "0123456789ab" / "record.json"
    write_text(stale, content)
    folder = config_copy / "reports/reference/small"
    write_text(folder / "reference.json", content)
    write_text(config_copy / orders_file("smoke"), content)

    lines, sound = check(config_copy)
    assert not sound
    assert {"damaged   reports/reference/small", f"damaged   {training.folder}"} <= set(lines)
    assert read_references(config_copy, plan.project)[0] == ()
    assert read_order(config_copy, "smoke", training.key) is None
    assert list(explain(config_copy, plan, training.key))


def test_gc_does_not_follow_links(config_copy: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    write_text(precious / "record.json", "mine")
    cells = config_copy / "results/smoke/cells"
    (cells / "some-cell").mkdir(parents=True)
    (cells / "some-cell" / ("f" * 12)).symlink_to(precious)
    (cells / "other").symlink_to(tmp_path)
    file = cells / "some-cell" / ("e" * 12) / "record.json"
    file.parent.mkdir()
    file.symlink_to(precious / "record.json")
    garbage = find_garbage(config_copy)
    assert [unit.path for unit in garbage.units] == [str(file.parent.relative_to(config_copy))]
    remove(config_copy, garbage)
    assert not file.exists() and (precious / "record.json").read_text() == "mine"
    assert (cells / "other").is_symlink()


@pytest.mark.parametrize("name", ["../away", "", "A b", ".hidden"])
def test_a_reference_stays_in_its_folder(tmp_path: Path, demo_plan: Plan, name: str) -> None:
    error = error_of(lambda: save_reference(tmp_path, demo_plan, name))
    assert "not a valid name for a reference" in error.what and not files_in(tmp_path)
