"""The report from made-up results: what it reads, what is missing of it, and how rows are named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from counterpoise.files import read_json, write_json, write_text
from counterpoise.layout import Training
from counterpoise.plan import Plan, load_plan
from counterpoise.project import Project
from counterpoise.reference import Card, Reference, read_references
from counterpoise.report.authors import render_table, tex
from counterpoise.report.build import _environment, build_report
from counterpoise.report.cards import dataset_cards
from counterpoise.report.cell_files import read_cell
from counterpoise.report.cells import cell_card
from counterpoise.report.claims import CellLinks, claim_views, count_words, reason_of
from counterpoise.report.comparisons import methods_views
from counterpoise.report.incomplete import numbers_found, tables_from_scores
from counterpoise.report.inputs import Inputs, PaperFiles, read_inputs
from counterpoise.report.legend import NUMBERS, common
from counterpoise.report.output import csv_text, write_folder
from counterpoise.report.overview import overview, paper_views
from counterpoise.report.questions import told_apart
from counterpoise.report.runs import experiment_views
from counterpoise.report.shapes import is_record, is_scores
from counterpoise.report.splits import LabelRow, Portion, SplitView
from counterpoise.report.tables import TableView, table_view
from counterpoise.reproduction.claims import judge_claim
from counterpoise.spec.paper import Paper, Table
from counterpoise.standing import Standing

from ..support import ROOT, TIERS, copy_of_config, files_in
from .test_claims import numbers_of

METRIC = {"left": "accuracy", "right": "accuracy", "sum": "mse", "product": "mse", "density": "mse"}


def record_of(training: Training) -> dict[str, Any]:
    """A record as the report needs it."""
    end = {"status": "finished", "trouble": None, "selected_epoch": 1, "steps": 50, "seconds": 2.5}
    seeds = {str(seed): dict(end) for seed in training.cell.seeds}
    return {"seeds": seeds, "seconds": 2.5 * len(seeds)}


def scores_of(training: Training) -> dict[str, Any]:
    """Scores as the report needs them."""
    parts = {"test": {task: {METRIC[task]: 0.75} for task in training.cell.tasks}}
    return {"scores": {str(seed): parts for seed in training.cell.seeds}}


def made_plan(root: Path, tier: str = "two", papers: tuple[str, ...] = ("rotograd",)) -> Plan:
    """A plan with a result of every cell of MultiMNIST."""
    (root / "config/tiers.yaml").write_text(TIERS, encoding="utf-8")
    plan = load_plan(root, {"tier": tier, "papers": list(papers)})
    for training in plan.trainings.values():
        if training.cell.dataset == "multimnist":
            write_json(root / training.file("record.json"), record_of(training))
            write_json(root / training.scores, scores_of(training))
    return plan


def uniform(plan: Plan) -> Training:
    return plan.trainings[plan.runs["rotograd", "reduced", "uniform"].cells["left"]]


# What has another shape cannot be read ---------------------------------------------------------


def change(place: str, value: Any = None) -> Callable[[dict[str, Any]], None]:
    """Put a value at a place such as ``seeds/0/trouble``; without one, take away what is there."""
    *parents, last = place.split("/")

    def apply(content: dict[str, Any]) -> None:
        for name in parents:
            content = content[name]
        if value is None:
            del content[last]
        else:
            content[last] = value

    return apply


RECORDS = {
    "seeds in a row": change("seeds", [1, 2]),
    "no time": change("seconds"),
    "an end without trouble or none": change("seeds/0/trouble"),
    "another status": change("seeds/0/status", 3),
    "another end": change("seeds/0", "finished"),
    "a point of a search without options": change("search", [{"loss": 1.0}]),
}
SCORES = {
    "scores in a row": change("scores", [1, 2]),
    "no test part": change("scores/0/test"),
    "a task less": change("scores/0/test/density"),
    "scores of a task in a row": change("scores/0/test/left", [0.5]),
}


def spoil(path: Path, how: Callable[[dict[str, Any]], None]) -> None:
    content = read_json(path)
    how(content)
    write_json(path, content)


def accuracies(root: Path, plan: Plan, run: str) -> list[dict[str, Any]]:
    """Accuracies of a run in a report that is built now."""
    build_report(root, plan)
    numbers = read_json(root / plan.results)["numbers"]
    return [n for n in numbers if n["run"] == f"reduced/{run}" and n["metric"] == "accuracy"]


def test_numbers_for_machines_are_the_scores_on_disk(config_copy: Path) -> None:
    """Everything scores 0.75, but for one task of one run; the paper prints percent."""
    plan = made_plan(config_copy)
    spoil(config_copy / uniform(plan).scores, change("scores/0/test/left/accuracy", 0.5))
    found = {
        run: {n["column"]: n["ours"]["mean"] for n in accuracies(config_copy, plan, run)}
        for run in ("uniform", "rotograd")
    }
    assert found["uniform"] == {"left": 50.0, "right": 75.0}
    assert found["rotograd"] == {"left": 75.0, "right": 75.0}


def test_a_result_of_another_shape_cannot_be_read(config_copy: Path) -> None:
    plan = made_plan(config_copy)
    training = uniform(plan)
    record, scores = config_copy / training.file("record.json"), config_copy / training.scores
    assert read_cell(config_copy, training).missing is None
    for name, how in SCORES.items():
        write_json(scores, scores_of(training))
        spoil(scores, how)
        found = read_cell(config_copy, training)
        assert found.record is not None and found.scores is None and found.missing is not None, name
        assert found.missing.what == f"{training.name} has scores that cannot be read"
        assert found.missing.log == training.log("evaluate")
    for name, how in RECORDS.items():
        write_json(record, record_of(training))
        spoil(record, how)
        found = read_cell(config_copy, training)
        assert found.record is None and found.missing is not None, name
        assert found.missing.what == f"{training.name} has a record that cannot be read"
        assert found.missing.log == training.log("train")


def test_a_result_of_another_shape_hides_no_other(config_copy: Path) -> None:
    plan = made_plan(config_copy)
    training = uniform(plan)
    spoil(config_copy / training.file("record.json"), RECORDS["seeds in a row"])
    spoil(config_copy / training.scores, SCORES["a task less"])
    mine = accuracies(config_copy, plan, "uniform")
    assert {number["verdict"] for number in mine} == {"missing"}
    assert all(number["ours"] for number in accuracies(config_copy, plan, "rotograd"))
    page = (config_copy / plan.report).read_text(encoding="utf-8")
    assert "has a record that cannot be read" in page and training.log("train") in page


OLDER: dict[str, Callable[[Any, Any], Any]] = {
    "without its time": lambda record, _: record.pop("seconds"),
    "without its end": lambda record, _: record["seeds"]["0"].pop("trouble"),
    "with a task of another name": lambda _, parts: parts.update(dense=parts.pop("density")),
}


def test_an_older_result_is_shown_if_it_can_be_read(config_copy: Path) -> None:
    plan = made_plan(config_copy)
    training = uniform(plan)
    folder = (config_copy / training.folder).parent
    os.rename(folder / training.digest, folder / ("0" * 12))
    paths = (folder / ("0" * 12) / name for name in ("record.json", Path(training.scores).name))
    record_path, scores_path = paths
    assert read_cell(config_copy, training).older == "0" * 12
    mine = accuracies(config_copy, plan, "uniform")
    assert mine and all(number["ours"] and "stale" in number["marks"] for number in mine)
    for name, how in OLDER.items():
        record, scores = record_of(training), scores_of(training)
        how(record, scores["scores"]["0"]["test"])
        write_json(record_path, record)
        write_json(scores_path, scores)
        found = read_cell(config_copy, training)
        assert (found.record, found.scores, found.older) == (None, None, ""), name
        assert found.missing is not None and found.missing.what.endswith("is not trained")
    assert {n["verdict"] for n in accuracies(config_copy, plan, "uniform")} == {"missing"}


def test_resamples_are_read_where_tables_are_put_together(config_copy: Path) -> None:
    """They are most of what lies on disk, and the report keeps none of them in memory."""
    plan = made_plan(config_copy)
    training = uniform(plan)
    draws = " ".join(str(0.70 + 0.001 * place) for place in range(100))
    by_seed = {str(seed): [draws] for seed in training.cell.seeds}
    left = {"draws": {"accuracy": by_seed}, "units": {"accuracy": 50}}
    told = {"test": {"items": "i", "factors": [1], "tasks": {"left": left}}}
    write_json(config_copy / training.scores, {**scores_of(training), "resamples": told})
    inputs = read_inputs(config_copy, plan)
    scores = inputs.cells[training.key].scores
    assert scores is not None and scores.keys() == {"scores"}
    row = inputs.papers["rotograd"].tables["table-3"]["uniform"]
    assert row["left"]["ours"]["interval"] is not None
    assert row["right"]["ours"]["interval"] is None, "what its items add is not known"


def test_committed_results_can_be_read() -> None:
    cells = sorted((ROOT / "reports/reference").glob("*/cells/*/*"))
    assert cells
    for cell in cells:
        record = read_json(cell / "record.json")
        assert is_record(record), cell
        assert is_scores(read_json(cell / "scores.json"), record["cell"]["tasks"]), cell


def test_committed_results_are_of_the_tables_that_there_are(project: Project) -> None:
    """A row or column that is renamed would drop their numbers without a word."""
    found, unreadable = read_references(ROOT, project)
    assert found and not unreadable
    for reference in found:
        for paper, tables in reference.tables.items():
            known = {
                (table.id, row.id, column.id)
                for table in project.papers[paper].tables
                for row in table.rows
                for column in table.columns
            }
            for table, rows in tables.items():
                for row, columns in rows.items():
                    there = {(table, row, c) for c, e in columns.items() if e["ours"] is not None}
                    assert there <= known, reference.name


def test_what_a_reference_says_of_a_claim_is_stale_as_its_numbers_are(project: Project) -> None:
    found = next(r for r in read_references(ROOT, project)[0] if r.name == "rotograd")
    reference = replace(found, standing=Standing(frozenset(found.records)))
    paper = project.papers["rotograd"]
    spoken = {c.id: said for c in paper.claims if (said := reference.claim(paper.id, c))}
    assert spoken and not any("stale" in said["runs"]["marks"] for said in spoken.values())
    older = replace(reference, standing=Standing())
    for claim in paper.claims:
        if claim.id in spoken:
            said = older.claim(paper.id, claim)
            assert said is not None and said["runs"]["marks"][-1] == "stale", claim.id


# What is missing, and what needs no run ----------------------------------------------------------


@pytest.fixture(scope="module")
def without_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Inputs]:
    """The papers' plans with no result at all."""
    root = copy_of_config(tmp_path_factory.mktemp("empty"))
    (root / "config/tiers.yaml").write_text(TIERS, encoding="utf-8")
    plan = load_plan(root, {"tier": "demo"})
    return plan, read_inputs(root, plan)


