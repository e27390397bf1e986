"""Tables and curves over fourteen findings: means, the constant predictor, undefined scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from counterpoise.datasets.chestxray14 import Options, tasks
from counterpoise.files import read_json, write_json
from counterpoise.plan import Plan, load_plan
from counterpoise.reproduction.claims import make_claims
from counterpoise.reproduction.drawings.roc import FALSE_POSITIVES, mean_curve
from counterpoise.reproduction.figures import make_figure
from counterpoise.reproduction.tables import make_tables

TASKS = tasks(Options())
NAMES = [task.name for task in TASKS]
TIER = """\
tiers:
  chest:
    title: Chest
    description: The sample.
    datasets:
      chestxray14: {source: nih-chestxray14-sample, seeds: 3}
"""
SCORES = ("auroc", "auprc", "accuracy", "f1", "bce")


def value(seed: int, task: str, metric: str) -> float:
    """A score that depends on seed, task and metric."""
    return 0.5 + 0.01 * NAMES.index(task) + 0.001 * seed + 0.1 * SCORES.index(metric)


def drawn(task: str, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Resamples that all seeds share, with a deviation of 0.02."""
    noise = np.random.default_rng(0).normal(size=50)
    noise = 0.02 * (noise - noise.mean()) / noise.std(ddof=1)
    draws = {
        metric: {
            str(seed): [" ".join(f"{v:.8g}" for v in value(seed, task, metric) + noise)]
            for seed in seeds
        }
        for metric in SCORES
    }
    return {"units": dict.fromkeys(SCORES, 600), "draws": draws}


class Results:
    """Made-up results of the experiments on chest X-rays."""

    def __init__(
        self, root: Path, tiers: str = TIER, papers: tuple[str, ...] = ("deepchest", "rotograd")
    ) -> None:
        (root / "config/tiers.yaml").write_text(tiers, encoding="utf-8")
        self.root = root
        self.plan: Plan = load_plan(root, {"tier": "chest", "papers": list(papers)})
        for training in self.plan.trainings.values():
            names, seeds = training.cell.tasks, training.cell.seeds
            scores = {
                str(s): {"test": {t: {m: value(s, t, m) for m in SCORES} for t in names}}
                for s in seeds
            }
            constant = {"test": {t: dict.fromkeys(SCORES, 0.25) for t in names}}
            content = {"predictions": "0", "scores": scores, "constant": constant}
            resamples = {
                "test": {"items": "0", "factors": [1], "tasks": {t: drawn(t, seeds) for t in names}}
            }
            write_json(root / training.scores, {**content, "resamples": resamples})
            ends = {str(seed): {"trouble": None} for seed in seeds}
            write_json(root / training.file("record.json"), {"seeds": ends})

    def change(
        self, paper: str, experiment: str, run: str, task: str, metric: str, seed: str = ""
    ) -> None:
        """Make one score undefined for every seed, or for one."""
        training = self.plan.trainings[self.plan.runs[paper, experiment, run].cells[task]]
        content = read_json(self.root / training.scores)
        for own, parts in content["scores"].items():
            if seed in ("", own):
                parts["test"][task][metric] = None
        write_json(self.root / training.scores, content)

    def table(self, paper: str, name: str) -> Any:
        make_tables(self.root, self.plan, paper)
        return read_json(self.root / self.plan.papers[paper].tables)["tables"][name]


@pytest.fixture
def results(config_copy: Path) -> Results:
    return Results(config_copy)


def test_a_mean_over_findings_is_taken_seed_by_seed(results: Results) -> None:
    entry = results.table("deepchest", "comparison")["deepchest"]["auroc"]
    expected = {str(s): 100 * np.mean([value(s, t, "auroc") for t in NAMES]) for s in range(3)}
    assert entry["ours"]["values"] == pytest.approx(expected)
    assert entry["reason"] == "" and entry["ours"]["undefined"] == []


def test_a_mean_of_single_task_networks_spans_their_cells(results: Results) -> None:
    entry = results.table("rotograd", "chest-scores")["single-task"]["auroc"]
    assert len(entry["ours"]["cells"]) == 14 and entry["ours"]["n"] == 3


def test_the_constant_predictor_has_one_score(results: Results) -> None:
    row = results.table("deepchest", "comparison")["always-the-prevalence"]
    assert row["accuracy"]["ours"]["values"] == {"constant": 25.0}
    assert row["bce"]["ours"]["mean"] == 0.25 and row["bce"]["ours"]["sd"] is None


