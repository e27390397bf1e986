"""Saliency maps against captum, autograd and networks whose answer is known; localisation by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from counterpoise import registry
from counterpoise.datasets import chestxray14
from counterpoise.evaluation.localised import above_centre, localised
from counterpoise.evaluation.measured import Measured, estimate
from counterpoise.explain import job as explaining
from counterpoise.explain.job import explain
from counterpoise.explain.localisation import (
    SHARES,
    centre_prior,
    empty,
    energy,
    overlap,
    pointing,
    random_maps,
)
from counterpoise.explain.regions import mask, read_boxes
from counterpoise.explain.saliency import (
    WAYS,
    Answer,
    Question,
    activation,
    enlarged,
    first_blocks,
    map_stages,
)
from counterpoise.files import read_json, sha256_file, write_json
from counterpoise.generators import chest_phantom
from counterpoise.prepared import prepare, split
from counterpoise.reproduction.drawings.activations import _chosen
from counterpoise.spec.cell import Cell, Component, Protocol, Schedule
from counterpoise.spec.explanation import Explanation
from counterpoise.spec.figure import ActivationsFigure
from counterpoise.training.job import train
from counterpoise.training.modules import Network
from counterpoise.training.problem import Job

from ..support import error_of, method_of

SIZE = 32
SQUARE = (slice(20, 28), slice(4, 12))


class Detector(nn.Module):
    """A network that is told by hand what to look for: the brightness of its first channel."""

    def __init__(self, contrast: float = 1.0) -> None:
        super().__init__()
        stage = nn.Conv2d(1, 2, 3, stride=4, padding=1)
        with torch.no_grad():
            stage.weight[0].fill_(1 / 9)
            stage.weight[1].fill_(-1 / 9)  # the dark: a distractor without weight
            assert stage.bias is not None
            stage.bias.copy_(torch.tensor([-0.5, 0.0]))
        self.trunk = nn.Sequential()
        self.trunk.add_module("first", nn.Sequential(stage, nn.ReLU()))
        self.trunk.add_module("pool", nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
        head = nn.Linear(2, 1)
        with torch.no_grad():
            head.weight.copy_(torch.tensor([[contrast, 0.0]]))
        self.heads = nn.ModuleDict({"bright": head})

    def shared(self, inputs: Tensor) -> Tensor:
        z: Tensor = self.trunk(inputs)
        return z


def question(network: Any, inputs: Tensor) -> Question:
    method = method_of("uniform", 1, 2)
    answer = Answer(network, method, method.initial_state(), 0).eval()
    return Question(answer, network.trunk[-2], inputs, torch.zeros(2, 1, SIZE, SIZE))


@pytest.fixture
def bright() -> Iterator[Tensor]:
    """Two pictures of faint noise, the first with a bright square."""
    inputs = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 0.2
    inputs[0, 0, SQUARE[0], SQUARE[1]] = 3.0
    yield inputs


@pytest.mark.parametrize("way", WAYS)
def test_every_way_finds_what_a_network_of_known_weights_looks_for(
    way: str, bright: Tensor
) -> None:
    found = WAYS[way](question(Detector(), bright)).numpy()
    assert found.shape == (2, SIZE, SIZE) and (found >= 0).all()
    region = np.zeros((1, SIZE, SIZE), bool)
    # The square and what the network sees with it: a stride of four pixels around.
    region[0, SQUARE[0].start - 4 : SQUARE[0].stop + 4, : SQUARE[1].stop + 4] = True
    assert pointing(found[:1], region)[0] == 1
    assert energy(found[:1], region)[0] > 2 * region.mean()


@pytest.mark.parametrize("way", WAYS)
def test_maps_are_the_same_every_time_and_leave_the_draws_of_others_alone(
    way: str, bright: Tensor
) -> None:
    asked = question(Detector(), bright)
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(2).tolist(), np.random.random()
    torch.manual_seed(3)
    np.random.seed(3)
    first = WAYS[way](asked)
    assert (torch.rand(2).tolist(), np.random.random()) == expected
    assert torch.equal(first, WAYS[way](asked))


@pytest.mark.parametrize("way", ["grad_cam", "grad_cam_pp", "smooth_grad"])
def test_a_map_does_not_depend_on_the_pictures_beside_it(way: str, bright: Tensor) -> None:
    """The dull picture alone, and beside the bright one, whose range is ten times its own."""
    together = WAYS[way](question(Detector(), bright))[1]
    alone = WAYS[way](question(Detector(), bright[1:]))[0]
    assert torch.allclose(together, alone, rtol=1e-6, atol=1e-9)


def small_network() -> Any:
    torch.manual_seed(0)
    network = Detector()
    network.trunk = nn.Sequential()
    network.trunk.add_module("a", nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh()))
    network.trunk.add_module(
        "b", nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(inplace=True))
    )
    network.trunk.add_module(
        "c", nn.Sequential(nn.Hardtanh(-1, 0.05, inplace=True), nn.Flatten(), nn.LazyLinear(2))
    )
    network.trunk(torch.zeros(1, 1, SIZE, SIZE))
    return network.double()


def gradients_by_differences(asked: Question, maps: Tensor) -> Tensor:
    """dy/dA of the first picture by central differences: nothing of autograd."""
    rest = asked.answer.network.trunk[2]
    head = asked.answer.network.heads["bright"]
    found = torch.zeros_like(maps)
    step = 1e-5
    with torch.no_grad():
        for place in np.ndindex(*maps.shape):
            ends = []
            for sign in (1, -1):
                moved = maps.clone()
                moved[place] += sign * step
                ends.append(head(rest(moved[None].clone()))[0, 0])
            found[place] = (ends[0] - ends[1]) / (2 * step)
    return found


def test_grad_cam_and_its_successor_by_their_formulas() -> None:
    """With gradients by differences, weights and sums written out in numpy."""
    numbers = torch.Generator().manual_seed(0)
    inputs = torch.rand(1, 1, SIZE, SIZE, dtype=torch.float64, generator=numbers)
    asked = question(small_network(), inputs)
    maps = activation(asked.answer, asked.layer, inputs)[0]
    gradient = gradients_by_differences(asked, maps).numpy()
    a = maps.numpy()
    plain = np.maximum(np.einsum("c,chw->hw", gradient.mean((1, 2)), a), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        alpha = gradient**2 / (2 * gradient**2 + a.sum((1, 2), keepdims=True) * gradient**3)
    weights = (np.nan_to_num(alpha) * np.maximum(gradient, 0)).sum((1, 2))
    better = np.maximum(np.einsum("c,chw->hw", weights, a), 0)
    for way, expected in {"grad_cam": plain, "grad_cam_pp": better}.items():
        assert expected.max() > 0
        large = enlarged(torch.from_numpy(expected)[None], inputs)
        assert torch.allclose(WAYS[way](asked), large, rtol=1e-6, atol=1e-9), way


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("alexnet", ["conv1", "conv2", "conv3", "conv4", "conv5"]),
        ("inception", ["stem", "mixed5", "mixed6", "mixed7"]),
    ],
)
def test_stages_are_those_that_convolve_and_give_a_map(family: str, expected: list[str]) -> None:
    module = registry.find("networks", "stand_in")
    options = module.Options(family=family)
    network = Network(
        module, options, (1, 64, 64), chestxray14.tasks(chestxray14.Options()), ("words",)
    )
    assert list(map_stages(network, (1, 64, 64))) == expected


def test_a_negative_answer_leaves_grad_cam_empty(bright: Tensor) -> None:
    """Only what speaks for the finding is shown."""
    assert not WAYS["grad_cam"](question(Detector(contrast=-1.0), bright)).any()


# Localisation --------------------------------------------------------------------------------


def test_scores_by_hand() -> None:
    region = np.zeros((2, 4, 4), bool)
    region[:, :2, :2] = True
    maps = np.zeros((2, 4, 4))
    maps[0, 0, 0], maps[0, 3, 3] = 4, 1  # the peak inside, a fifth of the sum outside
    maps[1, 3, 3], maps[1, 0, 1] = 4, 2
    assert pointing(maps, region).tolist() == [1, 0]
    assert energy(maps, region) == pytest.approx([4 / 5, 2 / 6])
    assert overlap(maps, region, 0.5) == pytest.approx([1 / 4, 1 / 5])


def test_a_flat_map_scores_as_guessing_does() -> None:
    region = np.zeros((1, 4, 4), bool)
    region[0, 0, :3] = True
    for flat in (np.zeros((1, 4, 4)), np.ones((1, 4, 4))):
        assert pointing(flat, region) == pytest.approx([3 / 16])
        assert energy(flat, region) == pytest.approx([3 / 16])


def test_maps_that_show_nothing_are_counted() -> None:
    maps = np.zeros((3, 4, 4))
    maps[1] = 1.0
    maps[2, 0, 0] = 1e-9
    assert empty(maps).tolist() == [1, 0, 0]


def test_random_maps_score_the_share_of_the_region_where_nothing_enlarges_them() -> None:
    region = np.zeros((4000, 16, 16), bool)
    region[:, 2:8, 5:9] = True
    share = region.mean()
    hits = pointing(random_maps(4000, (16, 16), seed=2), region).mean()
    assert abs(hits - share) < 4 * np.sqrt(share * (1 - share) / 4000)


def test_the_centre_prior_points_at_the_centre() -> None:
    region = np.zeros((1, 9, 9), bool)
    region[0, 4, 4] = True
    assert pointing(centre_prior(1, (9, 9)), region).tolist() == [1]


def test_boxes_become_masks_in_the_frame_of_the_picture() -> None:
    """1024 pixels of the release to 64: each pixel that a box touches, x across and y down."""
    boxes = pd.DataFrame([(0, 16, 32, 16), (1000, 1008, 24, 16)], columns=["x", "y", "w", "h"])
    found = mask(boxes, (64, 64))
    expected = np.zeros((64, 64), bool)
    expected[1, 0:2] = True
    expected[63, 62:64] = True
    assert np.array_equal(found, expected)


def scores_of(ways: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"seed": seed, "task": "mass", "item": item, "patient": item // 2, "way": way,
         "pointing": value, "energy": value, "empty": 0.0,
         **{f"overlap.{s}": value for s in SHARES}}
        for way, values in ways.items()
        for seed in (0, 1)
        for item, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_intervals_are_over_patients_and_differences_in_pairs() -> None:
    values = np.random.default_rng(0).random(60)
    found = localised(scores_of({
        "grad_cam": list(values + 0.3), "untrained/grad_cam": list(values[::-1]),
        "centre": list(values), "random": list(values),
    }))  # fmt: skip
    assert list(found) == ["grad_cam", "untrained/grad_cam", "centre", "random"]
    mean, low, high = estimate(found["grad_cam"]["pointing"])
    assert mean == pytest.approx(values.mean() + 0.3) and low < mean < high
    pairs = values.reshape(30, 2).mean(1)
    error = pairs.std(ddof=1) / np.sqrt(30)  # of the mean over patients
    half = scipy.stats.t.ppf(0.975, 29) * error
    assert high - low == pytest.approx(2 * half, rel=0.1)
    above = above_centre(found, "grad_cam", "pointing")
    assert estimate(above) == pytest.approx((0.3, 0.3, 0.3))


def test_an_interval_that_is_not_known_is_none() -> None:
    """Not one of no width, which would say that the mean is known to the last digit."""
    assert estimate(Measured({"0": 0.25, "1": 0.75})) == (0.5, None, None)


def test_seeds_that_differ_widen_an_interval_and_draws_are_averaged() -> None:
    table = scores_of({"grad_cam": [0.2, 0.4] * 10, "centre": [0.3] * 20})
    moved = table.assign(pointing=table["pointing"] + 0.1 * table["seed"])
    alike, apart = (localised(t)["grad_cam"]["pointing"] for t in (table, moved))
    assert apart.values == pytest.approx({"0": 0.3, "1": 0.4})
    (_, low, high), (_, least, most) = estimate(alike), estimate(apart)
    assert most - least > high - low
    twice = pd.concat([table.assign(draw=0), table.assign(draw=1, pointing=0.0)])
    found = localised(twice)["grad_cam"]["pointing"].values
    assert found == pytest.approx({"0": 0.15, "1": 0.15})


def test_data_without_boxes_say_so(tmp_path: Path) -> None:
    error = error_of(lambda: read_boxes(tmp_path))
    assert "no boxes" in error.what and str(tmp_path) in str(error) and error.remedy


# A trained network ---------------------------------------------------------------------------


def trained_on_the_phantom(folder: Path, size: int, images: int, epochs: int) -> Job:
    """A residual stand-in that has seen the phantom."""
    options = {"size": size, "validation_share": 0.1, "test_share": 0.1}
    source = {"size": size, "images": images}
    raw, prepared = folder / "raw", folder / "prepared"
    raw.mkdir()
    chest_phantom.generate(raw, chest_phantom.Options(**source))
    write_json(raw / "source.json", {})
    chosen = chestxray14.Options(**options).model_dump(mode="json")
    prepare("chestxray14", chosen, raw, prepared / "prepared.json")
    split("chestxray14", chosen, 0, prepared / "split.parquet")
    network = registry.find("networks", "stand_in").Options(family="resnet")
    cell = Cell(
        dataset="chestxray14",
        source="phantom",
        dataset_options=chosen,
        network=Component(name="stand_in", options=network.model_dump(mode="json")),
        method=Component(name="uniform"),
        tasks=tuple(chestxray14.TASKS),
        protocol=Protocol(
            epochs=epochs, batch_size=32, learning_rate=3e-3, schedule=Schedule(kind="cosine")
        ),
        seeds=(0,),
    )
    job = Job(
        folder, cell, "cell", "0" * 12, prepared / "split.parquet", folder / "work", folder / "out"
    )
    train(job, "cpu")
    return job


def test_the_first_block_of_a_row_of_blocks_is_a_layer_of_its_own() -> None:
    module = registry.find("networks", "resnet")
    options, tasks = module.Options(depth=18), chestxray14.tasks(chestxray14.Options())
    network = Network(module, options, (1, 64, 64), tasks, ("words",))
    stages = map_stages(network, (1, 64, 64))
    blocks = first_blocks(stages)  # the stem's modules differ: it is no row of blocks
    assert list(blocks) == [f"layer{n}[0]" for n in range(1, 5)]
    assert blocks["layer1[0]"] is next(iter(stages["layer1"].children()))


@pytest.mark.parametrize(
    ("kept", "asked", "shown"),
    [
        (
            ["stem", "layer1", "layer2", "layer3", "layer4", "layer1[0]"],
            True,
            ["layer1[0]", "layer2", "layer4"],
        ),
        (["stem", "layer1", "layer2", "layer3", "layer4"], True, ["layer1", "layer2", "layer4"]),
        (["conv1", "conv2", "conv3", "conv2[0]"], True, ["conv1", "conv2", "conv3"]),
        (
            ["stem", "layer1", "layer2", "layer3", "layer4", "layer1[0]"],
            False,
            ["stem", "layer2", "layer4"],
        ),
    ],
)
def test_the_layers_that_a_paper_names_are_shown(
    kept: list[str], asked: bool, shown: list[str]
) -> None:
    layers = ("layer1[0]", "layer2", "layer4") if asked else None
    content = ActivationsFigure(kind="activations", explanation="x", task="mass", layers=layers)
    assert _chosen(kept, content) == dict(zip(shown, ("early", "middle", "last"), strict=True))


def test_an_explanation_scores_all_maps_of_the_same_pictures(tmp_path: Path) -> None:
    """Of a network as it starts: the form of what is written, and that nothing depends on chance."""
    job = trained_on_the_phantom(tmp_path, 32, 300, epochs=0)
    spec = Explanation(
        experiment="chest", run="uniform", tasks=("effusion",), most=1, untrained=2,
        ways=("grad_cam",),
    )  # fmt: skip
    for name in ("first", "again"):
        torch.backends.cudnn.allow_tf32 = True  # torch's default
        explain(job, spec, tmp_path / f"{name}.parquet", "cpu")
        assert not torch.backends.cudnn.allow_tf32
    scores = pd.read_parquet(tmp_path / "first.parquet")
    assert scores.equals(pd.read_parquet(tmp_path / "again.parquet"))
    assert list(scores["way"].unique()) == list(spec.maps) and set(scores["seed"]) == {0}
    pairs = scores.groupby(["way", "draw"])[["task", "item"]].apply(
        lambda rows: sorted(map(tuple, rows.to_numpy().tolist()))
    )
    assert all(found == pairs.iloc[0] for found in pairs)
    assert scores.groupby(["way", "draw", "task"]).size().max() == 1
    assert set(pairs.index) == {
        *((maps, 0) for maps in spec.maps), *((m, 1) for m in spec.maps if "untrained" in m)
    }  # fmt: skip
    with np.load(tmp_path / "first.npz") as arrays:
        assert {key.split("/")[0] for key in arrays.files} == {"effusion"}
        assert {array.shape for array in arrays.values()} == {(32, 32)}
        assert f"effusion/{spec.ways[0]}" in arrays and "effusion/layer/layer4" in arrays
    made = read_json(tmp_path / "first.json")["files"]
    assert made == {n: sha256_file(tmp_path / n) for n in ("first.npz", "first.parquet")}


def test_a_kill_does_not_leave_scores_of_maps_without_their_checksums(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the scores are asked for: alone, they would count as the whole from then on."""

    def killed(path: Path, value: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(explaining, "write_sealed", killed)
    job: Any = SimpleNamespace(name="cell", digest="0")
    target = tmp_path / "x.parquet"
    with pytest.raises(KeyboardInterrupt):
        explaining._write(job, target, {"a": np.zeros(2)}, pd.DataFrame({"a": [1]}))
    assert not target.exists()


DRAWS = 10


@pytest.mark.slow
def test_grad_cam_finds_the_lesions_of_the_phantom(tmp_path: Path) -> None:
    """Of a trained network; with weights drawn anew it finds them no oftener than noise does."""
    job = trained_on_the_phantom(tmp_path, 64, 2400, epochs=25)
    spec = Explanation(
        experiment="chest", run="uniform", tasks=("effusion",), ways=("grad_cam",), untrained=DRAWS
    )
    explain(job, spec, tmp_path / "scores.parquet", "cpu")
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    found = localised(scores)
    for way, by_score in found.items():
        print(way, estimate(by_score["pointing"]))
    gain, low, high = estimate(above_centre(found, "grad_cam", "pointing"))
    print("above the centre", gain, low, high)
    assert gain >= 0.2 and low > 0
    # The networks with weights drawn anew are the unit: each has its own favourite place.
    drawn = scores[scores["way"] == "untrained/grad_cam"].groupby("draw")["pointing"].mean()
    noise = scores.loc[scores["way"] == "random", "pointing"].mean()
    half = scipy.stats.t.ppf(0.975, DRAWS - 1) * drawn.std() / np.sqrt(DRAWS)
    print("untrained", drawn.mean(), half, "noise", noise)
    assert len(drawn) == DRAWS and abs(drawn.mean() - noise) <= half
