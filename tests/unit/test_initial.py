"""Trained weights to start from, and frozen stages: planned, fetched, loaded, held still."""

from __future__ import annotations

import copy
import json
import pickle
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from counterpoise import registry
from counterpoise.files import write_json
from counterpoise.plan import Plan, load_plan
from counterpoise.spec.cell import Cell, Component
from counterpoise.spec.load import parse, read_yaml
from counterpoise.spec.weights import Published, Weights, WeightsFile
from counterpoise.training.engine import Replicate
from counterpoise.training.initial import read_tensors, start_of
from counterpoise.training.job import train
from counterpoise.training.modules import Network
from counterpoise.training.problem import Job
from counterpoise.training.replicates import Together, fit_together
from counterpoise.weights import fetch_weights

from ..loopback import Page, Server
from ..support import ROOT, edit, error_of, same_tensors
from .test_auxiliary import FINDINGS, cell, never, problem
from .test_job import cell as toy_cell
from .test_job import split_file as split_file  # a fixture

THORACIC = "config/papers/thoracic.yaml"
TIERS = "config/tiers.yaml"
RUN = 'uniform: {method: uniform, label: "ResNet-18, random weights"'
KEY = ("thoracic", "resnet18", "uniform")
PRETRAINED = (
    "{kind: pretrained, source: phantom, dataset_options: {training_share: 0.5}, epochs: 3}"
)


TIERS_TEXT = """\
tiers:
  real:
    title: Real
    description: Published data.
    datasets:
      chestxray14:
        source: nih-chestxray14-sample
        dataset_options: {size: 64, split: stratified, training_share: 1.0}
"""


@pytest.fixture
def checkout(config_copy: Path) -> Path:
    """A copy of the configuration with one tier, so that no other has a say."""
    (config_copy / TIERS).write_text(TIERS_TEXT)
    return config_copy


def plan_of(root: Path) -> Plan:
    return load_plan(root, {"tier": "real", "papers": ["thoracic"]})


def with_protocol(root: Path, protocol: str) -> int:
    """Let ResNet-18's run vary its protocol; the line where that stands."""
    old = RUN.removesuffix("}")
    return edit(root / THORACIC, old, old.replace("{", "{protocol: " + protocol + ", ", 1))


# Planning -------------------------------------------------------------------------------------


def test_a_run_from_imagenet_waits_for_its_weights(checkout: Path) -> None:
    plain = plan_of(checkout).runs[KEY]
    with_protocol(checkout, "{initial: {kind: imagenet}, frozen: [stem, layer1]}")
    plan = plan_of(checkout)
    (key,) = plan.runs[KEY].keys
    assert key not in plain.cells.values()
    training = plan.trainings[key]
    assert training.cell.protocol.frozen == ("stem", "layer1")
    assert training.weights is not None and training.weights in training.preliminary
    assert training.weights.startswith("data/raw/weights.resnet18-")
    assert "imagenet" in training.name and "frozen-2" in training.name
    assert training.identity["weights"] == {"resnet18-f37072fd.pth": "f37072fd"}
    edit(checkout / "config/weights.yaml", 'f37072fd"', 'f37072fe"')
    assert key not in plan_of(checkout).trainings, "other weights are another cell"


def test_domain_pretraining_is_a_cell_of_its_own(checkout: Path) -> None:
    plain = plan_of(checkout)
    (random,) = plain.runs[KEY].keys
    with_protocol(checkout, "{initial: " + PRETRAINED + ", frozen: [stem]}")
    plan = plan_of(checkout)
    (key,) = plan.runs[KEY].keys
    training = plan.trainings[key]
    before = plan.preliminary[str(training.cell.pretraining)]
    assert before.cell.source == "phantom" and training.cell.source != "phantom"
    assert before.cell.dataset_options["training_share"] == 0.5
    assert before.cell.protocol.epochs == 3
    assert before.cell.protocol.initial.kind == "random" and before.cell.protocol.frozen == ()
    assert before.cell.seeds == training.cell.seeds
    assert before.cell.network == training.cell.network
    assert before.file("weights.safetensors") in training.preliminary
    assert before.data.split in plan.data_files and plan.data(before.data.digest) == before.data
    assert before.scores not in plan.cell_files, "its test part has no say"
    assert training.cell.dataset_options == plain.trainings[random].cell.dataset_options


def test_pretraining_on_the_same_images_keeps_their_parts(checkout: Path) -> None:
    """Divided otherwise, some of the test part's patients would be trained on before."""
    start = "{initial: {kind: pretrained, dataset_options: {training_share: 0.5}}}"
    with_protocol(checkout, start)
    plan_of(checkout)
    edit(checkout / THORACIC, "{training_share: 0.5}", "{validation_share: 0.2}")
    error = error_of(lambda: plan_of(checkout))
    assert "another 'validation_share'" in error.what and "test part" in error.what