def test_a_network_that_stands_in_is_marked(config_copy: Path) -> None:
    made = Results(config_copy)
    assert "other_network" not in made.table("rotograd", "table-4")["mass"]["uniform"]["marks"]
    path = config_copy / "config/tiers.yaml"
    text = path.read_text(encoding="utf-8")
    other = "{rotograd/chest: {network: {name: small_cnn}}}"
    path.write_text(text.replace("seeds: 3}", f"seeds: 3, experiments: {other}}}"))
    plan = load_plan(config_copy, {"tier": "chest"})
    run = plan.runs["rotograd", "chest", "uniform"]
    assert run.marks == ["reduced", "other_network"]
    assert run.other_network and "network small_cnn for densenet" in run.reductions
    written = Results(config_copy, path.read_text(encoding="utf-8"))
    marks = written.table("rotograd", "table-4")["mass"]["uniform"]["marks"]
    assert "other_network" in marks


def test_the_constant_predictor_is_not_failed_by_the_network(results: Results) -> None:
    key = results.plan.runs["deepchest", "chest", "uniform"].cells["mass"]
    record = results.root / results.plan.trainings[key].file("record.json")
    content = read_json(record)
    content["seeds"]["0"]["trouble"] = {"what": "non-finite loss", "task": "mass", "step": 3}
    write_json(record, content)
    table = results.table("deepchest", "comparison")
    assert table["equal-weights"]["auroc"]["verdict"] == "failed"
    assert table["always-the-prevalence"]["auroc"]["verdict"] != "failed"


def test_an_undefined_score_is_shown_as_such(results: Results) -> None:
    results.change("rotograd", "chest", "uniform", "hernia", "auroc")
    table = results.table("rotograd", "table-4")
    entry = table["hernia"]["uniform"]
    assert entry["ours"] is None and entry["verdict"] == "undefined"
    assert "positives or negatives" in entry["reason"] and entry["run"] == "chest/uniform"
    assert table["mass"]["uniform"]["verdict"] != "undefined"
    assert table["delta_m"]["uniform"]["verdict"] == "undefined", "it needs every finding"


def test_a_mean_says_which_findings_it_leaves_out(results: Results) -> None:
    results.change("rotograd", "chest", "uniform", "hernia", "auroc")
    entry = results.table("rotograd", "chest-scores")["uniform"]["auroc"]
    others = [value(0, task, "auroc") for task in NAMES if task != "hernia"]
    assert entry["ours"]["values"]["0"] == pytest.approx(100 * np.mean(others))
    assert entry["ours"]["undefined"] == ["hernia"] and "hernia" in entry["reason"]


def test_a_mean_says_which_seeds_it_leaves_out(results: Results) -> None:
    """The finding has a score: what is missing is one seed's."""
    results.change("rotograd", "chest", "uniform", "hernia", "auroc", seed="2")
    entry = results.table("rotograd", "chest-scores")["uniform"]["auroc"]
    assert set(entry["ours"]["values"]) == {"0", "1"} and entry["ours"]["undefined"] == []
    assert entry["reason"] == "mean without seed 2, which lacks a task's score"
    assert "partial" in entry["marks"]


def predictions(seeds: int = 2, none: str = "") -> pd.DataFrame:
    rng = np.random.default_rng(4)
    frames = []
    for seed in range(seeds):
        for part in ("validation", "test"):
            frame = pd.DataFrame({"seed": seed, "part": part, "item": np.arange(60)})
            for task in NAMES:
                target = rng.integers(0, 2, 60) * (task != none)
                frame[f"target.{task}"] = target
                frame[f"output.{task}.0"] = rng.normal(size=60) + target
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def test_a_curve_is_the_mean_over_seeds() -> None:
    table = pd.DataFrame(
        {
            "seed": [0, 0, 0, 0, 1, 1, 1, 1], "part": "test",
            "target.mass": [0, 1, 0, 1, 0, 1, 0, 1],
            "output.mass.0": [0.1, 0.9, 0.2, 0.8, 0.9, 0.1, 0.8, 0.2],
        }
    )  # fmt: skip
    task = next(task for task in TASKS if task.name == "mass")
    curve = mean_curve(table, task)
    assert curve is not None
    # One seed is always right and one always wrong: one half, but for the last point.
    assert curve[1:-1] == pytest.approx(0.5) and curve[-1] == 1.0
    assert mean_curve(table[table["target.mass"] == 0], task) is None
    assert len(curve) == len(FALSE_POSITIVES)


