"""What figures of maps, bars and courses show in the cases that a picture of one run does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from counterpoise.plan import load_plan
from counterpoise.reproduction.drawings import courses, history
from counterpoise.reproduction.drawings._maps import show_map, show_overlay, show_scale
from counterpoise.reproduction.drawings.bars import _number
from counterpoise.reproduction.figures import _describe
from counterpoise.reproduction.panels import grid
from counterpoise.reproduction.style import COLOURS, house_style, line_style, to_svg
from counterpoise.spec.paper import (
    CoursesFigure,
    Figure,
    HistoryFigure,
    Line,
    SchematicFigure,
)

from ..support import TIERS

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
    assert described.startswith(told) and described.endswith("The paper: It falls.")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.64, "0.640"), (0.0605, "0.0605"), (0.0, "0.00"), (12.0, "12.0"), (123.4, "123"),
     (4321.0, "4321")],
)  # fmt: skip
def test_a_bar_tells_three_digits(value: float, text: str) -> None:
    assert _number(value) == text


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
    run = SimpleNamespace(cells={"a": "cell/1"})
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
        for key in plan.runs["rotograd", "reduced", name].cells.values():
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
