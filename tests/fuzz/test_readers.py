"""Readers of what others write, under hypothesis: nothing but the documented error comes out.

Each reader runs over a small share by default, and with ``-m slow`` over as many cases as the
project promises: 100,000 specifications and rows, 10,000 archives and states. Cases are made from
sound files by changing some of their words or bytes, which reaches deeper than noise does.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from counterpoise.datasets._archives import read_images
from counterpoise.datasets._idx import read_idx, write_idx
from counterpoise.datasets._tables import read_names, read_rows
from counterpoise.errors import UserError
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.load import parse, read_yaml
from counterpoise.spec.paper import Paper
from counterpoise.spec.tier import Config, Tiers
from counterpoise.training.engine import Replicate
from counterpoise.training.state import load_state, save_state
from tests.support import ROOT, small_cell, small_problem

SHARE, MANY, SOME = 200, 100_000, 10_000


def amounts(whole: int) -> Any:
    """A small share always, and all of it where it is asked for."""
    return pytest.mark.parametrize(
        "count", [SHARE, pytest.param(whole, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
    )


def run(count: int, strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
    suppressed = list(HealthCheck)
    wrapped = given(strategy)(lambda case: check(case))
    settings(max_examples=count, suppress_health_check=suppressed)(wrapped)()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: files are written a hundred thousand times."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        yield Path(made)


# Specifications -------------------------------------------------------------------------------

SOUND: dict[str, tuple[type[Any], str]] = {
    "config": (Config, (ROOT / "config/config.yaml").read_text(encoding="utf-8")),
    "dataset": (Dataset, (ROOT / "config/datasets/toy.yaml").read_text(encoding="utf-8")),
    "tiers": (
        Tiers,
        "tiers:\n  smoke:\n    title: Smoke\n    description: Two.\n    budget_minutes: 1\n    datasets:\n"
        "      multimnist:\n        source: digits\n        dataset_options: {train_pairs: 512}\n"
        "        epochs: 2\n        seeds: 1\n    runs: [rotograd/reduced/uniform]\n",
    ),
    "paper": (
        Paper,
        "id: small\ntitle: A paper\nshort: Small\nauthors: [A. Author]\nyear: 2021\n"
        "source: {url: https://example.org/, version: v1, read: full text}\nbibtex: '@misc{a}'\n"
        "summary: It says so.\nexperiments:\n  one:\n    title: One\n    dataset: toy\n"
        "    dataset_options: {problem: conflict}\n    network: {name: mlp}\n"
        "    protocol: {epochs: 3, batch_size: 4, learning_rate: 1e-3}\n    repeats: 2\n"
        "    runs:\n      uniform: {method: uniform, label: uniform}\n"
        "tables:\n  - id: t\n    title: T\n    place: Table 1\n"
        "    columns: [{id: c, label: c, task: first, metric: value}]\n"
        "    rows: [{id: r, label: r, experiment: one, run: uniform, printed: ['1.0 ±0.1']}]\n",
    ),
}  # fmt: skip

PIECES = st.sampled_from([
    "", " ", "\n", "\n  ", "\t", ": ", "- ", "[", "]", "{", "}", ",", "#", "|\n", ">-\n", "'", '"', "\\", "null",
    "true", "0", "-1", "1e309", ".nan", "-.inf", "9" * 5000, "0x1f", "1_000", "2021-01-01", "&a", "*a", "!!python/object:os.system",
    "!x", "<<", "? ", "---\n", "...\n", "%YAML 1.1\n", "\ufeff", "\u0000", "\u2028", "é", "数", "\U0001f600", "a" * 300, "../..",
    "id", "tier", "title", "sources", "experiments", "runs", "method", "options", "files", "sha256", "[" * 30, "{a: " * 30,
])  # fmt: skip


@st.composite
def edited(draw: st.DrawFn) -> tuple[str, str]:
    """A sound file with some of its parts replaced, doubled or moved."""
    kind = draw(st.sampled_from(sorted(SOUND)))
    text = SOUND[kind][1]
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 12))
        other = draw(PIECES | st.text(max_size=4) | st.just(text[start : start + 30]))
        text = text[:start] + other + text[start + length :]
    return kind, text


@amounts(MANY)
def test_specifications(folder: Path, count: int) -> None:
    path = folder / "file.yaml"
    accepted = []

    def check(case: tuple[str, str]) -> None:
        kind, text = case
        path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
        try:
            parse(SOUND[kind][0], read_yaml(path))
        except UserError as error:
            assert str(path) in str(error) or "command line" in str(error)
        else:
            accepted.append(kind)

    for sound in ((kind, text) for kind, (_, text) in SOUND.items()):
        check(sound)
    assert accepted == list(SOUND)
    run(count, edited(), check)
    assert len(accepted) > len(SOUND), "some edits leave a file sound"


# Rows -----------------------------------------------------------------------------------------

TABLE = 'Image Index,Finding Labels,Follow-up #,Patient ID\n00000001_000.png,Cardiomegaly,0,1\n00000001_001.png,"A|B",1,1\n'
ROWS = st.lists(
    st.sampled_from([",", "\n", "\r", "\r\n", '"', '""', "\0", "\ufeff", " ", ";", "Image Index", "Patient ID", "a" * 140_000])
    | st.text(max_size=6),
    max_size=12,
).map("".join)  # fmt: skip


@amounts(MANY)
def test_rows(folder: Path, count: int) -> None:
    path = folder / "table.csv"

    def check(case: tuple[int, int, str, bool]) -> None:
        start, length, piece, latin = case
        text = TABLE[:start] + piece + TABLE[start + length :]
        path.write_bytes(text.encode("latin-1" if latin else "utf-8", errors="replace"))
        for read in (
            lambda: list(read_rows(path, ("Image Index", "Patient ID"))),
            lambda: read_names(path),
        ):
            try:
                read()
            except UserError as error:
                assert str(path) in str(error)

    places = st.integers(0, len(TABLE))
    run(count, st.tuples(places, st.integers(0, 20), ROWS, st.booleans()), check)


# Archives -------------------------------------------------------------------------------------


def sound_archive() -> bytes:
    """Three images in a folder, not yet compressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in range(3):
            image = io.BytesIO()
            Image.new("L", (8, 8), number).save(image, "png")
            member = tarfile.TarInfo(f"images/{number}.png")
            member.size = len(image.getvalue())
            archive.addfile(member, io.BytesIO(image.getvalue()))
    return buffer.getvalue()


