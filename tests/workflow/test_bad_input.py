"""Bad input: one clear message, no traceback, exit code not 0, nothing half-written."""

from __future__ import annotations

import gzip
import io
import re
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.checkouts import Checkout, make_checkout

PAPER = "config/papers/rotograd.yaml"
EDITS = {
    "in a paper": (PAPER, "{method: gradnorm, label", "{method: gradnrom, label", "did you mean 'gradnorm'?"),
    "in the settings": ("config/config.yaml", "tier: demo", "tier: dmo", "did you mean 'demo'?"),
}  # fmt: skip
"""The many kinds of mistakes are in tests/unit/test_project.py."""


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
    done = checkout.try_snakemake("data", tier="mnist", mirror="nowhere")
    assert done.returncode != 0
    assert "the mirror folder does not exist" in done.stderr and is_clear(done.stderr)
    assert not list((checkout.root / "data").rglob("*.gz"))


def test_a_mirror_is_no_command(checkout: Checkout) -> None:
    """It reaches the job by the environment, not by the shell."""
    done = checkout.try_snakemake("data", tier="mnist", mirror="$(touch hacked); touch `hacked`")
    assert done.returncode != 0
    assert "the mirror folder does not exist" in done.stderr and is_clear(done.stderr)
    assert not list(checkout.root.rglob("hacked"))


@pytest.mark.parametrize("damage", ["truncated", "altered", "another file"])
def test_a_damaged_archive_in_the_mirror(checkout: Checkout, damage: str) -> None:
    mirror = checkout.root / "mirror" / "mnist"
    mirror.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        content = gzip.compress(b"\x00\x00\x08\x01\x00\x00\x00\x01\x05")
        content = {"truncated": content[:-9], "altered": content + b"x"}.get(damage, content)
        (mirror / f"{name}-ubyte.gz").write_bytes(content)
    done = checkout.try_snakemake("data", tier="mnist", mirror="mirror")
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


# Chest X-rays ---------------------------------------------------------------------------------

TABLE, IMAGES = "Data_Entry_2017_v2020.csv", "images_001.tar.gz"


@pytest.fixture(scope="module")
def chest(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, Path, str]:
    """A checkout with a small phantom's raw files, their folder, and the digest to prepare."""
    checkout = make_checkout(tmp_path_factory.mktemp("chest") / "checkout")
    path = checkout.root / "config/datasets/chestxray14.yaml"
    path.write_text(re.sub(r"images: \d+, size: 64", "images: 40, size: 32", path.read_text()))
    done = checkout.run("counterpoise", "download", "phantom")
    assert done.returncode == 0, done.stderr
    listed = checkout.run("snakemake", "-n", "--cores", "1", "--config", "tier=demo", "--", "data")
    digest = re.search(r"data/prepared/phantom/chestxray14-([0-9a-f]{12})/", listed.stdout)
    assert digest is not None
    (raw,) = (checkout.root / "data/raw").glob("phantom-*")
    return checkout, raw, digest[1]


def rewrite(archive: Path, name: str, content: bytes, instead: str | None = None) -> None:
    """Put a member into an archive, in place of another or at its end."""
    with tarfile.open(archive) as old:
        members = [(m, old.extractfile(m)) for m in old.getmembers()]
        kept = [(m, f.read()) for m, f in members if f is not None and m.name != instead]
    with tarfile.open(archive, "w:gz") as new:
        for member, data in [*kept, (tarfile.TarInfo(name), content)]:
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))


def without_a_column(raw: Path) -> None:
    text = (raw / TABLE).read_text()
    (raw / TABLE).write_text(text.replace("Patient ID", "Patient", 1))


def with_an_unknown_finding(raw: Path) -> None:
    lines = (raw / TABLE).read_text().splitlines(keepends=True)
    fields = lines[3].split(",")
    fields[1] = "Efusion"
    (raw / TABLE).write_text("".join([*lines[:3], ",".join(fields), *lines[4:]]))


def with_an_image_that_is_none(raw: Path) -> None:
    with tarfile.open(raw / IMAGES) as archive:
        first = next(member.name for member in archive if member.isfile())
    rewrite(raw / IMAGES, first, b"\x89PNG\r\n\x1a\n and no more", instead=first)


def with_a_member_outside(raw: Path) -> None:
    rewrite(raw / IMAGES, "images/../../outside.png", b"x")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without_a_column, [f"{TABLE}:1", "Patient ID"]),
        (with_an_unknown_finding, [f"{TABLE}:4", "Efusion", "Effusion"]),
        (with_an_image_that_is_none, [IMAGES, ".png"]),
        (with_a_member_outside, [IMAGES, "images/../../outside.png"]),
    ],
)
def test_a_fault_in_chest_files_is_one_message(
    chest: tuple[Checkout, Path, str], tmp_path: Path, damage: Any, said: list[str]
) -> None:
    checkout, raw, digest = chest
    kept = shutil.copytree(raw, tmp_path / "raw")
    try:
        damage(raw)
        done = checkout.run("counterpoise", "prepare", digest)
    finally:
        shutil.rmtree(raw)
        shutil.copytree(kept, raw)
    assert done.returncode == 1 and is_clear(done.stderr)
    assert done.stderr.count("error:") == 1
    for words in said:
        assert words in done.stderr
    assert not list((checkout.root / "data/prepared").rglob("*.npy"))
    assert not list(checkout.root.rglob("outside.png"))


def test_a_place_that_cannot_be_written(finished: Checkout, tmp_path: Path) -> None:
    """A file where a folder must be stands for a missing permission, which root does not feel."""
    clone = finished.copy(tmp_path / "clone")
    shutil.rmtree(clone.root / "reports")
    (clone.root / "reports").write_text("in the way")
    done = clone.run("counterpoise", "report", "--tier", "smoke")
    assert done.returncode == 1
    assert "cannot write" in done.stderr and is_clear(done.stderr)
    assert (clone.root / "reports").read_text() == "in the way"


def test_damaged_predictions_are_named(finished: Checkout, tmp_path: Path) -> None:
    clone = finished.copy(tmp_path / "clone")
    (cell,) = clone.cells("*-uniform")
    (cell / "predictions.parquet").write_bytes(b"not what it says")
    key = f"{cell.parent.name}/{cell.name}"
    done = clone.run("counterpoise", "evaluate", key, "--tier", "smoke")
    assert done.returncode == 1
    assert "predictions.parquet" in done.stderr and is_clear(done.stderr)
