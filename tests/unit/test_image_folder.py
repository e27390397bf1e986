"""Data of one's own: a table with unknown and uncertain labels, and images in any folder."""

from __future__ import annotations

import os
import re
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from pydantic import ValidationError

from counterpoise import prepared, registry
from counterpoise.checks import check_study
from counterpoise.checks.catalogue import NO_TASKS
from counterpoise.datasets import image_folder
from counterpoise.datasets._folder import NOTE
from counterpoise.datasets.image_folder import Options
from counterpoise.files import read_json
from counterpoise.generators import local_folder
from counterpoise.plan import make_plan
from counterpoise.planning.identity import raw_digest
from counterpoise.project import load_project
from counterpoise.reproduction.claims import sharing
from counterpoise.skeleton import new_dataset, new_study
from counterpoise.spec.dataset import Dataset
from counterpoise.spec.load import Document
from counterpoise.spec.study import OWN, Study
from counterpoise.upkeep.inventory import take_inventory

from ..support import ROOT, edit, error_of, files_in

HEADER = "file,patient,Mass,Pleural Effusion,view"
ROWS = (
    "a/one.png,p1,1,0,PA",
    "a/two.jpg,p1,,-1,PA",
    "a/three.png,p2,0,NaN,AP",
    "four.png,p3,-1,1.0,PA",
)
LABELS = ("Mass", "Pleural Effusion")


def test_the_documents_list_every_option() -> None:
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    listed = text.partition("## Images of your own")[2].partition("\n## ")[0]
    named = [line.split("`")[1] for line in listed.splitlines() if line.startswith("| `")]
    assert named == [*Options.model_fields]