def test_pretraining_has_a_loss_and_epochs_of_its_own(checkout: Path) -> None:
    """What differs in its loss, or is not trained at all, starts from the same weights."""
    start = "initial: {kind: pretrained, source: phantom"
    with_protocol(checkout, "{" + start + "}, loss: {kind: sigmoid_twice}, epochs: 0}")
    plan = plan_of(checkout)
    (key,) = plan.runs[KEY].keys
    cell = plan.trainings[key].cell
    assert (cell.protocol.loss.kind, cell.protocol.epochs) == ("sigmoid_twice", 0)
    before = plan.preliminary[str(cell.pretraining)].cell.protocol
    assert (before.loss.kind, before.epochs) == ("bce", 20)
    assert "epochs" not in "".join(plan.runs[KEY].reductions), "none were to be trained"
    edit(checkout / THORACIC, f"{start}}}", f"{start}, loss: {{kind: sigmoid_twice}}}}")
    plan = plan_of(checkout)
    (key,) = plan.runs[KEY].keys
    other = plan.preliminary[str(plan.trainings[key].cell.pretraining)]
    assert other.key != cell.pretraining and other.cell.protocol.loss.kind == "sigmoid_twice"


def test_a_tier_may_put_other_data_in_the_place_of_imagenet(checkout: Path) -> None:
    with_protocol(checkout, "{initial: {kind: imagenet}}")
    edit(
        checkout / TIERS,
        "        source: nih-chestxray14-sample\n",
        "        source: nih-chestxray14-sample\n        instead_of_imagenet: " + PRETRAINED + "\n",
    )
    plan = plan_of(checkout)
    (key,) = plan.runs[KEY].keys
    assert plan.trainings[key].cell.pretraining in plan.preliminary
    assert plan.trainings[key].weights is None
    told = plan.runs[KEY].reductions
    assert "pre-trained on phantom instead of ImageNet" in told


def test_a_tier_may_leave_out_one_run(checkout: Path) -> None:
    edit(
        checkout / TIERS,
        "        source: nih-chestxray14-sample\n",
        "        source: nih-chestxray14-sample\n        without: [thoracic/resnet18/uniform]\n",
    )
    assert KEY not in plan_of(checkout).runs
    edit(checkout / TIERS, "thoracic/resnet18/uniform", "thoracic/resnet18/unifrom")
    told = error_of(lambda: plan_of(checkout))
    assert "no experiment 'thoracic/resnet18/unifrom'" in str(told)


@pytest.mark.parametrize(
    ("protocol", "said"),
    [
        ("{frozen: [stem, layer5]}", "network 'resnet' has no stage 'layer5'"),
        ("{initial: {kind: imagnet}}", "imagnet"),
        ("{initial: {kind: pretrained, source: phantm}}", "has no source 'phantm'"),
        ("{initial: {kind: pretrained, dataset: cifar}}", "unknown dataset 'cifar'"),
        ("{initial: {kind: pretrained, dataset_options: {siez: 3}}}", "siez"),
    ],
)
def test_a_wrong_start_has_its_line(checkout: Path, protocol: str, said: str) -> None:
    line = with_protocol(checkout, protocol)
    told = str(error_of(lambda: plan_of(checkout)))
    assert said in told and f"thoracic.yaml:{line}" in told


def test_a_start_from_a_dataset_that_the_tier_has_not_is_told(checkout: Path) -> None:
    with_protocol(checkout, "{initial: {kind: pretrained, dataset: multimnist}}")
    told = error_of(lambda: plan_of(checkout))
    assert "tier real has no dataset 'multimnist'" in told.what
    assert told.where == str(checkout / TIERS)


def test_a_network_without_published_weights_cannot_start_from_imagenet(checkout: Path) -> None:
    line = with_protocol(checkout, "{initial: {kind: imagenet}}")
    edit(checkout / THORACIC, "{name: resnet, options: {depth: 18}}", "{name: small_cnn}")
    told = str(error_of(lambda: plan_of(checkout)))
    assert "'small_cnn' has no ImageNet weights" in told and "leave `initial` out" in told
    assert f"thoracic.yaml:{line}" in told


def test_published_weights_must_be_listed(checkout: Path) -> None:
    line = with_protocol(checkout, "{initial: {kind: imagenet}}")
    edit(checkout / "config/weights.yaml", "  resnet18:\n", "  resnet81:\n")
    told = str(error_of(lambda: plan_of(checkout)))
    assert f"thoracic.yaml:{line}: config/weights.yaml has no weights 'resnet18'" in told


