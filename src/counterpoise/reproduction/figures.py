"""Figures from our runs, as SVG with the numbers behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from counterpoise import registry
from counterpoise.errors import UserError
from counterpoise.files import read_json, write_json, write_text
from counterpoise.metrics import metric
from counterpoise.plan import Plan, RunPlan, find_table
from counterpoise.reproduction.style import COLOURS, DASHES, house_style, to_svg
from counterpoise.spec.paper import (
    BarsFigure,
    DecisionFigure,
    Figure,
    HistoryFigure,
    Paper,
    TrajectoriesFigure,
)

AXES = {
    "training_loss": "training loss",
    "weight": "task weight ω",
    "gradient_norm": "gradient norm at Z",
    "cosine": "median cosine",
    "learning_rate": "learning rate",
}


def _label(paper: Paper, experiment: str, run: str) -> str:
    return paper.experiments[experiment].runs[run].label or run.replace("_", " ")


def _history(root: Path, plan: Plan, run: RunPlan) -> pd.DataFrame:
    """History of all cells of a run."""
    frames = [
        pd.read_parquet(root / plan.trainings[key].file("history.parquet"))
        for key in dict.fromkeys(run.cells.values())
    ]
    return pd.concat(frames, ignore_index=True)


def _runs(plan: Plan, paper: Paper, experiment: str, names: tuple[str, ...]) -> list[RunPlan]:
    found = [plan.runs.get((paper.id, experiment, name)) for name in names]
    return [run for run in found if run is not None]


def _grid(panels: int, columns: int, width: float, height: float) -> tuple[Canvas, list[Axes]]:
    rows = -(-panels // columns)
    figure = Canvas(figsize=(width * columns, height * rows), layout="constrained")
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(panels)]
    return figure, axes


def history_figure(
    root: Path, plan: Plan, paper: Paper, content: HistoryFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """One panel a task: the mean over seeds, with the range of the seeds as a band."""
    runs = _runs(plan, paper, content.experiment, content.runs)
    cell = plan.trainings[next(iter(runs[0].cells.values()))].cell
    module = registry.find("datasets", cell.dataset)
    known = module.tasks(module.Options(**cell.dataset_options))
    tasks = [task for task in known if task.name in cell.tasks]
    figure, axes = _grid(len(tasks), min(3, len(tasks)), 2.7, 2.1)
    data = []
    for number, run in enumerate(runs):
        history = _history(root, plan, run)
        chosen = history[history["quantity"] == content.quantity]
        label = _label(paper, content.experiment, run.run)
        for task, axis in zip(tasks, axes, strict=True):
            values = chosen[chosen["task"] == task.name].pivot(
                index="epoch", columns="seed", values="value"
            )
            epochs = values.index.to_numpy() + 1
            mean = values.mean(axis=1).to_numpy()
            style = {"color": COLOURS[number % 6], "linestyle": DASHES[number % 6]}
            axis.plot(epochs, mean, label=label, **style)
            if values.shape[1] > 1:
                low, high = values.min(axis=1), values.max(axis=1)
                axis.fill_between(epochs, low, high, color=style["color"], alpha=0.15, lw=0)
            data += [
                {"run": label, "task": task.label, "epoch": int(e), "mean": float(m)}
                for e, m in zip(epochs, mean, strict=True)
                if np.isfinite(m)
            ]
    for task, axis in zip(tasks, axes, strict=True):
        axis.set_title(task.label, loc="left")
        name = AXES.get(content.quantity) or metric(module, task.metrics[0]).label
        axis.set_ylabel(name.lower() if name != "MSE" else name)
        axis.set_xlabel("epoch")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    return figure, data


def trajectories_figure(
    root: Path, plan: Plan, paper: Paper, content: TrajectoriesFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """Paths of the output over each task's landscape, one a seed; a star marks its optimum."""
    from counterpoise.datasets import toy

    runs = _runs(plan, paper, content.experiment, content.runs)
    figure, axes = _grid(len(toy.SHIFTS), 2, 3.3, 3.2)
    axis_values = np.linspace(-toy.EXTENT, toy.EXTENT, 121)
    plane = np.stack(np.meshgrid(axis_values, axis_values), axis=-1)
    data = []
    for axis, (task, shift) in zip(axes, toy.SHIFTS.items(), strict=True):
        height = toy.landscape(plane, shift, np.sin, np.abs)
        axis.contour(axis_values, axis_values, height, levels=9, colors="#888888",
                     linewidths=0.4, alpha=0.7)  # fmt: skip
        axis.plot(-shift, -shift, marker="*", markersize=13, color="#E69F00", linestyle="none",
                  label="optimum", zorder=5)  # fmt: skip
        for number, run in enumerate(runs):
            history = _history(root, plan, run)
            outputs = history[history["quantity"] == "output"]
            label = _label(paper, content.experiment, run.run)
            style = {"color": COLOURS[1 - number % 2], "linestyle": DASHES[1 - number % 2]}
            for seed, rows in outputs.groupby("seed"):
                path = rows.pivot(index="epoch", columns="task", values="value")
                x, y = path[f"{task}/0"].to_numpy(), path[f"{task}/1"].to_numpy()
                axis.plot(x, y, label=label if seed == 0 else None, lw=1.1, **style)
                axis.plot(x[-1], y[-1], marker="o", color=style["color"], markersize=4)
                end = toy.landscape(np.array([x[-1], y[-1]]), shift, np.sin, np.abs)
                data.append(
                    {
                        "run": label,
                        "task": f"optimum at ({-shift:g}, {-shift:g})",
                        "seed": int(str(seed)),
                        "start": f"({x[0]:.2f}, {y[0]:.2f})",
                        "end": f"({x[-1]:.2f}, {y[-1]:.2f})",
                        "loss at end": round(float(end), 3),
                    }
                )
        axis.set_title(f"task with its optimum at ({-shift:g}, {-shift:g})", loc="left")
        axis.set_xlabel("$z_1$")
        axis.set_ylabel("$z_2$")
        axis.set_aspect("equal")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure, data