def picture(seed: int, size: int = 20) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four images and their table."""
    own = tmp_path / "own"
    (own / "a").mkdir(parents=True)
    (own / "labels.csv").write_text("\n".join([HEADER, *ROWS]) + "\n")
    for n, row in enumerate(ROWS):
        Image.fromarray(picture(n)).convert("RGB" if n == 2 else "L").save(
            own / row.split(",")[0], quality=95
        )
    return own


def made(folder: Path, **options: Any) -> tuple[pd.DataFrame, np.ndarray]:
    """Index and images of what is prepared."""
    raw, out = folder.parent / "raw", folder.parent / "out"
    raw.mkdir(exist_ok=True)
    local_folder.generate(raw, local_folder.Options(folder=str(folder)))
    image_folder.prepare(raw, out, Options(**{"size": 20, "labels": LABELS, **options}))
    return pd.read_parquet(out / "index.parquet"), np.load(out / "images.npy")


def test_images_labels_and_patients(folder: Path) -> None:
    index, images = made(folder)
    assert index["name"].tolist() == [row.split(",")[0] for row in ROWS]
    assert index["patient"].tolist() == ["p1", "p1", "p2", "p3"]
    assert index["mass"].tolist() == [1, -1, 0, -1]
    assert index["pleural_effusion"].tolist() == [0, -1, -1, 1]
    assert np.array_equal(images[0], picture(0)) and np.array_equal(images[2], picture(2))
    assert np.abs(images[1].astype(int) - picture(1)).mean() < 8, "a JPEG is not exact"


@pytest.mark.parametrize(
    ("options", "mass", "effusion"),
    [
        ({"uncertain": "positive"}, [1, -1, 0, 1], [0, 1, -1, 1]),
        ({"uncertain": "negative"}, [1, -1, 0, 0], [0, 0, -1, 1]),
        ({"uncertain": "positive", "uncertain_of": {"Mass": "negative"}}, [1, -1, 0, 0], [0, 1, -1, 1]),
        ({"empty": "negative"}, [1, 0, 0, -1], [0, -1, 0, 1]),
    ],
)  # fmt: skip
def test_policies(folder: Path, options: dict, mass: list[int], effusion: list[int]) -> None:
    index, _ = made(folder, **options)
    assert index["mass"].tolist() == mass and index["pleural_effusion"].tolist() == effusion


def test_rows_patients_and_files_by_rule(folder: Path) -> None:
    """As in CheXpert: some views only, the patient out of a path, a prefix that is not there."""
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace("a/", "set/a/").replace("four", "set/four"))
    rule = {"patient": "file", "patient_pattern": "a/([a-z]+)", "prefix": "set/"}
    index, _ = made(folder, **rule, only={"view": "PA", "patient": "p1"})
    assert index["name"].tolist() == ["a/one.png", "a/two.jpg"]
    assert index["patient"].tolist() == ["one", "two"]


def test_parts_of_the_table(folder: Path) -> None:
    table = folder / "labels.csv"
    rows = [
        f"{row},{part}" for row, part in zip(ROWS, ("train", "Train", "valid", "test"), strict=True)
    ]
    table.write_text("\n".join([HEADER + ",part", *rows]))
    made(folder, split="column")
    options = {"size": 20, "labels": LABELS, "split": "column"}
    target = folder.parent / "out" / "split.parquet"
    prepared.split("image_folder", options, 0, target)
    items = pd.read_parquet(target)
    assert items["part"].tolist() == ["train", "train", "validation", "test"]
    part = prepared.load_part("image_folder", options, target, "train")
    assert part.targets["mass"].tolist() == [1, -1] and part.shape == (1, 20, 20)
    assert torch.equal(part.masks(part.targets)["mass"], torch.tensor([True, False]))
    summary = read_json(target.parent / "summary.json")
    assert summary["parts"]["train"]["known"] == {"mass": 1, "pleural_effusion": 1}
    # The same patient in two parts of the table is a leak, and refused.
    table.write_text(table.read_text().replace("p3", "p1"))
    made(folder, split="column")
    error = error_of(lambda: prepared.split("image_folder", options, 0, target))
    assert "patient p1 is in test and train" in error.what


WRONG = {
    "absent file": ("four.png", "five.png", 5, "'five.png', which is not in"),
    "outside": ("four.png", "../four.png", 5, "not a file in the folder"),
    "absolute": ("four.png", "/etc/passwd", 5, "not a file in the folder"),
    "twice": ("four.png", "a/one.png", 5, "has a row already in line 2"),
    "no patient": ("p2", "", 4, "does not name a patient"),
    "no label": ("-1,1.0", "2,1.0", 5, "Mass is '2', not 1, 0, -1"),
    "a word": ("-1,1.0", "yes,1.0", 5, "Mass is 'yes'"),
    "two columns": ("view", "Mass", 1, "has 2 columns called 'Mass'"),
    "no column": ("Mass", "Mas", 1, "no column 'Mass'; the nearest that it has is 'Mas'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_table_is_named_with_its_line(folder: Path, kind: str) -> None:
    old, new, line, what = WRONG[kind]
    table = folder / "labels.csv"
    table.write_text(table.read_text().replace(old, new, 1))
    error = error_of(lambda: made(folder))
    assert what in error.what and error.remedy
    assert error.where == f"{table}:{line}", "a person's own, not the copy"
    assert not list((folder.parent).glob("out/*"))


def test_a_rule_that_leaves_no_row_is_told(folder: Path) -> None:
    error = error_of(lambda: made(folder, only={"view": "LL"}))
    assert error.what == "no row is left" and error.where == str(folder / "labels.csv")
    assert "`only`" in error.remedy


def test_a_part_of_another_name_is_told_with_its_line(folder: Path) -> None:
    table = folder / "labels.csv"
    edit(table, "view", "part")
    error = error_of(lambda: made(folder, split="column"))
    assert error.what == "'PA' is not a part" and error.where == f"{table}:2"
    assert "train, validation or test" in error.remedy


def test_a_copy_of_the_table_is_not_to_be_edited(folder: Path) -> None:
    """Its results would be those of another table than their digest says."""
    made(folder)
    raw = folder.parent / "raw"
    edit(raw / "labels.csv", "p1,1,0", "p1,0,0")
    prepare = (raw, folder.parent / "out", Options(size=20, labels=LABELS))
    error = error_of(lambda: image_folder.prepare(*prepare))
    assert error.where == str(raw / "labels.csv") and "has changed" in error.what
    assert str(folder / "labels.csv") in error.remedy and str(raw) in error.remedy


def test_a_link_out_of_the_folder_and_a_damaged_image(folder: Path) -> None:
    (folder.parent / "secret.png").write_bytes((folder / "four.png").read_bytes())
    (folder / "four.png").unlink()
    (folder / "four.png").symlink_to(folder.parent / "secret.png")
    error = error_of(lambda: made(folder))
    assert "a link to a file outside" in error.what
    (folder / "four.png").unlink()
    (folder / "four.png").write_bytes(b"GIF89a")
    error = error_of(lambda: made(folder))
    assert error.where == str(folder / "four.png") and "damaged: 1" in error.remedy
    assert "delete" not in error.remedy, "the files are the user's own"
    index, images = made(folder, damaged=1)
    assert index["damaged"].tolist() == [False] * 3 + [True] and images[3].max() == 0
    assert "out/damaged.parquet" in files_in(folder.parent)
    options = Options(labels=LABELS, split="random", validation_share=0.3, test_share=0.3)
    items = image_folder.split(folder.parent / "out", options, 1)
    assert "four.png" not in set(items["name"]) and len(items) == 3


def test_12_bits_in_16_are_refused_as_they_would_be_black(folder: Path) -> None:
    values = np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)
    Image.fromarray(values).save(folder / "four.png")
    assert made(folder)[1][3].max() == 255
    shutil.rmtree(folder.parent / "out")
    Image.fromarray(values >> 4).save(folder / "four.png")
    error = error_of(lambda: made(folder))
    assert error.where == str(folder / "four.png") and "almost black" in error.what
    assert "window" in error.remedy
    Image.fromarray((values >> 12).astype(np.uint8)).save(folder / "four.png")
    assert made(folder)[1][3].max() == 15, "8 bits may be as dark"


def test_one_image_a_patient(folder: Path) -> None:
    index, _ = made(folder, patient="file")
    assert index["patient"].tolist() == index["name"].tolist()


@pytest.mark.parametrize(
    "options",
    [
        {"labels": []},
        {"labels": ["A b", "a-B"]},
        {"uncertain_of": {"Nodule": "positive"}},
        {"patient_pattern": "("},
        {"patient_pattern": "patient[0-9]+"},
        {"validation_share": 0.5, "test_share": 0.5},
    ],
)
def test_impossible_options(options: dict) -> None:
    with pytest.raises(ValidationError):
        Options(**{"labels": LABELS, **options})


def test_counts_and_labels(folder: Path) -> None:
    made(folder)
    chosen = Options(labels=LABELS)
    found = image_folder.counts(folder.parent / "out", chosen)
    assert found == {"images": 4, "patients": 3, "mass": 1, "pleural_effusion": 1}


def test_chexpert_is_read_as_its_archive_is(tmp_path: Path) -> None:
    """The worked example, on a table in the form of CheXpert's."""
    card = yaml.safe_load((ROOT / "config" / "datasets" / "chexpert.yaml").read_text())
    dataset = Dataset.model_validate(card)
    options = {**dataset.options, "size": 16}
    header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding", *options["labels"]]
    empty = [""] * (len(options["labels"]) - 8)
    rows = []
    for n, view in ((1, "Frontal"), (1, "Lateral"), (2, "Frontal")):
        path = f"train/patient{n:05}/study1/view1_{view.lower()}.jpg"
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        stream = BytesIO()
        Image.fromarray(picture(n, 40)).save(stream, "JPEG")
        (tmp_path / path).write_bytes(stream.getvalue())
        labels = ["1.0", "0.0", "", "-1.0", "-1.0", "-1.0", "", "-1.0", *empty]
        rows.append([f"CheXpert-v1.0-small/{path}", "Female", "68", view, "AP", "", *labels])
    table = pd.DataFrame(rows, columns=header)
    table.to_csv(tmp_path / "train.csv", index=False)
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    local_folder.generate(raw, local_folder.Options(folder=str(tmp_path), table="train.csv"))
    image_folder.prepare(raw, out, Options(**options))
    index = pd.read_parquet(out / "index.parquet")
    assert index["patient"].tolist() == ["patient00001", "patient00002"]
    found = index[["enlarged_cardiomediastinum", "cardiomegaly", "lung_opacity", "lung_lesion",
                   "edema", "consolidation", "pneumonia", "atelectasis"]].iloc[0].tolist()  # fmt: skip
    assert found == [1, 0, -1, -1, 1, 0, -1, 1]


