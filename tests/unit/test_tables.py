"""Tables: every printed number beside ours, made from scores on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from counterpoise.evaluation.comparisons import holm
from counterpoise.evaluation.statistics import delta_m, summarise, welch_interval
from counterpoise.files import read_json, write_json
from counterpoise.plan import Plan, load_plan
from counterpoise.project import load_project
from counterpoise.reproduction.gate import check_gate, problems
from counterpoise.reproduction.tables import make_tables
from counterpoise.skeleton import new_dataset, new_study

from ..support import TIERS, edit, error_of

TASKS = ("left", "right", "sum", "product", "density")
METRIC = dict(zip(TASKS, ("accuracy", "accuracy", "mse", "mse", "mse"), strict=True))
ALONE = dict(zip(TASKS, (0.93, 0.90, 6.0, 160.0, 1.5), strict=True))
TOY = {
    "first": "landscape_first", "second": "landscape_second", "label": "accuracy",
    "negated": "accuracy",
}  # fmt: skip
LOWER = [METRIC[task] == "mse" for task in TASKS]


def value(alone: bool, task: str, seed: int) -> float:
    """A score: multi-task runs are a tenth better than single-task ones, seeds differ a little."""
    better = 1.0 if alone else (0.9 if METRIC[task] == "mse" else 1.05)
    return ALONE[task] * better * (1 + 0.001 * ((seed * 7) % 5 - 2))


class Results:
    """Made-up results of a plan."""

    def __init__(self, root: Path, tier: str) -> None:
        (root / "config/tiers.yaml").write_text(TIERS, encoding="utf-8")
        self.root = root
        self.plan: Plan = load_plan(root, {"tier": tier, "methods": ["uniform", "gradnorm"]})
        for training in self.plan.trainings.values():
            cell = training.cell
            alone = len(cell.tasks) == 1
            if cell.dataset == "toy":
                scores = {
                    str(seed): {"test": {t: {TOY[t]: 1.0} for t in cell.tasks}}
                    for seed in cell.seeds
                }
                write_json(root / training.scores, {"predictions": "0", "scores": scores})
                ends = {str(seed): {"trouble": None} for seed in cell.seeds}
                write_json(root / training.file("record.json"), {"seeds": ends})
            if cell.dataset != "multimnist":
                continue
            scores = {
                str(seed): {"test": {t: {METRIC[t]: value(alone, t, seed)} for t in cell.tasks}}
                for seed in cell.seeds
            }
            write_json(root / training.scores, {"predictions": "0", "scores": scores})
            seeds = {str(seed): {"trouble": None} for seed in cell.seeds}
            write_json(root / training.file("record.json"), {"seeds": seeds})

    def cell_files(self, run: str, task: str = "left") -> tuple[Path, Path]:
        """Scores and record behind a task of a run of the reduced network."""
        key = self.plan.runs["rotograd", "reduced", run].cells[task]
        training = self.plan.trainings[key]
        return self.root / training.scores, self.root / training.file("record.json")

    def tables(self) -> dict[str, Any]:
        make_tables(self.root, self.plan, "rotograd")
        found: dict[str, Any] = read_json(self.root / self.plan.papers["rotograd"].tables)["tables"]
        return found


@pytest.fixture
def results(config_copy: Path) -> Results:
    return Results(config_copy, "full")


def test_a_number_stands_beside_ours(results: Results) -> None:
    entry = results.tables()["table-3"]["gradnorm-z"]["left"]
    mine = {str(seed): 100 * value(False, "left", seed) for seed in range(10)}
    sample = summarise(list(mine.values()))
    assert (entry["printed"], entry["printed_value"], entry["printed_spread"]) == (
        "89.15 ±00.58", 89.15, 0.58,
    )  # fmt: skip
    assert entry["ours"]["values"] == pytest.approx(mine)
    assert entry["ours"]["mean"] == pytest.approx(sample.mean)
    assert entry["ours"]["sd"] == pytest.approx(sample.sd)
    assert entry["difference"] == pytest.approx(sample.mean - 89.15)
    theirs = sample.__class__(89.15, 0.58, 10)
    assert entry["interval"] == pytest.approx(welch_interval(sample, theirs))
    assert entry["margin"] == pytest.approx(2 * 0.58)
    # 97.65 against 89.15 with a margin of 1.16.
    assert (entry["marks"], entry["verdict"]) == ([], "differs")
    assert entry["ours"]["cells"] == list(
        {results.plan.runs["rotograd", "reduced", "gradnorm_z"].cells["left"]}
    )


def test_an_error_is_not_in_percent(results: Results) -> None:
    entry = results.tables()["table-3"]["single-task"]["sum"]
    assert entry["ours"]["mean"] == pytest.approx(6.0, rel=1e-3)
    # Printed: 6.44 +- 4.63, so that 6.0 lies well inside of the margin.
    assert entry["verdict"] == "agrees"


def test_single_task_numbers_come_from_the_network_of_their_task(results: Results) -> None:
    row = results.tables()["table-3"]["single-task"]
    keys = [entry["ours"]["cells"] for name, entry in row.items() if name != "delta_m"]
    assert sorted(key for (key,) in keys) == sorted(
        results.plan.runs["rotograd", "reduced", "single_task"].keys
    )


def test_delta_m_is_the_mean_over_paired_seeds(results: Results) -> None:
    entry = results.tables()["table-3"]["gradnorm-z"]["delta_m"]
    expected = {
        str(seed): delta_m(
            [value(False, t, seed) for t in TASKS], [value(True, t, seed) for t in TASKS], LOWER
        )
        for seed in range(10)
    }
    assert entry["ours"]["values"] == pytest.approx(expected)
    # Accuracies a twentieth up, errors a tenth down, for every seed and so for the means.
    assert entry["ours"]["mean"] == pytest.approx((2 * 0.05 + 3 * 0.10) / 5)
    assert entry["ours"]["from_means"] == pytest.approx((2 * 0.05 + 3 * 0.10) / 5)
    assert len(entry["ours"]["cells"]) == 6


def test_a_seed_without_a_score_leaves_the_pairs(results: Results) -> None:
    scores, _ = results.cell_files("gradnorm_z")
    content = read_json(scores)
    content["scores"]["4"]["test"]["sum"]["mse"] = None
    write_json(scores, content)
    row = results.tables()["table-3"]["gradnorm-z"]
    for name in ("sum", "delta_m"):
        assert sorted(row[name]["ours"]["values"]) == sorted(str(n) for n in range(10) if n != 4)
        assert row[name]["ours"]["n"] == 9
    assert row["left"]["ours"]["n"] == 10


def test_the_reference_has_no_delta_m_and_no_verdict(results: Results) -> None:
    entry = results.tables()["table-3"]["single-task"]["delta_m"]
    assert (entry["ours"], entry["verdict"], entry["reason"]) == (
        None,
        None,
        "the reference itself",
    )


def test_a_row_that_is_not_part_of_the_plan_says_so(results: Results) -> None:
    entry = results.tables()["table-3"]["rotograd"]["left"]
    assert (entry["ours"], entry["verdict"]) == (None, "not run")
    assert "not part of tier full" in entry["reason"]


def test_what_cannot_be_measured_says_why(results: Results) -> None:
    table = results.tables()["table-4"]
    entry = table["atelectasis"]["uniform"]
    assert entry["verdict"] == "not run" and "tier" in entry["reason"]
    entry = results.tables()["table-3"]["d-grad"]["left"]
    assert entry["verdict"] == "not run" and "configuration" in entry["reason"]


def test_a_bad_end_is_shown_in_all_numbers_of_the_run(results: Results) -> None:
    _, record = results.cell_files("gradnorm_z")
    bad = {"what": "non-finite loss", "task": "sum", "epoch": 3, "step": 177}
    content = read_json(record)
    content["seeds"]["2"]["trouble"] = bad
    write_json(record, content)
    table = results.tables()["table-3"]
    for name in ("left", "delta_m"):
        entry = table["gradnorm-z"][name]
        assert entry["verdict"] == "failed"
        assert entry["rule"] == "seed 2: non-finite loss in task sum at step 177"
    assert table["uniform"]["left"]["verdict"] != "failed"


def test_a_bad_end_of_one_single_task_network_leaves_the_others_alone(results: Results) -> None:
    _, record = results.cell_files("single_task", "density")
    bad = {"what": "non-finite loss", "task": "density", "epoch": 0, "step": 1}
    content = read_json(record)
    content["seeds"]["0"]["trouble"] = bad
    write_json(record, content)
    table = results.tables()["table-3"]
    assert table["single-task"]["density"]["verdict"] == "failed"
    assert table["single-task"]["left"]["verdict"] != "failed"
    assert table["gradnorm-z"]["delta_m"]["verdict"] == "failed"


def test_calibrated_and_sensitivity_rows_get_no_verdict(results: Results) -> None:
    tables = results.tables()
    calibrated = tables["table-3"]["uniform"]["left"]
    assert (calibrated["marks"], calibrated["verdict"]) == (["calibrated"], None)
    other = tables["sensitivity"]["gradnorm-z-mean-of-norms"]["left"]
    assert (other["marks"], other["verdict"], other["difference"]) == (["sensitivity"], None, None)


def test_stand_in_data_give_no_verdict(config_copy: Path) -> None:
    entry = Results(config_copy, "demo").tables()["table-3"]["gradnorm-z"]["left"]
    assert (entry["marks"], entry["verdict"]) == (["demo"], None)
    assert entry["ours"]["n"] == 3 and entry["difference"] is not None
    assert "10 of 150 epochs" in entry["reductions"]


def test_a_number_without_spread_and_one_with_a_spread_of_zero(results: Results) -> None:
    paper = results.root / "config/papers/rotograd.yaml"
    text = paper.read_text(encoding="utf-8")
    text = text.replace('"89.15 ±00.58"', '"89.15"').replace('"85.32 ±00.72"', '"85.32 ±0.00"')
    paper.write_text(text, encoding="utf-8")
    row = Results(results.root, "full").tables()["table-3"]["gradnorm-z"]
    assert (row["left"]["printed_spread"], row["right"]["printed_spread"]) == (None, 0.0)


def test_missing_scores_are_named(results: Results) -> None:
    scores, _ = results.cell_files("gradnorm_z")
    scores.unlink()
    error = error_of(results.tables)
    assert error.where == str(scores) and "snakemake" in error.remedy


# Methods against each other ------------------------------------------------------------------


def compared(results: Results, table: str) -> list[dict[str, Any]]:
    make_tables(results.root, results.plan, "rotograd")
    path = results.root / results.plan.papers["rotograd"].tables
    found: list[dict[str, Any]] = read_json(path)["comparisons"][table]
    return found


def with_own(results: Results, own: str, family: str = "") -> Results:
    """The same with another method as the paper's own, since RotoGrad is not among the made-up runs."""
    path = results.root / "config/papers/rotograd.yaml"
    edit(path, "own: rotograd", f"own: {own}")
    if family:
        at = "    title: Test results on the MNIST dataset for different methods\n"
        edit(path, at, f"{at}    family: {family}\n")
    made = Results(results.root, "full")
    scores, _ = made.cell_files("gradnorm_z")
    content = read_json(scores)
    for seed, parts in content["scores"].items():
        parts["test"]["left"]["accuracy"] += 0.01 + 0.0001 * int(seed)
    write_json(scores, content)
    return made