def test_a_curve_leaves_out_unknown_labels_and_the_seed_that_failed() -> None:
    table = pd.DataFrame(
        {
            "seed": [0] * 5 + [1] * 4, "part": "test", "target.mass": [0, 0, 1, 1, -1, 0, 0, 1, 1],
            "output.mass.0": [0.0, 1.0, 2.0, 3.0, np.nan, 0.0, np.nan, 2.0, 3.0],
        }
    )  # fmt: skip
    task = next(task for task in TASKS if task.name == "mass")
    assert mean_curve(table, task) == pytest.approx(np.ones(len(FALSE_POSITIVES)))
    assert mean_curve(table[table["seed"] == 1], task) is None, "no curve is left"


def test_curves_come_with_areas_and_intervals(results: Results) -> None:
    for run in ("uniform", "rotograd"):
        training = results.plan.trainings[results.plan.runs["rotograd", "chest", run].cells["mass"]]
        predictions(none="hernia").to_parquet(
            results.root / training.file("predictions.parquet"), index=False
        )
    for key in results.plan.runs["rotograd", "chest", "single_task"].keys:
        path = results.root / results.plan.trainings[key].file("predictions.parquet")
        predictions().to_parquet(path, index=False)
    results.change("rotograd", "chest", "uniform", "hernia", "auroc")
    make_figure(results.root, results.plan, "rotograd", "chest-roc")
    path = results.root / results.plan.papers["rotograd"].figure("chest-roc")
    data = read_json(path.with_suffix(".json"))
    rows = {(row["run"], row["finding"]): row for row in data["data"]}
    assert len(rows) == 3 * 14 and data["marks"] == ["reduced"]
    undefined = rows["uniform", "Hernia"]
    assert undefined["AUROC"] is None and undefined["low"] is None
    row = rows["rotograd", "Mass"]
    # Seeds 0.001 apart, items 0.02: s^2 / n + 0.02^2, hardly more than the items' part, which
    # moves all seeds alike.
    half = 1.96 * np.sqrt(0.001**2 / 3 + 0.02**2)
    assert row["AUROC"] == pytest.approx(value(1, "mass", "auroc"), abs=1e-4)
    assert row["high"] - row["low"] == pytest.approx(2 * half, rel=0.01)
    assert path.read_text(encoding="utf-8").count("Hernia") >= 1


def test_a_correlation_over_swept_weights_is_judged(config_copy: Path) -> None:
    """Norms whose spread falls from setting to setting while the gain rises, seed by seed alike."""
    results = Results(config_copy, papers=("imbalance",))
    runs = [r for r in results.plan.runs if r[:2] == ("imbalance", "chest") and r[2][0:2] == "w_"]
    assert len(runs) == 9
    for n, run in enumerate(runs):
        training = results.plan.trainings[results.plan.runs[run].cells["nodule"]]
        first, names = training.cell.tasks[0], training.cell.tasks
        rows = [
            (seed, epoch, "gradient_norm", task, 2.0 + 9 - n if task == first else 1.0)
            for seed in training.cell.seeds for epoch in range(2) for task in names
        ]  # fmt: skip
        rows += [(s, e, q, t, 1.0) for s, e, _, t, _ in rows for q in ("weight", "cosine")]
        seen = pd.DataFrame(rows, columns=["seed", "epoch", "quantity", "task", "value"])
        seen.to_parquet(results.root / training.file("history.parquet"))
        content = read_json(results.root / training.scores)
        for parts in content["scores"].values():
            for scores in parts["test"].values():
                scores["auroc"] += 0.01 * n
        write_json(results.root / training.scores, content)
    entry = results.table("imbalance", "sweep")["w-10-10"]
    assert entry["spread"]["ours"]["mean"] < 1 and entry["delta_m"]["ours"]["mean"] > 0
    make_claims(results.root, results.plan, "imbalance")
    claims = read_json(results.root / results.plan.papers["imbalance"].claims)["claims"]
    found = next(claim for claim in claims if claim["id"] == "gradient-norm-correlation")
    assert "9 settings: -1.00" in found["runs"]["steps"][0]
    assert found["word"] == "inconclusive", "the rival does not vary"
