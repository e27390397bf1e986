"""ChestX-ray14 from the layout of the NIH release: labels, images, splits, and bad input."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import tarfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from pydantic import ValidationError

from counterpoise import prepared
from counterpoise.datasets import _archives, _nih, chestxray14
from counterpoise.datasets._archives import Encoded
from counterpoise.datasets._patients import divide, nested_order, stratify
from counterpoise.datasets.chestxray14 import FINDINGS, TASKS, Options
from counterpoise.explain.regions import mask, read_boxes
from counterpoise.files import read_json, sha256_file
from counterpoise.spec.dataset import Dataset

from ..support import ROOT, SHARED, error_of, files_in

SAMPLE = SHARED / "data" / "nih-chestxray14-sample"
ENTRIES, BOXES = "Data_Entry_2017_v2020.csv", "BBox_List_2017.csv"
TRAIN_VAL, TEST, PRESENT = "train_val_list.txt", "test_list.txt", "sample_list.txt"
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
ROWS = (
    "00000001_000.png,Cardiomegaly|Pleural_Thickening,0,1,57,M,PA,2682,2749,0.143,0.143",
    "00000001_001.png,No Finding,1,1,58,M,PA,2894,2729,0.143,0.143",
    "00000002_000.png,Hernia,0,2,80,F,AP,2500,2048,0.171,0.171",
    "00000003_000.png,Infiltration|Mass,0,3,81,F,AP,2582,2991,0.143,0.143",
)
BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"


def png(picture: Image.Image | np.ndarray, **options: Any) -> bytes:
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", **options)
    return buffer.getvalue()


def noise(size: int = 20, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **more: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for field, value in more.items():
        setattr(info, field, value)
    return info


def archive(path: Path, images: dict[str, bytes], *odd: tarfile.TarInfo) -> None:
    """An archive as NIH's, with further members at its end."""
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member("images", tarfile.DIRTYPE))
        for name, content in images.items():
            tar.addfile(member(f"images/{name}", size=len(content)), io.BytesIO(content))
        for info in odd:
            tar.addfile(info, io.BytesIO(bytes(min(info.size, 1 << 16))))