def moved(made: Results) -> Results:
    """The same, with runs that differ from each other by another amount in each seed."""
    for run in ("gradnorm_z", "gradnorm_w"):
        scores, _ = made.cell_files(run)
        content = read_json(scores)
        for seed, parts in content["scores"].items():
            for found in parts["test"].values():
                found.update({name: v * (1 + 1e-4 * int(seed)) for name, v in found.items()})
        write_json(scores, content)
    return made


def test_each_method_is_compared_with_the_papers_own(results: Results) -> None:
    found = compared(with_own(results, "uniform"), "table-3")
    runs = {"single_task", "gradnorm_z", "gradnorm_w"}
    assert {entry["run"] for entry in found} == {f"reduced/{run}" for run in runs}
    entry = next(e for e in found if e["run"] == "reduced/gradnorm_z" and e["task"] == "left")
    assert entry["difference"] == pytest.approx(100 * (0.01 + 0.0001 * 4.5))
    assert (entry["n"], entry["word"]) == (10, "better")
    assert entry["interval"][0] > 0 and entry["effect"] > 1
    alone = next(e for e in found if e["run"] == "reduced/single_task" and e["task"] == "sum")
    assert alone["word"] == "worse", "an error that is a ninth higher"


def test_a_family_is_the_table_in_one_metric(results: Results) -> None:
    found = compared(moved(with_own(results, "uniform")), "table-3")
    accuracy = [entry for entry in found if entry["metric"] == "accuracy"]
    # Three runs on two digits.
    assert [entry["size"] for entry in accuracy] == [6] * 6
    assert [e["p_holm"] for e in accuracy] == pytest.approx(holm([e["p"] for e in accuracy]))
    assert {entry["size"] for entry in found if entry["metric"] == "mse"} == {9}


