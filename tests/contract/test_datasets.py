"""What every dataset must do, and that MultiMNIST is what it says."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from counterpoise import prepared, registry
from counterpoise.datasets import multimnist
from counterpoise.datasets._idx import read_idx, write_idx
from counterpoise.datasets._part import Part
from counterpoise.spec.base import Options
from counterpoise.training.losses import LOSSES

from ..support import error_of, files_in

PARTS = ("train", "validation", "test")
SMALL = {"train_pairs": 90, "validation_pairs": 40, "test_pairs": 50}
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "multimnist": [
        {**SMALL, "layout": layout, "density": density, "classification": kind}
        for layout, density, kind in itertools.product(
            ("overlap", "side_by_side"), ("percent", "count"), ("softmax", "one_vs_rest")
        )
    ],
    "chestxray14": [
        {"size": 32, "split": split, "training_share": share}
        for split, share in (
            ("stratified", 1.0),
            ("stratified", 0.4),
            ("official", 1.0),
            ("random", 0.4),
            ("by_image", 0.4),
        )
    ],
    "chestmnist": [{}, {"training_share": 0.4}],
    "image_folder": [
        {
            "labels": ("Mass", "Effusion"),
            "size": 32,
            "split": split,
            "uncertain": uncertain,
            "empty": empty,
        }
        for split, uncertain, empty in (
            ("stratified", "unknown", "unknown"),
            ("random", "positive", "negative"),
            ("column", "negative", "unknown"),
        )
    ],
    "toy": [{"problem": problem} for problem in ("conflict", "magnitude", "negation")],
}
# The generator that stands in for each dataset's files, and its options.
GENERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "multimnist": ("digits", {}),
    "toy": ("formula", {}),
    "chestmnist": ("chest_phantom_npz", {"images": 160}),
    "chestxray14": ("chest_phantom", {"images": 160, "size": 48}),
    "image_folder": ("local_folder", {}),
}
OWN = tempfile.TemporaryDirectory()
"""Images of one's own; one folder, as its place is noted in the raw files."""
UNKNOWN = {"image_folder"}
"""Datasets some of whose labels are unknown."""
CASES = [
    pytest.param(name, options, id=f"{name}-{'-'.join(map(str, options.values()))}")
    for name in registry.names("datasets")
    for options in VARIANTS.get(name, [{}])
]