def image_names(rows: tuple[str, ...] = ROWS) -> list[str]:
    return [row.split(",")[0] for row in rows]


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A release of four images of three patients in two archives."""
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / ENTRIES).write_text("\n".join((HEADER, *ROWS)) + "\n")
    names = image_names()
    (folder / TRAIN_VAL).write_text("\n".join(names[:3]))  # no newline at the end, as NIH's
    (folder / TEST).write_text(names[3])
    (folder / BOXES).write_text(
        f"{BOX_HEADER}\n{names[3]},Infiltrate,225.08,547.02,86.78,79.19\n"
        f"{names[0]},Cardiomegaly,1,2,3,4\nelsewhere.png,Mass,1,2,3,4\n"
    )
    pictures = {name: png(noise(seed=n)) for n, name in enumerate(names)}
    # Neither archives nor rows need to be in order.
    archive(folder / "images_001.tar.gz", {n: pictures[n] for n in (names[3], names[0])})
    archive(folder / "images_002.tar.gz", {n: pictures[n] for n in (names[2], names[1])})
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def made(raw: Path, **options: Any) -> Path:
    out = raw.parent / "prepared"
    chestxray14.prepare(raw, out, Options(**{"size": 20, **options}))
    return out


# What is prepared ----------------------------------------------------------------------------


def test_findings_are_in_the_order_of_the_release() -> None:
    """background/rotograd.md, 3.4, order A."""
    order = (
        "Atelectasis, Cardiomegaly, Effusion, Infiltration, Mass, Nodule, Pneumonia, Pneumothorax, "
        "Consolidation, Edema, Emphysema, Fibrosis, Pleural_Thickening, Hernia"
    )
    assert tuple(order.split(", ")) == FINDINGS
    tasks = chestxray14.tasks(Options())
    assert [task.name for task in tasks] == TASKS == [name.lower() for name in FINDINGS]
    assert tasks[12].label == "Pleural thickening" and tasks[0].label == "Atelectasis"
    assert all(task.outputs == 1 and task.classes == 2 for task in tasks)


def test_images_and_labels_in_order_of_names(raw: Path) -> None:
    out = made(raw)
    images, index = np.load(out / "images.npy"), pd.read_parquet(out / "index.parquet")
    assert images.dtype == np.uint8 and index["name"].tolist() == image_names()
    for n, image in enumerate(images):
        assert np.array_equal(image, noise(seed=n)), "an image of the right size stays as it is"
    assert index["patient"].tolist() == [1, 1, 2, 3]
    assert index["follow_up"].tolist() == [0, 1, 0, 0]
    assert index["age"].tolist() == [57, 58, 80, 81]
    assert index["sex"].tolist() == ["M", "M", "F", "F"]
    assert index["view"].tolist() == ["PA", "PA", "AP", "AP"]
    assert index["official"].tolist() == ["train_val"] * 3 + ["test"]
    found = [{task for task in TASKS if row[task]} for _, row in index.iterrows()]
    assert found == [
        {"cardiomegaly", "pleural_thickening"}, set(), {"hernia"}, {"infiltration", "mass"}
    ]  # fmt: skip
    assert set(index[TASKS].dtypes) == {np.dtype(np.int8)}
    assert index.columns.tolist()[7:] == TASKS


def test_boxes_of_the_images_that_are_there(raw: Path) -> None:
    """The file of boxes says Infiltrate, and names images that are not there."""
    boxes = pd.read_parquet(made(raw) / "boxes.parquet")
    assert boxes.to_dict("records") == [
        {"image": 0, "name": image_names()[0], "task": "cardiomegaly", "x": 1, "y": 2, "w": 3, "h": 4},
        {"image": 3, "name": image_names()[3], "task": "infiltration", "x": 225.08, "y": 547.02, "w": 86.78, "h": 79.19},
    ]  # fmt: skip
    assert len(_nih.boxes(raw)) == 3  # type: ignore[arg-type]


def test_without_boxes(raw: Path) -> None:
    (raw / BOXES).unlink()
    assert files_in(made(raw)) == ["images.npy", "index.parquet"]


def test_a_part_of_the_release(raw: Path) -> None:
    names = image_names()
    (raw / "images_002.tar.gz").unlink()
    (raw / PRESENT).write_text(f"{names[3]}\n{names[0]}\n")
    out = made(raw)
    assert pd.read_parquet(out / "index.parquet")["name"].tolist() == [names[0], names[3]]
    assert np.array_equal(np.load(out / "images.npy")[1], noise(seed=3))
    assert pd.read_parquet(out / "boxes.parquet")["image"].tolist() == [0, 1]


def test_the_file_of_2017(raw: Path) -> None:
    """It has a comma more at each end of a line, and at first wrote ages with their unit."""
    rows = [HEADER, *(row.replace(",57,", ",057Y,").replace(",80,", ",018M,") for row in ROWS)]
    (raw / ENTRIES).unlink()
    (raw / "Data_Entry_2017.csv").write_bytes(
        b"\xef\xbb\xbf" + "".join(row + ",\r\n" for row in rows).encode() + b"\r\n"
    )
    error = error_of(lambda: made(raw))
    assert error.where == str(raw / ENTRIES) and "label_file: 2017" in error.remedy
    index = pd.read_parquet(made(raw, label_file=2017) / "index.parquet")
    assert index["age"].tolist() == [57, 58, 1, 81] and index["hernia"].tolist() == [0, 0, 1, 0]


def test_the_header_that_nih_has_and_copies_have_not(raw: Path) -> None:
    """Patient Sex is Patient Gender in a copy whose rows are the same."""
    before = sha256_file(made(raw) / "index.parquet")
    edit(raw / ENTRIES, "Patient Gender", "Patient Sex")
    assert sha256_file(made(raw) / "index.parquet") == before


def test_preparing_again_gives_the_same_bytes(raw: Path) -> None:
    one = {name: sha256_file(made(raw) / name) for name in files_in(made(raw))}
    assert one == {name: sha256_file(made(raw) / name) for name in files_in(made(raw))}
    assert set(one) == {"boxes.parquet", "images.npy", "index.parquet"}


def test_more_images_than_are_decoded_at_once(tmp_path: Path) -> None:
    rows = [f"{n:08}_000.png,No Finding,0,{n},50,F,PA,1,1,1,1" for n in range(120)]
    names = image_names(tuple(rows))
    (tmp_path / ENTRIES).write_text("\n".join([HEADER, *rows[::-1]]))
    (tmp_path / TRAIN_VAL).write_text("\n".join(names[:80]))
    (tmp_path / TEST).write_text("\n".join(names[80:]))
    order = np.random.default_rng(0).permutation(120)
    archive(tmp_path / "images_001.tar.gz", {names[n]: png(noise(8, n)) for n in order})
    chestxray14.prepare(tmp_path, tmp_path / "out", Options(size=8))
    images = np.load(tmp_path / "out" / "images.npy")
    assert all(np.array_equal(images[n], noise(8, n)) for n in range(120))


# Decoding ------------------------------------------------------------------------------------


def decoded(content: bytes, size: int = 20) -> np.ndarray:
    return chestxray14.decode(Encoded("a.png", content, Path("images_001.tar.gz")), size)


def with_alpha(mode: str) -> Image.Image:
    picture = Image.fromarray(noise()).convert(mode)
    picture.putalpha(Image.fromarray(noise(seed=1)))
    return picture


GREY = Image.fromarray(noise())
PALETTE = GREY.convert("P")  # a palette of greys


@pytest.mark.parametrize(
    "content",
    [
        png(GREY),
        png(GREY.convert("RGB")),
        png(with_alpha("RGBA")),
        png(with_alpha("LA")),
        png(PALETTE),
        png(PALETTE, transparency=bytes(range(256))),
        png(GREY, transparency=7),
        png(noise().astype(np.uint16) * 257),
    ],
    ids=["grey", "rgb", "rgba", "grey-alpha", "palette", "palette-alpha", "grey-key", "16-bit"],
)
def test_every_colour_type_becomes_the_same_grey(content: bytes) -> None:
    found = decoded(content)
    assert found.dtype == np.uint8 and np.array_equal(found, noise())


def test_black_and_white() -> None:
    assert set(np.unique(decoded(png(GREY.convert("1"))))) == {0, 255}


def test_16_bits_are_scaled_and_not_cut_off() -> None:
    ramp = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
    expected = np.rint(ramp / 65535 * 255)
    assert np.abs(decoded(png(ramp)).astype(int) - expected).max() <= 1


def test_reducing_averages() -> None:
    """A pattern finer than the target leaves its mean, where nearest neighbour would not."""
    stripes = np.zeros((512, 512), np.uint8)
    stripes[:, ::2] = 255
    inner = decoded(png(stripes), 64)[:, 1:-1].astype(int)
    assert np.abs(inner - 127.5).max() < 1


def test_other_shapes_are_stretched_to_the_square() -> None:
    halves = np.zeros((30, 90), np.uint8)
    halves[:, 45:] = 200
    found = decoded(png(halves), 10)
    assert found.shape == (10, 10)
    assert (found[:, :4] == 0).all() and (found[:, 6:] == 200).all()
    assert decoded(png(noise(4)), 16).shape == (16, 16), "smaller ones are enlarged"


def chunk_at(content: bytes, place: int, value: bytes) -> bytes:
    return content[:place] + value + content[place + len(value) :]


HUGE = chunk_at(png(noise()), 16, (100_000).to_bytes(4, "big") * 2)
UNDECODABLE = {
    "empty": (b"", "not a PNG"),
    "text": (b"<html>not found</html>" * 9, "not a PNG"),
    "another format": (b"\xff\xd8\xff\xe0" + bytes(90), "not a PNG"),
    "truncated": (png(noise())[:-150], "truncated"),
    "header only": (png(noise())[:40], "cannot decode"),
    "damaged header": (chunk_at(png(noise()), 20, b"\0\0\1\1"), "cannot decode"),
    "no pixels": (chunk_at(png(noise()), 16, bytes(8)), "cannot decode"),
    "bomb": (HUGE, "declares 100000 x 100000 pixels"),
}


@pytest.mark.parametrize("kind", UNDECODABLE)
def test_an_image_that_cannot_be_decoded_is_named(raw: Path, kind: str) -> None:
    content, said = UNDECODABLE[kind]
    names = image_names()
    archive(raw / "images_002.tar.gz", {names[1]: png(noise()), names[2]: content})
    error = error_of(lambda: made(raw))
    assert said in error.what and repr(names[2]) in error.what and error.remedy
    assert error.where == str(raw / "images_002.tar.gz")
    assert files_in(raw.parent / "prepared") == []


# Labels and lists that are wrong -------------------------------------------------------------

Edit = tuple[str, str, str]
FIRST, SECOND, THIRD, FOURTH = image_names()
ALL = "\n".join((HEADER, *ROWS)) + "\n"
WRONG: dict[str, tuple[Edit, str, str, str]] = {
    # name: (file, old, new), where it is said to be, what is said, what is advised
    "no such column": ((ENTRIES, "Patient ID", "Patient Id"), f"{ENTRIES}:1", "'Patient ID'; the nearest that it has is 'Patient Id'", "NIH"),
    "no such column of boxes": ((BOXES, "Finding Label", "Label"), f"{BOXES}:1", "'Finding Label'", "NIH"),
    "empty": ((ENTRIES, ALL, ""), ENTRIES, "is empty", "NIH"),
    "header only": ((ENTRIES, ALL, HEADER + "\n"), ENTRIES, "no rows", "NIH"),
    "not a table": ((ENTRIES, ALL, "<!DOCTYPE html>\n<html></html>\n"), ENTRIES, "not a table", "NIH"),
    "semicolons": ((ENTRIES, ALL, ALL.replace(",", ";")), ENTRIES, "not a table", "NIH"),
    "open quote": ((ENTRIES, "No Finding", '"No Finding'), f"{ENTRIES}:5", "not a row", "correct"),
    "a field too few": ((ENTRIES, ",80,", ","), f"{ENTRIES}:4", "10 fields where the header has 11", "correct"),
    "a field too many": ((ENTRIES, ",80,", ",80,1,"), f"{ENTRIES}:4", "12 fields where the header has 11", "correct"),
    "no number of a patient": ((ENTRIES, "Hernia,0,2", "Hernia,0,P2"), f"{ENTRIES}:4", "Patient ID is 'P2'", "correct"),
    "absurd number": ((ENTRIES, "Hernia,0,2", "Hernia,0," + 30 * "2"), f"{ENTRIES}:4", "Patient ID", "correct"),
    "negative": ((ENTRIES, "Hernia,0,2", "Hernia,-1,2"), f"{ENTRIES}:4", "Follow-up # is '-1'", "correct"),
    "no age": ((ENTRIES, ",80,", ",old,"), f"{ENTRIES}:4", "'old'", "correct"),
    "misspelt finding": ((ENTRIES, "Hernia", "Herniea"), f"{ENTRIES}:4", "'Herniea'", "did you mean 'Hernia'?"),
    "another case": ((ENTRIES, "Hernia", "hernia"), f"{ENTRIES}:4", "'hernia'", "'Hernia'"),
    "longer word": ((ENTRIES, "Hernia", "Masses"), f"{ENTRIES}:4", "'Masses'", "'Mass'"),
    "no label": ((ENTRIES, "Hernia", ""), f"{ENTRIES}:4", "unknown finding ''", "Hernia"),
    "the boxes' synonym": ((ENTRIES, "Infiltration", "Infiltrate"), f"{ENTRIES}:5", "'Infiltrate'", "'Infiltration'"),
    "finding and none": ((ENTRIES, "Hernia", "Hernia|No Finding"), f"{ENTRIES}:4", "together", "keep either"),
    "image twice": ((ENTRIES, THIRD, SECOND), f"{ENTRIES}:4", f"{SECOND!r} has a row already in line 3", "remove"),
    "in both lists": ((TEST, FOURTH, f"{FOURTH}\n{SECOND}"), f"{TEST}:2", f"{SECOND!r} is also in line 2 of {TRAIN_VAL}", "one of the two"),
    "in no list": ((TRAIN_VAL, SECOND, ""), f"{ENTRIES}:3", f"{SECOND!r} is neither", "add it"),
    "in a list twice": ((TRAIN_VAL, THIRD, FIRST), f"{TRAIN_VAL}:3", f"{FIRST!r} again after line 1", "remove"),
    "empty list": ((TEST, FOURTH, "\n \n"), TEST, "is empty", "one name"),
    "patient in both lists": ((ENTRIES, "Mass,0,3", "Mass,0,2"), f"{TEST}:1", f"patient 2 is in both official lists: {FOURTH!r} here, {THIRD!r} in line 3", "one list"),
    "unknown finding of a box": ((BOXES, "Infiltrate", "Infiltrates"), f"{BOXES}:2", "'Infiltrates'", "'Infiltration'"),
    "no box": ((BOXES, "86.78", "0"), f"{BOXES}:2", "not a box", "above 0"),
    "no number": ((BOXES, "86.78", "wide"), f"{BOXES}:2", "not a box", "numbers"),
    "not a number": ((BOXES, "86.78", "nan"), f"{BOXES}:2", "not a box", "numbers"),
    "no row of an image": ((ENTRIES, ROWS[1] + "\n", ""), "images_002.tar.gz", f"{SECOND!r}, which {ENTRIES} does not name", "one release"),
    "image in no archive": ((ENTRIES, ROWS[1], f"{ROWS[1]}\n00000009_000.png,Mass,0,3,1,F,AP,1,1,1,1"), "", "'00000009_000.png'", "sample_list.txt"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_labels_and_lists_are_named_with_file_and_line(raw: Path, kind: str) -> None:
    (file, old, new), where, what, remedy = WRONG[kind]
    edit(raw / file, old, new)
    if kind == "image in no archive":
        edit(raw / TEST, FOURTH, f"{FOURTH}\n00000009_000.png")
    error = error_of(lambda: made(raw))
    assert error.where == str(raw / where if where else raw)
    assert what in error.what and remedy in error.remedy
    assert "\n" not in error.what and not list(raw.parent.glob("prepared/*"))


@pytest.mark.parametrize(
    ("new", "where", "what"),
    [
        (f"{FIRST}\nabsent.png\n", f"{PRESENT}:2", f"'absent.png', which has no row in {ENTRIES}"),
        (f"{FIRST}\n{FIRST}\n", f"{PRESENT}:2", "again"),
        (f"{FIRST}\n", "images_001.tar.gz", f"which {PRESENT} does not name"),
        ("", PRESENT, "is empty"),
    ],
)
def test_a_wrong_list_of_what_is_there(raw: Path, new: str, where: str, what: str) -> None:
    (raw / PRESENT).write_text(new)
    error = error_of(lambda: made(raw))
    assert error.where == str(raw / where) and what in error.what and error.remedy


def test_an_image_of_the_sample_that_is_in_no_archive(raw: Path) -> None:
    (raw / PRESENT).write_text("\n".join(image_names()))
    (raw / "images_002.tar.gz").unlink()
    error = error_of(lambda: made(raw))
    assert f"2 of 4 images that {PRESENT} names are in no archive" in error.what
    assert repr(SECOND) in error.what and "archives" in error.remedy


@pytest.mark.parametrize("file", [ENTRIES, TRAIN_VAL, TEST])
def test_a_missing_file(raw: Path, file: str) -> None:
    (raw / file).unlink()
    error = error_of(lambda: made(raw))
    assert (error.what, error.where) == ("no such file", str(raw / file)) and error.remedy


@pytest.mark.parametrize("file", [ENTRIES, TRAIN_VAL, TEST, BOXES])
@pytest.mark.parametrize("content", [b"\x1f\x8b\x08\xff\xfe", None], ids=["binary", "folder"])
def test_a_file_of_another_kind(raw: Path, file: str, content: bytes | None) -> None:
    (raw / file).unlink()
    if content is None:
        (raw / file).mkdir()
    else:
        (raw / file).write_bytes(content)
    error = error_of(lambda: made(raw))
    assert error.where == str(raw / file) and "not a t" in error.what


# Archives that are wrong ---------------------------------------------------------------------


def test_no_archive(raw: Path) -> None:
    for path in raw.glob("*.tar.gz"):
        path.unlink()
    error = error_of(lambda: made(raw))
    assert error.where == str(raw) and "images_*.tar.gz" in error.what and error.remedy


TOO_LARGE = _archives.MEMBER_BYTES + 1
ODD = {
    "absolute": (member("/images/a.png"), "not in the folder"),
    "upwards": (member("images/../../a.png"), "not in the folder"),
    "upwards and two deep": (member("images/.."), "not in the folder"),
    "outside": (member("a.png"), "not in the folder"),
    "elsewhere": (member("other/a.png"), "not in the folder"),
    "deeper": (member("images/more/a.png"), "not in the folder"),
    "other folder": (member("images/more", tarfile.DIRTYPE), "plain"),
    "symbolic link": (member(f"images/{FIRST}", tarfile.SYMTYPE, linkname="/etc/passwd"), "plain"),
    "hard link": (member(f"images/{FIRST}", tarfile.LNKTYPE, linkname=f"images/{FIRST}"), "plain"),
    "device": (member("images/a.png", tarfile.CHRTYPE), "plain"),
    "pipe": (member("images/a.png", tarfile.FIFOTYPE), "plain"),
    "huge": (member("images/a.png", size=TOO_LARGE), f"declares {TOO_LARGE} bytes"),
}


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_member_is_refused_by_name(raw: Path, kind: str) -> None:
    info, said = ODD[kind]
    path = raw / "images_001.tar.gz"
    with gzip.open(path) as stream:
        content = stream.read().rstrip(b"\0")
    content += bytes(-len(content) % 512)
    path.write_bytes(gzip.compress(content + info.tobuf() + bytes(10240)))
    before = files_in(raw.parent)
    error = error_of(lambda: made(raw))
    assert said in error.what and repr(info.name) in error.what and error.remedy
    assert error.where == str(path) and files_in(raw.parent) == before


# Zips and folders ----------------------------------------------------------------------------


def entry(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
    info.external_attr = mode << 16
    return info


def as_zip(path: Path, *odd: tuple[zipfile.ZipInfo, bytes]) -> Path:
    """The same images as a zip in the archive's place, with further entries at its end."""
    images = list(_archives.read_container(path))
    path.unlink()
    made = path.with_name(path.name.replace(".tar.gz", ".zip"))
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(entry("images/", 0o040755), b"")
        for image in images:
            file.writestr(entry(f"images/{image.name}"), image.content)
        for info, content in odd:
            file.writestr(info, content)
    return made