def test_what_printed_numbers_settle_needs_no_run(without_runs: tuple[Plan, Inputs]) -> None:
    files = without_runs[1].papers["db-mtl"]
    assert files.trends["figure-5"]["printed"]["word"] == "holds"
    assert [ranked["datasets"] for ranked in files.rankings] == [5]
    assert any("assembled here" in notice.what for notice in files.notices)


def test_the_papers_say_the_same_of_claims_whether_or_not_a_run_is_missing(
    without_runs: tuple[Plan, Inputs],
) -> None:
    """Numbers that a job has failed to make keep what is printed, with its margin."""
    plan, inputs = without_runs
    for name, made in plan.papers.items():
        for claim in made.paper.claims:
            found = inputs.papers[name].claims[claim.id]
            alone = judge_claim(claim, numbers_of(made.paper))
            assert found["printed"]["word"] == alone["printed"]["word"], claim.id
            assert (found["word"], found["basis"]) == (alone["word"], alone["basis"]), claim.id


def test_a_missing_entry_names_what_it_would_measure_and_where(
    without_runs: tuple[Plan, Inputs],
) -> None:
    plan, inputs = without_runs
    paper = plan.papers["rotograd"].paper
    entries = tables_from_scores(plan.project.root, plan, paper, inputs.cells)
    table = next(table for table in paper.tables if table.id == "table-3")
    accuracy, gain = (entries[table.id]["gradnorm-z"][name] for name in ("left", "delta_m"))
    assert accuracy["verdict"] == gain["verdict"] == "missing"
    assert accuracy["run"] == gain["run"] == "reduced/gradnorm_z"
    assert gain["metric"] == "delta_m"
    alone = f"-{plan.trainings[plan.runs['rotograd', 'reduced', 'single_task'].cells['left']].name}"
    assert alone[1:] in gain["reason"] and alone[1:] not in accuracy["reason"], "not its baseline"
    for name, table_entries in entries.items():
        spec = next(table for table in paper.tables if table.id == name)
        for row in spec.rows:
            for column in spec.columns:
                entry = table_entries[row.id][column.id]
                assert entry["metric"] == spec.quantity(row, column).measured


