"""Mistakes in the configuration: each one message, with file, line and remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from counterpoise import registry
from counterpoise.checks.catalogue import check_entry
from counterpoise.errors import UserError
from counterpoise.methods._base import Method
from counterpoise.project import load_project
from counterpoise.skeleton import new_dataset, new_study
from counterpoise.spec.load import Document

from ..support import edit, error_of

ROTOGRAD, TIERS, CONFIG = "papers/rotograd.yaml", "tiers.yaml", "config.yaml"
MULTIMNIST = "datasets/multimnist.yaml"

# what is wrong: file, what stands there, what is written instead, said, remedy
MISTAKES = {
    "method": (ROTOGRAD, "{method: gradnorm, label", "{method: gradnrom, label",
               "unknown method 'gradnrom'", "did you mean 'gradnorm'?"),
    "key": (ROTOGRAD, "repeats: 10", "repeat: 10", "repeat'", "did you mean 'repeats'?"),
    "option": (ROTOGRAD, "tie_break: svd", "tiebreak: svd", "tiebreak'",
               "did you mean 'tie_break'?"),
    "network": (ROTOGRAD, "{name: lenet,", "{name: lenett,", "unknown network 'lenett'",
                "did you mean 'lenet'?"),
    "network option": (ROTOGRAD, "options: {size: reduced}", "options: {sise: reduced}",
                       "sise'", "did you mean 'size'?"),
    "dataset": (ROTOGRAD, "dataset: multimnist", "dataset: multimnits",
                "unknown dataset 'multimnits'", "did you mean 'multimnist'?"),
    "task": (ROTOGRAD, "{label: Left, task: left", "{label: Left, task: lefft",
             "unknown task 'lefft'", "did you mean 'left'?"),
    "metric": (ROTOGRAD, "task: sum, metric: mse", "task: sum, metric: msee",
               "has no metric 'msee'", "did you mean 'mse'?"),
    "run": (ROTOGRAD, "run: rotograd_decay_0.9,", "run: rotograd_decay_0.8,",
            "unknown run 'rotograd_decay_0.8'", "did you mean 'rotograd_decay_0.9'?"),
    "experiment": (ROTOGRAD, "experiment: reduced\n", "experiment: reducd\n",
                   "unknown experiment 'reducd'", "did you mean 'reduced'?"),
    "cell of a claim": (ROTOGRAD, "left: table-3/rotograd/delta_m", "left: table-3/rotogard/delta_m",
                        "unknown row of table-3 'rotogard'", "did you mean 'rotograd'?"),
    "the paper's own run": (ROTOGRAD, "own: rotograd\n", "own: rotogard\n",
                            "unknown run 'rotogard'", "did you mean 'rotograd'?"),
    "run of a family": (ROTOGRAD, "    experiment: chest\n    baseline: single_task\n    task: all\n",
                        "    family: {own: rotogard}\n    experiment: chest\n"
                        "    baseline: single_task\n    task: all\n",
                        "unknown run 'rotogard'", "did you mean 'rotograd'?"),
    "whole of a claim": ("papers/deepchest.yaml", "part_of: seven-percent",
                         "part_of: seven-percents", "unknown claim 'seven-percents'",
                         "did you mean 'seven-percent'?"),
    "cell of a trend, as of a claim": (ROTOGRAD, "left: figure-3-values/conflict-uniform/first",
                        "left: figure-3-values/conflict-unifrom/first",
                        "unknown row of figure-3-values 'conflict-unifrom'",
                        "did you mean 'conflict-uniform'?"),
    "two measures": (ROTOGRAD, "history: validation_metric\n",
                     "history: validation_metric\n    metric: accuracy\n",
                     "metric and history for one number", "give only one of them"),
    "table of a figure": ("papers/thoracic.yaml", "{kind: bars, table: table-1}",
                          "{kind: bars, table: tabel-1}", "unknown table 'tabel-1'",
                          "did you mean 'table-1'?"),
    "baseline": (ROTOGRAD, "baseline: single_task\n", "baseline: singel_task\n",
                 "delta_m needs a `baseline` run", "`baseline: single_task`"),
    "id": (ROTOGRAD, "id: rotograd\n", "id: rotogrd\n", "id is 'rotogrd'", "`id: rotograd`"),
    "dataset of a tier": (TIERS, "toy: {source", "tooy: {source", "unknown dataset 'tooy'",
                          "did you mean 'toy'?"),
    "source of a tier": (TIERS, "source: digits\n", "source: digit\n", "no source 'digit'",
                         "did you mean 'digits'?"),
    "run of a tier": (TIERS, "rotograd/reduced/uniform", "rotograd/reduced/unifrom",
                      "no experiment or run 'rotograd/reduced/unifrom'", "paper/experiment/run"),
    "option of a tier": (TIERS, "{train_pairs: 512", "{train_pair: 512", "train_pair'",
                         "did you mean 'train_pairs'?"),
    "empty part": (TIERS, "validation_pairs: 128", "validation_pairs: 0",
                   "greater than or equal to 1", ""),
    "option of a source": (MULTIMNIST, "options: {train_pairs", "options: {trian_pairs",
                           "trian_pairs'", "did you mean 'train_pairs'?"),
    "option of an experiment's data": (
        ROTOGRAD, "    dataset: multimnist\n",
        "    dataset_options: {train_pears: 3}\n    dataset: multimnist\n",
        "train_pears'", "did you mean 'train_pairs'?"),
    "options of data that do not fit together": (
        TIERS, "dataset_options: {size: 64, split: stratified, training_share: 1.0}",
        "dataset_options: {size: 64, split: stratified, test_share: 0.95}",
        "leave nothing for training", ""),
    "claim without a margin": (
        "papers/imbalance.yaml", "right: chest/grid-search/seconds, expect: lower",
        "right: chest/grid-search/seconds, expect: similar",
        "neither a printed number nor a margin", "`margin`"),
    "run of an explanation": ("papers/thoracic.yaml", "experiment: resnet152\n", "experiment: resnet125\n",
                              "unknown experiment 'resnet125'", "did you mean 'resnet152'?"),
    "figure of other data": (
        ROTOGRAD, "{kind: trajectories, experiment: toy_conflict,",
        "{kind: trajectories, experiment: toy_negation,",
        "cannot show experiment 'toy_negation', whose data are not the toy problem with tasks first",
        "name another experiment"),
    "curves of other tasks": (
        ROTOGRAD, "{kind: roc, experiment: chest, runs: [uniform, rotograd, single_task]}",
        "{kind: roc, experiment: reduced, runs: [uniform]}",
        "cannot show experiment 'reduced', whose tasks do not all have an AUROC", "another"),
    "calibration of one finding": (
        ROTOGRAD, "{kind: roc, experiment: chest, runs: [uniform, rotograd, single_task]}",
        "{kind: reliability, lines: [{experiment: reduced, run: uniform}]}",
        "cannot show experiment 'reduced', which does not have several findings", "another"),
    "calibration of single-task networks": (
        ROTOGRAD, "{kind: roc, experiment: chest, runs: [uniform, rotograd, single_task]}",
        "{kind: reliability, lines: [{experiment: chest, run: single_task}]}",
        "is of one network; single-task networks are many", "all tasks"),
    "spread of one task": (
        "papers/imbalance.yaml", "task: all, history: norm_spread, better: lower}",
        "task: mass, history: norm_spread, better: lower}", "is for all tasks, not for 'mass'",
        "`task: all`"),
    "gain of another predictor": (
        "papers/imbalance.yaml", "metric: delta_m, percent: true",
        "metric: delta_m, predictor: constant, percent: true",
        "delta_m is for networks, not for other predictors", "leave it out"),
    "search of single-task networks": (
        ROTOGRAD, "{method: single_task, label: single task}",
        "{method: single_task, label: single task, search: {grid: {alpha: [1.0]}}}",
        "single_task has nothing to search", "leave `search` out"),
    "explanation of single-task networks": (
        ROTOGRAD, "tables:\n",
        "explanations: {ours: {experiment: chest, run: single_task, tasks: [mass]}}\ntables:\n",
        "an explanation is of one network, and single-task runs have several", "all tasks"),
    "tier that another is like": (TIERS, "like: sample\n", "like: sampel\n",
                                  "no tier 'sampel'", "did you mean 'sample'?"),
    "tier that is taken": (TIERS, "  smoke:\n", "  own:\n", "tier 'own' is reserved for comparisons",
                           "choose another name"),
    "tier": (CONFIG, "tier: demo", "tier: dmo", "unknown tier 'dmo'", "did you mean 'demo'?"),
    "chosen paper": (CONFIG, "papers: all", "papers: [rotogard]", "unknown paper 'rotogard'",
                     "did you mean 'rotograd'?"),
    "chosen method": (CONFIG, "methods: all", "methods: [unifrm]", "unknown method 'unifrm'",
                      "did you mean 'uniform'?"),
    "setting": (CONFIG, "mirror: null", "miror: null", "unknown key 'miror'",
                "did you mean 'mirror'?"),
}  # fmt: skip


def errors_of(root: Path, overrides: dict[str, Any] | None = None) -> list[UserError]:
    return error_of(lambda: load_project(root, overrides)).errors


@pytest.mark.parametrize("name", MISTAKES)
def test_one_mistake_gives_one_message(config_copy: Path, name: str) -> None:
    file, old, new, said, remedy = MISTAKES[name]
    path = config_copy / "config" / file
    line = edit(path, old, new)
    (error,) = errors_of(config_copy)
    assert said in error.what
    assert remedy in error.remedy
    place, _, told = error.where.rpartition(":")
    assert place == str(path)
    # A claim's cells are told with the line of its `test:`, a little above.
    assert line - 3 <= int(told) <= line if "claim" in name else int(told) == line


@pytest.mark.parametrize(
    ("given", "lacks"),
    [
        ({}, "`label` and no `signal`"),
        ({"label": "bare"}, "`signal`"),
        ({"signal": "z"}, "`label`"),
    ],
)
def test_a_method_needs_a_label_and_a_signal(
    given: dict[str, str], lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "method", lambda name: type("Bare", (Method,), given))
    document = Document(Path("paper.yaml"), {}, {})
    (error,) = check_entry("methods", "gradnorm", {}, document, ("runs", "bare"))
    assert error.what == f"method 'gradnorm' has no {lacks}"
    assert error.where.endswith("methods/gradnorm.py") and "in the class" in error.remedy


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("learning_rate: 0.001", "learning_rate: -0.001", "greater than 0 (got -0.001)"),
        ("learning_rate: 0.001", "learning_rate: .inf", "finite"),
        ("epochs: 150", "epochs: -1", "greater than or equal to 0 (got -1)"),
        ("optimizer: adam", "optimizer: adan", "'adam', 'sgd' or 'rmsprop' (got 'adan')"),
        ("    margin: 0.1\n", "    margin: .inf\n", "finite"),
        ('"89.46 ±00.57"', '"89.46 pm 0.57"', "not a printed number"),
    ],
)
def test_a_value_out_of_range(config_copy: Path, old: str, new: str, said: str) -> None:
    path = config_copy / "config" / ROTOGRAD
    line = edit(path, old, new)
    (error,) = errors_of(config_copy)
    assert said in error.what
    assert error.where == f"{path}:{line}"


def test_bars_need_a_table_with_numbers_or_runs(config_copy: Path) -> None:
    """As `counterpoise new paper` writes one, before its numbers are filled in: runs are enough."""
    path = config_copy / "config/papers/db-mtl.yaml"
    before, table, after = re.split(
        r"(?s)(  - id: beta-schedule\n.*?)(?=  - id: runtime\n)", path.read_text(encoding="utf-8")
    )
    empty = re.sub(r'printed: \["[^"]*"\]', 'printed: ["-"]', table)
    path.write_text(before + empty + after, encoding="utf-8")
    (error,) = errors_of(config_copy)
    assert "'beta-schedule' has neither printed numbers nor runs" in error.what
    assert "db-mtl.yaml:" in str(error.where) and error.remedy
    runs = empty.replace(
        "    unavailable: Office-31 is not among this project's datasets\n",
        "    experiment: multimnist\n    run: uniform\n    task: left\n",
    ).replace("metric: delta_p", "metric: accuracy")
    path.write_text(before + runs + after, encoding="utf-8")
    load_project(config_copy)


def test_mistakes_in_several_files_are_told_together(config_copy: Path) -> None:
    config = config_copy / "config"
    edit(config / ROTOGRAD, "repeats: 10", "repeat: 10")
    edit(config / "papers/thoracic.yaml", "year: 2025", "year: soon")
    edit(config / TIERS, "title: Demo", "titel: Demo")
    edit(config / CONFIG, "mirror: null", "miror: null")
    files = {Path(error.where.rpartition(":")[0]).name for error in errors_of(config_copy)}
    assert files == {"rotograd.yaml", "thoracic.yaml", "tiers.yaml", "config.yaml"}


def test_mistakes_of_meaning_are_told_with_those_of_the_settings(config_copy: Path) -> None:
    config = config_copy / "config"
    edit(config / ROTOGRAD, "{method: gradnorm, label", "{method: gradnrom, label")
    edit(config / CONFIG, "mirror: null", "miror: null")
    files = {Path(error.where.rpartition(":")[0]).name for error in errors_of(config_copy)}
    assert files == {"rotograd.yaml", "config.yaml"}


def test_the_settings_of_the_checkout(config_copy: Path) -> None:
    settings = load_project(config_copy).config
    assert settings.mirror is None
    assert (settings.tier, settings.papers, settings.methods) == ("demo", "all", "all")


def test_a_command_line_overrides_the_settings(config_copy: Path) -> None:
    overrides = {"tier": "paper", "papers": ["rotograd"], "mirror": "/x"}
    found = load_project(config_copy, overrides).config
    assert (found.tier, found.papers, found.mirror) == ("paper", ("rotograd",), "/x")


@pytest.mark.parametrize("words", ["rotograd,thoracic", ["rotograd", "thoracic"]])
def test_a_command_line_may_list_words_with_commas(config_copy: Path, words: Any) -> None:
    chosen = load_project(config_copy, {"papers": words, "methods": "uniform"}).config
    assert chosen.papers == ("rotograd", "thoracic") and chosen.methods == ("uniform",)


@pytest.mark.parametrize("overrides", [{"tier": "dmo"}, {"mirorr": "x"}, {"device": "gpu"}])
def test_a_mistake_on_the_command_line(config_copy: Path, overrides: dict[str, Any]) -> None:
    (error,) = errors_of(config_copy, overrides)
    (word,) = overrides.values()
    assert word in error.what or "mirorr" in error.what
    assert error.where == "command line", "it does not stand in the file"


def test_a_value_that_the_file_has_too_is_told_with_its_line(config_copy: Path) -> None:
    """Snakemake hands the file's own values over as if they were overrides."""
    path = config_copy / "config" / CONFIG
    line = edit(path, "tier: demo", "tier: dmo")
    (error,) = errors_of(config_copy, {"tier": "dmo"})
    assert error.where == f"{path}:{line}"