# Configuration -------------------------------------------------------------------------------


def test_a_dataset_and_its_study_are_a_file_each(config_copy: Path, folder: Path) -> None:
    """Written by a command, planned in a tier of their own, and no part of the others."""
    before = make_plan(load_project(config_copy), "demo")
    path = new_dataset(config_copy, "our_hospital", str(folder), "labels.csv", list(LABELS))
    project = load_project(config_copy)
    assert registry.find("datasets", "our_hospital") is image_folder
    study = new_study(config_copy, project.datasets["our_hospital"])
    kept = study.read_text()
    assert new_study(config_copy, project.datasets["our_hospital"]).read_text() == kept
    project = load_project(config_copy)
    plan = make_plan(project, OWN)
    assert list(plan.papers) == ["our_hospital"] and len(plan.trainings) == 7
    read = plan.papers["our_hospital"].paper
    assert sharing(plan, read) == len(read.claims) == 6, "one question, which method to trust"
    assert "AUROC and BCE" in read.tables[0].note
    cell = next(iter(plan.trainings.values())).cell
    assert cell.dataset == "our_hospital" and cell.tasks == ("mass", "pleural_effusion")
    demo = make_plan(project, "demo")
    assert list(demo.papers) == list(before.papers)
    assert list(demo.trainings) == list(before.trainings)
    # Another table is other data, and so are other images. Without them nothing is planned: what was
    # trained on them would look like garbage.
    digests = {training.data.digest for training in plan.trainings.values()}
    (folder / "labels.csv").write_text(HEADER)
    other = make_plan(project, OWN)
    assert digests.isdisjoint(training.data.digest for training in other.trainings.values())
    digests |= {training.data.digest for training in other.trainings.values()}
    picture = next(folder.rglob("*.png"))
    picture.write_bytes(picture.read_bytes() + b" ")
    other = make_plan(project, OWN)
    assert digests.isdisjoint(training.data.digest for training in other.trainings.values())
    (folder / "labels.csv").unlink()
    error = error_of(lambda: make_plan(project, OWN))
    assert "no such table" in error.what and error.where == str(folder / "labels.csv")
    make_plan(project, "demo")
    error = error_of(lambda: new_dataset(config_copy, path.stem, "x", "y", ["z"]))
    assert "there is already a dataset" in error.what
    error = error_of(lambda: new_dataset(config_copy, "../x", "x", "y", ["z"]))
    assert "cannot be the name of a file" in error.what


