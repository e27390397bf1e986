"""The real Snakemake on the smoke tier: what runs, what does not run again, and why."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.checkouts import ROOT, Checkout, jobs

RESULTS = ("weights.safetensors", "history.parquet", "predictions.parquet", "scores-*.json")
REPORTING = {"tables": 1, "claims": 1, "report": 1, "gate": 1}
SNAKEMAKE_COUNTING_TIMERS = """
import sys, threading
from snakemake.cli import main

started = []

class Counted(threading.Timer):
    def start(self):
        started.append(self)
        super().start()

threading.Timer = Counted
try:
    main(sys.argv[1:])
finally:
    print("timers:", len(started))
"""


def test_the_default_target_makes_every_result_and_the_report(finished: Checkout) -> None:
    assert len(finished.cells()) == 2
    for cell in finished.cells():
        for name in RESULTS:
            assert len(list(cell.glob(name))) == 1
    report = finished.root / "reports" / "smoke" / "index.html"
    assert report.stat().st_size > 10_000
    assert json.loads((report.parent / "results.json").read_text())["tier"]


def test_a_second_run_does_nothing_and_says_so(finished: Checkout) -> None:
    assert "Nothing to be done" in finished.snakemake("all")


def test_results_without_metadata_are_not_made_again(finished: Checkout, tmp_path: Path) -> None:
    """As after a pull: no metadata of Snakemake, and file times in any order."""
    clone = finished.copy(tmp_path / "clone")
    rng = random.Random(0)
    for path in sorted(clone.root.rglob("*")):
        when = 1.7e9 + rng.random() * 1e6
        os.utime(path, (when, when))
    assert not {"prepare", "split", "train", "evaluate"} & set(clone.planned())


def test_a_run_starts_no_timers(finished: Checkout, tmp_path: Path) -> None:
    """Snakemake's own, one for each look for jobs, would in time cost more than the jobs."""
    clone = Checkout(Path(shutil.copytree(finished.root, tmp_path / "clone", symlinks=True)))
    shutil.rmtree(clone.root / "reports")
    words = ["--cores", "2", "--config", "tier=smoke", "--", "all"]
    done = clone.run(sys.executable, "-c", SNAKEMAKE_COUNTING_TIMERS, *words)
    assert "timers: 0" in done.stdout, done.stdout + done.stderr[-2000:]
    assert (clone.root / "reports" / "smoke" / "index.html").is_file()


def test_a_deleted_cell_is_made_again_with_what_depends_on_it(
    finished: Checkout, tmp_path: Path
) -> None:
    clone = Checkout(Path(shutil.copytree(finished.root, tmp_path / "clone", symlinks=True)))
    before = clone.bytes_of(RESULTS)
    (victim,) = clone.cells("*-uniform")
    shutil.rmtree(victim)
    planned = clone.planned()
    assert planned == {"train": 1, "evaluate": 1, "figures": 3, **REPORTING}
    clone.snakemake("all")
    assert clone.bytes_of(RESULTS) == before


def test_editing_a_method_reruns_its_cells_only_and_going_back_finds_them(
    finished: Checkout, tmp_path: Path
) -> None:
    clone = finished.copy(tmp_path / "clone")  # no metadata: as in a fresh clone
    file = "src/counterpoise/methods/rotograd.py"
    clone.edit(file, "PROXIMAL_EPSILON = 1e-6", "PROXIMAL_EPSILON = 2e-6")
    planned = clone.planned()
    assert {k: planned.get(k) for k in ("train", "evaluate")} == {
        "train": 1, "evaluate": 1,
    }  # fmt: skip
    clone.edit(file, "PROXIMAL_EPSILON = 2e-6", "PROXIMAL_EPSILON = 1e-6")
    assert "train" not in clone.planned()


def test_comments_and_docstrings_rerun_nothing(finished: Checkout, tmp_path: Path) -> None:
    clone = finished.copy(tmp_path / "clone")
    clone.edit(
        "src/counterpoise/methods/_leader.py", "SMALLEST_WEIGHT =", "# why\nSMALLEST_WEIGHT ="
    )
    clone.edit("src/counterpoise/training/step.py", '"""One update', '"""A single update')
    assert "train" not in clone.planned()


def test_editing_the_scores_trains_nothing(finished: Checkout, tmp_path: Path) -> None:
    clone = finished.copy(tmp_path / "clone")
    clone.edit("src/counterpoise/evaluation/evaluate.py", "sort=True", "sort=not False")
    planned = clone.planned()
    assert planned["evaluate"] == 2
    assert "train" not in planned