def as_folder(path: Path, layout: str) -> None:
    """The same images unpacked, as Kaggle has them or all in one folder."""
    images = list(_archives.read_container(path))
    path.unlink()
    folder = path.parent / layout.format(path.name.split(".")[0])
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        (folder / image.name).write_bytes(image.content)


@pytest.mark.parametrize("kind", ["zip", "{}/images", "images", "mixed"])
def test_zips_and_unpacked_folders_are_as_good(raw: Path, kind: str) -> None:
    def digests() -> list[str]:
        folder = made(raw)
        return [sha256_file(folder / name) for name in files_in(folder)]

    before = digests()
    for path in sorted(raw.glob("*.tar.gz")):
        if kind == "zip" or (kind == "mixed" and "001" in path.name):
            as_zip(path)
        else:
            as_folder(path, "{}/images" if kind == "mixed" else kind)
    assert not list(raw.glob("*.tar.gz")) and digests() == before


def test_a_linked_folder_of_ones_own(raw: Path, tmp_path: Path) -> None:
    before = sha256_file(made(raw) / "images.npy")
    for path in sorted(raw.glob("*.tar.gz")):
        as_folder(path, "{}/images")
        (raw / path.name.split(".")[0]).rename(tmp_path / path.name.split(".")[0])
        link = raw / path.name.split(".")[0]
        link.symlink_to(tmp_path / link.name)
    assert sha256_file(made(raw) / "images.npy") == before