def test_a_plan_looks_through_the_images_once(
    config_copy: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For all runs, and for what they wait for: there may be hundreds of thousands."""
    new_dataset(config_copy, "our", str(folder), "labels.csv", list(LABELS))
    study = new_study(config_copy, load_project(config_copy).datasets["our"])
    edit(
        study, "{method: deepchest,", "{method: deepchest, options: {initial_weights: single_task},"
    )
    project = load_project(config_copy)
    looked: list[Path] = []
    look = local_folder.identity

    def noted(options: local_folder.Options, root: Path) -> str:
        looked.append(root)
        return look(options, root)

    monkeypatch.setattr(local_folder, "identity", noted)
    plan = make_plan(project, OWN)
    assert len(plan.trainings) == 7 and len(plan.preliminary) == len(LABELS)
    assert looked == [config_copy]


def test_images_within_the_checkout_are_not_foreign(config_copy: Path, folder: Path) -> None:
    shutil.copytree(folder, config_copy / "data" / "xrays")
    (config_copy / "data" / "xrays" / ".one-abcdefgh.png").touch()  # no leftover of ours
    (config_copy / "data" / "notes.txt").touch()
    new_dataset(config_copy, "our", "data/xrays", "labels.csv", list(LABELS))
    new_study(config_copy, load_project(config_copy).datasets["our"])
    plans = {OWN: make_plan(load_project(config_copy), OWN)}
    units = take_inventory(config_copy, plans).units
    assert [(unit.path, unit.state) for unit in units] == [("data/notes.txt", "foreign")]


@pytest.mark.parametrize("typed", ["{{ 7 * 7 }}", "{% raw %}", '# "}}', "a: b\n- c", "<&'é\\"])
def test_what_a_user_types_stands_in_the_file_as_it_is(config_copy: Path, typed: str) -> None:
    path = new_dataset(config_copy, "our", typed, f"{typed}.csv", [typed, "Mass"])
    dataset = Dataset.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    generator = dataset.sources["our-folder"].generator
    assert generator is not None
    assert generator.options == {"folder": typed, "table": f"{typed}.csv"}
    assert dataset.options["labels"] == [typed, "Mass"]
    written = new_study(config_copy, dataset.model_copy(update={"title": typed}))
    study = Study.model_validate(yaml.safe_load(written.read_text(encoding="utf-8")))
    assert study.title == typed


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ("All", "'all' of task 'All' is reserved"),
        ("Type", "'type' of task 'Type' is reserved"),
        ("Patient", "a label cannot be called 'patient'"),
        ("x" * 65, "longer than 64 characters"),
    ],
)
def test_a_label_that_names_no_task(config_copy: Path, label: str, what: str) -> None:
    """It would end the training, or take the place of something else in the results."""
    error = error_of(lambda: new_dataset(config_copy, "our", "x", "y", ["Mass", label]))
    assert what in error.what and "rename" in error.remedy
    path = new_dataset(config_copy, "our", "x", "y", ["Mass", "Other"])
    line = edit(path, "Other", label)
    (error,) = error_of(lambda: load_project(config_copy)).errors
    place, _, told = error.where.rpartition(":")
    assert what in error.what and place == str(path) and line - 2 <= int(told) <= line


def test_names_of_torchs_own_are_no_tasks() -> None:
    """All that its class has, which may grow with torch."""
    own = {name for name in dir(torch.nn.ModuleDict()) if re.fullmatch(r"[a-z0-9][a-z0-9_]*", name)}
    assert own <= NO_TASKS


def test_a_folder_starts_from_the_checkout_wherever_one_stands(
    config_copy: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, config_copy / "data" / "own")
    new_dataset(config_copy, "our", "data/own", "labels.csv", list(LABELS))
    (config_copy / "data" / "own" / "gone.png").symlink_to("nowhere")  # no image, and no error
    source = load_project(config_copy).datasets["our"].sources["our-folder"]
    digest = raw_digest("our-folder", source, config_copy)
    monkeypatch.chdir(config_copy / "config")
    assert raw_digest("our-folder", source, config_copy) == digest
    raw = config_copy / "data" / "raw" / f"our-folder-{digest}"
    raw.mkdir(parents=True)
    assert source.generator is not None
    local_folder.generate(raw, local_folder.Options(**source.generator.options))
    assert read_json(raw / NOTE)["folder"] == str(config_copy / "data" / "own")


def test_names_that_are_no_text_and_homes_of_nobody(config_copy: Path, folder: Path) -> None:
    nobody = local_folder.Options(folder="~nobody-has-this-name/xr")
    error = error_of(lambda: local_folder.identity(nobody, config_copy))
    assert error.where == nobody.folder and "whole path" in error.remedy
    new = (config_copy, "our", os.fsdecode(b"/tmp/\xff"), "labels.csv", ["Mass"])
    error = error_of(lambda: new_dataset(*new))
    assert error.where == "--folder" and "'/tmp/\\udcff' is not UTF-8" in error.what
    (folder / os.fsdecode(b"a/\xff.png")).write_bytes(b"")
    chosen = local_folder.Options(folder=str(folder))
    error = error_of(lambda: local_folder.identity(chosen, config_copy))
    assert "'a/\\udcff.png' is not UTF-8" in error.what and error.where == str(folder)


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("method: famo", "method: fama", "unknown method 'fama'"),
        ("dataset: our", "dataset: own", "unknown dataset 'own'"),
        ("source: our-folder", "source: ours", "unknown source 'ours'"),
        ("name: resnet", "name: restnet", "unknown network 'restnet'"),
        ("id: our", "id: rotograd", "id is 'rotograd' but the file is our.yaml"),
        ("seeds: 3", "seeds: 0", "greater than or equal to 1"),
        ("  uw: {", "  uniform: {", "'uniform': equal weights always run under this name"),
        ("  uw: {", "  always: {", "'always': the row"),
    ],
)
def test_a_wrong_study_is_named_with_its_line(
    config_copy: Path, folder: Path, old: str, new: str, what: str
) -> None:
    new_dataset(config_copy, "our", str(folder), "labels.csv", list(LABELS))
    path = new_study(config_copy, load_project(config_copy).datasets["our"])
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    line = 1 + next(n for n, one in enumerate(path.read_text().splitlines()) if new in one)
    told = str(error_of(lambda: load_project(config_copy)))
    assert what in told and f"our.yaml:{line}" in told


def test_a_study_may_not_have_the_name_of_a_paper(config_copy: Path) -> None:
    project = load_project(config_copy)
    study = Study.model_validate(
        {
            "id": "rotograd", "title": "x", "dataset": "toy", "source": "formula",
            "protocol": {"epochs": 1, "batch_size": 2}, "methods": {"uw": {"method": "uw"}},
        }
    )  # fmt: skip
    document = Document(Path("rotograd.yaml"), {}, {})
    errors = check_study(study, document, project.datasets, project.papers)
    assert "there is already a paper 'rotograd'" in errors[0].what
