"""Splits: what they refuse, and what their summary counts."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from counterpoise import prepared, registry
from counterpoise.datasets import chestxray14
from counterpoise.files import atomic, is_sealed, read_json, sha256_file
from counterpoise.project import Project
from counterpoise.spec.base import Options

from ..support import error_of, files_in

ITEMS = pd.DataFrame(
    {
        "part": ["train", "train", "validation", "test", "test"],
        "item": [0, 1, 0, 0, 1],
        "patient": [1, 1, 2, 3, 4],
    }
)
LABELS = pd.DataFrame({"mass": [1, 0, 1, 0, 1], "nodule": [1, 0, 0, 0, 1]})


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = SimpleNamespace(
        Options=Options, items=ITEMS, labels=lambda folder, items, options: LABELS
    )
    made.split = lambda folder, options, seed: made.items
    monkeypatch.setattr(registry, "find", lambda kind, name: made)
    return made


def test_a_summary_counts_items_patients_and_labels(dataset: Any, tmp_path: Path) -> None:
    prepared.split("x", {}, 0, tmp_path / "split.parquet")
    summary = read_json(tmp_path / "summary.json")
    assert summary["parts"]["train"] == {
        "items": 2, "patients": 1, "positives": {"mass": 1, "nodule": 1},
    }  # fmt: skip
    assert summary["parts"]["test"]["positives"] == {"mass": 1, "nodule": 1}
    assert summary["labels"] == ["mass", "nodule"]
    # Three items with a mass, two of which have a nodule too; two without either.
    assert summary["together"] == [[3, 2], [2, 2]] and summary["none"] == 2


def test_data_without_labels_or_patients_have_a_summary_too(dataset: Any, tmp_path: Path) -> None:
    del dataset.labels
    dataset.items = ITEMS.drop(columns="patient")
    prepared.split("x", {}, 0, tmp_path / "split.parquet")
    summary = read_json(tmp_path / "summary.json")
    assert is_sealed(summary) and summary["split"] == sha256_file(tmp_path / "split.parquet")
    assert {k: v for k, v in summary.items() if k not in ("checksum", "split")} == {
        "parts": {"train": {"items": 2}, "validation": {"items": 1}, "test": {"items": 2}}
    }


def test_a_patient_on_two_sides_is_an_error(dataset: Any, tmp_path: Path) -> None:
    dataset.items = ITEMS.assign(patient=[1, 5, 2, 3, 5])
    target = tmp_path / "split.parquet"
    error = error_of(lambda: prepared.split("x", {}, 0, target))
    assert "patient 5 is in test and train" in error.what and error.remedy
    assert not target.exists() and not (tmp_path / "summary.json").exists()


def test_other_numbers_than_declared_are_an_error(dataset: Any, tmp_path: Path) -> None:
    """Each that differs is named with both; the marker is not written."""
    dataset.prepare = lambda raw, out, options: out.mkdir(parents=True, exist_ok=True)
    dataset.counts = lambda out, options: {"images": 5, "patients": 4, "mass": 3}
    (tmp_path / "source.json").write_text("{}")
    marker = tmp_path / "data" / "prepared" / "source" / "a" / "prepared.json"
    declared = {"images": 5, "patients": 6, "mass": 2}
    error = error_of(lambda: prepared.prepare("x", {}, tmp_path, marker, declared))
    assert "patients 4 in place of 6, mass 3 in place of 2" in error.what and error.remedy
    assert "images" not in error.what and not marker.exists()
    prepared.prepare("x", {}, tmp_path, marker, {"images": 5, "patients": 4, "mass": 3})
    assert marker.exists()


def test_a_whole_release_must_hold_the_published_numbers(project: Project, tmp_path: Path) -> None:
    """With the labels of 2017 only images and patients are compared: the numbers are of 2020's."""
    chest = project.datasets["chestxray14"]
    assert chest.counts_of("nih") == chest.counts and chest.counts_of("phantom") == {}
    assert chest.counts_of("nih-chestxray14-sample")["images"] == 3345
    index = {"patient": [1, 1, 2], **{name: [0, 1, 1] for name in chestxray14.TASKS}}
    pd.DataFrame(index).to_parquet(tmp_path / "index.parquet")
    years = [chestxray14.Options(label_file=year) for year in (2017, 2020)]
    of_2017, of_2020 = (chestxray14.counts(tmp_path, year) for year in years)
    assert of_2017 == {"images": 3, "patients": 2}
    assert of_2020["hernia"] == 2 and of_2020.keys() == chest.counts.keys()