ODD_IN_ZIP = {
    "absolute": (entry("/images/a.png"), "not in the folder"),
    "upwards": (entry("images/../../a.png"), "not in the folder"),
    "upwards and two deep": (entry("images/.."), "not in the folder"),
    "upwards for Windows": (entry("images\\..\\..\\a.png"), "not in the folder"),
    "a drive": (entry("C:/a.png"), "not in the folder"),
    "a cut name": (entry("images/a.png\0/../../b"), "not in the folder"),
    "elsewhere": (entry("other/a.png"), "not in the folder"),
    "deeper": (entry("images/more/a.png"), "not in the folder"),
    "other folder": (entry("images/more/", 0o040755), "plain"),
    "symbolic link": (entry("images/a.png", 0o120777), "plain"),
    "pipe": (entry("images/a.png", 0o010644), "plain"),
    "device": (entry("images/a.png", 0o020644), "plain"),
}


@pytest.mark.parametrize("kind", ODD_IN_ZIP)
def test_an_odd_entry_of_a_zip_is_refused_by_name(raw: Path, kind: str) -> None:
    info, said = ODD_IN_ZIP[kind]
    name = info.orig_filename
    if "\\" in name or "\0" in name:
        info.filename = name  # which the constructor mends
    path = as_zip(raw / "images_001.tar.gz", (info, b"/etc/passwd"))
    before = files_in(raw.parent)
    error = error_of(lambda: made(raw))
    assert said in error.what and repr(name) in error.what and error.remedy
    assert error.where == str(path) and files_in(raw.parent) == before


