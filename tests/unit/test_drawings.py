"""What figures of maps and bars show in the cases that a picture of one run does not."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.reproduction.drawings._maps import show_map, show_overlay, show_scale
from counterpoise.reproduction.drawings.bars import _number
from counterpoise.reproduction.figures import _describe
from counterpoise.reproduction.panels import grid
from counterpoise.reproduction.style import COLOURS, house_style, line_style, to_svg
from counterpoise.spec.paper import Figure, SchematicFigure

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