def decision_figure(
    root: Path, plan: Plan, paper: Paper, content: DecisionFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """Predicted probability of a label and of its negation over the plane of inputs."""
    from counterpoise.datasets import toy

    runs = _runs(plan, paper, content.experiment, content.runs)
    tasks = ("label", "negated")
    figure, axes = _grid(len(runs) * len(tasks), len(tasks), 3.0, 2.6)
    data, image = [], None
    for row, run in enumerate(runs):
        training = plan.trainings[next(iter(run.cells.values()))]
        predictions = pd.read_parquet(root / training.file("predictions.parquet"))
        label = _label(paper, content.experiment, run.run)
        seen = predictions[predictions["seed"] == 0]
        grid, held = seen[seen["part"] == "test"], seen[seen["part"] == "validation"]
        points = pd.read_parquet(root / training.data.folder / "points.parquet")
        points = points.iloc[held["point"].to_numpy()]
        for column, task in enumerate(tasks):
            axis = axes[row * len(tasks) + column]
            logits = grid[f"output.{task}.0"].to_numpy().reshape(toy.GRID, toy.GRID)
            image = axis.imshow(
                1 / (1 + np.exp(-logits)), origin="lower", cmap="cividis", vmin=0, vmax=1,
                extent=(-toy.EXTENT, toy.EXTENT, -toy.EXTENT, toy.EXTENT),
            )  # fmt: skip
            targets = held[f"target.{task}"].to_numpy()
            accuracy = float(np.mean((held[f"output.{task}.0"] > 0) == (targets == 1)))
            for value, marker in ((0, "o"), (1, "x")):
                chosen = points[targets == value][::4]
                axis.plot(chosen["x"], chosen["y"], marker, color="#ffffff", markersize=3,
                          markeredgewidth=0.9, fillstyle="none")  # fmt: skip
            what = "label" if task == "label" else "negation"
            axis.set_title(f"{label}: {what}, accuracy {accuracy:.2f}", loc="left")
            data.append({"run": label, "task": what, "validation accuracy": accuracy})
    if image is not None:
        figure.colorbar(image, ax=axes, label="predicted probability", shrink=0.7)
    return figure, data


def bars_figure(
    root: Path, plan: Plan, paper: Paper, content: BarsFigure
) -> tuple[Canvas, list[dict[str, Any]]]:
    """A table as bars, one panel a column: printed, and ours where it is run."""
    table = find_table(paper, content.table)
    entries = read_json(root / plan.papers[paper.id].tables)["tables"][table.id]
    shown = [
        column
        for column in table.columns
        if any(entries[row.id][column.id]["printed_value"] is not None for row in table.rows)
    ]
    tall = max(1.2, 0.24 * len(table.rows) + 0.7)
    figure, axes = _grid(len(shown), min(3, len(shown)), 2.7 if len(shown) > 1 else 5.5, tall)
    data = []
    for column, axis in zip(shown, axes, strict=True):
        names = [row.label for row in table.rows]
        positions = np.arange(len(names))
        printed = [entries[row.id][column.id]["printed_value"] for row in table.rows]
        ours = [(entries[row.id][column.id]["ours"] or {}).get("mean") for row in table.rows]
        both = any(value is not None for value in ours)
        size = 0.38 if both else 0.7
        axis.barh(positions - (size / 2 if both else 0), [v or 0 for v in printed], size,
                  color=COLOURS[0], label="printed")  # fmt: skip
        if both:
            axis.barh(positions + size / 2, [v or 0 for v in ours], size, color=COLOURS[1],
                      label="ours", hatch="////", edgecolor="#ffffff", linewidth=0)  # fmt: skip
        axis.set_yticks(positions, names)
        axis.invert_yaxis()
        axis.set_title(column.label, loc="left")
        data += [
            {"row": name, "column": column.label, "printed": p, "ours": o}
            for name, p, o in zip(names, printed, ours, strict=True)
        ]
    return figure, data


_MAKERS: dict[str, Any] = {
    "history": history_figure,
    "trajectories": trajectories_figure,
    "decision": decision_figure,
    "bars": bars_figure,
}


def _describe(figure: Figure, data: list[dict[str, Any]]) -> str:
    trend = f" The paper: {figure.trend}" if figure.trend else ""
    return f"{len(data)} numbers, listed in the table below the figure.{trend}"


def make_figure(root: Path, plan: Plan, paper_name: str, name: str) -> None:
    """Write one figure as SVG and the numbers behind it as JSON."""
    paper_plan = plan.paper(paper_name)
    if name not in paper_plan.figure_digests:
        raise UserError(f"{paper_name} has no figure {name!r} that can be drawn in this tier")
    figure = next(f for f in paper_plan.paper.figures if f.id == name)
    salt = f"{paper_name}-{name}"
    with house_style(salt):
        canvas, data = _MAKERS[figure.content.kind](root, plan, paper_plan.paper, figure.content)
        svg = to_svg(canvas, salt, figure.title, _describe(figure, data))
    path = root / paper_plan.figure(name)
    write_text(path, svg)
    cells = plan.cells_of_figure(paper_name, name)
    if isinstance(figure.content, BarsFigure):
        entries = read_json(root / paper_plan.tables)["tables"][figure.content.table]
        marks = {m for row in entries.values() for entry in row.values() for m in entry["marks"]}
    else:
        keys = {training.key for training in cells}
        marks = {
            run.mark for run in plan.runs.values() if run.mark and keys & {*run.cells.values()}
        }
    write_json(
        path.with_suffix(".json"),
        {"data": data, "cells": [training.key for training in cells], "marks": sorted(marks)},
    )
