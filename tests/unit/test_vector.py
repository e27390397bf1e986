"""Drawings made small: outlines that stay where they were, and nothing that shows is lost."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from counterpoise.reproduction.outline import shorten
from counterpoise.reproduction.style import house_style, to_svg
from counterpoise.reproduction.vector import prefix_of

SVG = "{http://www.w3.org/2000/svg}"
NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")


def places(data: str) -> list[tuple[float, float]]:
    """Where an outline of relative lines goes, as a program reads it that knows the standard."""
    x = y = x0 = y0 = 0.0
    found = []
    for letter, text in re.findall(r"([mlhvz])([^mlhvz]*)", data):
        numbers = [float(n) for n in NUMBER.findall(text)]
        if letter == "z":
            x, y = x0, y0
            continue
        size = 1 if letter in "hv" else 2
        for k in range(0, len(numbers), size):
            if letter != "v":
                x += numbers[k]
            if letter != "h":
                y += numbers[k + size - 1]
            if letter == "m" and k == 0:
                x0, y0 = x, y
            found.append((x, y))
    return found


coordinates = st.floats(-50, 700, allow_nan=False).map(lambda value: round(value, 4))
outlines = st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=12)


def written(points: list[tuple[float, float]], closed: bool = False) -> str:
    steps = [f"{'L' if k else 'M'}{x:.4f} {y:.4f}" for k, (x, y) in enumerate(points)]
    return " ".join(steps) + ("z" if closed else "")


@given(st.lists(outlines, min_size=1, max_size=3), st.booleans())
def test_rounded_outlines_go_where_they_went(
    parts: list[list[tuple[float, float]]], closed: bool
) -> None:
    data = " ".join(written(points, closed) for points in parts)
    wanted = [point for points in parts for point in points]
    found = places(shorten(data, 1))
    # Points less than a step apart fall together; each that is left is where one was.
    assert len(found) <= len(wanted)
    off = np.abs(np.array(wanted)[:, None] - np.array(found)[None]).max(axis=2).min(axis=1)
    assert off.max() <= 0.0500001


@given(st.lists(st.floats(0, 30), min_size=3, max_size=40))
def test_points_that_are_left_out_lie_on_the_line(heights: list[float]) -> None:
    points = [(2.0 * k, height) for k, height in enumerate(heights)]
    found = np.array(places(shorten(written(points), 3, slack=0.12)))
    assert tuple(found[0]) == pytest.approx(points[0], abs=1e-3)
    assert tuple(found[-1]) == pytest.approx(points[-1], abs=1e-3)
    there = np.interp([x for x, _ in points], found[:, 0], found[:, 1])
    # The distance is at right angles: on steep stretches it is less than the height.
    slope = np.abs(np.gradient(there, 2.0)).max()
    assert np.abs(there - heights).max() <= 0.125 * np.hypot(1, max(slope, 15))


def test_a_worked_outline() -> None:
    assert shorten("M124.4 391L169.9 391L169.9 407L124.4 407L124.4 391", 1) == (
        "m124.4 391h45.5v16h-45.5v-16"
    )
    assert shorten("M0.5 0.5L1 1.05L1.6 1.6z", 1) == "m.5.5.5.5.6.6z"
    assert shorten("M0 0C1 1 2.5 2.5 -0.3 0.5", 1) == "m0 0c1 1 2.5 2.5-.3.5"
    assert shorten("M0 0L1 1L2 2.01L3 3", 1, 0.1) == "m0 0 3 3"
    for kept in ("M0 0A1 1 0 0 1 2 2", "m1 1l2 2"):
        assert shorten(kept, 1) == kept


def drawn(salt: str = "salt") -> ET.Element:
    with house_style(salt):
        figure = Figure(figsize=(3, 2))
        axes = figure.subplots(1, 2)
        axes[0].plot([1, 2, 3], [3, 1, 2], "o-")
        axes[0].set_xticks([1, 2, 3])
        axes[0].set_ylabel("$10^{-7}$")
        colours = np.linspace(0, 255, 48 * 48 * 3).reshape(48, 48, 3).astype(np.uint8)
        axes[1].imshow(colours, interpolation="none")
        axes[1].axis("off")
        return ET.fromstring(to_svg(figure, salt, "Title", "Description"))


def test_ticks_markers_and_labels_are_all_there() -> None:
    root = drawn()
    labels = ["".join(node.itertext()) for node in root.iter(f"{SVG}text")]
    assert labels[:3] == ["1", "2", "3"]
    assert len(list(root.iter(f"{SVG}use"))) == 3  # the markers; ticks are in two paths
    ticks = [
        p.get("d", "") for p in root.iter(f"{SVG}path") if re.search(r"v3\.5m", p.get("d", ""))
    ]
    assert len(ticks) == 1 and ticks[0].count("v3.5") == 3
    (formula,) = [n for n in root.iter(f"{SVG}text") if n.find(f"{SVG}tspan") is not None]
    assert "".join(formula.itertext()) == "10\N{MINUS SIGN}7"
    # A group within a text does not show.
    assert {node.tag for node in formula} == {f"{SVG}tspan"}
    known = {node.get("id") for node in root.iter()}
    assert {node.get("href", "")[1:] for node in root.iter(f"{SVG}use")} <= known


def test_a_picture_keeps_its_size_and_nearly_its_colours() -> None:
    (link,) = [node.get("href", "") for node in drawn().iter(f"{SVG}image")]
    data = base64.b64decode(link.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.size == (48, 48)
        seen = np.asarray(picture.convert("RGB")).astype(int)
    wanted = np.linspace(0, 255, 48 * 48 * 3).reshape(48, 48, 3).astype(np.uint8).astype(int)
    assert np.abs(seen - wanted).mean() < 2


def test_drawings_on_one_page_share_no_name() -> None:
    names = [{n.get("id") for n in drawn(salt).iter()} - {None} for salt in ("one", "other")]
    assert not names[0] & names[1]
    assert len({prefix_of(f"paper-figure-{k}") for k in range(300)}) == 300


def test_what_a_hatched_bar_is_filled_with_is_in_the_drawing() -> None:
    figure = Figure(figsize=(3, 2))
    figure.subplots().bar(["a", "b"], [1.0, 2.0], hatch="//")
    with house_style("hatched"):
        svg = to_svg(figure, "hatched", "Title", "Description")
    named = {node.get("id") for node in ET.fromstring(svg).iter()}
    filled = set(re.findall(r"url\(#([^)]+)\)", svg))
    assert filled and filled <= named