def test_numbers_whose_resamples_are_not_there_decide_nothing(
    without_runs: tuple[Plan, Inputs],
) -> None:
    """Over seeds alone a claim would say too much."""
    plan, inputs = without_runs
    paper = plan.papers["rotograd"].paper
    ours = {"values": {"0": 0.5, "1": 0.51, "2": 0.52}, "trouble": None}
    tables = {"table-3": {"uniform": {"left": {"ours": ours}}}}
    numbers = numbers_found(plan.project.root, plan, paper, inputs.cells, tables)
    found = numbers.ours("table-3/uniform/left")
    assert found is not None and found.values == ours["values"] and found.lacks_items


def test_a_view_that_cannot_be_read_is_named(config_copy: Path) -> None:
    plan = made_plan(config_copy, "demo")
    folder = config_copy / plan.papers["rotograd"].views
    for name in ("reduced-gains", "reduced-equal", "reduced-weights"):
        write_text(folder / f"{name}.svg", "<svg></svg>")
        behind = {"columns": [], "data": [], "marks": [], "kind": "gains"}
        write_json(folder / f"{name}.json", behind)
    write_text(folder / "reduced-equal.json", "{")
    (folder / "reduced-weights.svg").unlink()
    files = read_inputs(config_copy, plan).papers["rotograd"]
    assert [view.kind for view in files.views] == ["gains"]
    told = [notice for notice in files.notices if notice.what.startswith("view ")]
    assert [notice.what for notice in told] == ["view reduced-equal", "view reduced-weights"]
    assert told[0].log == f"logs/demo/views/rotograd-{plan.papers['rotograd'].views_digest}.log"