def test_a_paper_file_declares_another_family(results: Results) -> None:
    family = "{own: uniform, others: [gradnorm_z], together: table}"
    found = compared(moved(with_own(results, "gradnorm_w", family)), "table-3")
    assert {(entry["run"], entry["own"]) for entry in found} == {
        ("reduced/gradnorm_z", "reduced/uniform")
    }
    assert {entry["size"] for entry in found} == {len(found)} == {6}


def test_three_seeds_give_an_interval_and_no_p_value(config_copy: Path) -> None:
    edit(config_copy / "config/papers/rotograd.yaml", "own: rotograd", "own: uniform")
    found = compared(Results(config_copy, "demo"), "table-3")
    assert found and all(entry["p"] is None and entry["p_holm"] is None for entry in found)
    assert {entry["word"] for entry in found} == {"no test: 3 of 5 seeds"}
    assert all(entry["interval"] is not None for entry in found)
    # As in the table: equal weights helped to fix the protocol.
    assert all({"demo", "calibrated"} <= {*entry["marks"]} for entry in found)


def test_runs_that_differ_by_the_same_in_all_seeds_are_not_tested(results: Results) -> None:
    """Ten equal differences have no spread, and a p-value of zero: nothing is told apart."""
    edit(results.root / "config/papers/rotograd.yaml", "own: rotograd", "own: uniform")
    found = compared(Results(results.root, "full"), "table-3")
    entry = next(e for e in found if e["run"] == "reduced/gradnorm_z" and e["task"] == "left")
    assert (entry["difference"], entry["p"]) == (0.0, None)
    assert entry["word"] == "no test: without any spread"


