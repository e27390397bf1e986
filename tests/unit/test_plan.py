"""From configuration to cells and targets: what asks for which result again."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from counterpoise import code
from counterpoise.code import module_digest
from counterpoise.layout import CELL_FILES, Training
from counterpoise.plan import Plan, load_plan
from counterpoise.project import load_project
from counterpoise.reference import command_of
from counterpoise.skeleton import new_paper
from counterpoise.spec.cell import Cell
from counterpoise.spec.load import read_yaml
from counterpoise.training import problem

from ..support import ROOT, TIERS, copy_of_config, edit, error_of

SIMULATE = Callable[[str], None]


def plan_of(root: Path = ROOT, tier: str = "demo", **overrides: Any) -> Plan:
    return load_plan(root, {"tier": tier, "papers": "all", "methods": "all", **overrides})


@pytest.fixture
def tiers_copy(config_copy: Path) -> Path:
    """A copy of the configuration with :data:`TIERS`."""
    (config_copy / "config/tiers.yaml").write_text(TIERS, encoding="utf-8")
    return config_copy


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> SIMULATE:
    """Makes a module look edited."""

    def simulate(module: str) -> None:
        assert code.path_of(module).is_file(), module
        monkeypatch.setattr(
            code, "module_digest", lambda name: "edited" if name == module else module_digest(name)
        )

    return simulate


def digests(plan: Plan, attribute: str = "digest") -> dict[str, str]:
    """Name of each cell to one of its digests."""
    return {t.name: getattr(t, attribute) for t in plan.trainings.values()}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


def named(plan: Plan, test: Callable[[Training], bool]) -> set[str]:
    return {t.name for t in plan.trainings.values() if test(t)}


# Purity --------------------------------------------------------------------------------------


def test_planning_loads_no_heavy_library() -> None:
    """It happens at the start of every command; torch alone takes seconds."""
    program = (
        "import sys; from pathlib import Path; from counterpoise.plan import load_plan; "
        "from counterpoise.reference import standings; "
        f"root = Path({str(ROOT)!r}); plan = load_plan(root, {{'tier': 'paper'}}); "
        "plan.digests, standings(root, plan); "
        "heavy = 'torch torchvision pandas numpy scipy sklearn snakemake matplotlib'.split(); "
        "print(len(plan.trainings), [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    count, _, loaded = done.stdout.strip().partition(" ")
    assert int(count) > 10 and loaded == "[]"


def test_planning_twice_gives_the_same(demo_plan: Plan) -> None:
    again = plan_of()
    assert again.trainings == demo_plan.trainings
    assert again.digests == demo_plan.digests


def test_planning_writes_nothing(config_copy: Path) -> None:
    before = sorted(config_copy.rglob("*"))
    assert plan_of(config_copy).trainings
    assert sorted(config_copy.rglob("*")) == before


# Which edit asks for what --------------------------------------------------------------------


def uses(method: str) -> Callable[[Training], bool]:
    return lambda training: training.cell.method.name == method


LED = {"gradnorm", "rotograd", "rotograd_sgd"}
ADAPTED = {"aligned_mtl", "cagrad", "imtl", "imtl_g", "upgrad"}


@pytest.mark.parametrize(
    ("module", "concerned"),
    [
        ("counterpoise.methods.gradnorm", uses("gradnorm")),
        ("counterpoise.methods.rotograd", uses("rotograd")),
        ("counterpoise.methods._leader", lambda t: t.cell.method.name in LED),
        # Single-task networks are among them, from which other cells take options.
        (
            "counterpoise.methods.uniform",
            lambda t: t.cell.method.name == "uniform" or bool(t.cell.single_task),
        ),
        ("counterpoise.methods._base", lambda _: True),
        # A cross-stitch network may be built of any.
        (
            "counterpoise.networks.lenet",
            lambda t: t.cell.network.name in ("lenet", "cross_stitch"),
        ),
        ("counterpoise.networks.mlp", lambda t: t.cell.network.name == "mlp"),
        ("counterpoise.datasets.toy", lambda t: t.cell.dataset == "toy"),
        ("counterpoise.datasets._idx", lambda t: t.cell.dataset == "multimnist"),
        ("counterpoise.training.step", lambda _: True),
        ("counterpoise.training.predict", lambda _: True),
        ("counterpoise.evaluation.evaluate", lambda _: False),
        ("counterpoise.reproduction.tables", lambda _: False),
        ("counterpoise.spec.paper", lambda _: False),
        ("counterpoise.prepared", lambda _: True),
        ("counterpoise.files", lambda _: True),
        # What jobs use to talk and to record.
        ("counterpoise.errors", lambda _: False),
        ("counterpoise.provenance", lambda _: False),
        ("counterpoise.training.progress", lambda _: False),
        ("counterpoise.plan", lambda _: False),
    ],
)
def test_an_edit_trains_exactly_the_cells_again_that_it_concerns(
    demo_plan: Plan, edited: SIMULATE, module: str, concerned: Callable[[Training], bool]
) -> None:
    edited(module)
    after = plan_of()
    assert changed(digests(demo_plan), digests(after)) == named(demo_plan, concerned)


def test_an_edit_of_the_adapter_trains_the_adapted_methods_again(edited: SIMULATE) -> None:
    """In tier sample, as the demo has none of them."""
    before = plan_of(tier="sample")
    concerned = named(before, lambda t: t.cell.method.name in ADAPTED)
    used = {t.cell.method.name for t in before.trainings.values() if t.name in concerned}
    assert used == ADAPTED
    edited("counterpoise.methods._torchjd")
    assert changed(digests(before), digests(plan_of(tier="sample"))) == concerned


@pytest.mark.parametrize("module", ["evaluation.evaluate", "metrics"])
def test_an_edit_of_scoring_scores_all_again(
    demo_plan: Plan, edited: SIMULATE, module: str
) -> None:
    edited(f"counterpoise.{module}")
    after = plan_of()
    assert changed(digests(demo_plan, "scoring"), digests(after, "scoring")) == set(
        digests(demo_plan)
    )


def test_an_edit_of_a_dataset_scores_its_cells_again(demo_plan: Plan, edited: SIMULATE) -> None:
    edited("counterpoise.datasets.toy")  # it defines metrics of its own
    again = changed(digests(demo_plan, "scoring"), digests(plan_of(), "scoring"))
    assert again == named(demo_plan, lambda t: t.cell.dataset == "toy")


def raws(plan: Plan) -> dict[str, str]:
    """Raw file of each dataset."""
    return {t.cell.dataset: t.data.raw for t in plan.trainings.values()}


def test_an_edit_of_a_generator_makes_its_raw_files_again(
    demo_plan: Plan, edited: SIMULATE
) -> None:
    edited("counterpoise.generators.digits")
    before, after = raws(demo_plan), raws(plan_of())
    assert before["multimnist"] != after["multimnist"] and before["toy"] == after["toy"]


def test_an_edit_of_a_generator_leaves_real_data_alone(tiers_copy: Path, edited: SIMULATE) -> None:
    before = plan_of(tiers_copy, tier="real")
    edited("counterpoise.generators.digits")
    assert set(before.trainings) == set(plan_of(tiers_copy, tier="real").trainings)


def test_a_tier_may_change_one_experiment_more_than_the_others(tiers_copy: Path) -> None:
    path = tiers_copy / "config" / "tiers.yaml"
    edit(
        path,
        "multimnist: {source: digits, epochs: 10, batch_size: 128, learning_rate: 0.01, seeds: 3}",
        "multimnist: {source: digits, epochs: 10, seeds: 3, experiments: {rotograd/original: "
        "{epochs: 2, selection: last, network: {name: lenet, options: {size: reduced}}}}}",
    )
    plan = plan_of(tiers_copy)
    of = {name: plan.runs["rotograd", name, "uniform"] for name in ("reduced", "original")}
    cells = {name: plan.trainings[run.cells["left"]].cell for name, run in of.items()}
    assert cells["reduced"].protocol.epochs == 10 and cells["original"].protocol.epochs == 2
    assert cells["original"].seeds == cells["reduced"].seeds == (0, 1, 2)
    assert cells["original"].network.options == {"size": "reduced"}
    told = of["original"].reductions
    assert "network lenet size reduced for lenet size original" in told
    assert cells["original"].protocol.selection == "last"
    assert "weights of the last epoch" in told
    assert not any("network" in text for text in of["reduced"].reductions)


def test_a_tier_like_another_has_the_cells_of_its_runs(tiers_copy: Path) -> None:
    path = tiers_copy / "config/tiers.yaml"
    text = path.read_text(encoding="utf-8")
    first = next(iter(load_project(tiers_copy).tiers.tiers))
    one = next(f"{p}/{e}/{r}" for p, e, r in plan_of(tiers_copy, first).runs)
    more = f"  part:\n    title: Part\n    description: d\n    like: {first}\n    runs: [{one}]\n"
    path.write_text(text + more, encoding="utf-8")
    whole, part = plan_of(tiers_copy, first), plan_of(tiers_copy, "part")
    assert ["/".join(key) for key in part.runs] == [one]
    assert {*part.trainings} < {*whole.trainings}


def test_a_tier_may_leave_an_experiment_out(tiers_copy: Path) -> None:
    path = tiers_copy / "config" / "tiers.yaml"
    edit(path, "multimnist: {source: digits, epochs: 10,",
         "multimnist: {without: [rotograd/original], source: digits, epochs: 10,")  # fmt: skip
    kept = {key[:2] for key in plan_of(tiers_copy).runs}
    assert ("rotograd", "reduced") in kept and ("rotograd", "original") not in kept
    line = edit(path, "[rotograd/original]", "[rotograd/orignal]")
    error = error_of(lambda: plan_of(tiers_copy))
    assert f"tiers.yaml:{line}: no experiment 'rotograd/orignal'" in str(error)


def test_an_edit_of_a_dataset_downloads_nothing_again(tiers_copy: Path, edited: SIMULATE) -> None:
    before = plan_of(tiers_copy, tier="real")
    edited("counterpoise.datasets.multimnist")
    after = plan_of(tiers_copy, tier="real")
    assert raws(before)["multimnist"] == raws(after)["multimnist"]
    assert changed_data(before, after) == {"multimnist"}


def test_data_with_other_options_have_a_place_of_their_own(demo_plan: Plan) -> None:
    """One dataset and source, three problems; cells of one problem share the data."""
    places: dict[str, set[str]] = {}
    for training in demo_plan.trainings.values():
        if training.cell.dataset == "toy":
            problem = training.cell.dataset_options["problem"]
            places.setdefault(problem, set()).add(training.data.split)
    assert len(places) == 3 and all(len(found) == 1 for found in places.values())
    assert len(set.union(*places.values())) == 3


def test_another_checksum_is_another_source(tiers_copy: Path) -> None:
    before = plan_of(tiers_copy, tier="real")
    edit(tiers_copy / "config/datasets/multimnist.yaml", "sha256: 440fca", "sha256: 540fca")
    after = plan_of(tiers_copy, tier="real")
    assert raws(before)["multimnist"] != raws(after)["multimnist"]
    assert changed_data(before, after) == {"multimnist"}


def changed_data(before: Plan, after: Plan) -> set[str]:
    """Datasets whose prepared data get another place."""

    def places(plan: Plan) -> dict[str, str]:
        return {t.cell.dataset: t.data.split for t in plan.trainings.values()}

    return changed(places(before), places(after))


def exhibits(plan: Plan) -> dict[str, set[str]]:
    """Paths of tables, claims and figures by kind."""
    plans = plan.papers.values()
    figures = {
        p.figure(f.id): f for p in plans for f in p.paper.figures if f.id in p.figure_digests
    }
    found: dict[str, set[str]] = {
        kind: {path for path, figure in figures.items() if figure.content.kind == kind}
        for kind in ("bars", "roc", "reliability", "localisation")
    }
    return {
        "tables": {p.tables for p in plans},
        "claims": {p.claims for p in plans},
        **found,
        "curves": set(figures) - set().union(*found.values()),
    }


def test_logs_are_where_the_workflow_writes_them(demo_plan: Plan) -> None:
    """The report and the gate name them where a result is missing."""
    rules = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "workflow/rules").glob("*.smk"))
    written = [re.escape(log) for log in re.findall(r'"(logs/\{tier\}/[^"]+)"', rules)]
    patterns = [re.sub(r"\\\{\w+\\\}", "[^/]+", log) for log in written]
    training, paper = next(iter(demo_plan.trainings.values())), demo_plan.papers["rotograd"]
    told = [training.log(step) for step in ("train", "evaluate")]
    told += [paper.log(what) for what in ("tables", "claims", "views")]
    told.append(paper.log("figures", next(iter(paper.figure_digests))))
    for log in told:
        kind = log.split("/")[2]
        assert any(re.fullmatch(p, log) for p in patterns if f"/{kind}/" in p), log


SCORED = {"tables", "claims", "bars", "roc", "reliability"}


@pytest.mark.parametrize(
    ("module", "kinds"),
    [
        # Areas under a curve come with the intervals of the tables.
        ("counterpoise.reproduction.ours", SCORED),
        ("counterpoise.reproduction.tables", {"tables", "claims", "bars"}),
        ("counterpoise.evaluation.statistics", SCORED | {"localisation"}),
        ("counterpoise.reproduction.claims", {"claims"}),
        (
            "counterpoise.reproduction.figures",
            {"bars", "roc", "reliability", "localisation", "curves"},
        ),
        ("counterpoise.reproduction.drawings.roc", {"roc"}),
        ("counterpoise.report.build", set()),
        # What they show is in their digests; how it was planned, checked and told is not.
        ("counterpoise.plan", set()),
        ("counterpoise.project", set()),
        ("counterpoise.checks.paper", set()),
        ("counterpoise.errors", set()),
    ],
)
def test_an_edit_makes_exactly_the_exhibits_again_that_it_concerns(
    demo_plan: Plan, edited: SIMULATE, module: str, kinds: set[str]
) -> None:
    edited(module)
    before, after = exhibits(demo_plan), exhibits(plan_of())
    for kind, paths in before.items():
        assert bool(paths & after[kind]) == (kind not in kinds), kind
        assert bool(paths - after[kind]) == (kind in kinds), kind


def test_data_of_another_name_make_what_names_them_again(config_copy: Path) -> None:
    """Marks of stand-in data, and titles, are part of what is shown; nothing is trained anew."""
    before = plan_of(config_copy)
    edit(
        config_copy / "config/datasets/chestxray14.yaml",
        "title: Chest phantom\n",
        "title: Phantom\n",
    )
    after = plan_of(config_copy)
    assert before.trainings == after.trainings
    paper = "thoracic"
    one, other = before.papers[paper], after.papers[paper]
    assert one.tables != other.tables and one.figure_digests.keys() == other.figure_digests.keys()
    shown = {f.id for f in one.paper.figures if f.explanations and f.id in one.figure_digests}
    assert shown and all(one.figure_digests[name] != other.figure_digests[name] for name in shown)


def test_an_edit_of_scoring_makes_the_tables_again_that_show_scores(
    demo_plan: Plan, edited: SIMULATE
) -> None:
    edited("counterpoise.evaluation.evaluate")
    after = plan_of()
    with_runs = {run.paper for run in demo_plan.runs.values()}
    for name, paper in demo_plan.papers.items():
        other = after.papers[name]
        assert (paper.tables != other.tables) == (name in with_runs)
        assert (paper.claims != other.claims) == (name in with_runs)


def test_an_edit_of_the_report_builds_only_the_report_again(
    demo_plan: Plan, edited: SIMULATE
) -> None:
    before = demo_plan.digests
    edited("counterpoise.report.build")
    after = plan_of().digests
    assert {key for key in before if before[key] != after[key]} == {"code"}


@pytest.mark.parametrize(
    ("file", "old", "new", "concerned"),
    [
        ("tiers.yaml", "seeds: 3}", "seeds: 4}", lambda t: t.cell.dataset == "multimnist"),
        ("tiers.yaml", "epochs: 10, batch", "epochs: 11, batch",
         lambda t: t.cell.dataset == "multimnist"),
        ("tiers.yaml", "title: Small", "title: Little", lambda _: False),
        ("datasets/multimnist.yaml", "train_pairs: 2560", "train_pairs: 2561",
         lambda t: t.cell.dataset == "multimnist"),
        ("datasets/multimnist.yaml", "card:", "split_seed: 1\ncard:",
         lambda t: t.cell.dataset == "multimnist"),
        ("datasets/multimnist.yaml", "title: MultiMNIST", "title: Two digits", lambda _: False),
        ("papers/rotograd.yaml", "update: closed_form}", "update: closed_form, alpha: 0.4}",
         lambda t: t.cell.method.options.get("update") == "closed_form"),
        ("papers/rotograd.yaml", "options: {decay: 0.9}", "options: {decay: 0.90}",
         lambda _: False),
        ("papers/rotograd.yaml", '"89.46 ±00.57"', '"89.47 ±00.57"', lambda _: False),
        ("papers/rotograd.yaml", "label: gradnorm Z, options", "label: GN, options",
         lambda _: False),
        ("config.yaml", "device: auto", "device: cpu", lambda _: False),
        ("config.yaml", "mirror: null", "mirror: /data", lambda _: False),
    ],
)  # fmt: skip
def test_an_edit_of_the_configuration(
    tiers_copy: Path, file: str, old: str, new: str, concerned: Callable[[Training], bool]
) -> None:
    def sorted_digests(plan: Plan, test: Callable[[Training], bool]) -> list[str]:
        # An option that is set appears in the cell's name, so names may change.
        return sorted(t.digest for t in plan.trainings.values() if test(t))

    before = plan_of(tiers_copy)
    edit(tiers_copy / "config" / file, old, new)
    after = plan_of(tiers_copy)
    assert len(before.trainings) == len(after.trainings)

    def others(training: Training) -> bool:
        return not concerned(training)

    assert sorted_digests(before, others) == sorted_digests(after, others)
    gone = set(sorted_digests(before, concerned))
    assert not gone & set(sorted_digests(after, concerned))


def test_a_figure_of_where_a_network_looks_is_drawn_again_under_another_label(
    config_copy: Path,
) -> None:
    """Where the explanation has none, the run's is shown; what was computed stays as it is."""
    path = config_copy / "config/papers/thoracic.yaml"
    edit(path, "run: imagenet, label: AlexNet, tasks", "run: imagenet, tasks")
    before = plan_of(config_copy).papers["thoracic"]
    edit(path, '"AlexNet, weights from ImageNet, early stages frozen"', "An old network")
    after = plan_of(config_copy).papers["thoracic"]
    redrawn = changed(before.figure_digests, after.figure_digests)
    shown = {f.id for f in before.paper.figures if "alexnet" in f.explanations}
    assert "localisation" in {f.content.kind for f in before.paper.figures if f.id in shown}
    assert shown <= redrawn
    assert before.explanation_digests == after.explanation_digests