def test_a_tiers_network_must_have_the_frozen_stages(checkout: Path) -> None:
    with_protocol(checkout, "{frozen: [layer1]}")
    path = checkout / TIERS
    path.write_text(TIERS_TEXT + "        network: {name: small_cnn}\n")
    line = len(path.read_text().splitlines())
    told = str(error_of(lambda: plan_of(checkout)))
    assert "thoracic/resnet18/uniform: network 'small_cnn' has no stage 'layer1'" in told
    assert f"tiers.yaml:{line}" in told


def test_every_network_that_names_published_weights_finds_them() -> None:
    weights = parse(Weights, read_yaml(ROOT / "config" / "weights.yaml")).weights
    for name in registry.names("networks"):
        module = registry.find("networks", name)
        if hasattr(module, "published") and name != "resnet":
            assert module.published(module.Options()) in weights
    module = registry.find("networks", "resnet")
    for depth in (18, 34, 50, 101, 152):
        assert module.published(module.Options(depth=depth)) in weights
    from torchvision.models import get_model_weights

    for name, published in weights.items():
        last = published.files[-1]
        assert get_model_weights(name)["IMAGENET1K_V1"].url == f"{last.folder}{last.name}"
        assert f"-{last.sha256}." in last.name


# Fetching -------------------------------------------------------------------------------------

CONTENT = b"weights"
DIGEST = sha256(CONTENT).hexdigest()


def published(digest: str = DIGEST[:8]) -> Published:
    file = WeightsFile(name="net-1.pth", sha256=digest, folder="https://models.example/m/")
    return Published(title="Net, ImageNet", licence="l", files=(file,))


def test_weights_come_from_a_mirror_folder(tmp_path: Path) -> None:
    (tmp_path / "mirror" / "weights").mkdir(parents=True)
    (tmp_path / "mirror" / "weights" / "net-1.pth").write_bytes(CONTENT)
    marker = tmp_path / "data" / "raw" / "weights.net-1" / "source.json"
    fetch_weights("net", published(), marker, str(tmp_path / "mirror"))
    assert json.loads(marker.read_text())["files"] == {"net-1.pth": DIGEST}
    assert (marker.parent / "net-1.pth").read_bytes() == CONTENT


def test_weights_come_from_an_address(tmp_path: Path, server: Server) -> None:
    server.pages["/weights/net-1.pth"] = Page(CONTENT)
    marker = tmp_path / "data" / "raw" / "weights.net-1" / "source.json"
    fetch_weights("net", published(), marker, server.address)
    assert json.loads(marker.read_text())["files"] == {"net-1.pth": DIGEST}


def test_what_a_killed_copy_left_is_swept_up(tmp_path: Path) -> None:
    (mirror := tmp_path / "mirror").mkdir()
    (mirror / "net-1.pth").write_bytes(CONTENT)
    marker = tmp_path / "data" / "raw" / "weights.net-1" / "source.json"
    marker.parent.mkdir(parents=True)
    (marker.parent / ".net-1-abcdefgh.pth").write_bytes(CONTENT[:3])
    fetch_weights("net", published(), marker, str(mirror))
    assert sorted(path.name for path in marker.parent.iterdir()) == ["net-1.pth", "source.json"]


def test_missing_weights_are_an_error_with_address_and_path(tmp_path: Path) -> None:
    (mirror := tmp_path / "mirror").mkdir()
    marker = tmp_path / "data" / "raw" / "weights.net-1" / "source.json"
    error = error_of(lambda: fetch_weights("net", published(), marker, str(mirror)))
    assert str(mirror / "weights" / "net-1.pth") in error.where
    assert "https://models.example/m/net-1.pth" in error.remedy
    assert "weights/net-1.pth" in error.remedy and "mirror=FOLDER" in error.remedy
    assert not marker.exists()


def test_altered_weights_are_refused(tmp_path: Path) -> None:
    (mirror := tmp_path / "mirror").mkdir()
    (mirror / "net-1.pth").write_bytes(CONTENT + b"!")
    marker = tmp_path / "data" / "raw" / "weights.net-1" / "source.json"
    error = error_of(lambda: fetch_weights("net", published(), marker, str(mirror)))
    assert "damaged or altered" in error.what and str(mirror / "net-1.pth") in error.where
    assert list(marker.parent.iterdir()) == []


# Loading --------------------------------------------------------------------------------------