def test_whose_items_a_part_holds(dataset: Any, tmp_path: Path) -> None:
    dataset.people = lambda folder, items, options: pd.DataFrame(
        {"age": [10, 20, 30, 40, 60], "sex": ["M", "F", "F", "M", "M"]}
    )
    prepared.split("x", {}, 0, tmp_path / "split.parquet")
    people = read_json(tmp_path / "summary.json")["people"]
    assert people["train"] == {"age": {"quartiles": [12.5, 15.0, 17.5]}, "sex": {"F": 1, "M": 1}}
    assert people["test"] == {"age": {"quartiles": [45.0, 50.0, 55.0]}, "sex": {"M": 2}}


class Reader:
    """A dataset that counts how often it is prepared."""

    PREPARED = ("size",)

    class Options(Options):
        size: int = 8
        share: float = 1.0

    def __init__(self) -> None:
        self.times = 0

    def prepare(self, raw: Path, out: Path, options: Any) -> None:
        self.times += 1
        out.mkdir(parents=True, exist_ok=True)
        (out / "images.npy").write_bytes(bytes([options.size]) * 100)


def test_the_same_arrays_are_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Folders that differ in the split share them; other options, code or damage do not."""
    reader = Reader()
    monkeypatch.setattr(registry, "find", lambda kind, name: reader)
    (tmp_path / "source.json").write_text("{}")

    def made(name: str, made_by: Any = "code", **options: Any) -> Path:
        marker = tmp_path / "data" / "prepared" / "source" / name / "prepared.json"
        values = {"size": 8, "share": 1.0, **options}
        prepared.prepare("x", values, tmp_path, marker, None, made_by)
        return marker.parent

    first = made("a")
    second = made("b", share=0.1)
    assert reader.times == 1
    assert (first / "images.npy").samefile(second / "images.npy")
    told = read_json(second / "prepared.json")
    assert is_sealed(told) and told["options"]["share"] == 0.1
    assert told["files"] == read_json(first / "prepared.json")["files"]
    made("c", size=9)
    made("d", made_by="other code")
    made("e", made_by=None)
    assert reader.times == 4
    # Removing one leaves the other; what is damaged is not passed on.
    (first / "images.npy").unlink()
    assert (second / "images.npy").stat().st_size == 100
    (second / "images.npy").write_bytes(b"damaged")
    made("f", share=0.5)
    assert reader.times == 5
    assert (tmp_path / "data" / "prepared" / "source" / "f" / "images.npy").stat().st_size == 100


def test_what_a_killed_process_was_writing_is_no_prepared_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(registry, "find", lambda kind, name: Reader())
    (tmp_path / "source.json").write_text("{}")
    marker = tmp_path / "data" / "prepared" / "source" / "a" / "prepared.json"
    marker.parent.mkdir(parents=True)
    for name in (".index-0a1b2c3d.parquet", ".images-abcd_123.npy", ".prepared-01234567.json",
                 ".images.npy.shard-00001-0a1b2c3d.json"):  # fmt: skip
        (marker.parent / name).write_bytes(b"half")
    (marker.parent / ".mine.npy").write_bytes(b"another's")
    prepared.prepare("x", {"size": 8, "share": 1.0}, tmp_path, marker)
    assert files_in(marker.parent) == [".mine.npy", "images.npy", "prepared.json"]
    assert list(read_json(marker)["files"]) == ["images.npy"]


def test_a_preparation_leaves_alone_what_another_is_writing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of data that nobody links, too: the second waits for the first."""
    writes = threading.Event()

    class Slow(Reader):
        def prepare(self, raw: Path, out: Path, options: Any) -> None:
            with atomic(out / "images.npy") as temporary:
                temporary.write_bytes(b"whole")
                writes.set()
                time.sleep(0.3)

    reader = Slow()
    monkeypatch.setattr(registry, "find", lambda kind, name: reader)
    (tmp_path / "source.json").write_text("{}")
    marker = tmp_path / "data" / "prepared" / "source" / "a" / "prepared.json"
    given = ("x", {"size": 8, "share": 1.0}, tmp_path, marker)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(prepared.prepare, *given)
        assert writes.wait(10)
        second = pool.submit(prepared.prepare, *given)
        first.result()
        second.result()
    assert files_in(marker.parent) == ["images.npy", "prepared.json"]