def test_a_question_says_how_many_methods_are_told_apart() -> None:
    def views(*several: tuple[str, ...]) -> list[Any]:
        return [SimpleNamespace(words=words) for words in several]

    told = told_apart(views(("better", "worse", "open: 1 of 3 seeds"), ("better",)))
    assert told.replace("\N{NO-BREAK SPACE}", " ") == (
        "Told apart from equal weights, of 4 comparisons in 2 experiments: 2 better, 1 worse."
    )
    assert told_apart(views(("not told apart",))).endswith("1\N{NO-BREAK SPACE}experiment: none.")
    assert told_apart(views((), ())) == ""


def test_a_reference_with_a_record_of_another_shape_is_named(config_copy: Path) -> None:
    plan = made_plan(config_copy)
    folder = config_copy / "reports/reference/small"
    card = {"tier": "two", "title": "t", "command": "c", "commit": None, "dirty": None, "files": [],
            "checksum": ""}  # fmt: skip
    write_json(folder / "reference.json", card)
    write_json(folder / "cells/one/0/record.json", record_of(uniform(plan)))
    build_report(config_copy, plan)
    page = (config_copy / plan.report).read_text(encoding="utf-8")
    assert '<td data-sort="2.5">2.5\N{NO-BREAK SPACE}s</td>' in page, "sorted by seconds"
    assert [r.name for r in read_inputs(config_copy, plan).references] == ["small"]
    write_json(folder / "cells/one/0/record.json", {"seeds": {}})
    inputs = read_inputs(config_copy, plan)
    assert inputs.references == ()
    assert inputs.unreadable == (
        "reports/reference/small: the record of one/0 does not have the expected form",
    )