class Harmful:
    """Code in a file of weights."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("raise SystemExit('code was run')",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"weight": Harmful()}),
        b"",
        b"no weights",
    ],
    ids=["code", "empty", "text"],
)
def test_nothing_in_a_file_of_weights_runs(tmp_path: Path, content: bytes) -> None:
    (path := tmp_path / "net.pth").write_bytes(content)
    assert "cannot read the weights" in error_of(lambda: read_tensors(path)).what


def test_a_file_of_anything_but_tensors_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "epoch": 3}, tmp_path / "net.pth")
    assert "other things than weights" in error_of(lambda: read_tensors(tmp_path / "net.pth")).what


def imagenet_job(folder: Path, name: str, options: dict[str, Any], file: str) -> Job:
    chosen = cell(initial={"kind": "imagenet"}).model_copy(
        update={"network": Component(name=name, options=options)}
    )
    write_json(folder / "source.json", {"files": {file: "0" * 64}})
    out = folder / "results" / "cell" / "digest"
    return Job(
        folder, chosen, "c", "d", folder / "s", folder / "w", out, {}, folder / "source.json"
    )


def network_of(name: str, options: dict[str, Any], seed: int = 0) -> Network:
    module = registry.find("networks", name)
    words = ("d/n", seed, "init")
    shape, tasks = (1, 64, 64), problem(cell()).tasks
    return Network(module, module.Options(**options), shape, tasks, words)


def old_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As in torchvision's file of DenseNet-121: dots in names, no counters."""
    found = {}
    for key, value in state.items():
        if key.endswith("num_batches_tracked"):
            continue
        if "denselayer" in key:
            for kind in ("norm", "conv"):
                for place in "12":
                    key = key.replace(f".{kind}{place}.", f".{kind}.{place}.")
        found[key] = value
    return found


@pytest.mark.parametrize(
    ("name", "options", "published", "suffix"),
    [
        ("squeezenet", {}, "squeezenet1_1", "safetensors"),
        ("resnet", {"depth": 18}, "resnet18", "pth"),
        ("densenet", {}, "densenet121", "pth"),
    ],
)
def test_published_weights_fill_the_trunk_and_nothing_else(
    name: str, options: dict[str, Any], published: str, suffix: str, tmp_path: Path
) -> None:
    from torchvision.models import get_model

    torch.manual_seed(8)
    model = get_model(published, weights=None)
    state = old_names(model.state_dict()) if name == "densenet" else model.state_dict()
    if suffix == "pth":
        torch.save(state, tmp_path / "net.pth")
    else:
        save_file(state, tmp_path / "net.safetensors")
    fill, told = start_of(imagenet_job(tmp_path, name, options, f"net.{suffix}"))
    assert told == {"kind": "imagenet", "file": f"net.{suffix}", "sha256": "0" * 64}
    network = network_of(name, options)
    heads = copy.deepcopy(network.heads.state_dict())
    assert fill is not None
    fill(network, 0)
    for key, value in network.trunk.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[network.trunk.published[key]])
    assert same_tensors(heads, network.heads.state_dict())


def test_weights_of_another_network_do_not_fit(tmp_path: Path) -> None:
    from torchvision.models import get_model

    torch.save(get_model("resnet34", weights=None).state_dict(), tmp_path / "net.pth")
    fill, _ = start_of(imagenet_job(tmp_path, "densenet", {}, "net.pth"))
    assert fill is not None
    error = error_of(lambda: fill(network_of("densenet", {}), 0))
    assert "do not fit the network" in error.what and "net.pth" in error.where


def test_a_cell_goes_on_from_the_trunk_of_another(split_file: Path, tmp_path: Path) -> None:
    """From the file that the first has written, seed by seed; the record tells of it."""
    cells = tmp_path / "results" / "cells"

    def job_of(name: str, chosen: Cell) -> Job:
        return Job(tmp_path, chosen, name, "1", split_file, tmp_path / "work" / name,
                   cells / name / "1")  # fmt: skip

    train(job_of("first", toy_cell()), "cpu")
    start = {"initial": {"kind": "pretrained"}, "frozen": ("hidden",)}
    second = toy_cell(**start).model_copy(update={"pretraining": "first/1"})
    train(job_of("second", second), "cpu")
    before, after = (
        load_file(cells / name / "1" / "weights.safetensors") for name in ("first", "second")
    )
    for seed in (0, 1):
        for part in ("weight", "bias"):
            key = f"{seed}/network.trunk.hidden.0.{part}"
            assert torch.equal(before[key], after[key])
        key = f"{seed}/network.trunk.output.weight"
        assert not torch.equal(before[key], after[key])
    record = json.loads((cells / "second" / "1" / "record.json").read_text())
    assert record["initial"]["kind"] == "pretrained" and record["initial"]["cell"] == "first/1"
    assert (
        record["initial"]["sha256"]
        == sha256((cells / "first" / "1" / "weights.safetensors").read_bytes()).hexdigest()
    )
    assert record["frozen"] == ["trunk.hidden.0.weight", "trunk.hidden.0.bias"]


