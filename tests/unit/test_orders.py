"""Cells that are handed to jobs: the planned ones, or none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise import orders
from counterpoise.files import digest_of
from counterpoise.layout import Training
from counterpoise.orders import orders_file, read_order, read_siblings, write_orders
from counterpoise.plan import Plan, load_plan

from ..support import ROOT


def every(plan: Plan) -> list[Training]:
    return [*plan.every.values()]


def test_a_job_gets_the_planned_cell(demo_plan: Plan, tmp_path: Path) -> None:
    write_orders(tmp_path, "demo", every(demo_plan))
    for training in every(demo_plan)[::20]:
        assert read_order(tmp_path, "demo", training.key) == training
    assert read_order(tmp_path, "demo", "other/0123456789ab") is None
    assert read_order(tmp_path, "sample", training.key) is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("cell", "protocol", "epochs"), 999),
        (("digest",), "0123456789ab"),
        (("name",), "../../elsewhere"),
        (("data", "source"), "../../elsewhere"),
        (("data", "digest"), "0123456789ab"),
        (("data", "options", "size"), 7),
        (("scoring",), "01234567"),
        (("identity", "libraries", "numpy"), "0.1"),
        (("identity", "code", "counterpoise.metrics"), "0123456789ab"),
        (("tier",), "../../../../../elsewhere"),
        (("data", "seed"), 99),
        (("weights",), "data/raw/weights.resnet18-01234567/source.json"),
        (("cell",), None),
        (("more",), 1),
    ],
)
def test_what_has_been_changed_is_planned_anew(
    place: tuple[str, ...], value: object, demo_plan: Plan, tmp_path: Path
) -> None:
    training = next(t for t in every(demo_plan) if t.cell.dataset == "chestxray14")
    write_orders(tmp_path, "demo", [training])
    path = tmp_path / orders_file("demo")
    content = json.loads(path.read_text(encoding="utf-8"))
    inner = content[training.key]["training"]
    for word in place[:-1]:
        inner = inner[word]
    inner[place[-1]] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_order(tmp_path, "demo", training.key) is None


@pytest.fixture(scope="session")
def from_imagenet() -> Training:
    """A cell that starts from published weights."""
    plan = load_plan(ROOT, {"tier": "paper", "papers": ["thoracic"], "methods": "all"})
    return next(t for t in every(plan) if t.weights is not None)


def test_published_weights_are_those_of_the_cell(from_imagenet: Training, tmp_path: Path) -> None:
    told = from_imagenet.weights or ""
    write_orders(tmp_path, "paper", [from_imagenet])
    assert read_order(tmp_path, "paper", from_imagenet.key) == from_imagenet
    name = from_imagenet.cell.network.name
    for other in (
        None, "", "/tmp/source.json", told.replace("data", "elsewhere"), f"{told}/../source.json",
        told.replace(name, "../../elsewhere"), told.replace("-", "-0"), told.replace(name, ".."),
        told.replace(told.split("-")[-1][:8], "01234567"),
    ):  # fmt: skip
        assert other != told
        write_orders(tmp_path, "paper", [replace(from_imagenet, weights=other)])
        assert read_order(tmp_path, "paper", from_imagenet.key) is None, other


def test_a_dataset_of_ones_own_is_read_by_its_module(demo_plan: Plan, tmp_path: Path) -> None:
    """As the configuration says, which the job does not read."""
    training = next(t for t in every(demo_plan) if t.cell.dataset == "chestxray14")
    write_orders(tmp_path, "demo", [training])
    path = tmp_path / orders_file("demo")
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content[training.key]["reader"] == "counterpoise.datasets.chestxray14"
    content[training.key]["reader"] = "counterpoise.datasets.toy"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_order(tmp_path, "demo", training.key) is None


@pytest.mark.parametrize("content", ["", "[]", "{", "null", '{"a": {}}'])
def test_what_is_no_order_is_none(content: str, tmp_path: Path) -> None:
    path = tmp_path / orders_file("demo")
    path.parent.mkdir(parents=True)
    path.write_text(content, encoding="utf-8")
    assert read_order(tmp_path, "demo", "a") is None


def test_a_module_that_is_gone_is_planned_anew(demo_plan: Plan, tmp_path: Path) -> None:
    training = every(demo_plan)[0]
    code = {**training.identity["code"], "counterpoise.methods.gone": "0123456789ab"}
    identity = {**training.identity, "code": code}
    cell = training.cell.model_dump(mode="json")
    gone = replace(training, identity=identity, digest=digest_of({"cell": cell, **identity}))
    write_orders(tmp_path, "demo", [gone])
    assert read_order(tmp_path, "demo", gone.key) is None


def test_other_code_is_planned_anew(
    demo_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = every(demo_plan)[0]
    write_orders(tmp_path, "demo", [training])
    monkeypatch.setattr(orders, "module_digest", lambda name: "0123456789ab")
    assert read_order(tmp_path, "demo", training.key) is None


def test_a_job_finds_the_siblings_of_its_cell(demo_plan: Plan, tmp_path: Path) -> None:
    """Points of a search, single tasks of one experiment; cells that were planned otherwise not."""
    write_orders(tmp_path, "demo", every(demo_plan))
    searched = demo_plan.runs["imbalance", "multimnist", "grid_search"].cells
    points = demo_plan.trainings[next(iter(searched.values()))].cell.candidates
    first = demo_plan.training(*points[0].key.split("/"))
    found = read_siblings(tmp_path, first)
    assert {other.key for other in found} == {point.key for point in points[1:]}
    assert all(other == demo_plan.training(*other.key.split("/")) for other in found)
    alone = demo_plan.runs["rotograd", "reduced", "single_task"].cells
    found = read_siblings(tmp_path, demo_plan.trainings[alone["sum"]])
    assert {other.cell.tasks[0] for other in found} == {*alone} - {"sum"}
    path = tmp_path / orders_file("demo")
    content = json.loads(path.read_text(encoding="utf-8"))
    content[alone["left"]]["training"]["identity"]["libraries"]["torch"] = "0.1"
    path.write_text(json.dumps(content), encoding="utf-8")
    found = read_siblings(tmp_path, demo_plan.trainings[alone["sum"]])
    assert {other.cell.tasks[0] for other in found} == {*alone} - {"sum", "left"}
    path.unlink()
    assert read_siblings(tmp_path, first) == []


@pytest.mark.parametrize("place", ["name", "tier"])
def test_no_sibling_leads_elsewhere(place: str, demo_plan: Plan, tmp_path: Path) -> None:
    """Its key comes from the file, not from the plan."""
    alone = demo_plan.runs["rotograd", "reduced", "single_task"].cells
    mine, other = (demo_plan.trainings[alone[task]] for task in ("sum", "left"))
    write_orders(tmp_path, "demo", [mine, other])
    assert read_siblings(tmp_path, mine) == [other]
    write_orders(tmp_path, "demo", [mine, replace(other, **{place: "../../../elsewhere"})])
    assert read_siblings(tmp_path, mine) == []
