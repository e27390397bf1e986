"""ChestMNIST from MedMNIST's file: split, labels, and files that are not what they should be."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from counterpoise.datasets import _npz, chestmnist
from counterpoise.datasets.chestmnist import LABELS, TASKS, Options
from counterpoise.spec.dataset import Dataset

from ..support import ROOT, error_of, files_in
from .test_threats import Malicious

COUNTS = {"train": 7, "val": 3, "test": 4}


def arrays(size: int = 28) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(size)
    made: dict[str, np.ndarray] = {}
    for part, count in COUNTS.items():
        made[f"{part}_images"] = rng.integers(0, 256, (count, size, size), np.uint8)
        made[f"{part}_labels"] = rng.integers(0, 2, (count, 14), np.uint8)
    return made


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    np.savez_compressed(folder / "chestmnist.npz", **arrays())
    return folder


def made(raw: Path, **options: Any) -> Path:
    out = raw.parent / "out"
    out.mkdir(exist_ok=True)
    chestmnist.prepare(raw, out, Options(**options))
    return out


def test_the_columns_are_those_of_medmnist() -> None:
    """As medmnist 3.0 lists them: the order of NIH, with `pleural` for one of them."""
    listed = ("atelectasis cardiomegaly effusion infiltration mass nodule pneumonia pneumothorax "
              "consolidation edema emphysema fibrosis pleural hernia")  # fmt: skip
    assert [{"pleural_thickening": "pleural"}.get(name, name) for name in LABELS] == listed.split()
    assert sorted(LABELS) == sorted(TASKS)


@pytest.mark.parametrize("size", [28, 64])
def test_images_labels_and_the_published_split(tmp_path: Path, size: int) -> None:
    given = arrays(size)
    np.savez(tmp_path / chestmnist.file_of(size), **given)
    (tmp_path / "out").mkdir()
    options = Options(size=size)
    chestmnist.prepare(tmp_path, tmp_path / "out", options)
    items = chestmnist.split(tmp_path / "out", options, 0)
    for part, name in chestmnist.PARTS.items():
        chosen = items[items["part"] == name]
        loaded = chestmnist.load(tmp_path / "out", chosen, options)
        assert np.array_equal(loaded.inputs[loaded.rows, 0].numpy(), given[f"{part}_images"])
        for column, task in enumerate(LABELS):
            told = loaded.targets[task].numpy()
            assert np.array_equal(told, given[f"{part}_labels"][:, column])


def test_shares_of_the_training_part_are_nested(raw: Path) -> None:
    out = made(raw)

    def images(share: float, seed: int = 0) -> dict[str, set[int]]:
        items = chestmnist.split(out, Options(training_share=share), seed)
        return {part: set(rows["image"]) for part, rows in items.groupby("part")}

    whole, half, least = images(1.0), images(0.5), images(1e-9)
    assert least["train"] < half["train"] < whole["train"] and len(least["train"]) == 1
    assert half["test"] == whole["test"] and half["validation"] == whole["validation"]
    assert images(0.5) == half


def test_large_arrays_are_read_in_blocks(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (made(raw) / "images.npy").read_bytes()
    monkeypatch.setattr(_npz, "BLOCK", 28 * 28 * 2 + 5)
    assert (made(raw) / "images.npy").read_bytes() == before


def rewrite(path: Path, name: str, content: bytes | None, **more: Any) -> None:
    """The archive with one array replaced, or left out."""
    with zipfile.ZipFile(path) as file:
        held = {entry: file.read(entry) for entry in file.namelist()}
    if content is None:
        del held[name]
    else:
        held[name] = content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for entry, data in held.items():
            file.writestr(entry, data)


def npy(array: np.ndarray, **more: Any) -> bytes:
    held = io.BytesIO()
    np.lib.format.write_array(held, array, **more)
    return held.getvalue()


def header(shape: tuple[int, ...], kind: str = "|u1", fortran: bool = False) -> bytes:
    held = io.BytesIO()
    told = {"descr": kind, "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(held, told)
    return held.getvalue()


IMAGES = arrays()["train_images"]
FORGED: dict[str, tuple[Callable[[], bytes | None], str]] = {
    "absent": (lambda: None, "has no array 'train_images'"),
    "numbers": (lambda: npy(IMAGES.astype(np.float32)), "not of bytes"),
    "columns first": (lambda: header((7, 28, 28), fortran=True) + bytes(7 * 784), "row by row"),
    "huge": (lambda: header((1 << 40, 28, 28)), "at most"),
    "negative": (lambda: header((-7, 28, 28)), "at most"),
    "empty": (lambda: header((0, 28, 28)), "at most"),
    "flat": (lambda: npy(IMAGES.reshape(7, -1)), "at most"),
    "of another size": (lambda: npy(IMAGES[:, :20, :20]), "take the file of 28 pixels"),
    "of other counts": (lambda: npy(IMAGES[:5]), "take the file of 28 pixels"),
    "shorter than it says": (lambda: npy(IMAGES)[:-1], "another size than its header says"),
    "longer than it says": (lambda: npy(IMAGES) + b"x", "another size than its header says"),
    "no header": (lambda: b"text" * 99, "damaged archive"),
    "a header that is no literal": (lambda: npy(IMAGES).replace(b"False", b"exit("), "damaged archive"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FORGED)
def test_a_forged_array_is_refused(raw: Path, kind: str) -> None:
    content, said = FORGED[kind]
    rewrite(raw / "chestmnist.npz", "train_images.npy", content())
    error = error_of(lambda: made(raw))
    assert said in f"{error.what} {error.remedy}" and error.remedy
    assert error.where == str(raw / "chestmnist.npz") and files_in(raw.parent / "out") == []


def test_objects_are_not_unpickled(raw: Path, tmp_path: Path) -> None:
    weapon = np.array([Malicious(tmp_path / "mark")], dtype=object)
    rewrite(raw / "chestmnist.npz", "train_images.npy", npy(weapon, allow_pickle=True))
    assert "not of bytes" in error_of(lambda: made(raw)).what
    assert not (tmp_path / "mark").exists()


def test_a_label_that_is_neither_0_nor_1(raw: Path) -> None:
    rewrite(raw / "chestmnist.npz", "val_labels.npy", npy(np.full((3, 14), 2, np.uint8)))
    assert "val_labels has the value 2" in error_of(lambda: made(raw)).what


@pytest.mark.parametrize("kind", ["truncated", "flipped", "empty", "text"])
def test_a_damaged_file_is_named(raw: Path, kind: str) -> None:
    path = raw / "chestmnist.npz"
    content = bytearray(path.read_bytes())
    if kind == "flipped":
        content[2000] ^= 0xFF
    else:
        content = {"truncated": content[:-9], "empty": bytearray(), "text": bytearray(b"x" * 99)}[
            kind
        ]
    path.write_bytes(content)
    error = error_of(lambda: made(raw))
    assert "damaged archive" in error.what and error.where == str(path)
    assert files_in(raw.parent / "out") == []


def test_the_file_of_another_size_is_asked_for_by_name(raw: Path) -> None:
    error = error_of(lambda: made(raw, size=64))
    assert error.where.endswith("chestmnist_64.npz")


def test_each_source_is_the_file_of_its_size() -> None:
    spec = yaml.safe_load((ROOT / "config/datasets/chestmnist.yaml").read_text(encoding="utf-8"))
    sources = Dataset.model_validate(spec).sources
    for size in (28, 64, 128, 224):
        source = sources[f"chestmnist-{size}"]
        assert source.options == {"size": size}
        assert [file.name for file in source.files] == [chestmnist.file_of(size)]
        assert source.files[0].md5 is not None


def test_the_phantom_in_this_file(tmp_path: Path) -> None:
    from counterpoise.generators import chest_phantom_npz

    chest_phantom_npz.generate(tmp_path, chest_phantom_npz.Options(images=60))
    (tmp_path / "out").mkdir()
    chestmnist.prepare(tmp_path, tmp_path / "out", Options())
    index = pd.read_parquet(tmp_path / "out" / "index.parquet")
    shares = index["part"].value_counts(normalize=True)
    assert len(index) == 60 and shares["train"] > shares["test"] > 0 < shares["validation"]
    assert 10 < np.load(tmp_path / "out" / "images.npy").std() < 120