@pytest.mark.parametrize("content", ["- tier\n", "demo\n"])
def test_settings_that_are_no_mapping(config_copy: Path, content: str) -> None:
    (config_copy / "config" / CONFIG).write_text(content, encoding="utf-8")
    (error,) = errors_of(config_copy, {"tier": "demo"})
    assert CONFIG in error.where


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    (error,) = errors_of(tmp_path)
    assert "checkout" in error.remedy and error.where == str(tmp_path)


def test_a_file_that_is_missing_is_named(config_copy: Path) -> None:
    (config_copy / "config" / TIERS).unlink()
    (error,) = errors_of(config_copy)
    assert error.where.endswith(TIERS) and "cannot read" in error.what


# Data of one's own ---------------------------------------------------------------------------


def own(root: Path, name: str, folder: Path) -> Path:
    """A dataset of one's own with its study; the study's file."""
    new_dataset(root, name, str(folder), "labels.csv", ["Mass", "Oedema"])
    return new_study(root, load_project(root).datasets[name])


def test_options_that_fit_the_datasets_own_are_no_mistake(config_copy: Path) -> None:
    study = own(config_copy, "mine", config_copy)
    edit(study, "method: famo", "method: fixed, options: {weights: {mass: 1, oedema: 2}}")
    edit(study, "protocol:", "dataset_options: {uncertain_of: {Mass: positive}}\nprotocol:")
    load_project(config_copy)