def test_a_run_with_a_bad_end_is_not_compared(results: Results) -> None:
    made = with_own(results, "uniform")
    _, record = made.cell_files("gradnorm_z")
    content = read_json(record)
    content["seeds"]["2"]["trouble"] = {"what": "non-finite loss", "task": "sum", "step": 1}
    write_json(record, content)
    assert "reduced/gradnorm_z" not in {entry["run"] for entry in compared(made, "table-3")}


def test_a_profile_needs_a_reference_that_came_to_a_good_end(results: Results) -> None:
    made = with_own(results, "uniform")
    _, record = made.cell_files("single_task", "sum")
    content = read_json(record)
    content["seeds"]["2"]["trouble"] = {"what": "non-finite loss", "task": "sum", "step": 1}
    write_json(record, content)
    make_tables(made.root, made.plan, "rotograd")
    content = read_json(made.root / made.plan.papers["rotograd"].tables)
    found = {entry["run"]: entry for entry in content["descriptions"]["table-3"]}
    assert found["reduced/uniform"]["profile"] is None


def test_ranks_are_over_the_scores_that_there_are(results: Results) -> None:
    """A task that no run has a score of leaves the order of the others."""
    made = with_own(results, "uniform")
    for run in ("uniform", "single_task", "gradnorm_z", "gradnorm_w"):
        scores, _ = made.cell_files(run, "density")
        content = read_json(scores)
        for parts in content["scores"].values():
            parts["test"]["density"]["mse"] = None
        write_json(scores, content)
    make_tables(made.root, made.plan, "rotograd")
    content = read_json(made.root / made.plan.papers["rotograd"].tables)
    found = content["descriptions"]["table-3"]
    assert {entry["tasks"] for entry in found} == {4}


