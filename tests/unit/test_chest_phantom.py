"""The chest phantom: the same bytes for the same options, pictures that show what labels say."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from counterpoise.datasets import _nih
from counterpoise.generators.chest_phantom import (
    FINDINGS,
    Options,
    Scene,
    generate,
    radiograph,
    scenes,
)
from counterpoise.generators.chest_phantom.cohort import FLOOR, PREVALENCE, prevalences, reported

COUNT = 20_000


@cache
def cohort(kind: str = "published", domain: str = "first") -> tuple[Scene, ...]:
    return tuple(scenes(COUNT, 7, domain, kind))


def presence(people: tuple[Scene, ...]) -> np.ndarray:
    return np.array([[name in scene.findings for name in FINDINGS] for scene in people])


def bytes_of(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def rows(path: Path) -> list[list[str]]:
    return list(csv.reader(path.open(newline="")))


# Who has what ---------------------------------------------------------------------------------


def test_findings_are_those_of_the_release() -> None:
    assert FINDINGS == _nih.FINDINGS


def test_a_smaller_cohort_is_the_beginning_of_a_larger_one() -> None:
    for kind in ("raised", "published"):
        assert list(scenes(50, 3, kind=kind)) == list(scenes(200, 3, kind=kind))[:50]
    assert list(scenes(50, 3)) != list(scenes(50, 4))


@pytest.mark.parametrize("kind", ["published", "raised"])
def test_prevalences(kind: str) -> None:
    wanted = np.array([*prevalences(kind).values()])
    found = presence(cohort(kind))
    # Patients, not images, are drawn independently: their totals give the standard error.
    patients = np.array([scene.patient for scene in cohort(kind)])
    excess = np.zeros((patients[-1] + 1, len(FINDINGS)))
    np.add.at(excess, patients, found - wanted)
    error = np.sqrt(np.square(excess).sum(axis=0)) / COUNT
    assert (np.abs(found.mean(axis=0) - wanted) < 4 * error).all()


def test_raised_prevalences_keep_the_order_and_a_floor() -> None:
    raised = prevalences("raised")
    assert min(raised.values()) >= FLOOR
    assert sorted(raised, key=raised.__getitem__) == sorted(PREVALENCE, key=PREVALENCE.__getitem__)


def test_half_of_the_images_show_nothing() -> None:
    assert (presence(cohort()).sum(axis=1) == 0).mean() == pytest.approx(0.54, abs=0.04)


@pytest.mark.parametrize(
    ("first", "second", "lift"),
    [("Effusion", "Atelectasis", 2.4), ("Effusion", "Cardiomegaly", 3.2), ("Effusion", "Edema", 2.2),
     ("Infiltration", "Edema", 2.4), ("Pneumothorax", "Emphysema", 6.3), ("Mass", "Nodule", 2.8)],
)  # fmt: skip
def test_findings_come_together_about_as_often_as_published(
    first: str, second: str, lift: float
) -> None:
    a, b = (presence(cohort())[:, FINDINGS.index(name)] for name in (first, second))
    assert 0.6 * lift < (a & b).mean() / (a.mean() * b.mean()) < 1.8 * lift


def test_patients_come_back_and_findings_stay() -> None:
    people = cohort()
    visits = Counter(scene.patient for scene in people)
    assert 3.0 < np.mean([*visits.values()]) < 4.3
    assert max(visits.values()) > 30
    assert max(Counter(scene.patient for scene in cohort("raised")).values()) == 6
    found = presence(people)
    again = np.array([a.patient == b.patient for a, b in pairwise(people)])
    effusion = found[:, FINDINGS.index("Effusion")]
    stays = effusion[1:][again & effusion[:-1]].mean()
    assert stays > 2.5 * effusion.mean()


def test_each_image_has_a_name_of_its_own_and_patients_one_part() -> None:
    people = cohort()
    assert len({scene.name for scene in people}) == COUNT
    assert [scene.name for scene in people] == sorted(scene.name for scene in people)
    parts = {(scene.patient, scene.for_test) for scene in people}
    assert len(parts) == people[-1].patient + 1
    assert np.mean([test for _, test in parts]) == pytest.approx(0.25, abs=0.001)


def test_bedridden_patients_have_what_bedridden_patients_have() -> None:
    supine = np.array([scene.view == "AP" for scene in cohort()])
    edema = presence(cohort())[:, FINDINGS.index("Edema")]
    assert supine.mean() == pytest.approx(0.4, abs=0.03)
    assert edema[supine].mean() > 3 * edema[~supine].mean()


def test_wrong_labels_have_the_share_asked_for_and_keep_the_scene() -> None:
    people = cohort("raised")[:2000]
    for share in (0.0, 0.1):
        labels = [reported(scene, share) for scene in people]
        wrong = [
            (name in scene.findings) != (name in said)
            for scene, said in zip(people, labels, strict=True)
            for name in FINDINGS
        ]
        assert np.mean(wrong) == pytest.approx(share, abs=0.01)


# What pictures show ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [32, 47, 64, 192, 256])
def test_any_size(size: int) -> None:
    for scene in cohort("raised")[:4]:
        pixels, masks = radiograph(scene, size)
        assert pixels.shape == (size, size) and pixels.dtype == np.uint8
        assert tuple(masks) == scene.findings
        assert all(mask.shape == (size, size) and mask.dtype == bool for mask in masks.values())


def test_a_picture_depends_on_its_scene_alone() -> None:
    people = cohort("raised")[:6]
    forwards = [radiograph(scene, 64)[0] for scene in people]
    backwards = [radiograph(scene, 64)[0] for scene in people[::-1]][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))
    assert len({picture.tobytes() for picture in forwards}) == 6


def test_another_size_is_the_same_anatomy() -> None:
    def shrunk(picture: np.ndarray, by: int) -> np.ndarray:
        side = len(picture) // by
        return picture.reshape(side, by, side, by).mean(axis=(1, 3))

    for scene in cohort("raised")[:10]:
        (large, large_masks), (small, small_masks) = radiograph(scene, 256), radiograph(scene, 64)
        assert np.abs(shrunk(large, 8) - shrunk(small, 2)).mean() < 4
        for name, mask in small_masks.items():
            assert large_masks[name].mean() == pytest.approx(mask.mean(), rel=0.35, abs=0.004)


@pytest.mark.parametrize("domain", ["first", "second"])
@pytest.mark.parametrize("name", FINDINGS)
def test_a_finding_is_seen_where_its_mask_is(name: str, domain: str) -> None:
    within, without = [], []
    for scene in cohort("raised")[:30]:
        with_it = replace(scene, findings=(name,), domain=domain)
        pixels, masks = radiograph(with_it, 64)
        healthy, none = radiograph(replace(with_it, findings=()), 64)
        assert not none and masks[name].any()
        difference = np.abs(pixels.astype(int) - healthy)
        within.append(difference[masks[name]].mean())
        without.append(difference[~masks[name]].mean())
    assert min(within) > 0
    assert np.mean(within) > 2 * np.mean(without)
    assert np.mean(within) > 4


def test_healthy_hearts_overlap_with_enlarged_ones() -> None:
    from counterpoise.generators.chest_phantom.anatomy import body
    from counterpoise.generators.chest_phantom.findings import reshape

    healthy = [body(scene).heart for scene in cohort("raised")[:400]]
    least = [reshape(body(scene), {"Cardiomegaly": 0.0}).heart for scene in cohort("raised")[:400]]
    assert np.mean(least) > np.quantile(healthy, 0.6)
    assert np.quantile(healthy, 0.95) > np.mean(least)


def test_the_second_domain_is_another_hospital_with_the_same_findings() -> None:
    first, second = presence(cohort("raised")), presence(cohort("raised", "second"))
    assert not np.array_equal(first, second)
    assert np.abs(first.mean(axis=0) - second.mean(axis=0)).max() < 0.02
    for scene in cohort("raised")[:5]:
        here, there = (radiograph(replace(scene, domain=d), 64) for d in ("first", "second"))
        assert np.abs(here[0].astype(int) - there[0]).mean() > 3
        assert tuple(here[1]) == tuple(there[1])


# The files ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    generate(folder, Options(images=120, size=48, seed=5))
    return folder


def test_the_same_options_give_the_same_bytes(release: Path, tmp_path: Path) -> None:
    generate(tmp_path, Options(images=120, size=48, seed=5))
    assert bytes_of(tmp_path) == bytes_of(release)


def test_layout(release: Path) -> None:
    people = list(scenes(120, 5))
    with tarfile.open(release / "images_001.tar.gz") as archive:
        members = archive.getmembers()
        assert [m.name for m in members] == [f"images/{scene.name}" for scene in people]
        assert {(m.mtime, m.uid, m.gid) for m in members} == {(0, 0, 0)}
        for index in (0, 119):
            content = archive.extractfile(members[index])
            assert content is not None
            picture = Image.open(io.BytesIO(content.read()))
            assert picture.mode == "L"
            assert np.array_equal(np.asarray(picture), radiograph(people[index], 48)[0])
    with gzip.open(release / "images_001.tar.gz") as packed:
        packed.read(1)
        assert packed.mtime == 0
    table = rows(release / "Data_Entry_2017_v2020.csv")
    assert ",".join(table[0]) == (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,"
        "View Position,OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
    )
    assert {len(row) for row in table} == {11}
    assert [row[0] for row in table[1:]] == [scene.name for scene in people]
    assert [row[1] for row in table[1:]] == [
        "|".join(scene.findings) or "No Finding" for scene in people
    ]
    names = {
        part: (release / f"{part}_list.txt").read_text().split() for part in ("train_val", "test")
    }
    assert sorted(names["train_val"] + names["test"]) == [scene.name for scene in people]
    patients = {part: {name[:8] for name in listed} for part, listed in names.items()}
    assert patients["train_val"] and patients["test"]
    assert not patients["train_val"] & patients["test"]


def test_boxes_enclose_masks(release: Path) -> None:
    header, *table = rows(release / "BBox_List_2017.csv")
    assert ",".join(header) == "Image Index,Finding Label,Bbox [x,y,w,h],,,"
    by_name = {scene.name: scene for scene in scenes(120, 5)}
    spelled = {"Infiltrate": "Infiltration"}
    assert {(row[0], spelled.get(row[1], row[1])) for row in table} == {
        (name, finding) for name, scene in by_name.items() for finding in scene.findings
    }
    for name, label, *numbers in table[:40]:
        x, y, width, height = (round(float(number) * 48 / 1024) for number in numbers)
        mask = radiograph(by_name[name], 48)[1][spelled.get(label, label)]
        window = mask[y : y + height, x : x + width]
        assert window.shape == (height, width)
        assert window.any(axis=0).all() and window.any(axis=1).all()


def test_the_reader_of_the_real_release_takes_it(release: Path) -> None:
    index = _nih.read_index(release)
    assert len(index) == 120
    assert set(index["official"]) == {"train_val", "test"}


def test_wrong_labels_change_the_table_only(release: Path, tmp_path: Path) -> None:
    generate(tmp_path, Options(images=120, size=48, seed=5, label_noise=0.1))
    changed = {n for n, digest in bytes_of(tmp_path).items() if digest != bytes_of(release)[n]}
    assert changed == {"Data_Entry_2017_v2020.csv"}


@pytest.mark.parametrize(
    "options",
    [{"images": 0}, {"size": 31}, {"size": 257}, {"label_noise": 0.6}, {"label_noise": -0.1},
     {"prevalence": "rare"}, {"domain": "third"}, {"seed": -1}, {"colour": True}],
)  # fmt: skip
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Options(**options)


# The difficulty -------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_findings_take_a_look(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A small network tells every finding, a thumbnail does not do."""
    import importlib.util

    path = Path(__file__).parents[2] / "benchmarks" / "phantom.py"
    spec = importlib.util.spec_from_file_location("benchmark_phantom", path)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    monkeypatch.setattr(sys, "argv", [str(path)])
    benchmark.main()
    table = [line.split() for line in capsys.readouterr().out.splitlines()[1:16]]
    ours = {name: float(cnn) for name, _, cnn, _ in table}
    base = {name: float(thumbnail) for name, _, _, thumbnail in table}
    assert 0.80 < ours["mean"] < 0.90
    assert ours["mean"] - base["mean"] > 0.1
    assert min(ours.values()) > 0.62
