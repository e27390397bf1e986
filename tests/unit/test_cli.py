"""The command line: a user's error is one message and exit code 1."""

from __future__ import annotations

import gc
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from counterpoise import __version__, cli, lookup
from counterpoise.comparison import find_study
from counterpoise.files import digest_of, write_json
from counterpoise.orders import write_orders
from counterpoise.plan import load_plan
from counterpoise.project import Project, load_project
from counterpoise.skeleton import new_study

from ..support import edit

STEPS = ["download", "prepare", "split", "train", "evaluate", "tables", "figure",
         "claims", "report", "gate", "status", "plan", "schema"]  # fmt: skip


class Said:
    """What a command printed and how it ended."""

    def __init__(self, code: object, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> object:
    def call(folder: Path, *words: str, **variables: str) -> Said:
        """Run a command; variables are those that a workflow gives its jobs."""
        for name in ("TIER", "MIRROR", "METHODS", "PAPERS", "DEVICE"):
            monkeypatch.delenv(f"COUNTERPOISE_{name}", raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(f"COUNTERPOISE_{name}", value)
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["counterpoise", *words])
        monkeypatch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return Said(ended.value.code, said.out, said.err)

    return call


def check_error(said: Said, *parts: str) -> None:
    assert said.code == 1
    assert said.out == ""
    assert said.err.startswith("error: ") and said.err.count("error: ") == 1
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err


def test_help_lists_every_command(run, tmp_path: Path) -> None:
    said = run(tmp_path, "--help")
    assert said.code == 0
    words = said.out.split()
    assert [step for step in STEPS if step not in words] == []


@pytest.mark.parametrize("step", STEPS)
def test_every_command_has_help(run, tmp_path: Path, step: str) -> None:
    said = run(tmp_path, step, "--help")
    assert said.code == 0 and "Usage" in said.out


def test_version(run, tmp_path: Path) -> None:
    said = run(tmp_path, "--version")
    assert (said.code, said.out.strip()) == (0, f"counterpoise {__version__}")


@pytest.mark.parametrize("words", [["plan"], ["status"], ["train", "a/b"], ["download", "mnist"]])
def test_outside_of_a_checkout(run, tmp_path: Path, words: list[str]) -> None:
    check_error(run(tmp_path, *words), str(tmp_path), "config/config.yaml", "what to do: change to")


def test_a_folder_inside_of_a_checkout_will_do(run, config_copy: Path) -> None:
    inner = config_copy / "docs" / "deep"
    inner.mkdir(parents=True)
    said = run(inner, "plan", "--tier", "smoke")
    assert said.code == 0 and "2 cells in tier smoke" in said.out
    assert said.out.splitlines()[0].startswith("-")


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["plan", "--tier", "dmo"], ["unknown tier 'dmo'", "did you mean 'demo'?"]),
        (["download", "mnits"], ["unknown source 'mnits'", "did you mean 'mnist'?"]),
        (["train", "no/cell", "--tier", "smoke"], ["has no cell no/cell", "what to do"]),
        (["train", "a/b", "--replicates", "both"], ["'both'", "auto, together or alone"]),
        (["evaluate", "no/cell", "--tier", "smoke"], ["has no cell no/cell"]),
        (["split", "000000000000"], ["000000000000", "folder in data/prepared"]),
        (["download", "mnist", "--mirror", "~nobody-has-this-name/x"], ["no such folder"]),
        (["download", "mnist", "--mirror", "https://[x"], ["https://[x", "not a valid address"]),
        (["download", "mnist", "--mirror", "http:///x"], ["names no host"]),
        (["new", "dataset", "null"], ["'null'", "choose another name"]),
        (["new", "paper", "true"], ["'true'", "choose another name"]),
        (["new", "dataset", "all"], ["'all' means all", "choose another name"]),
        (["new", "paper", "nan"], ["'nan' is read as a number", "choose another name"]),
        (["new", "method", "inf"], ["'inf' is read as a number", "choose another name"]),
        (["new", "dataset", "thoracic"], ["taken", "choose another name"]),
        (["new", "dataset", "ours", "--labels", "a,b,a"], ["'a' is given twice"]),
        (["new", "dataset", "ours", "--labels", "a,,b"], ["a label is empty"]),
        (["new", "method", "combined"], ["'Combined'", "choose another name"]),
        (["why", "x/y", "--tier", "paper"], ["no cell 'x/y'", "and "]),
        (["why", "lenet", "--tier", "smoke"], ["no cell 'lenet'", "one of: multimnist-lenet-"]),
        (["why", "a/results/b/results/demo/cells/x/y", "--tier", "smoke"], ["tier demo", "smoke"]),
        (["tables", "no-paper", "--tier", "smoke"], ["no-paper"]),
        (["claims", "no-paper", "--tier", "smoke"], ["no-paper"]),
        (["figure", "no-paper", "figure-1", "--tier", "smoke"], ["no-paper"]),
        (["figure", "rotograd", "no-figure", "--tier", "smoke"], ["no-figure"]),
        (["tables", "rotograd", "--methods", "unifrm"], ["unknown method 'unifrm'"]),
        (["report", "--papers", ""], ["papers: neither 'all' nor names", "separated by commas"]),
        (["tables", "rotograd", "--methods", "uniform,"], ["methods: neither 'all' nor names"]),
        (["gate", "--tier", "smoke"], ["has no result", "see logs/smoke/train/"]),
    ],
)
def test_a_wrong_word(run, config_copy: Path, words: list[str], parts: list[str]) -> None:
    check_error(run(config_copy, *words), *parts)