def test_a_cell_does_not_go_on_from_a_diverged_one(split_file: Path, tmp_path: Path) -> None:
    first = tmp_path / "results" / "cells" / "first" / "1"
    first.mkdir(parents=True)
    write_json(first / "record.json", {"seeds": {"0": {"status": "diverged"}}})
    save_file({"0/network.trunk.x": torch.zeros(1)}, first / "weights.safetensors")
    chosen = toy_cell(initial={"kind": "pretrained"}).model_copy(update={"pretraining": "first/1"})
    own = Job(tmp_path, chosen, "n", "1", split_file, tmp_path / "w", first.parent.parent / "n/1")
    assert "has diverged" in error_of(lambda: train(own, "cpu")).what


# Frozen stages --------------------------------------------------------------------------------

EARLY = {
    "alexnet": ("conv1", "conv2", "conv3", "conv4"),
    "resnet": ("stem", "layer1", "layer2"),
    "inception": ("stem", "mixed5"),
}
KINDS = ["uniform", "gradnorm", "pcgrad", "db_mtl", "mtadam", "rotograd", "imtl_l", "uw"]


def same_but_moved(
    made: Replicate, before: dict[str, torch.Tensor], frozen: tuple[str, ...]
) -> None:
    """Parameters and statistics of frozen stages stand still, all others move."""
    for key, value in made.network.state_dict().items():
        held = key.startswith(tuple(f"trunk.{stage}." for stage in frozen))
        assert torch.equal(value, before[key]) == held, key


@pytest.mark.parametrize("family", list(EARLY))
def test_frozen_stages_stand_still_with_their_statistics(family: str, tmp_path: Path) -> None:
    made = Replicate(problem(cell(family, frozen=EARLY[family])), 0, tmp_path / "s.state", 0)
    before = {key: value.clone() for key, value in made.network.state_dict().items()}
    made.run(lambda _: None, never)
    same_but_moved(made, before, EARLY[family])


@pytest.mark.parametrize("method", KINDS)
def test_no_method_sees_frozen_parameters(method: str, tmp_path: Path) -> None:
    frozen = EARLY["resnet"]
    made = Replicate(
        problem(cell("resnet", method, epochs=1, frozen=frozen)), 0, tmp_path / "s.state", 0
    )
    left = [
        p.numel()
        for name, p in made.network.trunk.named_parameters()
        if name.split(".")[0] not in frozen
    ]
    assert list(made.method.shape.tensors) == left
    assert len(made.optimizer.parameters) == len(left) + 2 * len(FINDINGS) + len(made.trained)
    before = {key: value.clone() for key, value in made.network.state_dict().items()}
    made.run(lambda _: None, never)
    assert made.trouble is None
    same_but_moved(made, before, frozen)


def test_side_by_side_frozen_stages_stand_still_too(tmp_path: Path) -> None:
    frozen = EARLY["resnet"]
    made = problem(cell("resnet", epochs=1, optimizer="sgd", batch_size=12, frozen=frozen))
    alone, together = (
        [Replicate(made, seed, tmp_path / f"{kind}{seed}.state", 1e9) for seed in (0, 1)]
        for kind in ("a", "t")
    )
    for one in alone:
        one.run(lambda _: None, never)
    assert fit_together(together)
    Together(together).run(lambda _: None, never)
    for one, other in zip(alone, together, strict=True):
        for key, value in one._tensors().items():
            torch.testing.assert_close(other._tensors()[key], value, rtol=1e-3, atol=1e-4)


def test_with_all_of_the_trunk_frozen_the_heads_learn(tmp_path: Path) -> None:
    every = registry.find("networks", "stand_in").STAGES["resnet"]
    made = Replicate(problem(cell("resnet", frozen=every)), 0, tmp_path / "s.state", 0)
    before = {key: value.clone() for key, value in made.network.state_dict().items()}
    made.run(lambda _: None, never)
    same_but_moved(made, before, every)
    assert made.trouble is None


def test_a_method_of_shared_parameters_refuses_a_trunk_that_is_all_frozen() -> None:
    every = registry.find("networks", "stand_in").STAGES["resnet"]
    error = error_of(lambda: problem(cell("resnet", "pcgrad", frozen=every)).build(0))
    assert "all of them are frozen" in error.what