# How a cell is made ------------------------------------------------------------------------------


def commands_of(plan: Plan, paper: str, experiment: str, run: str) -> list[list[str]]:
    """The words of each command on the card of a run's first cell."""
    planned = plan.runs[paper, experiment, run]
    files = read_cell(plan.project.root, plan.trainings[planned.first])
    return [line.split()[1:3] for line in cell_card(plan, planned, files).commands]


def test_a_card_says_what_a_cell_starts_from() -> None:
    """Published weights, cells trained before, the points of a search: in their order."""
    started, downloads = set(), set()
    for tier in ("demo", "mnist", "paper"):
        plan = load_plan(ROOT, {"tier": tier, "papers": "all", "methods": "all"})
        for key, run in plan.runs.items():
            commands = commands_of(plan, *key)
            assert commands[-2:] == [["train", run.first], ["evaluate", run.first]]
            trained = [name for step, name in commands if step == "train"]
            assert len(trained) == len(set(trained))
            for place, name in enumerate(trained):
                cell = plan.every[name]
                files = {file for file in cell.preliminary if file != cell.weights}
                before = {"/".join(file.split("/")[3:5]) for file in files}
                assert before <= {*trained[:place]}
                started |= before
            downloads |= {name for step, name in commands if step == "download"}
    assert started
    assert downloads and downloads <= {f"weights.{name}" for name in plan.project.weights}


# Counts ------------------------------------------------------------------------------------------


def test_a_claim_that_splits_another_is_not_counted_again(
    without_runs: tuple[Plan, Inputs], project: Project
) -> None:
    plan, inputs = without_runs
    paper = plan.papers["deepchest"].paper
    parts = [claim for claim in paper.claims if claim.part_of is not None]
    views = claim_views(paper, inputs.papers["deepchest"].claims)
    assert len(views) == len(paper.claims) and parts
    assert sum(count_words(views).values()) == len(paper.claims) - len(parts)


def said(word: str | None, *steps: str, missing: tuple[str, ...] = ()) -> dict[str, Any]:
    """What one source of numbers says of a claim."""
    return {"word": word, "steps": [*steps], "marks": [], "missing": [*missing]}


def test_what_several_comparisons_leave_open_has_a_reason() -> None:
    open_ = {"word": "inconclusive", "basis": "our full runs", "reason": "", "printed": said(None),
             "runs": said("inconclusive", "one", "other")}  # fmt: skip
    assert reason_of(open_).startswith("Not all of its 2 comparisons come out")
    assert reason_of({**open_, "word": "holds"}) == ""
    assert reason_of({**open_, "reason": "one is open"}) == "One is open."


def test_a_paper_prints_no_number_in_a_table_of_ours(project: Project) -> None:
    """What it lacks there is no evidence."""
    paper = project.papers["rotograd"]
    claim = next(claim for claim in paper.claims if claim.id == "toy-conflict")
    there, ours = "table-3/uniform/left", "figure-3-values/conflict-uniform/first"
    found = {"id": claim.id, "word": "holds", "basis": "our full runs", "reason": "",
             "printed": said(None, missing=(ours,)), "runs": said("holds", "a", "b")}  # fmt: skip
    (alone,) = next(v for v in claim_views(paper, {claim.id: found}) if v.spec is claim).evidence
    assert alone.title == "Our runs"
    found["printed"] = said(None, missing=(ours, there))
    first, _ = next(v for v in claim_views(paper, {claim.id: found}) if v.spec is claim).evidence
    assert [str(name) for name in first.missing] == [str(CellLinks(paper).link(there))]