def test_what_is_not_said_is_as_the_configuration_says(run, config_copy: Path) -> None:
    edit(config_copy / "config/config.yaml", "tier: demo", "tier: smoke")
    edit(config_copy / "config/config.yaml", "mirror: null", "mirror: nowhere")
    assert "cells in tier smoke, time budget 60 s on two cores" in run(config_copy, "plan").out
    check_error(run(config_copy, "download", "mnist"), "nowhere", "does not exist")


def test_a_workflow_without_a_mirror_has_none(
    run, config_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--config mirror=` leaves out what config.yaml names."""
    edit(config_copy / "config/config.yaml", "mirror: null", "mirror: nowhere")
    asked: list[object] = []
    monkeypatch.setattr("counterpoise.fetch.fetch_source", lambda *words: asked.append(words[3]))
    monkeypatch.setenv("COUNTERPOISE_WORKFLOW", "1")
    run(config_copy, "download", "mnist")
    assert asked == [None]


def test_data_are_named_as_their_folder_is(run, config_copy: Path) -> None:
    plan = load_plan(config_copy, {"tier": "smoke"})
    (data,) = {training.data.split: training.data for training in plan.trainings.values()}.values()
    said = run(config_copy, "split", Path(data.prepared).parent.name)
    check_error(said, "not prepared yet", f"counterpoise prepare {data.digest}")


def own_data(run, config_copy: Path, name: str) -> Path:
    """A folder of one's own with a table, and the study that compares methods on it."""
    folder = config_copy / "data" / "own" / name
    folder.mkdir(parents=True)
    (folder / "labels.csv").write_text("file,patient,Mass\na.png,1,1\n", encoding="utf-8")
    words = ("new", "dataset", name, "--folder", f"data/own/{name}", "--labels", "Mass")
    assert run(config_copy, *words).code == 0
    new_study(config_copy, load_project(config_copy).datasets[name])
    return folder


def test_data_whose_images_have_moved_are_told_so(run, config_copy: Path) -> None:
    """Not that no tier uses them."""
    folder = own_data(run, config_copy, "abd")
    plan = load_plan(config_copy, {"tier": "own", "papers": "all", "methods": "all"})
    data = next(iter(plan.trainings.values())).data
    folder.rename(folder.with_name("elsewhere"))
    said = run(config_copy, "prepare", "abd-000000000000")
    check_error(said, "no tier uses data", "tier own cannot be planned", "there is no such folder")
    said = run(config_copy, "prepare", Path(data.prepared).parent.name, TIER="own")
    check_error(said, "there is no such folder", "data/own")


def test_a_comparison_does_without_the_images_of_another(run, config_copy: Path) -> None:
    own_data(run, config_copy, "ours")
    own_data(run, config_copy, "theirs").rename(config_copy / "elsewhere")
    made = load_plan(config_copy, {"tier": "own", "papers": "ours"})
    training = next(iter(made.trainings.values()))
    own = ("--tier", "own")
    check_error(run(config_copy, "tables", "ours", *own), "ours-resnet-uniform", "scores-")
    check_error(run(config_copy, "claims", "ours", *own), "tables-", "no such file")
    check_error(run(config_copy, "figure", "ours", "x", *own), "'x'")
    check_error(run(config_copy, "explain", "ours", "x", *own), "no explanation 'x'")
    assert "theirs" not in run(config_copy, "views", "ours", *own).err
    job = {"TIER": "own", "PAPERS": "ours"}
    check_error(run(config_copy, "split", training.data.digest, **job), "not prepared yet")
    digest = "0" * 12  # planned anew, as what is ordered has changed meanwhile
    said = run(config_copy, "train", f"{training.name}/{digest}", *own, **job)
    check_error(said, "is now planned with another digest")


def test_a_job_plans_the_workflows_tier_and_no_other(
    run, config_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned: list[str] = []
    make = lookup.make_plan

    def noted(project: Project, tier: str, *rest: Any) -> Any:
        planned.append(tier)
        return make(project, tier, *rest)

    made = load_plan(config_copy, {"tier": "mnist"})
    digest = next(iter(made.trainings.values())).data.digest
    monkeypatch.setattr(lookup, "make_plan", noted)
    edit(config_copy / "config/config.yaml", "tier: demo", "tier: mnist")
    check_error(run(config_copy, "split", digest), "not prepared yet")
    assert planned == ["mnist"]


def test_a_label_that_the_table_lacks_is_told_at_once(run, config_copy: Path) -> None:
    folder = config_copy / "data" / "own"
    folder.mkdir(parents=True)
    (folder / "labels.csv").write_text("file,patient,Mass,Effusion\n", encoding="utf-8-sig")
    said = run(config_copy, "new", "dataset", "ours", "--labels", "Effusion,Mas")
    check_error(said, "labels.csv:1", "no column 'Mas'", "did you mean 'Mass'?")
    assert not (config_copy / "config" / "datasets" / "ours.yaml").exists()
    assert run(config_copy, "new", "dataset", "ours", "--labels", "Effusion, Mass").code == 0


def test_what_a_new_dataset_lacks_is_told_at_once(run, config_copy: Path) -> None:
    said = run(config_copy, "new", "dataset", "first", "--folder", "imgs", "--labels", "Mass")
    assert said.code == 0 and f"no such folder yet: {config_copy / 'imgs'}" in said.out
    below = config_copy / "config" / "imgs"  # as one types it who stands there
    below.mkdir()
    new = ("--folder", "imgs", "--labels", "Mass")
    said = run(config_copy / "config", "new", "dataset", "second", *new)
    assert said.code == 0 and f"no such table yet: {below / 'labels.csv'}" in said.out
    assert '"config/imgs"' in (config_copy / "config/datasets/second.yaml").read_text()
    table = below / "labels.csv"
    for content, words in (
        ("", "labels.csv: is empty"),
        ("file,patient,Mass,Mass\n", "labels.csv:1: has 2 columns called 'Mass'"),
    ):
        table.write_text(content, encoding="utf-8")
        check_error(run(config_copy / "config", "new", "dataset", "third", *new), words)
    table.write_text("image,patient,Mass\n", encoding="utf-8")
    said = run(config_copy / "config", "new", "dataset", "third", *new)
    assert said.code == 0 and "has no column 'file'" in said.out and "'patient'" not in said.out


def test_a_comparison_without_its_images_leaves_no_study_behind(run, config_copy: Path) -> None:
    check_error(run(config_copy, "compare", "chexpert"), "there is no such folder")
    assert not (config_copy / "config" / "studies" / "chexpert.yaml").exists()


def test_a_comparison_becomes_the_workflow(
    run, config_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its own process, so that a wish to stop reaches it and it has the time to save."""
    asked = []

    def become(path: str, words: list[str]) -> None:
        asked.extend([Path.cwd(), path, *words])
        raise SystemExit(7)

    monkeypatch.setattr("os.execv", become)
    assert run(config_copy, "compare", "chestmnist", "--dry-run").code == 7
    assert asked[:5] == [config_copy, sys.executable, sys.executable, "-m", "snakemake"]
    assert "papers=chestmnist" in asked and "--dry-run" in asked


def test_a_reference_of_another_tier_is_not_written_over(run, config_copy: Path) -> None:
    """The tier is the demo's where none is given."""
    card = config_copy / "reports/reference/large/reference.json"
    card.parent.mkdir(parents=True)
    card.write_text('{"tier": "paper"}', encoding="utf-8")
    said = run(config_copy, "reference", "large", "--tier", "smoke")
    check_error(said, "holds tier paper, not smoke", "choose another name", str(card.parent))


def test_a_study_that_starts_from_other_data_needs_a_study_of_them(run, config_copy: Path) -> None:
    """Its tier has no entry that one could write."""
    own_data(run, config_copy, "ours")
    first = "  initial: {kind: pretrained, dataset: chestmnist}\n  epochs: 20"
    edit(config_copy / "config/studies/ours.yaml", "  epochs: 20", first)
    said = run(config_copy, "compare", "ours")
    check_error(said, "no dataset 'chestmnist'", "`counterpoise compare chestmnist --dry-run`")
    check_error(said, str(config_copy / "config/studies"))


def test_why_names_the_files_of_a_study_and_the_tier_of_a_cell(run, config_copy: Path) -> None:
    own_data(run, config_copy, "ours")
    made = load_plan(config_copy, {"tier": "own", "papers": "ours"})
    training = made.trainings[made.runs["ours", "methods", "uw"].first]
    said = run(config_copy, "why", training.name)
    check_error(said, "tier demo has no cell", "add `--tier own`")
    identity = {"cell": {}, **training.identity}
    record = {"cell": {}, "identity": training.identity, "digest": digest_of(identity)}
    write_json(config_copy / f"results/own/cells/{training.name}/000/record.json", record)
    said = run(config_copy, "why", training.name, "--tier", "own")
    files = "config/studies/ours.yaml, config/datasets/ours.yaml"
    assert said.code == 0 and said.out.splitlines()[-1] == f"  configuration: {files}"


def test_several_studies_of_a_dataset_are_compared_by_name(
    run, config_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def become(_: str, words: list[str]) -> None:
        asked.extend(words)
        raise SystemExit(7)

    monkeypatch.setattr("os.execv", become)
    own_data(run, config_copy, "ours")
    studies = config_copy / "config" / "studies"
    text = (studies / "ours.yaml").read_text(encoding="utf-8")
    (studies / "small.yaml").write_text(text.replace("id: ours", "id: small"), encoding="utf-8")
    assert run(config_copy, "compare", "small").code == 7
    assert "papers=small" in asked
    check_error(run(config_copy, "compare", "smal"), "no study and no dataset", "'small'")
    text = text.replace("id: ours", "id: larger").replace("dataset: ours", "dataset: chestmnist")
    text = text.replace("source: ours-folder", "source: chestmnist-64")
    (studies / "larger.yaml").write_text(text, encoding="utf-8")
    assert run(config_copy, "compare", "chestmnist").code == 7
    assert "source: chestmnist-64\n" in (studies / "chestmnist.yaml").read_text(encoding="utf-8")
    (studies / "chestmnist.yaml").unlink()
    (studies / "larger.yaml").unlink()
    # Neither takes the place of the other's report.
    reports = [load_plan(config_copy, {"tier": "own", "papers": p}).report for p in ("ours", "all")]
    assert reports == ["reports/own/ours/index.html", "reports/own/all/index.html"]


def test_a_study_that_cannot_be_planned_is_not_left_behind(
    run, config_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stops it."""
    own_data(run, config_copy, "ours")
    (study := config_copy / "config/studies/ours.yaml").unlink()

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("counterpoise.comparison.make_plan", stopped)
    with pytest.raises(KeyboardInterrupt):
        find_study(config_copy, "ours")
    assert not study.exists()


def test_a_file_that_cannot_be_read_is_one_message(
    run, config_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "some/file")

    monkeypatch.setattr("counterpoise.status.read_progress", refuse)
    check_error(run(config_copy, "status"), "some/file: Permission denied")


def test_what_cannot_be_compared_leaves_no_study_behind(run, config_copy: Path) -> None:
    """It would stop every other command."""
    said = run(config_copy, "compare", "toy")
    check_error(said, "config/datasets/toy.yaml", "present or absent", "config/papers")
    assert not (config_copy / "config" / "studies" / "toy.yaml").exists()
    assert run(config_copy, "plan", "--tier", "smoke").code == 0


def test_an_explanation_of_an_unknown_paper(run, config_copy: Path) -> None:
    check_error(run(config_copy, "explain", "nosuch", "x"), "unknown paper 'nosuch'")


def test_a_method_is_not_named_as_a_word_of_the_language(run, config_copy: Path) -> None:
    check_error(run(config_copy, "new", "method", "none"), "'None'", "choose another name")


def test_mistakes_in_files_are_one_message_a_line(run, config_copy: Path) -> None:
    path = config_copy / "config/papers/rotograd.yaml"
    one = edit(path, "repeats: 10", "repeat: 10")
    other = edit(path, "tie_break: svd", "tiebreak: svd")
    said = run(config_copy, "plan")
    check_error(said, f"{path}:{one}: unknown key", "did you mean 'repeats'?")
    assert f"{path}:{other}" not in said.err, "options are checked once the file has its form"


def test_raw_files_are_put_where_the_plan_looks_for_them(run, config_copy: Path) -> None:
    run(config_copy, "download", "digits")
    plan = load_plan(config_copy, {"tier": "smoke"})
    (data,) = {training.data.raw for training in plan.trainings.values()}
    assert (config_copy / data).is_file()


def test_a_missing_mirror(run, config_copy: Path) -> None:
    said = run(config_copy, "download", "mnist", "--mirror", "nowhere")
    check_error(said, "the mirror folder does not exist", "what to do")


def test_a_tier_must_find_room_for_what_it_prepares(
    run, config_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before a file is looked for: those of a copy on disk are linked and take nothing."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000_000))
    words = ("download", "nih", "--mirror", "nowhere")
    said = run(config_copy, *words, "--tier", "paper", "--papers", "deepchest")
    check_error(said, "needs 1.8 GB (1.8 GB of images prepared at 128 pixels)", "1.0 GB free")
    check_error(run(config_copy, *words), "the mirror folder does not exist")


def test_training_collects_garbage_as_python_does_by_itself() -> None:
    """Its thresholds differ between versions."""
    words = [sys.executable, "-c", "import gc; print(gc.get_threshold())"]
    own = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    assert str(cli.COLLECT) == own.stdout.strip()


def test_an_unknown_command_is_not_a_users_error_of_ours(run, tmp_path: Path) -> None:
    said = run(tmp_path, "trian")
    assert said.code == 2 and "Traceback" not in said.err


def test_the_module_can_be_run(tmp_path: Path) -> None:
    """A GPU node without the script on its PATH runs ``python -m counterpoise``."""
    done = subprocess.run(
        [sys.executable, "-m", "counterpoise", "plan"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_schemas_are_written(run, config_copy: Path) -> None:
    said = run(config_copy, "schema")
    assert said.code == 0
    assert all(Path(line).is_file() for line in said.out.split())


def test_a_training_knows_its_siblings(
    run: Any, config_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its own folders, of the cells that a workflow has planned."""
    plan = load_plan(config_copy, {"tier": "demo", "papers": "all", "methods": "all"})
    write_orders(config_copy, "demo", plan.every.values())
    cells = plan.runs["rotograd", "reduced", "single_task"].cells
    found: list[Any] = []

    def trains(job: Any, *given: Any) -> None:
        found.extend([job, *given[-1]()])

    monkeypatch.setattr("counterpoise.training.job.train", trains)
    collect = gc.get_threshold()
    try:
        assert run(config_copy, "train", cells["sum"], "--tier", "demo").code == 0
    finally:
        gc.unfreeze()
        gc.set_threshold(*collect)
    assert {job.work for job in found} == {
        config_copy / plan.trainings[k].work for k in cells.values()
    }
    assert found[0].work == config_copy / plan.trainings[cells["sum"]].work
    assert len({job.split for job in found}) == 1
