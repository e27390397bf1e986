"""What figures of maps, bars and courses show in the cases that a picture of one run does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from counterpoise.files import read_json, sha256_file, write_json
from counterpoise.layout import RunPlan
from counterpoise.plan import load_plan
from counterpoise.reproduction import figures
from counterpoise.reproduction.drawings import bars, courses, history
from counterpoise.reproduction.drawings._maps import maps_of, show_map, show_overlay, show_scale
from counterpoise.reproduction.drawings.bars import _number
from counterpoise.reproduction.figures import _describe
from counterpoise.reproduction.panels import grid
from counterpoise.reproduction.style import COLOURS, house_style, line_style, to_svg
from counterpoise.spec.figure import (
    BarsFigure,
    CoursesFigure,
    Figure,
    HistoryFigure,
    Line,
    SchematicFigure,
)
from counterpoise.spec.paper import Paper, Table

from ..support import TIERS, error_of

REGION = np.zeros((8, 8), bool)
REGION[2:5, 3:6] = True


def test_an_empty_map_says_so_and_shows_the_picture() -> None:
    with house_style("empty"):
        _, (first, second) = grid(2, 2, 2.0, 2.0)
        picture = np.linspace(0, 1, 64).reshape(8, 8)
        show_overlay(first, picture, np.zeros((8, 8)), "Grad-CAM", REGION)
        show_overlay(second, picture, np.eye(8), "SHAP", REGION)
        assert "empty" in first.get_xlabel() and not second.get_xlabel()
        plain, pointed = (axis.images[0].get_array() for axis in (first, second))
        assert np.ptp(plain, axis=2).max() == 0, "grey only"
        changed = (plain != pointed).any(axis=2)
        assert changed.diagonal().all() and changed.sum() == 8, "only where it points"


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_maps_that_cannot_be_read_are_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "maps.npz"
    np.savez_compressed(path, pictures=np.arange(4000.0))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content[:-300] if damage == "cut" else content)
    if damage == "missing":
        path.unlink()
    explained = SimpleNamespace(explanation=lambda name: "maps.json")
    plan: Any = SimpleNamespace(papers={"paper": explained})
    error = error_of(lambda: maps_of(tmp_path, plan, "paper", "first"))
    assert error.where == str(path) and "run `snakemake` again" in error.remedy


def test_maps_with_their_scale_stay_small_on_the_page() -> None:
    with house_style("scale"):
        canvas, axes = grid(3, 3, 2.0, 2.0)
        for axis in axes:
            show_map(axis, np.random.default_rng(0).random((64, 64)), "last: conv5", np.eye(64) > 0)
        show_scale(canvas, axes, ("least", "largest"))
        svg = to_svg(canvas, "scale", "t", "d")
    assert "largest" in svg and svg.count("<image") >= 4 and len(svg) < 100_000


def test_no_two_of_many_lines_look_alike() -> None:
    looks = [line_style(number) for number in range(36)]
    assert len({(look["color"], str(look["linestyle"])) for look in looks}) == 36
    assert [look["color"] for look in looks[:6]] == list(COLOURS)


@pytest.mark.parametrize(
    ("rows", "told"), [(1, "Its 1 row of data"), (200, "Its 200 rows of data")]
)
def test_a_figure_is_described_by_its_rows(rows: int, told: str) -> None:
    content = SchematicFigure(kind="schematic")
    figure = Figure(id="f", title="t", place="p", trend="It falls.", content=content)
    described = _describe(figure, [{"a": 1, "b": 2}] * rows)
    assert described.startswith(told) and described.endswith("The paper shows: It falls.")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.64, "0.640"), (0.0605, "0.0605"), (0.0, "0.00"), (12.0, "12.0"), (123.4, "123"),
     (4321.0, "4321")],
)  # fmt: skip
def test_a_bar_tells_three_digits(value: float, text: str) -> None:
    assert _number(value) == text


def test_a_kill_does_not_leave_a_figure_without_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the picture is asked for: alone, it would count as the whole figure from then on."""
    content = BarsFigure(kind="bars", table="t")
    figure = Figure(id="f", title="t", place="p", content=content)
    made = SimpleNamespace(
        figure_digests={"f": "0"},
        paper=SimpleNamespace(figure={"f": figure}.get),
        figure="{}.svg".format,
    )
    plan: Any = SimpleNamespace(
        paper=lambda name: made, cells_of_figure=lambda paper, name: [], runs={}
    )
    monkeypatch.setattr(bars, "draw", lambda *_: (grid(1, 1, 2.0, 2.0)[0], [{"a": 1}]))
    figures.make_figure(tmp_path, plan, "p", "f")
    assert read_json(tmp_path / "f.json")["svg"] == sha256_file(tmp_path / "f.svg")
    (tmp_path / "f.svg").unlink()

    def killed(path: Path, value: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(figures, "write_sealed", killed)
    with pytest.raises(KeyboardInterrupt):
        figures.make_figure(tmp_path, plan, "p", "f")
    assert not (tmp_path / "f.svg").exists()


def drawn_bars(root: Path, entries: dict[str, list[tuple[float | None, float | None]]]) -> Any:
    """A table's figure: by row, printed and ours of each column."""
    columns = [{"label": name} for name in ("A", "B")]
    table = Table.model_validate(
        {"id": "t", "title": "T", "place": "Table 1", "columns": columns,
         "rows": [{"label": row, "printed": ("-", "-")} for row in entries]}
    )  # fmt: skip
    found = {
        row: {
            name: {"printed_value": printed, "ours": None if ours is None else {"mean": ours}}
            for name, (printed, ours) in zip(("a", "b"), cells, strict=True)
        }
        for row, cells in entries.items()
    }
    write_json(root / "tables.json", {"tables": {"t": found}})
    plan: Any = SimpleNamespace(papers={"p": SimpleNamespace(tables="tables.json")})
    paper = Paper.model_construct(id="p", tables=(table,))
    with house_style("bars"):
        canvas, data = bars.draw(root, plan, paper, BarsFigure(kind="bars", table="t"))
        legend = [text.get_text() for one in canvas.legends for text in one.get_texts()]
        panels = [axis.get_title(loc="left") for axis in canvas.axes]
    return panels, legend, data


def test_bars_show_columns_with_numbers_of_either_kind(tmp_path: Path) -> None:
    none = (None, None)
    assert drawn_bars(tmp_path, {"x": [(1.0, None), none]})[:2] == (["A"], [])
    assert drawn_bars(tmp_path, {"x": [(1.0, None), (None, 2.0)]})[:2] == (
        ["A", "B"], ["printed", "ours"],
    )  # fmt: skip
    ours_only = drawn_bars(tmp_path, {"x": [none, (None, 2.0)], "y": [none, none]})
    assert ours_only[:2] == (["B"], []) and [row["ours"] for row in ours_only[2]] == [2.0, None]


def test_bars_of_a_table_without_any_number_are_empty(tmp_path: Path) -> None:
    """As in a tier that runs nothing of it."""
    panels, legend, data = drawn_bars(tmp_path, {"x": [(None, None)] * 2})
    assert (panels, legend) == (["A", "B"], [])
    assert all(row["printed"] is row["ours"] is None for row in data)


# Courses over epochs -------------------------------------------------------------------------


def keep_history(path: Path, tasks: tuple[str, ...], values: list[float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        (seed, epoch, "training_loss", task, value)
        for seed in (0, 1)
        for task in tasks
        for epoch, value in enumerate(values)
    ]
    names = ["seed", "epoch", "quantity", "task", "value"]
    pd.DataFrame(rows, columns=names).to_parquet(path)


def test_an_epoch_without_a_number_is_no_row(tmp_path: Path) -> None:
    """NaN is no JSON, so that the figure would not be written at all."""
    keep_history(tmp_path / "history.parquet", ("a",), [2.0, float("nan"), 1.0])
    run = RunPlan("p", "e", "r", {"a": "cell/1"}, None, (), False, False)
    plan: Any = SimpleNamespace(
        trainings={"cell/1": SimpleNamespace(file=lambda name: name)}, runs={("p", "e", "r"): run}
    )
    content = CoursesFigure(
        kind="courses", lines=(Line(experiment="e", run="r", label="R"),), quantity="training_loss"
    )
    paper: Any = SimpleNamespace(id="p")
    with house_style("courses"):
        _, data = courses.draw(tmp_path, plan, paper, content)
    assert [(row["epoch"], row["mean"]) for row in data] == [(1, 2.0), (3, 1.0)]


def test_networks_of_a_task_each_may_come_first(config_copy: Path) -> None:
    """The tasks of a figure are those of its runs, not of the first network."""
    (config_copy / "config/tiers.yaml").write_text(TIERS, encoding="utf-8")
    plan = load_plan(config_copy, {"tier": "full", "papers": ["rotograd"], "methods": ["uniform"]})
    names = ("single_task", "uniform")
    for name in names:
        for key in plan.runs["rotograd", "reduced", name].keys:
            training = plan.trainings[key]
            path = config_copy / training.file("history.parquet")
            keep_history(path, training.cell.tasks, [2.0, 1.0])
    content = HistoryFigure(
        kind="history", experiment="reduced", runs=names, quantity="training_loss"
    )
    with house_style("history"):
        _, data = history.draw(config_copy, plan, plan.papers["rotograd"].paper, content)
    drawn = pd.DataFrame(data).groupby("run")["task"].nunique()
    assert drawn.tolist() == [5, 5]
