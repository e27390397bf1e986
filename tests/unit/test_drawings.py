"""What figures of maps, bars and courses show in the cases that a picture of one run does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from counterpoise.datasets import toy
from counterpoise.evaluation.localised import SCORES
from counterpoise.files import read_json, sha256_file, write_json
from counterpoise.layout import RunPlan
from counterpoise.plan import load_plan
from counterpoise.reproduction import figures
from counterpoise.reproduction.drawings import (
    bars,
    courses,
    decision,
    history,
    localisation,
    saliency,
    trajectories,
)
from counterpoise.reproduction.drawings._maps import maps_of, show_map, show_overlay, show_scale
from counterpoise.reproduction.drawings.bars import _number
from counterpoise.reproduction.figures import _describe
from counterpoise.reproduction.panels import grid
from counterpoise.reproduction.style import COLOURS, house_style, line_style, to_svg
from counterpoise.spec.explanation import Explanation
from counterpoise.spec.figure import (
    BarsFigure,
    CoursesFigure,
    DecisionFigure,
    Figure,
    HistoryFigure,
    Line,
    LocalisationFigure,
    SaliencyFigure,
    SchematicFigure,
    TrajectoriesFigure,
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
     (4321.0, "4321"), (-1.5, "\N{MINUS SIGN}1.50")],
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
    monkeypatch.setattr(bars, "draw", lambda *_: (grid(1, 1, 2.0, 2.0)[0], [{"run": 1, "a": 2}]))
    figures.make_figure(tmp_path, plan, "p", "f")
    behind = read_json(tmp_path / "f.json")
    assert behind["svg"] == sha256_file(tmp_path / "f.svg")
    assert behind["columns"] == ["run", "a"], "in their order, which the rows lose"
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


def planned_run(*tasks: str) -> tuple[Any, Any]:
    """A plan of one run of one network, whose files lie in the root, and its paper."""
    run = RunPlan("p", "e", "r", dict.fromkeys(tasks, "cell/1"), None, (), False, False)
    training = SimpleNamespace(file=str, data=SimpleNamespace(folder="."))
    plan = SimpleNamespace(trainings={"cell/1": training}, runs={("p", "e", "r"): run})
    experiment = SimpleNamespace(runs={"r": SimpleNamespace(label="R")})
    return plan, SimpleNamespace(id="p", experiments={"e": experiment})


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
    content = CoursesFigure(
        kind="courses", lines=(Line(experiment="e", run="r", label="R"),), quantity="training_loss"
    )
    with house_style("courses"):
        _, data = courses.draw(tmp_path, *planned_run("a"), content)
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


# Values of drawings --------------------------------------------------------------------------


def explained(spec: Explanation | SimpleNamespace, *names: str) -> tuple[Any, Any]:
    """A plan of explanations, whose files have their names, and its paper."""
    made = SimpleNamespace(explanation="{}.parquet".format, explanation_digests=names)
    plan = SimpleNamespace(papers={"p": made})
    return plan, SimpleNamespace(id="p", explanations=dict.fromkeys((*names, "unplanned"), spec))


def test_decisions_stand_where_their_points_lie(tmp_path: Path) -> None:
    """Those of the first seed: outputs that grow to the right, and for the negation upwards."""
    side = np.linspace(-1, 1, toy.GRID)
    x, y = (values.ravel() for values in np.meshgrid(side, side))
    outputs = ["output.label.0", "output.negated.0"]
    plane = pd.DataFrame({outputs[0]: x, outputs[1]: y}).assign(part="test", point=0)
    held = pd.DataFrame(
        {"part": "validation", "point": [5, 4, 3, 2], outputs[0]: [-1, 1, 1, 1],
         outputs[1]: [1, 1, -1, -1], "target.label": [0, 1, 1, 0], "target.negated": [1, 0, 0, 1]}
    )  # fmt: skip
    first = pd.concat([plane, held]).assign(seed=0)
    other = first.assign(seed=1, **{name: -first[name] for name in outputs})
    pd.concat([other, first]).to_parquet(tmp_path / "predictions.parquet")
    points = pd.DataFrame({"x": range(6), "y": range(0, 60, 10)})
    points.to_parquet(tmp_path / "points.parquet")
    content = DecisionFigure(kind="decision", experiment="e", runs=("r",))
    with house_style("decision"):
        canvas, data = decision.draw(tmp_path, *planned_run("label", "negated"), content)
    assert [(row["run"], row["task"], row["validation accuracy"]) for row in data] == [
        ("R", "label", 0.75), ("R", "negation", 0.5),
    ]  # fmt: skip
    label, negation = canvas.axes[:2]
    grown = 1 / (1 + np.exp(-side))
    for axis, expected in ((label, grown[None]), (negation, grown[:, None])):
        (image,) = axis.images
        assert image.origin == "lower"
        np.testing.assert_allclose(image.get_array(), np.broadcast_to(expected, (toy.GRID,) * 2))
    marked = {"o": [[5, 50]], "X": [[4, 40]]}, {"o": [[4, 40]], "X": [[5, 50]]}
    for axis, expected in zip((label, negation), marked, strict=True):
        drawn = {line.get_marker(): line.get_xydata().tolist() for line in axis.lines}
        assert drawn == expected, "of those of each target every fourth"


def test_trajectories_lead_from_the_first_output_to_the_last(tmp_path: Path) -> None:
    """Two seeds, one the other backwards; losses by hand: 6 - 3 - 3, and 10.303 at the origin."""
    paths = {"first": [(0, 0), (1, 0.5), (1.5, 1.5)], "second": [(0, 0), (-1, 0.25), (-1.5, 0)]}
    rows = [
        (seed, epoch, "output", f"{task}/{place}", value)
        for task, path in paths.items()
        for seed, order in ((0, path), (1, path[::-1]))
        for epoch, point in enumerate(order)
        for place, value in enumerate(point)
    ]
    rows.append((0, 3, "weight", "first", 7.0))
    names = ["seed", "epoch", "quantity", "task", "value"]
    pd.DataFrame(rows[::-1], columns=names).to_parquet(tmp_path / "history.parquet")
    content = TrajectoriesFigure(kind="trajectories", experiment="e", runs=("r",))
    with house_style("trajectories"):
        canvas, data = trajectories.draw(tmp_path, *planned_run("first", "second"), content)
    assert [tuple(row.values()) for row in data] == [
        ("R", "optimum at (1.5, 1.5)", 0, "(0.00, 0.00)", "(1.50, 1.50)", 0.0),
        ("R", "optimum at (1.5, 1.5)", 1, "(1.50, 1.50)", "(0.00, 0.00)", 10.303),
        ("R", "optimum at (-1.5, -1.5)", 0, "(0.00, 0.00)", "(-1.50, 0.00)", 5.152),
        ("R", "optimum at (-1.5, -1.5)", 1, "(-1.50, 0.00)", "(0.00, 0.00)", 10.303),
    ]
    for axis, optimum, path in zip(canvas.axes, (1.5, -1.5), paths.values(), strict=True):
        star, *drawn = ([tuple(point) for point in line.get_xydata()] for line in axis.lines)
        assert star == [(optimum, optimum)]
        assert drawn == [path, path[-1:], path[::-1], path[:1]]
    assert [text.get_text() for text in canvas.legends[0].get_texts()] == ["optimum", "R"]


def test_localisation_is_the_mean_of_each_map(tmp_path: Path) -> None:
    """Of three pictures; two untrained networks; and an explanation that the tier does not plan."""
    found = {
        ("grad_cam", 0): [1, 0, 1], ("centre", 0): [0, 0, 1], ("random", 0): [0, 0, 0],
        ("untrained/grad_cam", 0): [1, 0, 0], ("untrained/grad_cam", 1): [0, 0, 0],
    }  # fmt: skip
    frames = [
        pd.DataFrame(
            {"seed": 0, "draw": draw, "way": way, "task": ["mass", "mass", "nodule"],
             "item": range(3), "patient": range(3),
             **{score: np.array(hits) / (1 + place) for place, score in enumerate(SCORES)}}
        )
        for (way, draw), hits in found.items()
    ]  # fmt: skip
    pd.concat(frames).to_parquet(tmp_path / "maps.parquet")
    spec = Explanation(experiment="e", run="r", label="N", tasks=("mass",), ways=("grad_cam",))
    content = LocalisationFigure(kind="localisation", explanations=("unplanned", "maps"))
    with house_style("localisation"):
        canvas, data = localisation.draw(tmp_path, *explained(spec, "maps"), content)
    rows = {(row["map"], row["finding"], row["score"]): row for row in data}
    means = {"Grad-CAM": 2 / 3, "centre of the picture": 1 / 3, "random map": 0,
             "Grad-CAM, untrained": 1 / 6}  # fmt: skip
    for shown, mean in means.items():
        for place, score in enumerate(SCORES):
            row = rows[shown, "all", score]
            assert row["network"] == "N" and row["mean"] == round(mean / (1 + place), 4)
            beyond = round((mean - 1 / 3) / (1 + place), 4)
            assert row.get("above the centre", 0) == beyond
    by_finding = {key[:2]: row["mean"] for key, row in rows.items() if key[1] != "all"}
    assert by_finding == {
        ("Grad-CAM", "mass"): 0.5, ("Grad-CAM", "nodule"): 1, ("random map", "mass"): 0,
        ("centre of the picture", "mass"): 0, ("centre of the picture", "nodule"): 1,
        ("random map", "nodule"): 0,
    }  # fmt: skip
    pointing, energy, _ = canvas.axes
    assert [text.get_text() for text in pointing.get_yticklabels()] == ["N", *list(means)[:3]]
    for axis, share in ((pointing, 1), (energy, 2)):
        drawn = [line.get_xydata()[0] for line in axis.lines if line.get_marker() != "None"]
        assert [round(x * share, 4) for x, _ in drawn] == [0.6667, 0.1667, 0.3333, 0.0]
        assert [round(y) for _, y in drawn] == [1, 1, 2, 3]


def test_shares_of_a_saliency_map_are_of_its_region(tmp_path: Path) -> None:
    """Three quarters in nine pixels of 64, and an empty map."""
    inside, outside = (3, 4), (7, 0)
    assert REGION[inside] and not REGION[outside]
    pointed = np.zeros((8, 8))
    pointed[inside], pointed[outside] = 3, 1
    arrays = {"picture": np.eye(8), "mask": REGION, "grad_cam": pointed, "shap": 0 * pointed}
    np.savez(tmp_path / "maps.npz", **{f"mass/{name}": array for name, array in arrays.items()})
    spec = SimpleNamespace(ways=("grad_cam", "shap"))
    content = SaliencyFigure(kind="saliency", explanation="maps", task="mass")
    with house_style("saliency"):
        canvas, data = saliency.draw(tmp_path, *explained(spec, "maps"), content)
    titles = [axis.get_title(loc="left") for axis in canvas.axes[:3]]
    assert titles == ["picture, region outlined", "Grad-CAM", "SHAP"]
    assert [tuple(row.values()) for row in data] == [
        ("Grad-CAM", 0.75, 9 / 64), ("SHAP", None, 9 / 64),
    ]  # fmt: skip