def test_cores_do_not_change_results(finished: Checkout, checkout: Checkout) -> None:
    checkout.snakemake("results", cores="1")
    assert checkout.bytes_of(RESULTS) == finished.bytes_of(RESULTS)


@pytest.mark.parametrize("epochs", [pytest.param(4, marks=pytest.mark.slow), 18])
def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    checkout: Checkout, epochs: int
) -> None:
    checkout.edit("config/tiers.yaml", "epochs: 2", "epochs: 60")
    other = checkout.copy(checkout.root.parent / "other")
    checkout.snakemake("data")
    other.snakemake("data")
    plan = checkout.run("counterpoise", "plan", "--tier", "smoke").stdout
    key = next(word for word in plan.split() if "rotograd" in word)
    command = ("counterpoise", "train", key, "--tier", "smoke", "--save-every")
    assert other.run(*command, "60").returncode == 0

    work = checkout.root / "work" / "smoke" / key
    process = subprocess.Popen(
        [*command, "0"], cwd=checkout.root, env=checkout.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for_epochs(work / "progress.json", epochs, process)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert (work / "seed-0.state").is_file()
    again = checkout.run(*command, "0")
    assert again.returncode == 0, again.stderr
    assert "continues at epoch" in again.stdout
    names = RESULTS[:2]
    assert checkout.bytes_of(names) == other.bytes_of(names) != {}
    assert not work.exists()


def _wait_for_epochs(path: Path, epochs: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "training ended before it could be killed"
        try:
            if json.loads(path.read_text())["done"] >= epochs:
                return
        except (OSError, ValueError):
            pass
        time.sleep(0.01)
    raise AssertionError("training never got there")


def test_sigterm_saves_the_state_and_the_next_run_goes_on(checkout: Checkout) -> None:
    checkout.edit("config/tiers.yaml", "epochs: 2", "epochs: 300")
    checkout.snakemake("data")
    plan = checkout.run("counterpoise", "plan", "--tier", "smoke").stdout
    key = next(word for word in plan.split() if "uniform" in word)
    work = checkout.root / "work" / "smoke" / key
    process = subprocess.Popen(
        ["counterpoise", "train", key, "--tier", "smoke"],
        cwd=checkout.root, env=checkout.environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    _wait_for_epochs(work / "progress.json", 2, process)  # type: ignore[arg-type]
    assert "uniform" in checkout.run("counterpoise", "status").stdout
    process.terminate()
    _, message = process.communicate(timeout=30)
    assert process.returncode == 143 and "resumes" in message
    assert (work / "seed-0.state").is_file()


def test_a_crash_fails_the_run_and_still_builds_the_report(checkout: Checkout) -> None:
    checkout.edit(
        "src/counterpoise/methods/rotograd.py",
        '        omega = state["omega"]',
        '        raise RuntimeError("boom")\n        omega = state["omega"]',
    )
    done = checkout.try_snakemake("all")
    assert done.returncode != 0
    assert "boom" in done.stderr
    page = (checkout.root / "reports" / "smoke" / "index.html").read_text()
    assert "logs/smoke/train/multimnist-lenet-reduced-rotograd" in page
    assert not (checkout.root / "reports" / "smoke" / "gate.json").exists()


def test_the_report_of_a_failed_run_does_not_outlive_it(finished: Checkout, tmp_path: Path) -> None:
    """Once the edit is undone, Snakemake finds the inputs of the report as they were before it."""
    clone = Checkout(Path(shutil.copytree(finished.root, tmp_path / "clone", symlinks=True)))
    folder = clone.root / "reports" / "smoke"
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    file, line = "src/counterpoise/reproduction/claims.py", "    claims = [judge_claim("
    bad = f'    raise RuntimeError("boom")\n{line}'
    clone.edit(file, line, bad)
    assert "boom" in clone.try_snakemake("all").stderr
    assert (folder / "index.html").read_bytes() != before[folder / "index.html"]
    clone.edit(file, bad, line)
    assert clone.planned() == {"report": 1, "gate": 1}
    clone.snakemake("report_only")
    clone.snakemake("all")
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_a_diverged_run_is_reported_and_the_gate_fails(checkout: Checkout) -> None:
    checkout.edit(
        "config/papers/rotograd.yaml", "loss_normalisation: first_batch", "loss_normalisation: none"
    )
    checkout.edit(
        "config/papers/rotograd.yaml",
        "optimizer: adam\n      learning_rate: 0.001",
        "optimizer: sgd\n      learning_rate: 1e9",
    )
    done = checkout.try_snakemake("all")
    assert done.returncode != 0
    assert "non-finite" in done.stderr
    folder = checkout.root / "reports" / "smoke"
    page = (folder / "index.html").read_text()
    assert "failed" in page and "non-finite" in page
    assert not (folder / "gate.json").exists()
    assert json.loads((folder / "results.json").read_text())["numbers"], "the report is whole"


def test_a_dropped_method_file_can_be_run(checkout: Checkout) -> None:
    """The example of the README, word for word."""
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    code = readme.partition("```python\n")[2].partition("```")[0]
    (checkout.root / "src/counterpoise/methods/inverse_loss.py").write_text(code)
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_methods.py"]
    done = subprocess.run(
        [sys.executable, *words, "-k", "inverse_loss"],
        cwd=ROOT, env=checkout.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "passed" in done.stdout, done.stdout[-3000:]
    checkout.edit(
        "config/papers/rotograd.yaml",
        "      uniform: {method: uniform, label: uniform, calibrated: true}\n",
        "      uniform: {method: inverse_loss, label: uniform}\n",
    )
    checkout.snakemake("all")
    assert checkout.cells("*-inverse_loss")
    page = (checkout.root / "reports" / "smoke" / "index.html").read_text()
    assert "Inverse loss" in page


def test_snakemakes_own_report_holds_page_figures_and_tables(
    finished: Checkout, tmp_path: Path
) -> None:
    clone = Checkout(Path(shutil.copytree(finished.root, tmp_path / "clone", symlinks=True)))
    done = clone.run("snakemake", "--config", "tier=smoke", "--report", "report.html")
    assert done.returncode == 0, done.stderr[-3000:]
    text = (clone.root / "report.html").read_text(encoding="utf-8")
    for category in ("Report", "Figures", "Tables"):
        assert f'"{category}"' in text
    for words in ("rebuilds the tables, figures and claims", "quotes what the paper says"):
        assert words in text  # the captions
    labels = re.findall(r'"labels": \{[^}]*\}', text)
    assert any('"figure": "training-loss"' in label for label in labels)
    assert any('"table": "rotograd-table-3"' in label for label in labels)


def test_the_plan_of_the_paper_tier_is_whole(finished: Checkout) -> None:
    planned = finished.planned("paper")
    # RotoGrad's 36 on digits and toys, 29 methods beside DB-MTL on the same digits, of which AvgNorm
    # serves twice, its other form and a searched run, and five of RotoGrad's own that are searched; the
    # points of a search are never scored: nine, and 78 of the five.
    digits_and_toys = 36 + 29 + 2 + 5
    # Chests: DB-MTL's 5 and 29 on three findings, DeepChest's 32, four as published and four apart,
    # RotoGrad's 21 and four from ImageNet, the thoracic paper's seven networks; of the paper on imbalance
    # AvgNorm twice, a search and its nine points, two shares of the patients, two other starts.
    chests = (5 + 29) + (32 + 4 + 4) + (21 + 4) + (5 + 4 + 4 + 1 + 1 + 9 + 1 + 1)
    chests += (2 + 1 + 9) + 2 * 5 + 2
    assert planned["evaluate"] == digits_and_toys + chests
    # And the network on the second phantom that one goes on from.
    assert planned["train"] == planned["evaluate"] + 9 + 78 + 1
    assert planned["download"] == 4 + 7, "four sources, and ImageNet's weights of seven networks"


def test_methods_and_papers_can_be_chosen(finished: Checkout) -> None:
    output = finished.run(
        "snakemake", "-n", "--cores", "1", "--config", "tier=demo", "methods=[uniform]",
        "papers=[rotograd,thoracic]",
    ).stdout  # fmt: skip
    planned = jobs(output)
    # uniform and single task on two networks for digits and one for chests, uniform on three toy problems;
    # of the thoracic paper one network for two, three stand-ins from random weights and from trained
    # ones, one of them with a fault and as it starts, too, and the three that were trained before
    thoracic = 1 + (5 + 2 + 2) + 3
    assert planned["train"] == 2 * (1 + 5) + (1 + 14) + 3 + thoracic
    assert planned["tables"] == 2