def test_ranks_and_profiles_describe_the_runs_of_a_table(results: Results) -> None:
    made = with_own(results, "uniform")
    make_tables(made.root, made.plan, "rotograd")
    content = read_json(made.root / made.plan.papers["rotograd"].tables)
    found = {entry["run"]: entry for entry in content["descriptions"]["table-3"]}
    assert found["reduced/gradnorm_z"]["first"] == 1 and found["reduced/gradnorm_z"]["tasks"] == 5
    assert found["reduced/single_task"]["mean_rank"] == 4.0
    profile = found["reduced/uniform"]["profile"]
    # A twentieth on two tasks, a tenth on three, for ten seeds each.
    assert profile["at_least_as_good"] == 1.0 and profile["values"] == 50
    shares = dict(zip(profile["thresholds"], profile["shares"], strict=True))
    assert shares[0.0] == 1.0 and shares[0.15] == 0.0
    assert found["reduced/single_task"]["profile"] is None


# The gate ------------------------------------------------------------------------------------


@pytest.fixture
def gated(config_copy: Path) -> Results:
    """A plan all of whose records exist."""
    made = Results(config_copy, "stand_in")
    assert problems(made.root, made.plan) == []
    return made


def test_the_gate_opens_when_all_is_well(gated: Results) -> None:
    check_gate(gated.root, gated.plan)
    told = read_json(gated.root / gated.plan.gate)
    assert told["cells"] == len(gated.plan.trainings)


def test_the_gate_names_what_is_missing(gated: Results) -> None:
    _, record = gated.cell_files("gradnorm_z")
    record.unlink()
    error = error_of(lambda: check_gate(gated.root, gated.plan))
    assert "rotograd/reduced/gradnorm_z" in str(error) and "has no result" in str(error)
    assert not (gated.root / gated.plan.gate).exists()


def test_the_gate_stops_at_a_bad_end_that_nobody_expected(gated: Results) -> None:
    _, record = gated.cell_files("gradnorm_z")
    bad = {"what": "non-finite loss", "task": "sum", "epoch": 3, "step": 177}
    write_json(record, {"seeds": {"0": {"trouble": None}, "1": {"trouble": bad}}})
    (error,) = problems(gated.root, gated.plan)
    assert error.what.endswith("seed 1: non-finite loss in task sum at step 177")
    assert "may_diverge" in error.remedy


def test_the_gate_lets_an_expected_bad_end_pass(config_copy: Path) -> None:
    paper = config_copy / "config/papers/rotograd.yaml"
    text = paper.read_text(encoding="utf-8")
    paper.write_text(
        text.replace("{method: gradnorm, label: gradnorm Z,",
                     "{method: gradnorm, may_diverge: true, label: gradnorm Z,"),
        encoding="utf-8",
    )  # fmt: skip
    made = Results(config_copy, "stand_in")
    _, record = made.cell_files("gradnorm_z")
    bad = {"what": "non-finite loss", "task": "sum", "epoch": 3, "step": 177}
    write_json(record, {"seeds": {"0": {"trouble": bad}}})
    assert problems(made.root, made.plan) == []


SKILL = {"difference": 0.02, "interval": [0.001, 0.04], "seeds": 2}
NONE = {"difference": -0.02, "interval": [-0.04, -0.001], "seeds": 2}


def with_skill(root: Path, tier: str, skill: dict[str, Any] | None) -> Results:
    """Results of all cells; methods other than equal weighting have learned nothing."""
    made = Results(root, tier)
    for training in made.plan.trainings.values():
        seeds = {str(seed): {"trouble": None} for seed in training.cell.seeds}
        write_json(root / training.file("record.json"), {"seeds": seeds})
        told = skill if training.cell.method.name == "uniform" else NONE
        write_json(root / training.scores, {"scores": {}, "skill": {"validation": told}})
    return made