TAR = sound_archive()
CHANGES = st.lists(
    st.tuples(st.integers(0, 3 * 1024), st.binary(max_size=12)), min_size=1, max_size=6
)


def changed(content: bytes, changes: list[tuple[int, bytes]]) -> bytes:
    made = bytearray(content)
    for place, piece in changes:
        made[place : place + len(piece)] = piece
    return bytes(made)


def read_and_remove(path: Path, names: list[str]) -> None:
    """Read an archive, sound or not, and leave the folder as empty as it was."""
    try:
        for image in read_images(path.parent, names, "list"):
            assert len(image.content) <= 64 << 20
    except UserError as error:
        assert str(path.parent) in str(error)
    path.unlink()
    assert not list(path.parent.iterdir()), "nothing is unpacked"


@amounts(SOME)
def test_archives(folder: Path, count: int) -> None:
    path, names = folder / "images_001.tar.gz", [f"{n}.png" for n in range(3)]

    def check(case: tuple[str, list[tuple[int, bytes]]]) -> None:
        where, changes = case
        packed = gzip.compress(changed(TAR, changes) if where == "inside" else TAR, 1, mtime=0)
        if where == "outside":
            packed = changed(packed, [(place % len(packed), piece) for place, piece in changes])
        elif where == "cut":
            packed = packed[: changes[0][0] % len(packed)]
        path.write_bytes(packed)
        read_and_remove(path, names)

    run(count, st.tuples(st.sampled_from(["inside", "outside", "cut"]), CHANGES), check)


def sound_zip() -> bytes:
    """The same three images, deflated."""
    buffer = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(TAR)) as images,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for member in images:
            content = images.extractfile(member)
            assert content is not None
            archive.writestr(zipfile.ZipInfo(member.name), content.read())
    return buffer.getvalue()


@amounts(SOME)
def test_zips(folder: Path, count: int) -> None:
    path, names, sound = folder / "images_001.zip", [f"{n}.png" for n in range(3)], sound_zip()

    def check(case: tuple[bool, list[tuple[int, bytes]]]) -> None:
        cut, changes = case
        made = changed(sound, [(place % len(sound), piece) for place, piece in changes])
        path.write_bytes(made[: changes[0][0] % len(made)] if cut else made)
        read_and_remove(path, names)

    run(count, st.tuples(st.booleans(), CHANGES), check)


@amounts(SOME)
def test_digits(folder: Path, count: int) -> None:
    path = folder / "digits.gz"
    write_idx(path, np.arange(3 * 4 * 4, dtype=np.uint8).reshape(3, 4, 4))
    sound = gzip.decompress(path.read_bytes())

    def check(changes: list[tuple[int, bytes]]) -> None:
        path.write_bytes(gzip.compress(changed(sound, [(p % 64, b) for p, b in changes]), 1))
        try:
            read_idx(path, 3)
        except UserError as error:
            assert str(path) in str(error)

    run(count, CHANGES, check)


# States ---------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4)
    | st.lists(st.integers(0, 3), max_size=2).map(lambda shape: torch.zeros(shape)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
KEYS = ("network", "method", "optimizer", "normaliser", "latest", "position", "sums", "history",
        "best", "trouble", "seconds", "way")  # fmt: skip


@amounts(SOME)
def test_states(folder: Path, count: int) -> None:
    """Damaged files, files whose checksum has been made right, and sound files of other content."""
    path = folder / "seed.state"
    problem = small_problem(small_cell())
    Replicate(problem, 0, path).save()
    sound = path.read_bytes()
    state = load_state(path, torch.device("cpu"))
    assert state is not None and set(KEYS) == set(state)

    def check(case: tuple[str, list[tuple[int, bytes]], dict[str, Any]]) -> None:
        how, changes, values = case
        if how == "content":
            save_state(path, {**state, **values})
        else:
            size = len(sound) - 32
            body = changed(sound[:-32], [(place * 13 % size, piece) for place, piece in changes])
            checksum = hashlib.sha256(body).digest() if how == "forged" else sound[-32:]
            path.write_bytes(body + checksum)
        path.with_suffix(".previous").unlink(missing_ok=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                Replicate(problem, 0, path).resume()
        except UserError as error:
            assert str(path) in str(error)

    kinds = st.sampled_from(["damaged", "forged", "content"])
    contents = st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3)
    run(count, st.tuples(kinds, CHANGES, contents), check)