@pytest.mark.parametrize("overrides", [{"mirror": "/elsewhere"}, {"device": "cpu"}])
def test_where_data_come_from_and_what_computes_is_no_part_of_a_result(
    demo_plan: Plan, overrides: dict[str, str]
) -> None:
    after = plan_of(**overrides)
    assert after.cell_files == demo_plan.cell_files
    assert after.exhibits == demo_plan.exhibits


def test_the_version_of_a_library_is_part_of_a_result(
    demo_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterpoise.planning import identity

    known = identity.library_version

    def other(name: str, **how: bool) -> str:
        return "0" if name == "torch" else known(name, **how)

    monkeypatch.setattr(identity, "library_version", other)
    assert changed(digests(demo_plan), digests(plan_of())) == set(digests(demo_plan))


def test_a_checkout_elsewhere_has_the_same_digests(demo_plan: Plan, config_copy: Path) -> None:
    assert plan_of(config_copy).cell_files == demo_plan.cell_files


# Expansion -----------------------------------------------------------------------------------

FIVE = ("left", "right", "sum", "product", "density")


def test_single_task_is_one_cell_a_task_of_uniform_weights(demo_plan: Plan) -> None:
    run = demo_plan.runs["rotograd", "reduced", "single_task"]
    assert tuple(run.cells) == FIVE and run.name == "reduced/single_task"
    assert run.keys == [run.cells[task] for task in FIVE] and run.first == run.cells["left"]
    cells = {task: demo_plan.trainings[key].cell for task, key in run.cells.items()}
    assert {task: cell.tasks for task, cell in cells.items()} == {t: (t,) for t in FIVE}
    assert {cell.method.name for cell in cells.values()} == {"uniform"}


def test_other_runs_are_one_cell_for_all_tasks(demo_plan: Plan) -> None:
    run = demo_plan.runs["rotograd", "reduced", "gradnorm_z"]
    (key,) = run.keys
    assert run.first == key
    assert tuple(run.cells) == FIVE == demo_plan.trainings[key].cell.tasks


def test_runs_that_are_the_same_share_a_cell(config_copy: Path) -> None:
    path = config_copy / "config/papers/rotograd.yaml"
    edit(path, "      gradnorm_z: {", "      twin: {method: uniform}\n      gradnorm_z: {")
    plan = plan_of(config_copy)
    twins = [plan.runs["rotograd", "reduced", name].cells for name in ("uniform", "twin")]
    assert twins[0] == twins[1]


def test_options_of_a_cell_are_resolved_to_their_full_set(demo_plan: Plan) -> None:
    (key,) = demo_plan.runs["rotograd", "reduced", "rotograd"].keys
    options = demo_plan.trainings[key].cell.method.options
    assert options["decay"] == 0.99 and options["tie_break"] == "proximal"


KEY = ("rotograd", "reduced", "uniform")


def cell_of(plan: Plan, *key: str) -> Cell:
    """The one cell of a run that is not single-task."""
    (found,) = plan.runs[key].keys  # type: ignore[index]
    return plan.trainings[found].cell


def test_a_tier_reduces_seeds_and_epochs(tiers_copy: Path) -> None:
    small, full = (cell_of(plan_of(tiers_copy, tier=tier), *KEY) for tier in ("demo", "full"))
    # The submission: 10 runs, 150 epochs, batches of 1024, Adam with 0.001.
    assert full.seeds == tuple(range(10))
    assert (full.protocol.epochs, full.protocol.batch_size) == (150, 1024)
    assert full.protocol.learning_rate == 0.001
    assert small.seeds == (0, 1, 2)
    assert (small.protocol.epochs, small.protocol.batch_size) == (10, 128)
    assert small.protocol.learning_rate == 0.01


def test_a_tier_never_asks_for_more_seeds_than_the_paper_has(tiers_copy: Path) -> None:
    key = ("rotograd", "toy_conflict", "uniform")
    full, more = (cell_of(plan_of(tiers_copy, tier=tier), *key) for tier in ("full", "real"))
    assert more.seeds == full.seeds


@pytest.mark.parametrize(
    ("tier", "mark", "reductions"),
    [
        ("demo", "demo", ("10 of 150 epochs", "3 of 10 seeds", "batches of 128 instead of 1024",
                          "learning rate 0.01 instead of 0.001")),
        ("real", "reduced", ("10 of 150 epochs", "2 of 10 seeds", "train_pairs 500")),
        ("stand_in", "demo", ()),
        ("full", None, ()),
    ],
)  # fmt: skip
def test_what_is_reduced_is_marked(
    tiers_copy: Path, tier: str, mark: str | None, reductions: tuple[str, ...]
) -> None:
    run = plan_of(tiers_copy, tier=tier).runs[KEY]
    assert (run.mark, run.reductions) == (mark, reductions)


def test_a_part_of_the_published_images_is_a_reduction(tiers_copy: Path) -> None:
    edit(tiers_copy / "config/tiers.yaml", "tiers:\n", """tiers:
  part: {title: p, description: d, datasets: {chestxray14: {source: nih-chestxray14-sample}}}
  whole: {title: w, description: d, datasets: {chestxray14: {source: nih}}}
""")  # fmt: skip
    key = ("db-mtl", "chest", "uniform")
    part, whole = (plan_of(tiers_copy, tier=tier).runs[key] for tier in ("part", "whole"))
    assert (part.mark, part.reductions) == ("reduced", ("data: Sample of ChestX-ray14",))
    assert (whole.mark, whole.reductions) == (None, ())


def test_a_shorter_search_is_a_reduction(tiers_copy: Path) -> None:
    edit(tiers_copy / "config/tiers.yaml", "tiers:\n", """tiers:
  quick:
    title: q
    description: d
    datasets: {multimnist: {source: mnist, search_epochs: 1, search_seeds: 1}}
""")  # fmt: skip
    runs = plan_of(tiers_copy, tier="quick").runs
    told = runs["imbalance", "multimnist", "grid_search"].reductions
    assert len(told) == 1 and told[0].startswith("options searched over 1 of ")
    assert runs[KEY].reductions == ()


@pytest.mark.parametrize(
    ("tier", "end"),
    [("chest-reduced", " mirror=FOLDER"), ("mnist", ""), ("demo", ""), ("paper", "")],
)
def test_the_command_of_committed_results_names_a_folder_where_data_are_not_published(
    tier: str, end: str
) -> None:
    told = command_of(load_plan(ROOT, {"tier": tier}))
    assert told == f"snakemake --cores all --config tier={tier}{end}"


def test_a_tier_may_name_its_runs(tiers_copy: Path) -> None:
    plan = plan_of(tiers_copy, tier="two")
    assert sorted(plan.runs) == [("rotograd", "reduced", "rotograd"), KEY]
    assert len(plan.trainings) == 2
    assert all(t.cell.seeds == (0,) for t in plan.trainings.values())


def test_a_dataset_that_a_tier_leaves_out_has_no_runs(tiers_copy: Path) -> None:
    plan = plan_of(tiers_copy, tier="stand_in")
    assert {t.cell.dataset for t in plan.trainings.values()} == {"multimnist"}
    drawn = plan.papers["rotograd"].figure_digests
    assert "figure-3a" not in drawn and "figure-4a" in drawn


def test_chosen_methods_keep_their_single_task_reference(demo_plan: Plan) -> None:
    plan = plan_of(methods=["gradnorm"])
    methods = {plan.project.papers[p].experiments[e].runs[r].method for p, e, r in plan.runs}
    assert methods == {"gradnorm", "single_task"}
    assert set(plan.trainings) < set(demo_plan.trainings)


def test_chosen_papers(demo_plan: Plan) -> None:
    plan = plan_of(papers=["thoracic"])
    assert list(plan.papers) == ["thoracic"]
    assert set(plan.trainings) == {t.key for t in demo_plan.cells_of("thoracic")}
    assert {t.cell.dataset for t in plan_of(papers=["imbalance"]).trainings.values()} == {
        "multimnist"
    }
    assert plan.papers["thoracic"].tables == demo_plan.papers["thoracic"].tables


# Targets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tier", read_yaml(ROOT / "config/tiers.yaml").data["tiers"])
def test_every_result_has_a_place_of_its_own(tier: str) -> None:
    plan = plan_of(tier=tier)
    files = [*plan.cell_files, *plan.exhibits, *plan.data_files, plan.report, plan.gate]
    assert len(files) == len(set(files))
    places = [f for f in files if not f.startswith("data/")]
    assert all(f.split("/")[1] == tier for f in places)
    assert all(len(part) < 200 for f in files for part in f.split("/"))


def test_every_paper_has_tables_and_claims(demo_plan: Plan) -> None:
    assert set(demo_plan.papers) == set(demo_plan.project.papers)
    for paper in demo_plan.papers.values():
        assert {paper.tables, paper.claims} <= set(demo_plan.exhibits)


def test_a_figure_needs_the_cells_that_it_shows(demo_plan: Plan) -> None:
    cells = demo_plan.cells_of_figure("rotograd", "task-weights")
    shown = {"gradnorm_z", "rotograd", "rotograd_mean_of_norms"}
    runs = demo_plan.runs
    assert {t.key for t in cells} == {
        key for name in shown for key in runs["rotograd", "reduced", name].keys
    }
    assert demo_plan.cells_of_figure("thoracic", "figure-1") == []
    paper = demo_plan.papers["rotograd"].paper
    (shown,) = (f.id for f in paper.figures if f.content.kind == "decision")
    data = {cell.data.split for cell in demo_plan.cells_of_figure("rotograd", shown)}
    assert data <= set(demo_plan.inputs_of_figure("rotograd", shown)), "it shows the points"


def test_a_paper_needs_the_cells_of_its_runs(demo_plan: Plan) -> None:
    found = {paper: demo_plan.cells_of(paper) for paper in demo_plan.papers}
    for paper, cells in found.items():
        assert [t.key for t in cells] == sorted({t.key for t in cells}), paper
    assert {t.key for cells in found.values() for t in cells} == set(demo_plan.trainings)
    assert {t.cell.dataset for t in found["rotograd"]} == {"multimnist", "toy", "chestxray14"}
    assert {t.cell.dataset for t in found["thoracic"]} == {"chestxray14"}
    # Stand-ins of three families, from random and from trained weights, one of them trained with
    # a fault besides, and the small network; AlexNet's untrained, as a whole and but for its trunk.
    assert len(found["thoracic"]) == 8 + 2


def test_an_unknown_cell_is_told_with_the_nearest(demo_plan: Plan) -> None:
    training = next(iter(demo_plan.trainings.values()))
    assert demo_plan.training(training.name, training.digest) is training
    other = error_of(lambda: demo_plan.training(training.name + "x", training.digest))
    assert "has no cell" in other.what and training.key in other.remedy
    wrong = error_of(lambda: demo_plan.training(training.name, training.digest[:-1] + "x"))
    assert "has changed since" in wrong.what.replace("\n", " ")
    assert training.key in wrong.remedy
    assert "no data" in error_of(lambda: demo_plan.data("0" * 12)).what


def test_a_copy_of_the_configuration_without_papers_has_an_empty_plan(tmp_path: Path) -> None:
    root = copy_of_config(tmp_path / "checkout")
    for path in (root / "config/papers").iterdir():
        path.unlink()
    tiers = TIERS.replace("    runs: [rotograd/reduced/uniform, rotograd/reduced/rotograd]\n", "")
    (root / "config/tiers.yaml").write_text(tiers, encoding="utf-8")
    plan = plan_of(root)
    assert (plan.cell_files, plan.exhibits, plan.data_files) == ([], [], [])


def test_an_experiment_chooses_what_its_views_show(config_copy: Path) -> None:
    path = config_copy / "config/papers/deepchest.yaml"
    text = path.read_text(encoding="utf-8")
    head, _, tail = text.partition("    views: [")
    rest = tail.partition("]\n")[2]
    plan = plan_of(config_copy, papers=["deepchest"])
    assert plan.papers["deepchest"].viewed == ("chest",), "`views: []` elsewhere"
    for chosen, viewed in (("[uniform, deepchest, dwa]", ("chest",)), ("[uniform, dwa]", ())):
        path.write_text(f"{head}    views: {chosen}\n{rest}", encoding="utf-8")
        assert plan_of(config_copy, papers=["deepchest"]).papers["deepchest"].viewed == viewed
    path.write_text(f"{head}    views: [unifrom]\n{rest}", encoding="utf-8")
    told = error_of(lambda: plan_of(config_copy, papers=["deepchest"]))
    assert "unknown run 'unifrom'" in str(told) and "did you mean 'uniform'?" in str(told)


def test_the_skeleton_of_a_paper_is_one(config_copy: Path) -> None:
    """It is valid and names what the demo is to train."""
    path = new_paper(config_copy, "our_paper", 2026)
    plan = plan_of(config_copy, papers=["our_paper"])
    assert {run.run for run in plan.runs.values()} == {"single_task", "uniform", "proposed"}
    assert any(t.cell.method.name == "famo" for t in plan.trainings.values())
    assert list(plan.papers) == ["our_paper"]
    for name, said in ((path.stem, "there is already a paper"), ("../up", "cannot be the name")):
        assert said in error_of(lambda name=name: new_paper(config_copy, name, 2026)).what


def test_a_cell_has_the_same_files_wherever_they_are_named() -> None:
    """Its job has a list of its own: it is part of what decides what is trained anew."""
    rules = (ROOT / "workflow/rules/cells.smk").read_text(encoding="utf-8")
    train = rules[rules.index("rule train:") : rules.index("rule evaluate:")]
    declared = re.findall(r'"results/\{tier\}/cells/\{cell\}/\{digest\}/([^"]+)"', train)
    assert sorted(CELL_FILES) == sorted(problem.RESULTS) == sorted(declared)


def test_a_cell_of_another_digest_is_named_by_what_it_is_now() -> None:
    """Whatever else is near it in letters, and if it only sets options of another."""
    plan = plan_of(tier="chest-reduced")
    planned = plan.every
    names = [training.name for training in planned.values()]
    for training in planned.values():
        if names.count(training.name) > 1:
            continue
        error = error_of(lambda name=training.name: plan.training(name, "0123456789ab"))
        assert error.remedy == f"run `snakemake` again; it is now {training.key}"
