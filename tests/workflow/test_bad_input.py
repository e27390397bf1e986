"""Bad input: one clear message, no traceback, exit code not 0, nothing half-written."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from tests.checkouts import Checkout

PAPER = "config/papers/rotograd.yaml"
EDITS = {
    "unknown method": (PAPER, "{method: gradnorm, label", "{method: gradnrom, label", "did you mean 'gradnorm'?"),
    "unknown key": (PAPER, "    repeats: 10\n    runs:", "    repeat: 10\n    runs:", "did you mean 'repeats'?"),
    "negative learning rate": (PAPER, "learning_rate: 0.001", "learning_rate: -0.001", "greater than 0"),
    "unknown option": (PAPER, "tie_break: svd", "tiebreak: svd", "did you mean 'tie_break'?"),
    "not a printed number": (PAPER, '"89.46 ±00.57"', '"89.46 pm 0.57"', "not a printed number"),
    "not YAML": (PAPER, "experiments:", "experiments: [", "not valid YAML"),
    "unknown tier": ("config/config.yaml", "tier: demo", "tier: dmo", "did you mean 'demo'?"),
    "empty part": ("config/tiers.yaml", "validation_pairs: 128", "validation_pairs: 0", "greater than or equal to 1"),
}  # fmt: skip


def is_clear(text: str) -> bool:
    return "Traceback" not in text and "what to do" in text


@pytest.mark.parametrize("name", EDITS)
def test_a_mistake_in_a_file_stops_before_any_job(checkout: Checkout, name: str) -> None:
    file, old, new, hint = EDITS[name]
    checkout.edit(file, old, new)
    done = checkout.run("snakemake", "--cores", "1")
    said = done.stderr + done.stdout
    assert done.returncode != 0
    assert hint in said and "Traceback" not in said
    assert Path(file).name in said
    assert not (checkout.root / "results").exists() and not (checkout.root / "data").exists()


def test_an_unknown_setting_on_the_command_line(checkout: Checkout) -> None:
    done = checkout.try_snakemake("all", mirorr="x")
    assert done.returncode != 0
    assert "did you mean 'mirror'?" in done.stderr and "Traceback" not in done.stderr


def test_a_missing_mirror(checkout: Checkout) -> None:
    done = checkout.try_snakemake("data", tier="paper", mirror="nowhere")
    assert done.returncode != 0
    assert "the mirror folder does not exist" in done.stderr and is_clear(done.stderr)
    assert not list((checkout.root / "data").rglob("*.gz"))


@pytest.mark.parametrize("damage", ["truncated", "altered", "another file"])
def test_a_damaged_archive_in_the_mirror(checkout: Checkout, damage: str) -> None:
    mirror = checkout.root / "mirror" / "mnist"
    mirror.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        content = gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x01\x05")
        content = {"truncated": content[:-9], "altered": content + b"x"}.get(damage, content)
        (mirror / f"{name}-ubyte.gz").write_bytes(content)
    done = checkout.try_snakemake("data", tier="paper", mirror="mirror")
    assert done.returncode != 0
    assert "damaged or altered file" in done.stderr and is_clear(done.stderr)
    assert not list((checkout.root / "data").rglob("*.gz"))


def test_a_damaged_raw_file_is_named_when_it_is_read(finished: Checkout, tmp_path: Path) -> None:
    clone = finished.copy(tmp_path / "clone")
    (raw,) = (clone.root / "data/raw").glob("digits-*/train-images-idx3-ubyte.gz")
    raw.write_bytes(raw.read_bytes()[:2000])
    shutil.rmtree(clone.root / "data/prepared")
    done = clone.try_snakemake("data")
    assert done.returncode != 0
    assert "damaged archive" in done.stderr and is_clear(done.stderr)
    assert not list((clone.root / "data/prepared").rglob("prepared.json"))


def test_a_place_that_cannot_be_written(finished: Checkout, tmp_path: Path) -> None:
    """A file where a folder must be stands for a missing permission, which root does not feel."""
    clone = finished.copy(tmp_path / "clone")
    shutil.rmtree(clone.root / "reports")
    (clone.root / "reports").write_text("in the way")
    done = clone.run("counterpoise", "report", "--tier", "smoke")
    assert done.returncode == 1
    assert "cannot write" in done.stderr and is_clear(done.stderr)
    assert (clone.root / "reports").read_text() == "in the way"


def test_damaged_weights_and_predictions_are_named(finished: Checkout, tmp_path: Path) -> None:
    clone = finished.copy(tmp_path / "clone")
    (cell,) = clone.cells("*-uniform")
    key = f"{cell.parent.name}/{cell.name}"
    for step, name in (("predict", "weights.safetensors"), ("evaluate", "predictions.parquet")):
        (cell / name).write_bytes(b"not what it says")
        done = clone.run("counterpoise", step, key, "--tier", "smoke")
        assert done.returncode == 1
        assert name in done.stderr and is_clear(done.stderr)