@pytest.mark.parametrize("skill", [SKILL, None])
def test_the_gate_lets_pass_what_beats_a_constant_answer(
    config_copy: Path, skill: dict[str, Any] | None
) -> None:
    made = with_skill(config_copy, "full", skill)
    assert problems(made.root, made.plan) == []


@pytest.mark.parametrize("interval", [[-0.01, 0.05], [0.0, 0.05], [-0.3, -0.2]])
def test_the_gate_stops_where_equal_weighting_has_learned_nothing(
    config_copy: Path, interval: list[float]
) -> None:
    skill = {"difference": sum(interval) / 2, "interval": interval, "seeds": 2}
    made = with_skill(config_copy, "full", skill)
    found = problems(made.root, made.plan)
    # Of the real data alone, and of the multi-task runs alone: formulas are made to be hard.
    runs = made.plan.runs.values()
    expected = [
        f"{run.paper}/{run.name}"
        for run in runs
        for cell in [made.plan.trainings[run.first].cell]
        if cell.dataset != "toy" and cell.method.name == "uniform" and len(cell.tasks) > 1
    ]
    assert "rotograd/reduced/uniform" in expected
    assert [error.where for error in found] == expected
    error = next(e for e in found if e.where == "rotograd/reduced/uniform")
    key = made.plan.runs["rotograd", "reduced", "uniform"].cells["left"]
    assert "pipeline is broken" in error.what and key in error.what
    assert f"{interval[0]:.4g} to {interval[1]:.4g}" in error.what and error.remedy


def test_a_network_that_has_learned_once_is_not_broken(config_copy: Path) -> None:
    """An experiment may show what too few pictures or epochs do."""
    made = with_skill(config_copy, "full", NONE)
    scores, _ = made.cell_files("uniform")
    write_json(scores, {"scores": {}, "skill": {"validation": SKILL}})
    assert problems(made.root, made.plan) == []


def test_stand_in_data_need_not_be_learned(config_copy: Path) -> None:
    made = with_skill(config_copy, "stand_in", NONE)
    assert problems(made.root, made.plan) == []


def test_images_of_ones_own_must_be_learned(config_copy: Path) -> None:
    """They have no published files, and are as real as those that have."""
    own = config_copy / "data" / "own"
    own.mkdir(parents=True)
    (own / "labels.csv").write_text("file,patient,Mass,Edema\n", encoding="utf-8")
    new_dataset(config_copy, "ours", "data/own", "labels.csv", ["Mass", "Edema"])
    new_study(config_copy, load_project(config_copy).datasets["ours"])
    made = with_skill(config_copy, "own", NONE)
    (error,) = problems(made.root, made.plan)
    assert "pipeline is broken" in error.what and error.where == "ours/methods/uniform"


def test_a_run_that_may_diverge_need_not_learn(config_copy: Path) -> None:
    edit(
        config_copy / "config/papers/rotograd.yaml",
        "uniform: {method: uniform,",
        "uniform: {method: uniform, may_diverge: true,",
    )
    made = with_skill(config_copy, "full", NONE)
    assert made.plan.runs["rotograd", "reduced", "uniform"].may_diverge
    where = [error.where for error in problems(made.root, made.plan)]
    assert "rotograd/reduced/uniform" not in where


def test_a_run_of_another_loss_need_not_have_a_low_cross_entropy(config_copy: Path) -> None:
    edit(
        config_copy / "config/papers/rotograd.yaml",
        "uniform: {method: uniform,",
        "uniform: {method: uniform, protocol: {loss: {kind: focal}},",
    )
    made = with_skill(config_copy, "full", NONE)
    where = [error.where for error in problems(made.root, made.plan)]
    assert "rotograd/reduced/uniform" not in where


def test_the_gate_names_scores_that_are_missing(config_copy: Path) -> None:
    made = with_skill(config_copy, "full", SKILL)
    scores, _ = made.cell_files("uniform")
    scores.unlink()
    error = next(e for e in problems(made.root, made.plan) if "reduced/uniform" in e.where)
    assert "has no scores" in error.what and "evaluate" in error.remedy