def test_a_zip_that_declares_too_much_is_not_read(raw: Path) -> None:
    path = as_zip(raw / "images_001.tar.gz", (entry("images/a.png"), bytes(1000)))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")  # the entry in the directory at the end
    content[place + 24 : place + 28] = TOO_LARGE.to_bytes(4, "little")
    path.write_bytes(content)
    error = error_of(lambda: made(raw))
    assert f"declares {TOO_LARGE} bytes" in error.what and "'images/a.png'" in error.what


def test_a_bomb_in_a_zip_is_not_unpacked(raw: Path) -> None:
    """An entry that declares little and holds much: what is declared is all that is read."""
    path = as_zip(raw / "images_001.tar.gz", (entry("images/a.png"), bytes(20_000_000)))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = (100).to_bytes(4, "little")
    path.write_bytes(content)
    error = error_of(lambda: made(raw))
    assert "damaged archive" in error.what and error.where == str(path)


@pytest.mark.parametrize("kind", ["truncated", "flipped", "empty", "not an archive", "encrypted"])
def test_a_damaged_zip_is_named(raw: Path, kind: str) -> None:
    path = as_zip(raw / "images_001.tar.gz")
    content = bytearray(path.read_bytes())
    if kind == "encrypted":
        content[content.rindex(b"PK\x01\x02") + 8] |= 1
    elif kind == "flipped":
        content[content.index(b"IHDR") if b"IHDR" in content else len(content) // 3] ^= 0xFF
    else:
        content = {"truncated": content[:-30], "empty": bytearray(),
                   "not an archive": bytearray(b"text" * 99)}[kind]  # fmt: skip
    path.write_bytes(content)
    error = error_of(lambda: made(raw))
    assert error.where == str(path) and error.remedy
    assert ("encrypted" if kind == "encrypted" else "damaged archive") in error.what


def test_an_image_of_a_folder_that_is_too_large(raw: Path) -> None:
    as_folder(raw / "images_001.tar.gz", "{}/images")
    with (raw / "images_001/images" / FIRST).open("wb") as file:
        file.truncate(TOO_LARGE)
    error = error_of(lambda: made(raw))
    assert f"declares {TOO_LARGE} bytes" in error.what and repr(FIRST) in error.what


@pytest.mark.parametrize("place", ["images_001.tar.gz", "images_002.tar.gz", "images_003.tar.gz"])
def test_an_image_twice(raw: Path, place: str) -> None:
    content = {THIRD: png(noise())}
    if place == "images_001.tar.gz":
        content |= {FIRST: png(noise()), FOURTH: png(noise())}
    archive(raw / place, content, member(f"images/{THIRD}"))
    error = error_of(lambda: made(raw))
    assert repr(THIRD) in error.what and "holds already" in error.what


def forged(name: str, kind: bytes, size: int) -> bytes:
    """A header with a size in GNU's binary form, negative ones too, and its checksum."""
    header = bytearray(member(name, kind).tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (size % 256**12).to_bytes(12, "big") if size < 0 else b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def damaged(content: bytes) -> dict[str, bytes]:
    """Ways to damage an uncompressed archive, each compressed again."""
    whole = gzip.compress(content)
    second = content.index(b"images/0", 1024)
    end = len(content.rstrip(b"\0")) // 512 * 512 + 512
    return {
        "empty": b"",
        "not compressed": content,
        "text": b"<html>not found</html>",
        "cut": whole[: len(whole) // 2],
        "cut by a byte": whole[:-1],
        "altered": whole[:-400] + bytes(300) + whole[-100:],
        "wrong checksum": whole[:-8] + bytes(8),
        "something behind": whole + b"something",
        "not an archive": gzip.compress(b"just text" * 200),
        "damaged header": gzip.compress(content[:second] + b"\xff" * 200 + content[second + 200 :]),
        "cut before compression": gzip.compress(content[: second + 700]),
        "negative size": gzip.compress(content[:end] + forged("images/a.png", b"0", -512)),
        "negative extension": gzip.compress(content[:end] + forged("x", b"x", -512)),
        "huge extension": gzip.compress(content[:end] + forged("x", b"x", 1 << 32)),
        "huge name": gzip.compress(content[:end] + forged("././@LongLink", b"L", 1 << 32)),
    }


@pytest.mark.parametrize("kind", damaged(b"images/0" * 400))
def test_a_damaged_archive_is_named(raw: Path, kind: str) -> None:
    path = raw / "images_001.tar.gz"
    with gzip.open(path) as stream:
        path.write_bytes(damaged(stream.read())[kind])
    error = error_of(lambda: made(raw))
    assert error.where == str(path) and error.remedy
    assert ("declares -512" if kind == "negative size" else "damaged archive") in error.what
    if kind.startswith("huge") or kind == "negative extension":
        assert "an entry of" in error.what, "nothing is read that a forged header asks for"
    assert "\n" not in error.what and not list(raw.parent.glob("prepared/*"))


# Splits --------------------------------------------------------------------------------------


def patients_like_the_release(count: int, seed: int = 0) -> np.ndarray:
    """Images of each finding and of all: a few patients have dozens, findings are rare."""
    rng = np.random.default_rng(seed)
    images = np.minimum(rng.geometric(0.4, count) ** 1.4, 180).astype(int)
    rates = np.geomspace(0.18, 0.002, 14)
    often = rng.gamma(0.1, 10.0, (count, 14)) * rates  # findings come back in a patient
    found = rng.binomial(images[:, None], np.minimum(often, 1))
    return np.column_stack([found, images])


@pytest.mark.parametrize("shares", [(0.7, 0.1, 0.2), (0.9, 0.1), (0.5, 0.5)])
def test_every_part_has_its_share_of_every_finding(shares: tuple[float, ...]) -> None:
    counts = patients_like_the_release(4000)
    parts = stratify(counts, shares, np.random.default_rng(1))
    for part, share in enumerate(shares):
        chosen = counts[parts == part]
        got = chosen.sum(axis=0) / counts.sum(axis=0)
        assert np.abs(got - share).max() < 0.02 * share + 2 / counts.sum(axis=0).min()
        assert len(chosen) / len(counts) == pytest.approx(share, rel=0.1)
        # No part is a refuge of patients with many images.
        assert chosen[:, -1].mean() == pytest.approx(counts[:, -1].mean(), rel=0.12)


def test_the_release_is_stratified_in_seconds() -> None:
    counts = patients_like_the_release(30_805)
    start = time.process_time()
    stratify(counts, (0.7, 0.1, 0.2), np.random.default_rng(0))
    assert time.process_time() - start < 5


def test_beginnings_of_the_nested_order_are_stratified() -> None:
    counts = patients_like_the_release(4000)
    order = nested_order(counts, np.random.default_rng(2))
    assert sorted(order) == list(range(len(counts)))
    for share in (0.05, 0.1, 0.2, 0.5):
        chosen = counts[order[: round(share * len(counts))]].sum(axis=0) / counts.sum(axis=0)
        assert np.abs(chosen - share).max() < 0.1 * share + 2 / counts.sum(axis=0).min(), share


def test_rare_findings_reach_every_part() -> None:
    """Three patients of ninety have a finding; by chance alone a part would often lack it."""
    counts = np.zeros((90, 3), int)
    counts[:, 2], counts[[3, 40, 77], 0], counts[::2, 1] = 1, 1, 1
    for seed in range(20):
        parts = stratify(counts, (1 / 3, 1 / 3, 1 / 3), np.random.default_rng(seed))
        assert sorted(parts[[3, 40, 77]]) == [0, 1, 2]
        assert Counter(parts.tolist()) == {0: 30, 1: 30, 2: 30}


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The index of 600 patients, of whom the last 150 are in the official test list."""
    folder = tmp_path_factory.mktemp("indexed")
    counts = patients_like_the_release(600)
    owner = np.repeat(np.arange(600), counts[:, -1])
    within = np.concatenate([np.arange(n) for n in counts[:, -1]])
    index = pd.DataFrame(
        {"name": [f"{p:08}_{n:03}.png" for p, n in zip(owner, within, strict=True)]}
    )
    index["patient"] = owner + 1
    index["age"], index["sex"], index["view"] = owner % 90, "F", "PA"
    index["official"] = np.where(owner < 450, "train_val", "test")
    for column, task in enumerate(TASKS):
        index[task] = (within < counts[owner, column]).astype(np.int8)
    index.to_parquet(folder / "index.parquet", index=False)
    return folder


def split(folder: Path, seed: int = 0, **options: Any) -> pd.DataFrame:
    return chestxray14.split(folder, Options(**options), seed)


def parts_of(items: pd.DataFrame, column: str) -> dict[str, set[Any]]:
    return {str(part): set(rows[column]) for part, rows in items.groupby("part")}


@pytest.mark.parametrize("kind", ["stratified", "official", "random"])
@pytest.mark.parametrize("seed", [0, 5])
def test_a_patient_is_in_one_part(indexed: Path, kind: str, seed: int) -> None:
    items, index = split(indexed, seed, split=kind), pd.read_parquet(indexed / "index.parquet")
    assert list(items) == ["part", "item", "image", "name", "patient"]
    assert items["part"].unique().tolist() == ["train", "validation", "test"]
    assert sorted(items["image"]) == list(range(len(index))), "every image once"
    for column in ("name", "patient"):
        assert (index[column].to_numpy()[items["image"]] == items[column]).all()
    for one, other in itertools.combinations(parts_of(items, "patient").values(), 2):
        assert not one & other
    for _, rows in items.groupby("part"):
        assert rows["item"].tolist() == list(range(len(rows)))


def test_shares_and_frequencies_of_the_stratified_split(indexed: Path) -> None:
    items = split(indexed, validation_share=0.15, test_share=0.25)
    whole = chestxray14.labels(indexed, items, Options())
    assert whole.columns.tolist() == TASKS
    heaviest = whole.groupby(items["patient"].to_numpy()).sum().max()
    for part, share in (("train", 0.6), ("validation", 0.15), ("test", 0.25)):
        chosen = chestxray14.labels(indexed, items[items["part"] == part], Options())
        assert len(chosen) / len(items) == pytest.approx(share, abs=0.01)
        # One patient, who cannot be divided, may have a large part of a finding's images.
        expected = share * whole.sum()
        assert ((chosen.sum() - expected).abs() <= heaviest + 0.05 * expected).all()


def test_stratified_parts_differ_less_than_random_ones() -> None:
    counts, shares = patients_like_the_release(600), np.array([0.6, 0.15, 0.25])

    def deviation(parts: np.ndarray) -> float:
        got = np.array([counts[parts == part].sum(axis=0) for part in range(3)])
        return float(np.abs(got / np.outer(shares, counts.sum(axis=0)) - 1).mean())

    draws = [np.random.default_rng(seed) for seed in range(10)]
    ours = [deviation(stratify(counts, list(shares), rng)) for rng in draws]
    random = [deviation(rng.choice(3, len(counts), p=shares)) for rng in draws]
    assert np.mean(ours) < np.mean(random) / 2


def test_the_official_test_list(indexed: Path) -> None:
    items, index = split(indexed, split="official"), pd.read_parquet(indexed / "index.parquet")
    parts = parts_of(items, "name")
    assert parts["test"] == set(index.loc[index["official"] == "test", "name"])
    rest = len(items) - len(parts["test"])
    assert len(parts["validation"]) / rest == pytest.approx(0.1, abs=0.01)
    other_share = parts_of(split(indexed, split="official", test_share=0.4), "name")
    assert other_share["test"] == parts["test"]


@pytest.mark.parametrize("kind", ["stratified", "official", "random", "by_image"])
def test_the_seed_alone_decides(indexed: Path, kind: str) -> None:
    assert split(indexed, 3, split=kind).equals(split(indexed, 3, split=kind))
    assert not split(indexed, 3, split=kind).equals(split(indexed, 4, split=kind))


@pytest.mark.parametrize("kind", ["stratified", "official", "random"])
def test_training_shares_are_nested_and_leave_the_rest_alone(indexed: Path, kind: str) -> None:
    splits = {share: split(indexed, split=kind, training_share=share) for share in (0.1, 0.2, 1.0)}
    patients = {share: parts_of(items, "patient") for share, items in splits.items()}
    assert patients[0.1]["train"] < patients[0.2]["train"] < patients[1.0]["train"]
    for share in (0.1, 0.2):
        expected = round(share * len(patients[1.0]["train"]))
        assert len(patients[share]["train"]) == expected
        for part in ("validation", "test"):
            one, other = (
                s[s["part"] == part].reset_index(drop=True) for s in (splits[share], splits[1.0])
            )
            assert one.equals(other)
        train = splits[share][splits[share]["part"] == "train"]
        assert train["item"].tolist() == list(range(len(train)))
    tiny = split(indexed, split=kind, training_share=1e-6)
    assert len(parts_of(tiny, "patient")["train"]) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"size": 4}, {"size": 5000}, {"split": "by_patient"}, {"training_share": 0}, {"training_share": 1.1},
        {"validation_share": 0}, {"test_share": 1}, {"validation_share": 0.5, "test_share": 0.5},
        {"split": "random", "validation_share": 0.5, "test_share": 0.5},
    ],
)  # fmt: skip
def test_impossible_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Options(**options)


def test_the_official_split_has_a_test_share_of_its_own() -> None:
    Options(split="official", validation_share=0.5, test_share=0.5)


@pytest.mark.parametrize("shares", [(0.1, 0.2), (0.08, 0.2), (0.3, 0.3)])
def test_a_random_division_of_patients_has_its_shares(shares: tuple[float, float]) -> None:
    """70/10/20 as CheXNet, 80/20 with a tenth of the 80 for validation: shares of the images."""
    sizes = patients_like_the_release(4000)[:, -1]
    every = [1 - sum(shares), *shares]
    parts = divide(sizes, every, np.random.default_rng(3))
    for part, share in enumerate(every):
        # A patient is not cut, so that an end may be off by half of the largest.
        assert abs(sizes[parts == part].sum() - share * sizes.sum()) <= sizes.max()
    again = divide(sizes, every, np.random.default_rng(4))
    assert (parts != again).mean() > 0.3


def test_ten_data_quantities_are_nested(indexed: Path) -> None:
    """10 % of the training patients inside 20 % ... inside all, as curves over the data need."""
    for kind in ("stratified", "official", "random"):
        inside: set[int] = set()
        for tenth in range(1, 11):
            items = split(indexed, split=kind, training_share=tenth / 10)
            train = parts_of(items, "patient")["train"]
            assert inside < train
            inside = train


def test_a_split_by_image_leaks_and_says_so(raw: Path, indexed: Path) -> None:
    """Asked for by name alone: the summary counts what is on both sides, and the plan is marked."""
    from counterpoise import registry

    assert registry.leak_of("chestxray14", {"split": "by_image"})
    for kind in ("stratified", "official", "random"):
        assert not registry.leak_of("chestxray14", {"split": kind})
    items = split(indexed, split="by_image", validation_share=0.1, test_share=0.2)
    assert sorted(items["image"]) == list(range(len(items)))
    found = (items["part"].value_counts() / len(items)).to_dict()
    assert found == pytest.approx({"train": 0.7, "validation": 0.1, "test": 0.2}, abs=0.002)
    told = prepared.leak_in(items)
    parts = parts_of(items, "patient")
    test = items[items["part"] == "test"]
    assert told == {
        "patients": sum(
            sum(patient in owners for owners in parts.values()) > 1
            for patient in set(items["patient"])
        ),
        "test": len(test),
        "seen": sum(patient in parts["train"] for patient in test["patient"]),
    }
    assert told["seen"] > 0.5 * told["test"]
    target = indexed / "split.parquet"
    prepared.split("chestxray14", {"split": "by_image"}, 0, target)
    assert read_json(indexed / "summary.json")["leak"]["patients"] > 0
    prepared.split("chestxray14", {}, 0, target)
    assert "leak" not in read_json(indexed / "summary.json")


def test_too_few_patients_leave_a_part_empty(raw: Path) -> None:
    out = made(raw)
    options = {"size": 20, "validation_share": 0.01, "test_share": 0.01}
    error = error_of(lambda: prepared.split("chestxray14", options, 0, out / "split.parquet"))
    assert "part of chestxray14 is empty" in error.what


def test_the_needed_rows_are_loaded(raw: Path) -> None:
    out = made(raw)
    items = pd.DataFrame({"image": [3, 0]})
    part = chestxray14.load(out, items, Options(size=20))
    assert len(part) == 2 and part.shape == (1, 20, 20) and part.inputs.dtype == torch.uint8
    batch, _ = part.batch(torch.tensor([1, 0]))
    expected = np.stack([noise(seed=0), noise(seed=3)]) / 255
    found = batch[:, 0].double() * chestxray14.GREY_STD + chestxray14.GREY_MEAN
    assert np.abs(found.numpy() - expected).max() < 1e-6
    assert list(part.targets) == TASKS
    assert all(target.dtype == torch.int64 for target in part.targets.values())
    found = {task: target.tolist() for task, target in part.targets.items() if target.any()}
    assert found == {
        "cardiomegaly": [0, 1], "infiltration": [1, 0], "mass": [1, 0], "pleural_thickening": [0, 1]
    }  # fmt: skip


# The real sample -----------------------------------------------------------------------------

sample = pytest.mark.skipif(not SAMPLE.is_dir(), reason=f"the real images of {SAMPLE} are not here")


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    chestxray14.prepare(SAMPLE, folder, Options(size=64))
    return folder


def independent() -> list[dict[str, Any]]:
    """Rows of the sample's images, read with nothing but the csv module."""
    present, test = (set((SAMPLE / file).read_text().split()) for file in (PRESENT, TEST))
    with (SAMPLE / ENTRIES).open(newline="") as handle:
        return [
            {"name": r[0], "labels": set(r[1].split("|")), "patient": int(r[3]), "test": r[0] in test}
            for r in csv.reader(handle)
            if r[0] in present
        ]  # fmt: skip


@sample
def test_the_sample_is_what_its_files_say(real: Path) -> None:
    """3,345 images of 2,136 patients (data/README.md)."""
    index, rows = pd.read_parquet(real / "index.parquet"), independent()
    assert len(index) == len(rows) == 3345 and index["patient"].nunique() == 2136
    counts = Counter(label for row in rows for label in row["labels"])
    for finding, task in zip(FINDINGS, TASKS, strict=True):
        assert index[task].sum() == counts[finding] > 0
    assert (index[TASKS].sum(axis=1) == 0).sum() == counts["No Finding"]
    by_name = {row["name"]: row for row in rows}
    for record in index.to_dict("records"):
        row = by_name[record["name"]]
        assert record["patient"] == row["patient"]
        assert (record["official"] == "test") == row["test"]
        assert {f for f, t in zip(FINDINGS, TASKS, strict=True) if record[t]} == row["labels"] - {
            "No Finding"
        }
    boxes = pd.read_parquet(real / "boxes.parquet")
    assert len(boxes) == 976 and boxes["task"].nunique() == 8
    assert (index["name"].to_numpy()[boxes["image"]] == boxes["name"]).all()


@sample
def test_boxes_of_the_sample(real: Path) -> None:
    """Each is where the file has it, of a finding that its image has, and inside the picture."""
    index, boxes = pd.read_parquet(real / "index.parquet"), read_boxes(real)
    with (SAMPLE / BOXES).open(newline="", encoding="utf-8") as handle:
        rows = [row[:6] for row in list(csv.reader(handle))[1:]]
    here = set(index["name"])
    drawn = {
        (name, "Infiltration" if label == "Infiltrate" else label): tuple(map(float, box))
        for name, label, *box in rows
        if name in here
    }
    assert len(rows) == 984 and len(drawn) == len(boxes) == 976 and boxes["image"].nunique() == 872
    for row, box in enumerate(boxes.to_dict("records")):
        x, y, w, h = (box[key] for key in "xywh")
        assert drawn[box["name"], FINDINGS[TASKS.index(box["task"])]] == (x, y, w, h)
        assert index.loc[box["image"], box["task"]] == 1
        assert x + w <= 1024 and y + h <= 1024
        marked = mask(boxes.iloc[[row]], (64, 64))  # a sixteenth of the frame
        assert w * h <= 256 * marked.sum() <= (w + 32) * (h + 32)
        down, across = np.nonzero(marked)
        assert abs(across.mean() + 0.5 - (x + w / 2) / 16) <= 1  # no mirror, no axes exchanged
        assert abs(down.mean() + 0.5 - (y + h / 2) / 16) <= 1


@sample
def test_images_of_the_sample(real: Path) -> None:
    images, index = (
        np.load(real / "images.npy", mmap_mode="r"),
        pd.read_parquet(real / "index.parquet"),
    )
    assert images.shape == (3345, 64, 64)
    assert images.std(axis=(1, 2)).min() > 5, "no image is blank"
    twins = index.index[index["name"].isin(["00002658_001.png", "00002658_002.png"])]
    assert np.array_equal(images[twins[0]], images[twins[1]]), "data/README.md: the same image"
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) >= 3340
    with tarfile.open(SAMPLE / "images_001.tar.gz") as tar:
        first = tar.next()
        assert first is not None
        with Image.open(tar.extractfile(first)) as picture:  # type: ignore[arg-type]
            expected = np.asarray(picture.convert("L").resize((64, 64), Image.Resampling.BILINEAR))
    row = index.index[index["name"] == Path(first.name).name][0]
    assert np.array_equal(images[row], expected)


@sample
@pytest.mark.parametrize("kind", ["stratified", "official"])
def test_no_patient_of_the_sample_is_shared(real: Path, kind: str) -> None:
    items = split(real, split=kind)
    patient_of = {row["name"]: row["patient"] for row in independent()}
    parts = {
        part: {patient_of[n] for n in names} for part, names in parts_of(items, "name").items()
    }
    assert sum(map(len, parts.values())) == len(set().union(*parts.values())) == 2136
    if kind == "official":
        assert (items["part"] == "test").sum() == 1267


@sample
def test_the_sample_listed_in_the_configuration_is_the_one_here() -> None:
    card = yaml.safe_load((ROOT / "config" / "datasets" / "chestxray14.yaml").read_text())
    source = Dataset.model_validate(card).sources["nih-chestxray14-sample"]
    assert {file.name for file in source.files} == set(files_in(SAMPLE))
    for file in source.files:
        path = SAMPLE / file.name
        assert (path.stat().st_size, sha256_file(path)) == (file.bytes, file.sha256)


@sample
@pytest.mark.parametrize("kind", ["stratified", "official", "random"])
def test_counts_of_the_split_recomputed_by_pandas_alone(real: Path, kind: str) -> None:
    """From the CSV and the lists: sizes, patients and labels of each part; no patient is shared."""
    table = pd.read_csv(SAMPLE / ENTRIES)
    present = pd.read_csv(SAMPLE / PRESENT, header=None)[0]
    table = table[table["Image Index"].isin(present)].set_index("Image Index")
    test_list = pd.read_csv(SAMPLE / TEST, header=None)[0]
    target = real / "split.parquet"
    prepared.split("chestxray14", {"size": 64, "split": kind}, 0, target)
    summary, items = read_json(real / "summary.json"), pd.read_parquet(target)
    owners = []
    for part, told in summary["parts"].items():
        rows = table.loc[items.loc[items["part"] == part, "name"]]
        assert told["items"] == len(rows) == rows.index.nunique()
        assert told["patients"] == rows["Patient ID"].nunique()
        owners.append(set(rows["Patient ID"]))
        flags = rows["Finding Labels"].str.get_dummies("|").reindex(columns=FINDINGS, fill_value=0)
        assert told["positives"] == dict(zip(TASKS, flags.sum().tolist(), strict=True))
        ages = rows["Patient Age"].quantile([0.25, 0.5, 0.75]).tolist()
        assert summary["people"][part]["age"] == {"quartiles": ages}
        assert summary["people"][part]["sex"] == rows["Patient Gender"].value_counts().to_dict()
        assert summary["people"][part]["view"] == rows["View Position"].value_counts().to_dict()
        if kind == "official":
            assert set(rows.index.isin(test_list)) == {part == "test"}
    assert sum(map(len, owners)) == len(set().union(*owners)) == 2136
    sizes = {part: told["items"] for part, told in summary["parts"].items()}
    assert sum(sizes.values()) == 3345
    if kind == "official":
        assert sizes["test"] == table.index.isin(test_list).sum() == 1267
    else:
        shares = {"train": 0.7, "validation": 0.1, "test": 0.2}
        assert {k: v / 3345 for k, v in sizes.items()} == pytest.approx(shares, abs=0.01)


@sample
def test_declared_counts_are_those_of_the_files(real: Path) -> None:
    """Of the sample, and of the release by its label file: counted by pandas alone."""
    card = Dataset.model_validate(
        yaml.safe_load((ROOT / "config" / "datasets" / "chestxray14.yaml").read_text())
    )
    table = pd.read_csv(SAMPLE / ENTRIES)
    present = pd.read_csv(SAMPLE / PRESENT, header=None)[0]
    for declared, rows in (
        (card.counts, table),
        (card.sources["nih-chestxray14-sample"].counts, table[table["Image Index"].isin(present)]),
    ):
        flags = rows["Finding Labels"].str.get_dummies("|")
        expected = {task: int(flags[f].sum()) for f, task in zip(FINDINGS, TASKS, strict=True)}
        patients = rows["Patient ID"].nunique()
        assert declared == {"images": len(rows), "patients": patients, **expected}
    assert chestxray14.counts(real, Options()) == card.sources["nih-chestxray14-sample"].counts
