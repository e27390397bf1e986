"""Cards: what each method promises and is held to; published counts of datasets."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from counterpoise import prepared, registry
from counterpoise.datasets.chestxray14 import TASKS
from counterpoise.plan import Plan
from counterpoise.report import cards
from counterpoise.report.cards import Card, dataset_cards, method_cards


@pytest.fixture(scope="module")
def made(demo_plan: Plan) -> dict[str, Card]:
    return {card.name: card for card in method_cards(demo_plan)}


def test_every_method_says_what_it_is_held_to_and_how_exactly(made: dict[str, Card]) -> None:
    for name in registry.names("methods"):
        facts = dict(made[name].facts)
        assert facts["Paper"] and facts["Tested against"], name
    held = dict(made["gls"].facts)["Tested against"]
    assert held[0].startswith("autograd on the written loss: largest relative error ")
    assert any(float(text.split()[-1]) < 1e-6 for text in held)
    assert made["single_task"].facts == ()


def test_promises_that_hang_on_an_option_say_so(made: dict[str, Card]) -> None:
    (promised,) = dict(made["mgda"].facts)["Promises"]
    assert "no conflict, " in promised and "sum one (some options)" in promised


def test_a_method_of_ones_own_has_its_promises_only(
    demo_plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "_evidence", dict)
    (card,) = (card for card in method_cards(demo_plan) if card.name == "uniform")
    assert [title for title, _ in card.facts] == ["Promises"]


@pytest.mark.parametrize(("year", "shown"), [(2020, True), (2017, False)])
def test_published_counts_stand_beside_the_labels_that_they_were_counted_in(
    demo_plan: Plan, year: int, shown: bool
) -> None:
    chest = next(t for t in demo_plan.trainings.values() if t.data.dataset == "chestxray14")
    data = replace(chest.data, options={**chest.data.options, "label_file": year})
    trainings = {chest.key: replace(chest, data=data)}
    plan = replace(demo_plan, trainings=trainings, preliminary={})
    items = pd.DataFrame({"part": ["train", "validation", "test"]})
    labels = pd.DataFrame({task: [1, 0, 1] for task in TASKS})
    inputs: Any = SimpleNamespace(summaries={data.folder: prepared.summarise(items, labels)})
    (card,) = (c for c in dataset_cards(plan, inputs) if c.spec.id == "chestxray14")
    (view,) = (view for source in card.sources for view in source.used)
    assert len(view.rows) == len(TASKS)
    assert {row.published is not None for row in view.rows} == {shown}