def test_the_headline_counts_what_the_bars_count(without_runs: tuple[Plan, Inputs]) -> None:
    plan, inputs = without_runs
    whole = plan.papers["deepchest"]
    claim = next(claim for claim in whole.paper.claims if claim.id == "seven-percent")
    again = claim.model_copy(update={"id": "again", "part_of": claim.id})
    more = whole.paper.model_copy(update={"claims": (*whole.paper.claims, again)})
    files = inputs.papers["deepchest"]
    claims = {**files.claims, "again": {**files.claims[claim.id], "id": "again"}}
    papers = {**inputs.papers, "deepchest": replace(files, claims=claims)}
    plan = replace(plan, papers={**plan.papers, "deepchest": replace(whole, paper=more)})
    inputs = replace(inputs, papers=papers)
    found = overview(plan, paper_views(plan, inputs), inputs)
    said = re.search(r"(\d+) of (\d+)\s\S+ do not hold, all judged by", found.headline)
    assert said is not None
    share = next(s for s in found.claims.shares if s.term.key == "does not hold")
    assert (int(said[1]), int(said[2])) == (share.number, found.claims.total)
    assert "again" in [claim.spec.id for claim in (*found.findings, *found.further)], "it is shown"


def test_every_claim_that_is_counted_has_a_basis(without_runs: tuple[Plan, Inputs]) -> None:
    found = overview(without_runs[0], paper_views(*without_runs), without_runs[1])
    bases = dict(re.findall(r"([a-z' ]+) \((\d+)\)", found.bases))
    assert {"no runs yet", "argument", "the paper's own numbers"} <= {b.strip() for b in bases}
    assert sum(map(int, bases.values())) == found.claims.total


def headline(without_runs: tuple[Plan, Inputs], **counts: int) -> str:
    """What is said of one table of whose printed numbers so many came to so much."""
    plan, inputs = without_runs
    (paper,) = (view for view in paper_views(plan, inputs) if view.spec.id == "rotograd")
    table = replace(paper.tables[0], counts={key: counts.get(key, 0) for key in NUMBERS})
    return overview(plan, (replace(paper, tables=(table,)),), inputs).headline


def test_a_bad_end_is_no_number_of_ours(without_runs: tuple[Plan, Inputs]) -> None:
    said = headline(without_runs, marked=2, failed=3, missing=1)
    assert said.startswith(
        "2 of 6\N{NO-BREAK SPACE}printed numbers have a counterpart from our runs;"
    )
    assert "all are marked" in said and "Runs behind another 3 failed." in said
    judged = headline(without_runs, agrees=1, differs=1, failed=1)
    assert "2 were measured again: 1 agree and 1 differ." in judged
    open_ = headline(without_runs, marked=1, inconclusive=1)
    assert "2 of 2" in open_ and "all are marked" not in open_ and "failed" not in open_


def test_labels_without_a_published_count_have_an_empty_cell() -> None:
    """The columns of a card's table are the same in all of its rows."""
    share = Portion("3", "30 %", 0.3)
    rows = (
        LabelRow("one", (share,), None, (None, share)),
        LabelRow("other", (share,), share, (share, None)),
    )
    split = SplitView("f", "o", (("train", "10 items"),), rows, ("one", "other"), "none")
    environment = _environment()
    names = ("methods", "networks", "datasets", "promises", "marks")
    module = environment.get_template("cards.html.j2").make_module(
        {**dict.fromkeys(names, ()), "m": environment.get_template("_macros.html.j2").module}
    )
    source = SimpleNamespace(spec=SimpleNamespace(title="S"))
    table = str(module.parts(None, source, split)).partition("</table>")[0]
    cells = [len(re.findall("<t[dh]", line)) for line in table.split("<tr>")[1:]]
    assert cells == [3, 3, 3] and "published" in table