def test_all_studies_of_a_dataset_take_one_source(config_copy: Path) -> None:
    study = own(config_copy, "mine", config_copy)
    dataset = config_copy / "config" / "datasets" / "mine.yaml"
    text = dataset.read_text(encoding="utf-8")
    block = text[text.index("  mine-folder:") :]
    dataset.write_text(text + block.replace("mine-folder", "mine-second"), encoding="utf-8")
    second = study.with_name("second.yaml")
    content = study.read_text(encoding="utf-8").replace("id: mine", "id: second")
    second.write_text(content, encoding="utf-8")
    load_project(config_copy)
    line = edit(second, "source: mine-folder", "source: mine-second")
    (error,) = errors_of(config_copy)
    assert "one source" in error.what and error.where == f"{second}:{line}"


def test_one_name_is_one_source(config_copy: Path) -> None:
    own(config_copy, "mine", config_copy)
    first = config_copy / "config" / "datasets" / "mine.yaml"
    other = first.with_name("other.yaml")
    content = first.read_text(encoding="utf-8").replace("id: mine", "id: other")
    other.write_text(content.replace(str(config_copy), str(config_copy / "b")), encoding="utf-8")
    (error,) = errors_of(config_copy)
    assert "mine has a different source named 'mine-folder'" in error.what


def test_a_method_that_the_comparison_cannot_name(config_copy: Path) -> None:
    study = own(config_copy, "mine", config_copy)
    line = edit(study, "  famo:", "  always:")
    (error,) = errors_of(config_copy)
    assert "cannot be named 'always'" in error.what and error.where == f"{study}:{line}"


def test_a_tier_runs_papers_or_comparisons_of_ones_own(config_copy: Path) -> None:
    """One that is chosen for the other's tier would give a report of nothing."""
    own(config_copy, "mine", config_copy)
    load_project(config_copy, {"tier": "own", "papers": "mine"})
    load_project(config_copy, {"tier": "demo", "papers": "rotograd"})
    (error,) = errors_of(config_copy, {"papers": "mine"})
    assert "'mine' is a comparison on your own data" in error.what
    assert "tier=own" in error.remedy and error.where == "command line"
    (error,) = errors_of(config_copy, {"tier": "own", "papers": "mine,rotograd"})
    assert "'rotograd' is a paper" in error.what and "another tier" in error.remedy