class Data:
    """A dataset prepared and split in a folder."""

    def __init__(self, name: str, options: dict[str, Any], raw: Path, folder: Path) -> None:
        self.name, self.options = name, options
        self.module = registry.find("datasets", name)
        self.chosen = self.module.Options(**options)
        self.split_file = folder / "split.parquet"
        folder.mkdir(parents=True)
        self.module.prepare(raw, folder, self.chosen)
        prepared.split(name, options, 0, self.split_file)
        self.items = prepared.load_items(self.split_file)

    def part(self, name: str) -> Part:
        return prepared.load_part(self.name, self.options, self.split_file, name)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Generated raw files of every dataset."""
    folders = {}
    for name in registry.names("datasets"):
        folders[name] = tmp_path_factory.mktemp(name)
        make_raw(name, folders[name])
    return folders


def make_raw(dataset: str, folder: Path) -> None:
    name, options = GENERATORS[dataset]
    if dataset == "image_folder":
        make_own_images(Path(OWN.name))
        options = {"folder": OWN.name}
    module = registry.find("generators", name)
    module.generate(folder, module.Options(**options))


def make_own_images(folder: Path) -> None:
    """Eighty pictures of forty patients, with two labels that are partly unknown or uncertain."""
    rng = np.random.default_rng(0)
    lines = ["file,patient,Mass,Effusion,part"]
    for n in range(80):
        pixels = rng.integers(0, 256, (30, 40), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{n:02}.png")
        labels = ",".join(rng.choice(["1", "0", "0", "-1", ""], 2))
        part = ("train", "train", "train", "valid", "test")[n // 2 % 5]
        lines.append(f"{n:02}.png,p{n // 2},{labels},{part}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


@pytest.fixture
def data(raw: dict[str, Path], tmp_path: Path, request: pytest.FixtureRequest) -> Data:
    name, options = request.param
    return Data(name, options, raw[name], tmp_path / "prepared")


every = pytest.mark.parametrize(
    "data", [pytest.param(case.values, id=case.id) for case in CASES], indirect=True
)


def test_every_dataset_is_tried_with_all_its_choices() -> None:
    for name in registry.names("datasets"):
        fields = registry.find("datasets", name).Options.model_fields
        for field, info in fields.items():
            choices = getattr(info.annotation, "__args__", ())
            if choices and all(isinstance(choice, str) for choice in choices):
                tried = {options.get(field, info.default) for options in VARIANTS.get(name, [{}])}
                assert tried == set(choices), f"{name}.{field}"


@pytest.mark.parametrize("name", registry.names("datasets"))
def test_a_dataset_says_what_it_is_and_what_can_be_chosen(name: str) -> None:
    module = registry.find("datasets", name)
    assert module.__doc__ and issubclass(module.Options, Options)
    tasks = module.tasks(module.Options())
    assert len({task.name for task in tasks}) == len(tasks)
    assert all(task.label and task.metrics for task in tasks)


@every
def test_the_split_names_each_item_once(data: Data) -> None:
    assert set(data.items["part"]) == set(PARTS)
    assert not data.items.duplicated(["part", "item"]).any()
    for part, rows in data.items.groupby("part"):
        assert list(rows["item"]) == list(range(len(rows))), part


@every
def test_inputs_and_targets_of_all_items_in_order(data: Data) -> None:
    tasks = data.module.tasks(data.chosen)
    for name in PARTS:
        part = data.part(name)
        count = (data.items["part"] == name).sum()
        assert len(part) == count
        assert list(part.targets) == [task.name for task in tasks]
        for task in tasks:
            target = part.targets[task.name]
            assert target.shape == (count,)
            if task.classes is None:
                assert target.dtype == torch.float32 and torch.isfinite(target).all()
            else:
                assert target.dtype == torch.int64
                assert (
                    int(target.min()) >= -(data.name in UNKNOWN)
                    and int(target.max()) < task.classes
                )


@every
def test_a_batch_is_normalised_and_in_the_order_asked_for(data: Data) -> None:
    part = data.part("validation")
    inputs, targets = part.batch(torch.tensor([2, 0, 2]) % len(part))
    assert inputs.dtype == torch.float32 and inputs.shape[1:] == part.shape
    assert torch.isfinite(inputs).all() and inputs.abs().max() < 10
    assert torch.equal(inputs[0], inputs[2])
    for name, values in targets.items():
        assert torch.equal(values, part.targets[name][torch.tensor([2, 0, 2]) % len(part)])


@every
def test_losses_of_untrained_outputs_are_finite(data: Data) -> None:
    losses = {**LOSSES, **getattr(data.module, "LOSSES", {})}
    part = data.part("train")
    for task in data.module.tasks(data.chosen):
        outputs = torch.randn(len(part), task.outputs, generator=torch.Generator().manual_seed(0))
        assert torch.isfinite(losses[task.loss](outputs, part.targets[task.name]))


@every
def test_preparing_again_gives_the_same_bytes(data: Data, raw: dict[str, Path]) -> None:
    first = data.split_file.parent
    again = Data(data.name, data.options, raw[data.name], first.parent / "again")
    names = files_in(first)
    assert names == files_in(again.split_file.parent)
    for name in names:
        assert (first / name).read_bytes() == (again.split_file.parent / name).read_bytes(), name


@pytest.mark.parametrize("name", registry.names("datasets"))
def test_generating_again_gives_the_same_bytes(
    raw: dict[str, Path], tmp_path: Path, name: str
) -> None:
    make_raw(name, tmp_path)
    assert files_in(tmp_path) == files_in(raw[name])
    for file in files_in(tmp_path):
        assert (tmp_path / file).read_bytes() == (raw[name] / file).read_bytes(), file


# MultiMNIST ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def overlap(raw: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Data:
    folder = tmp_path_factory.mktemp("overlap") / "prepared"
    return Data("multimnist", SMALL, raw["multimnist"], folder)


def digits_of(data: Data) -> tuple[np.ndarray, pd.DataFrame]:
    folder = data.split_file.parent
    return np.load(folder / "digits.npy"), pd.read_parquet(folder / "digits.parquet")


def test_stand_in_digits_have_the_form_of_mnist(raw: dict[str, Path]) -> None:
    images = read_idx(raw["multimnist"] / "train-images-idx3-ubyte.gz", 3)
    labels = read_idx(raw["multimnist"] / "train-labels-idx1-ubyte.gz", 1)
    test = read_idx(raw["multimnist"] / "t10k-labels-idx1-ubyte.gz", 1)
    assert images.shape == (1437, 28, 28) and len(labels) == 1437 and len(test) == 360
    assert images.max() == 255 and set(labels.tolist()) == set(range(10))
    # MNIST's digits lie in the middle 20 x 20 pixels.
    frame = np.ones((28, 28), bool)
    frame[4:24, 4:24] = False
    assert images[:, frame].max() == 0 and (images[:, ~frame].max(axis=1) > 200).all()


def test_no_digit_is_in_two_parts(overlap: Data) -> None:
    used = {
        part: set(rows["left"]) | set(rows["right"]) for part, rows in overlap.items.groupby("part")
    }
    for one, other in itertools.combinations(PARTS, 2):
        assert not used[one] & used[other]
    _, digits = digits_of(overlap)
    assert set(digits["file"].iloc[sorted(used["test"])]) == {"test"}
    assert set(digits["file"].iloc[sorted(used["train"] | used["validation"])]) == {"train"}


def test_part_sizes_and_validation_share(raw: dict[str, Path], tmp_path: Path) -> None:
    options = {"train_pairs": 3000, "validation_pairs": 1000, "test_pairs": 1000}
    items = Data("multimnist", options, raw["multimnist"], tmp_path / "p").items
    counts = items["part"].value_counts()
    assert counts.to_dict() == {"train": 3000, "validation": 1000, "test": 1000}
    train = items[items["part"] == "train"]
    # 1437 digits, a sixth of them (240) for validation; each is on the left twice or three times.
    assert train["left"].nunique() == 1437 - 240
    assert set(train["left"].value_counts()) == {2, 3}
    assert items[items["part"] == "validation"]["left"].nunique() == 240


def test_the_seed_of_the_split_decides(raw: dict[str, Path], tmp_path: Path) -> None:
    made = Data("multimnist", SMALL, raw["multimnist"], tmp_path / "p")
    folder = made.split_file.parent
    same, other = (made.module.split(folder, made.chosen, seed) for seed in (0, 1))
    assert same.equals(made.items) and not other.equals(made.items)


def slow_picture(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """background/rotograd.md, 2.1, pixel by pixel.

    36 x 36 zeros, left digit at rows and columns 0:28, right digit at 6:34, the maximum where they
    overlap; scipy.misc.imresize (SciPy 1.0, pilutil.bytescale) stretched min..max to 0..255 in
    double precision and rounded half up; Pillow's nearest neighbour from 36 to 28 takes the
    indices floor((i + 0.5) * 36 / 28).
    """
    canvas = [[0] * 36 for _ in range(36)]
    for row in range(28):
        for column in range(28):
            canvas[row][column] = int(left[row, column])
    for row in range(28):
        for column in range(28):
            value = int(right[row, column])
            canvas[row + 6][column + 6] = max(canvas[row + 6][column + 6], value)
    values = [value for line in canvas for value in line]
    low, high = min(values), max(values)
    scale = 255.0 / max(high - low, 1)
    picture = np.zeros((28, 28), np.uint8)
    for row in range(28):
        for column in range(28):
            value = canvas[(2 * row + 1) * 36 // 56][(2 * column + 1) * 36 // 56]
            picture[row, column] = int(min((value - low) * scale, 255.0) + 0.5)
    return picture


def test_pictures_are_those_of_sener_and_koltun(overlap: Data) -> None:
    images, _ = digits_of(overlap)
    part = overlap.part("train")
    rows = overlap.items[overlap.items["part"] == "train"]
    for n in range(25):
        expected = slow_picture(images[rows["left"].iloc[n]], images[rows["right"].iloc[n]])
        assert np.array_equal(part.inputs[n, 0].numpy(), expected)


def test_a_faint_picture_is_stretched_to_the_full_range() -> None:
    left, right = np.zeros((2, 28, 28), np.uint8), np.zeros((2, 28, 28), np.uint8)
    left[0, 3:20, 3:20], right[0, 5:25, 5:25] = 50, 100
    found = multimnist.compose(left, right)
    assert np.array_equal(found[0], slow_picture(left[0], right[0])) and found[0].max() == 255
    assert found[1].max() == 0, "an empty picture stays empty"


@pytest.mark.parametrize("high", [254, 210, 200, 126, 50])
def test_stretching_rounds_as_the_original_does(high: int) -> None:
    """Halves, as of 127 * 255 / 254, decide whether a pixel counts as lit."""
    ramp = np.minimum(np.arange(28 * 28).reshape(28, 28), high).astype(np.uint8)
    blank = np.zeros((28, 28), np.uint8)
    for left, right in ((ramp, blank), (ramp[::-1], blank), (blank, ramp)):
        assert np.array_equal(
            multimnist.compose(left[None], right[None])[0], slow_picture(left, right)
        )


def test_side_by_side(raw: dict[str, Path], tmp_path: Path) -> None:
    options = {**SMALL, "layout": "side_by_side"}
    made = Data("multimnist", options, raw["multimnist"], tmp_path / "p")
    images, _ = digits_of(made)
    part, rows = made.part("test"), made.items[made.items["part"] == "test"]
    assert part.shape == (1, 28, 56)
    assert np.array_equal(part.inputs[:, 0, :, :28].numpy(), images[rows["left"]])
    assert np.array_equal(part.inputs[:, 0, :, 28:].numpy(), images[rows["right"]])


def test_targets_follow_from_labels_and_pixels(overlap: Data) -> None:
    _, digits = digits_of(overlap)
    labels = digits["label"].to_numpy().astype(int)
    for name in PARTS:
        part, rows = overlap.part(name), overlap.items[overlap.items["part"] == name]
        for n, (left, right) in enumerate(
            zip(labels[rows["left"]], labels[rows["right"]], strict=True)
        ):
            got = {task: float(values[n]) for task, values in part.targets.items()}
            picture = part.inputs[n, 0].numpy()
            lit = sum(1 for value in picture.reshape(-1).tolist() if value / 255 > 0.5)
            assert (got["left"], got["right"]) == (left, right)
            assert (got["sum"], got["product"]) == (left + right, left * right)
            # The percentage of 784 pixels is rounded to float32.
            assert got["density"] == pytest.approx(100 * lit / 784, rel=1e-6)


def test_density_may_be_a_number_of_pixels(raw: dict[str, Path], tmp_path: Path) -> None:
    parts = [
        Data("multimnist", {**SMALL, "density": density}, raw["multimnist"], tmp_path / density)
        .part("test").targets["density"]
        for density in ("percent", "count")
    ]  # fmt: skip
    torch.testing.assert_close(parts[0], parts[1] * 100 / 784)
    assert torch.equal(parts[1], parts[1].round())


def test_ranges(overlap: Data) -> None:
    targets = overlap.part("train").targets
    assert targets["sum"].min() >= 0 and targets["sum"].max() <= 18
    assert targets["product"].min() >= 0 and targets["product"].max() <= 81
    assert targets["density"].min() > 0 and targets["density"].max() < 60


def test_the_usual_normalisation_of_mnist(overlap: Data) -> None:
    inputs, _ = overlap.part("test").batch(torch.arange(4))
    raw_pixels = overlap.part("test").inputs[:4].double() / 255
    torch.testing.assert_close(
        inputs.double(), (raw_pixels - 0.1307) / 0.3081, rtol=1e-5, atol=1e-6
    )


# What is wrong with the raw files ------------------------------------------------------------

FILES = {"train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
         "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")}  # fmt: skip


def write_raw(folder: Path, train: int = 12, test: int = 4, **wrong: Any) -> Path:
    """MNIST files of a few blank digits."""
    folder.mkdir()
    size = wrong.get("size", 28)
    for part, count in (("train", train), ("test", test)):
        images, labels = FILES[part]
        write_idx(folder / images, np.zeros((count, size, size), np.uint8))
        values = np.arange(count + wrong.get("extra", 0)) % 10 + wrong.get("shift", 0)
        write_idx(folder / labels, values.astype(np.uint8))
    return folder


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"extra": 1}, "12 images but 13 labels"),
        ({"size": 27}, "28 x 28"),
        ({"shift": 1}, "0 to 9"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, wrong: dict[str, int], said: str
) -> None:
    folder = write_raw(tmp_path / "raw", **wrong)
    (tmp_path / "out").mkdir()
    error = error_of(lambda: multimnist.prepare(folder, tmp_path / "out", multimnist.Options()))
    assert said in error.what and str(folder) in error.where
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("sizes", "part"), [((2, 4), "validation"), ((0, 4), "train"), ((12, 0), "test")]
)
def test_a_part_without_digits_is_an_error(
    tmp_path: Path, sizes: tuple[int, int], part: str
) -> None:
    folder = write_raw(tmp_path / "raw", *sizes)
    out = tmp_path / "out"
    multimnist.prepare(folder, out, multimnist.Options())
    error = error_of(lambda: prepared.split("multimnist", {}, 0, out / "split.parquet"))
    assert f"the {part} part" in error.what and "empty" in error.what and error.remedy
    assert not (out / "split.parquet").exists()


def test_a_part_that_a_dataset_forgets_is_an_error(
    overlap: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = overlap.items[overlap.items["part"] != "test"]
    monkeypatch.setattr(multimnist, "split", lambda *_: without)
    target = tmp_path / "split.parquet"
    error = error_of(lambda: prepared.split("multimnist", SMALL, 0, target))
    assert "the test part of multimnist is empty" in error.what and not target.exists()


def test_a_damaged_split_is_named(tmp_path: Path) -> None:
    for content in (None, b"PAR1"):
        path = tmp_path / "split.parquet"
        if content:
            path.write_bytes(content)
        error = error_of(lambda path=path: prepared.load_items(path))
        assert error.where == str(path) and error.remedy


# Toy -----------------------------------------------------------------------------------------


def test_toy_functions_have_one_input(raw: dict[str, Path], tmp_path: Path) -> None:
    for problem in ("conflict", "magnitude"):
        made = Data("toy", {"problem": problem}, raw["toy"], tmp_path / problem)
        assert torch.equal(made.part("train").inputs, torch.zeros(256, 2))


def test_toy_labels_are_each_others_negation(raw: dict[str, Path], tmp_path: Path) -> None:
    made = Data("toy", {"problem": "negation"}, raw["toy"], tmp_path / "p")
    for name in ("train", "validation"):
        targets = made.part(name).targets
        assert torch.equal(
            targets["label"] + targets["negated"], torch.ones(256, dtype=torch.int64)
        )
        assert int(targets["label"].sum()) == 128
    assert not torch.equal(made.part("train").inputs, made.part("validation").inputs)
    assert len(made.part("test")) == 41 * 41


def test_a_magnitude_gap_is_a_factor_of_ten() -> None:
    toy = registry.find("datasets", "toy")
    assert toy.factor("magnitude", "second") == 10 * toy.factor("conflict", "second")
    assert toy.factor("magnitude", "first") == toy.factor("conflict", "first")
    losses = {
        p: [t.loss for t in toy.tasks(toy.Options(problem=p))] for p in ("conflict", "magnitude")
    }
    assert losses["conflict"][0] == losses["magnitude"][0]
    assert losses["conflict"][1] != losses["magnitude"][1]