def test_a_source_shows_all_that_is_made_of_it_and_how_its_splits_differ(
    without_runs: tuple[Plan, Inputs],
) -> None:
    """What networks are trained on first is used, too."""
    plan, inputs = without_runs
    cards = {card.spec.id: card for card in dataset_cards(plan, inputs)}
    sources = [source for card in cards.values() for source in card.sources]
    folders = {split.folder for source in sources for split in source.used}
    assert folders == {training.data.folder for training in plan.every.values()}
    several = [source.used for source in sources if len(source.used) > 1]
    assert several
    for used in several:
        named = [split.own for split in used]
        assert len({*named}) == len(named) and all(split.own in split.options for split in used)
    assert not any(source.used[0].own for source in sources if len(source.used) == 1)


def test_a_run_that_is_left_out_is_named_as_the_others(config_copy: Path) -> None:
    """By its name for people, not by the key of the paper's file."""
    plan = made_plan(config_copy)
    inputs = read_inputs(config_copy, plan)
    left = {name for view in experiment_views(plan, "rotograd", inputs) for name in view.left_out}
    assert "single task" in left and not any("_" in name for name in left)


def test_what_all_have_in_common_is_in_the_first_ones_order() -> None:
    assert common([["b", "a", "c"], ["a", "b"]]) == ("b", "a")
    assert common([["a"]]) == ("a",) and common([]) == () and common([["a"], []]) == ()


def test_files_that_a_report_no_longer_writes_go(tmp_path: Path) -> None:
    for name in ("old.csv", "old.tex", "notes.txt", "kept.csv"):
        write_text(tmp_path / name, "before")
    write_folder(tmp_path, {"kept.csv": csv_text(("a", "b"), [(1, None)])}, (".csv", ".tex"))
    assert files_in(tmp_path) == ["kept.csv", "notes.txt"]
    assert (tmp_path / "kept.csv").read_text(encoding="utf-8") == "a,b\n1,\n"
    write_folder(tmp_path / "none", {}, (".csv",))
    assert (tmp_path / "none").is_dir(), "Snakemake asks for the folder"


# Rows of several groups --------------------------------------------------------------------------


