"""DVC records what Snakemake makes, and never makes it again."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest
import yaml

from tests.checkouts import ROOT, Checkout

STAGE_FILES = [ROOT / "dvc.yaml", *sorted((ROOT / "workflow/dvc").glob("*/dvc.yaml"))]


@pytest.mark.parametrize("file", STAGE_FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_stages_only_call_snakemake_and_keep_what_is_there(file: Path) -> None:
    tier = file.parent.name if file.parent != ROOT else "demo"
    content = yaml.safe_load(file.read_text())
    stages = content["stages"]
    outs = {out for stage in stages.values() for entry in stage["outs"] for out in entry}
    up = "" if file.parent == ROOT else "../../../"
    assert content["metrics"] == [f"{up}reports/{tier}/metrics.json"]
    assert list(content["plots"][0]) == [f"{up}reports/{tier}/plots"]
    assert f"reports/{tier}" in outs
    for stage in stages.values():
        assert stage["cmd"].startswith(f"snakemake --cores all --config tier={tier} ")
        assert stage["params"] == [{"config/config.yaml": None}]
        for output in stage["outs"]:
            ((path, options),) = output.items()
            assert options["persist"] is True
            assert tier in path or path.startswith("data/prepared/")
        for name in ("lr", "learning_rate", "epochs", "methods", "seeds"):
            assert name not in stage["cmd"]


def test_the_report_stage_depends_on_all_that_the_report_is_made_of(checkout: Checkout) -> None:
    """By Snakemake's own list; results of the tier itself are one folder to DVC."""
    name = "reports/reference/rotograd-long"
    shutil.copytree(ROOT / name, checkout.root / name)
    words = ("-n", "--cores", "1", "--config", "tier=smoke", "--", "report_only")
    planned = checkout.run("snakemake", *words)
    found = re.search(r"^rule report:\n +input: (.*)$", planned.stdout, re.MULTILINE)
    assert found is not None, planned.stderr[-3000:]
    outside = {path for path in found[1].split(", ") if not path.startswith("results/smoke/")}
    assert f"{name}/reference.json" in outside
    for file in STAGE_FILES:
        deps = yaml.safe_load(file.read_text())["stages"]["report"]["deps"]
        uncovered = {
            path for path in outside if not any(Path(path).is_relative_to(dep) for dep in deps)
        }
        # Snakemake itself writes this one, from the other dependencies.
        assert uncovered == {"work/smoke/plan.json"}, file


def for_smoke(checkout: Checkout) -> Checkout:
    """DVC's stages on the smoke tier, as the demo takes minutes."""
    text = (checkout.root / "dvc.yaml").read_text().replace("demo", "smoke")
    checkout.edit("config/config.yaml", "tier: demo", "tier: smoke")
    for source in ("formula", "phantom"):  # which the smoke tier does not use
        text = text.replace(f"      - data/prepared/{source}: {{persist: true}}\n", "")
        text = text.replace(f" data/prepared/{source},", "")
    (checkout.root / "dvc.yaml").write_text(text)
    for command in (("git", "init", "-q"), ("git", "add", "-A")):
        assert checkout.run(*command).returncode == 0
    return checkout


def test_repro_builds_and_then_says_that_all_is_up_to_date(checkout: Checkout) -> None:
    for_smoke(checkout)
    done = checkout.run("dvc", "repro")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (checkout.root / "reports/smoke/index.html").is_file()
    again = checkout.run("dvc", "repro")
    assert "Data and pipelines are up to date" in again.stdout
    weights = next(checkout.cells()[0].glob("weights.safetensors"))
    assert os.access(weights, os.W_OK)
    # The reverse: Snakemake finds DVC's files done.
    assert "Nothing to be done" in checkout.snakemake("all")


def test_repro_after_snakemake_runs_no_job(finished: Checkout, tmp_path: Path) -> None:
    clone = Checkout(Path(shutil.copytree(finished.root, tmp_path / "clone", symlinks=True)))
    for_smoke(clone)
    before = {p: p.stat().st_mtime_ns for p in (clone.root / "results").rglob("*") if p.is_file()}
    done = clone.run("dvc", "repro")
    assert done.returncode == 0, done.stderr[-3000:]
    said = done.stdout + done.stderr
    assert "rule train" not in said and "Finished jobid" not in said
    assert before == {p: p.stat().st_mtime_ns for p in before}
