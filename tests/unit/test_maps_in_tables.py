"""Tables of how well maps find the region, and of training at an epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from counterpoise.evaluation.measured import Measured
from counterpoise.explain.localisation import SHARES
from counterpoise.files import write_json
from counterpoise.plan import Plan, load_plan
from counterpoise.reproduction.ours import Scores, ours_of
from counterpoise.spec.paper import Quantity

from ..support import edit, error_of

THORACIC = "config/papers/thoracic.yaml"
PICTURES = 40


@pytest.fixture
def planned(config_copy: Path) -> Plan:
    return load_plan(config_copy, {"papers": ["thoracic"]})


def written(plan: Plan, root: Path, name: str) -> pd.DataFrame:
    """Made-up scores of an explanation in its place, and the record of its cell."""
    spec = plan.papers["thoracic"].paper.explanations[name]
    rng = np.random.default_rng(0)
    rows = [
        {"seed": 0, "draw": 0, "task": task, "item": item, "patient": item, "way": maps,
         "pointing": float(rng.random() < (0.6 if maps == "grad_cam" else 0.2)),
         "energy": rng.random(), "empty": 0.0, **{f"overlap.{share}": rng.random() for share in SHARES}}
        for maps in spec.maps for task in spec.tasks for item in range(PICTURES)
    ]  # fmt: skip
    path = root / plan.papers["thoracic"].explanation(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows)
    table.to_parquet(path)
    record = {"seeds": {"0": {"trouble": None}}}
    write_json(root / plan.explained("thoracic", name).file("record.json"), record)
    return table


def test_maps_have_their_numbers_in_a_table(planned: Plan, config_copy: Path) -> None:
    table = written(planned, config_copy, "alexnet")
    scores = Scores(config_copy, planned)
    quantity = Quantity(explanation="alexnet", maps="grad_cam", localisation="pointing")
    ours, _ = ours_of(scores, "thoracic", quantity, None)
    assert ours is not None
    expected = table.loc[table["way"] == "grad_cam", "pointing"].mean()
    assert ours.measured.values == pytest.approx({"0": expected})
    interval = ours.measured.interval()
    assert interval is not None and 0 < interval[0] < expected < interval[1] < 1
    assert ours.cells == [planned.explained("thoracic", "alexnet").key]
    absent = Quantity(explanation="squeezenet", maps="grad_cam", localisation="pointing")
    found, reason = ours_of(scores, "thoracic", absent, None)
    assert found is None and "not part of tier demo" in reason


def test_a_finding_has_its_own_numbers(planned: Plan, config_copy: Path) -> None:
    table = written(planned, config_copy, "alexnet")
    scores = Scores(config_copy, planned)

    def ours(task: str | None) -> Measured | str:
        quantity = Quantity(
            explanation="alexnet", maps="grad_cam", localisation="energy", task=task
        )
        found, reason = ours_of(scores, "thoracic", quantity, None)
        return reason if found is None else found.measured

    rows = table[table["way"] == "grad_cam"]
    for task in ("atelectasis", "effusion"):
        found = ours(task)
        assert isinstance(found, Measured)
        expected = rows.loc[rows["task"] == task, "energy"].mean()
        assert found.values == pytest.approx({"0": expected})
        interval = found.interval()
        assert interval is not None and interval[0] < expected < interval[1]
    for every in ("all", None):
        found = ours(every)
        assert isinstance(found, Measured)
        assert found.values == pytest.approx({"0": rows["energy"].mean()})
    assert ours("hernia") == "no test picture in this tier has a box for the finding"


def test_tables_wait_for_the_maps_that_they_show(planned: Plan) -> None:
    made = planned.papers["thoracic"]
    assert made.paper.tabled == ("alexnet", "resnet152", "squeezenet")
    assert made.tabled == [made.explanation("alexnet"), made.explanation("resnet152")]


def test_other_maps_make_other_tables(planned: Plan, config_copy: Path) -> None:
    edit(config_copy / THORACIC, "most: 8, untrained: 1}", "most: 9, untrained: 1}")
    again = load_plan(config_copy, {"papers": ["thoracic"]}).papers["thoracic"]
    assert again.tables_digest != planned.papers["thoracic"].tables_digest


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("maps: shap", "maps: sharp", "has no maps 'sharp'"),
        (
            "id: alexnet-shap, explanation: alexnet",
            "id: x, explanation: alex",
            "unknown explanation",
        ),
        ("id: energy, localisation: energy, ", "id: energy, ", "without `localisation`"),
        (
            "explanation: squeezenet, task: mass",
            "explanation: squeezenet, task: masses",
            "unknown task",
        ),
    ],
)
def test_maps_that_nothing_makes_are_told_with_their_line(
    old: str, new: str, told: str, config_copy: Path
) -> None:
    edit(config_copy / THORACIC, old, new)
    error = error_of(lambda: load_plan(config_copy))
    assert told in str(error) and f"{THORACIC}:" in str(error)


def test_training_is_read_at_an_epoch_or_over_the_second_half(
    planned: Plan, tmp_path: Path
) -> None:
    scores = Scores(tmp_path, planned)
    scores._histories["cell"] = pd.DataFrame(
        [(seed, epoch, "training_loss", "mass", 10.0 * seed + epoch)
         for seed in (0, 1) for epoch in range(5)],
        columns=["seed", "epoch", "quantity", "task", "value"],
    )  # fmt: skip
    for at, value in {"first": 0.0, "half": 1.0, "last": 4.0, None: 3.0}.items():
        found = scores.during("cell", "mass", "training_loss", at)
        assert found.values == {"0": value, "1": 10 + value}, at
    scores._histories["cell"] = scores._histories["cell"].iloc[:0]
    assert scores.during("cell", "mass", "training_loss", "last").values == {}