def entry(ours: float | None = None, marks: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """One cell of a table as ``make_tables`` writes it, with what the page reads of it."""
    found = None
    if ours is not None:
        found = {"mean": ours, "sd": None, "n": 1, "values": {"0": ours}, "from_means": None,
                 "cells": ["cell/0"], "interval": [ours - 1, ours + 1]}  # fmt: skip
    return {
        "printed": None, "ours": found, "difference": None, "interval": None, "margin": None,
        "marks": list(marks), "verdict": None, "rule": "", "reason": "", "run": None, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def grouped() -> tuple[Paper, Table]:
    """A table of two groups, in which a label stands twice."""
    columns = ({"label": "Error √k"}, {"label": "Gain"})
    rows = (
        {"label": "plain", "id": "a", "group": "small", "printed": ("1.0", "2.0")},
        {"label": "plain", "id": "b", "group": "large", "printed": ("-", "-")},
        {"label": "other", "id": "c", "group": "large", "printed": ("-", "-")},
    )
    table = Table.model_validate(
        {"id": "t", "title": "T", "place": "Table 1", "columns": columns, "rows": rows}
    )
    paper = Paper.model_validate(
        {
            "id": "p", "title": "P", "short": "P", "authors": ("A",), "year": 2020, "bibtex": "x",
            "summary": "s", "tables": (table,), "source": {"url": None, "version": "1",
            "read": "abstract"},
        }
    )  # fmt: skip
    return paper, table


def entries_of(table: Table, **rows: dict[str, Any]) -> dict[str, Any]:
    """Entries of a table; rows by their names, each with one entry for all columns."""
    return {row.id: {c.id: rows.get(row.id, entry()) for c in table.columns} for row in table.rows}


@pytest.fixture
def view(grouped: tuple[Paper, Table]) -> TableView:
    paper, table = grouped
    card = Card(tier="long", title="L", command="c", commit=None, dirty=None, files=(), checksum="")
    theirs = {
        "a": entry(1.5, ("reduced",)), "b": entry(1.6, ("reduced", "leaking"))
    }  # fmt: skip
    there = {
        "p": {"t": {name: dict.fromkeys(("error-k", "gain"), e) for name, e in theirs.items()}}
    }
    reference = Reference("ref", card, there, {}, {}, Standing(frozenset({"cell/0"})))
    given = entries_of(
        table,
        a=entry(1.25, ("demo",), printed="1.0"),
        c=entry(2.25, ("demo", "calibrated")),
    )
    return table_view(paper, table, given, (reference,))


@pytest.mark.parametrize("suffix", ["tex", "md"])
def test_tables_for_authors_keep_groups_kinds_and_marks(
    grouped: tuple[Paper, Table], view: TableView, suffix: str
) -> None:
    text = render_table(grouped[0], view, "two", suffix)
    lines = text.splitlines()
    places = [next(i for i, line in enumerate(lines) if name in line)
              for name in ("small", "plain", "large", "other")]  # fmt: skip
    assert places == sorted(places) and sum("large" in line for line in lines) == 1
    assert "ours: stand-in data; ref: reduced" in text, "what all share is said once"
    told = [line for line in lines if "ref, tier long" in line]
    assert ["leaking" in line for line in told] == [False, True], "what one has of its own"
    assert "other (calibrated)" in text
    between = lines[places[2] + 1 : places[3]]
    assert sum("ours" in line for line in between) == 1, "no number of the paper, none of ours"
    assert not any("paper" in line for line in between)


def test_a_group_is_one_line_as_wide_as_the_table(
    grouped: tuple[Paper, Table], view: TableView
) -> None:
    latex, plain = (render_table(grouped[0], view, "two", suffix) for suffix in ("tex", "md"))
    assert r"\multicolumn{4}{l}{\textit{large}} \\" in latex
    assert "\n| **large** | | | |\n" in plain


def test_latex_knows_the_signs_of_labels(project: Project) -> None:
    assert tex("0.1/√k") == r"0.1/$\surd$k"
    texts = (
        text
        for paper in project.papers.values()
        for table in paper.tables
        for text in (table.title, *(c.label for c in table.columns), *(r.label for r in table.rows))
    )
    assert {letter for text in texts for letter in tex(text) if ord(letter) > 127} <= set("äöüé’")


def test_rows_are_told_apart_by_their_group(grouped: tuple[Paper, Table], view: TableView) -> None:
    names = CellLinks(grouped[0])
    assert names.resolve("t/a/gain") == ("table:p:t", "Table 1, small, plain, Gain")
    assert names.resolve("t/b/gain") == ("table:p:t", "Table 1, large, plain, Gain")
    assert [(row, column) for row, column, _ in view.intervals.rows] == [
        ("small, plain", "Error √k"), ("small, plain", "Gain"), ("large, other", "Error √k"),
        ("large, other", "Gain"),
    ]  # fmt: skip


def test_comparisons_tell_their_group_and_their_marks(grouped: tuple[Paper, Table]) -> None:
    _, table = grouped
    run = SimpleNamespace(label="Own")
    paper: Any = SimpleNamespace(
        id="p", tables=(table,), experiments={"e": SimpleNamespace(runs={"own": run})}
    )
    compared = [
        {"row": row, "column": "gain", "own": "e/own", "difference": 1.0, "sd": 0.1, "n": 3,
         "interval": None, "effect": None, "p_holm": None, "word": "better", "marks": marks}
        for row, marks in (("a", ["demo"]), ("b", ["demo", "other_network"]))
    ]  # fmt: skip
    (found,) = methods_views(paper, PaperFiles({}, {}, {}, comparisons={"t": compared}))
    assert [term.key for term in found.marks] == ["demo"]
    told = [(one.row, [term.key for term in one.marks]) for one in found.comparisons]
    assert told == [("small, plain", []), ("large, plain", ["other_network"])]
