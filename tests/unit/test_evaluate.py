"""Scores from saved predictions: the constant predictor, the bootstrap, the skill."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from counterpoise import registry
from counterpoise.evaluation import resampling
from counterpoise.evaluation.constant import constant_outputs, gain_on_items
from counterpoise.evaluation.evaluate import (
    constant_scores,
    evaluate,
    names_of,
    resampled,
    score,
)
from counterpoise.evaluation.measured import Draws, Measured, mean_of
from counterpoise.evaluation.resampling import (
    Scheme,
    enough,
    item_weights,
    percentile_interval,
    schemes_of,
    units_of,
)
from counterpoise.evaluation.skill import skill
from counterpoise.files import read_json, write_json
from counterpoise.metrics import METRICS, weighted_mean
from counterpoise.spec.cell import Cell, Component, Protocol
from counterpoise.tasks import Task

SCORES = ("auroc", "auprc", "accuracy", "f1", "bce")
MASS = Task("mass", "Mass", 1, "bce", SCORES, classes=2)
HERNIA = Task("hernia", "Hernia", 1, "bce", SCORES, classes=2)
DIGIT = Task("digit", "Digit", 3, "nll", ("accuracy",), classes=3)
EACH = Task("each", "Each", 3, "bce_one_hot", ("accuracy",), classes=3)
AGE = Task("age", "Age", 1, "mse", ("mse",))
PLANE = Task("plane", "Plane", 2, "landscape", ("accuracy",))


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dataset of two findings and an age in place of the catalogue."""
    module = SimpleNamespace(tasks=lambda _: (MASS, HERNIA, AGE), Options=dict)
    monkeypatch.setattr(registry, "find", lambda kind, name: module)


def cell_of(*tasks: str, seeds: int = 2) -> Cell:
    return Cell(
        dataset="two_findings", source="x", dataset_options={}, network=Component(name="n"),
        method=Component(name="uniform"), tasks=tasks, seeds=tuple(range(seeds)),
        protocol=Protocol(epochs=1, batch_size=1),
    )  # fmt: skip


def frame_of(
    seed: int, part: str = "test", size: int = 400, signal: float = 1.0, per_patient: int = 1
) -> pd.DataFrame:
    """Predictions of one seed; items and targets do not depend on the seed."""
    data, noise = np.random.default_rng(1), np.random.default_rng(100 + seed)
    columns: dict[str, Any] = {"seed": seed, "part": part, "item": np.arange(size)}
    columns["patient"] = np.arange(size) // per_patient
    for task, share in (("mass", 0.3), ("hernia", 0.05)):
        target = (data.random(size) < share).astype(np.int64)
        columns[f"target.{task}"] = target
        prior = np.log(share / (1 - share))
        outputs = prior + signal * (target - share) + 0.3 * noise.normal(size=size)
        columns[f"output.{task}.0"] = outputs.astype(np.float32)
    columns["target.age"] = data.normal(50, 10, size).astype(np.float32)
    columns["output.age.0"] = columns["target.age"] + noise.normal(0, 2, size).astype(np.float32)
    return pd.DataFrame(columns)


TRAINING = {"mass": [0.7, 0.3], "hernia": [0.95, 0.05], "age": [49.0]}

# The constant predictor ----------------------------------------------------------------------

# Of the findings of ChestX-ray14, from config/papers/deepchest.yaml.
PREVALENCE = (.1031, .0248, .0416, .0205, .1188, .0224, .0150, .0020, .1774, .0516, .0565, .0302,
              .0128, .0473)  # fmt: skip


def test_the_constant_predictor_at_published_prevalence() -> None:
    """The figure to beat on ChestX-ray14: anything above a mean BCE of 0.183 has learned nothing."""
    found = []
    for share in PREVALENCE:
        outputs = constant_outputs(MASS, [1 - share, share])
        assert outputs is not None
        targets = np.arange(10_000) < round(10_000 * share)
        value = METRICS["bce"].compute(np.tile(outputs, (10_000, 1)), targets.astype(int))
        assert value == pytest.approx(special.entr([share, 1 - share]).sum(), rel=1e-9)
        found.append(value)
    assert np.mean(found) == pytest.approx(0.183, abs=5e-4)


@pytest.mark.parametrize(
    ("task", "training", "expected"),
    [
        (MASS, [0.75, 0.25], [np.log(0.25 / 0.75)]),
        (DIGIT, [0.5, 0.3, 0.2], np.log([0.5, 0.3, 0.2])),
        (EACH, [0.5, 0.3, 0.2], np.log([1.0, 3 / 7, 0.25])),
        (AGE, [48.5], [48.5]),
    ],
)
def test_a_constant_answer(task: Task, training: list[float], expected: list[float]) -> None:
    assert constant_outputs(task, training) == pytest.approx(np.array(expected))


def test_a_toy_loss_has_no_constant_answer() -> None:
    assert constant_outputs(PLANE, [0.0]) is None


@pytest.mark.parametrize("task", [MASS, DIGIT, EACH])
@pytest.mark.parametrize("certain", [0, 1])
def test_a_class_that_training_never_saw_is_finite(task: Task, certain: int) -> None:
    shares = [0.0] * int(task.classes or 0)
    shares[certain] = 1.0
    outputs = constant_outputs(task, shares)
    assert outputs is not None and np.isfinite(outputs).all()
    other = np.array([1 - certain])
    assert np.isfinite(gain_on_items(task, shares, np.zeros((1, task.outputs)), other)).all()


def test_scores_of_the_constant_predictor(dataset: None) -> None:
    frame = pd.concat([frame_of(0), frame_of(1), frame_of(0, "validation", 100)])
    found = constant_scores(frame, cell_of("mass", "age"), TRAINING)
    assert set(found) == {"test", "validation"} and set(found["test"]) == {"mass", "age"}
    target, age = frame_of(0)["target.mass"], frame_of(0)["target.age"].astype(float)
    share = target.mean()
    assert found["test"]["mass"] == pytest.approx(
        {
            "auroc": 0.5,
            "auprc": share,
            "accuracy": 1 - share,
            "f1": 0.0,
            "bce": -(share * np.log(0.3) + (1 - share) * np.log(0.7)),
        }
    )
    assert found["test"]["age"]["mse"] == pytest.approx(((age - 49) ** 2).mean())


@pytest.mark.parametrize("task", [MASS, DIGIT, EACH])
def test_a_gain_is_the_difference_of_two_cross_entropies(task: Task) -> None:
    rng = np.random.default_rng(0)
    size, classes = 60, int(task.classes or 0)
    labels = rng.integers(0, classes, size)
    outputs = rng.normal(0, 2, (size, task.outputs))
    shares = np.full(classes, 1 / classes)
    shares[:2] += [0.1, -0.1]
    if task is MASS:
        network = sklearn.metrics.log_loss(labels, special.expit(outputs[:, 0]))
        constant = sklearn.metrics.log_loss(labels, np.full(size, shares[1]))
    elif task is DIGIT:
        network = sklearn.metrics.log_loss(labels, special.softmax(outputs, axis=1))
        constant = sklearn.metrics.log_loss(labels, np.tile(shares, (size, 1)))
    else:
        hot = np.eye(classes)[labels]
        network, constant = (
            sum(sklearn.metrics.log_loss(hot[:, c], p[:, c]) for c in range(classes))
            for p in (special.expit(outputs), np.tile(shares, (size, 1)))
        )
    gain = gain_on_items(task, shares.tolist(), outputs, labels)
    assert gain.shape == (size,)
    assert gain.mean() == pytest.approx(constant - network, rel=1e-9)
    # No gain where the network itself answers with the constant.
    same = np.tile(constant_outputs(task, shares.tolist()), (size, 1))  # type: ignore[arg-type]
    assert gain_on_items(task, shares.tolist(), same, labels) == pytest.approx(np.zeros(size))


# The bootstrap -------------------------------------------------------------------------------


def all_weights(units: np.ndarray, word: str = "w", resamples: int = 1000) -> np.ndarray:
    scheme = Scheme(units.reshape(len(units), -1), 1, word)
    return np.concatenate(list(item_weights(scheme, resamples)))


def standard_error(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.std(ddof=1)) if enough(values) else None


def standard_errors(frames: list[pd.DataFrame], cell: Cell, part: str) -> dict[str, Any]:
    """What the items add to the standard error of each score's mean over seeds."""
    named = {str(seed): frame for seed, frame in enumerate(frames)}
    factors, found = resampled(named, {}, cell, part)
    first = score(pd.concat([f.assign(seed=int(s), part=part) for s, f in named.items()]), cell, {})
    errors: dict[str, Any] = {}
    for task, entry in found.items():
        errors[task] = {}
        for name in first["0"][part][task]:
            seeds = entry["draws"].get(name, {})
            values = {s: first[s][part][task][name] for s in seeds}
            one = None
            if seeds:
                held = np.stack([np.stack(draws) for draws in seeds.values()], axis=1)
                # Many units, so that the error is that of the draws themselves.
                one = Measured(values, Draws(held, tuple(factors), 1e12)).items
            errors[task][name] = None if one is None else one.variance**0.5
    return errors


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(1, 20))
def test_as_many_units_are_drawn_as_there_are(patients: list[int], resamples: int) -> None:
    units = units_of(pd.DataFrame({"patient": patients}))
    weights = all_weights(units, resamples=resamples)
    assert weights.shape == (resamples, len(patients))
    units = units[:, 0]
    first = np.unique(units, return_index=True)[1]
    assert (weights[:, first].sum(1) == len(first)).all()
    for unit in range(len(first)):  # all items of a patient are drawn together
        assert (np.ptp(weights[:, units == unit], axis=1) == 0).all()


def test_units_are_patients_where_they_are_known() -> None:
    frame = pd.DataFrame({"item": range(4), "patient": ["b", "a", "b", "c"]})
    assert units_of(frame).tolist() == [[1], [0], [1], [2]]
    assert units_of(frame[["item"]]).tolist() == [[0], [1], [2], [3]]


def test_digits_on_the_left_and_on_the_right_are_the_same_units() -> None:
    frame = pd.DataFrame({"left": [7, 3, 9], "right": [9, 7, 9]})
    assert units_of(frame, ("left", "right")).tolist() == [[1, 2], [0, 1], [2, 2]]
    digits, items = schemes_of(units_of(frame, ("left", "right")), "test")
    assert (digits.factor, items.factor) == (1, -1)
    weights = all_weights(digits.units, digits.word, 50)
    # Items 0 and 2 share digit 9, which item 2 is made of twice.
    drawn = np.random.default_rng(list(digits.word.encode())).integers(3, size=(50, 3))
    times = np.array([np.bincount(row, minlength=3) for row in drawn])
    assert (weights[:, 0] == times[:, 1] + times[:, 2] - 1).all()
    assert (weights[:, 2] == 2 * times[:, 2] - 1).all()
    assert len(schemes_of(units_of(frame[["left"]], ("left",)), "test")) == 1


def test_the_variance_of_pairs_by_inclusion_and_exclusion() -> None:
    """Of a mean over pairs: e_p e_q summed over all pairs p and q that share a digit, over N^2."""
    rng = np.random.default_rng(5)
    left, right = (rng.integers(40, size=300) for _ in range(2))
    units = np.stack([left, right], axis=1)[left != right]
    of_digit = rng.normal(size=40)
    values = of_digit[units].sum(axis=1) + rng.normal(size=len(units))
    found = 0.0
    for scheme in schemes_of(units, "w"):
        draws = weighted_mean(values, np.concatenate(list(item_weights(scheme, 8000))))
        found += scheme.factor * draws.var(ddof=1)
    error = values - values.mean()
    shares = (units[:, None, :, None] == units[None, :, None, :]).any(axis=(2, 3))
    expected = float(error @ shares @ error) / len(units) ** 2
    # Beyond sampling, two pairs of the same two digits (one in 400) count once too often.
    assert found == pytest.approx(expected, rel=0.06)


def test_draws_depend_on_the_word_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    units = np.arange(31)
    weights = all_weights(units, "bootstrap/test", 50)
    assert (all_weights(units, "bootstrap/test", 50) == weights).all()
    assert (all_weights(units, "bootstrap/validation", 50) != weights).any()
    # Neither the size of the chunks nor the number of resamples moves the first ones.
    monkeypatch.setattr(resampling, "CHUNK", 31 * 7)
    chunks = list(item_weights(Scheme(units[:, None], 1, "bootstrap/test"), 50))
    assert [len(chunk) for chunk in chunks] == [7] * 7 + [1]
    assert (np.concatenate(chunks) == weights).all()


def test_chunks_bound_the_memory() -> None:
    units = np.arange(25_596)
    first = next(item_weights(Scheme(units[:, None], 1, "w")))
    assert first.nbytes <= 16e6 and len(first) > 1


def test_draws_are_multinomial() -> None:
    """Mean 1, variance 1 - 1/n, covariance -1/n between two units."""
    weights = all_weights(np.arange(5), resamples=20_000)
    assert weights.mean(0) == pytest.approx(np.ones(5), abs=0.03)
    expected = np.eye(5) - 0.2
    assert np.cov(weights.T) == pytest.approx(expected, abs=0.03)


def test_standard_error_of_a_mean() -> None:
    """sd / sqrt(n) for items; sqrt(m) times as large where m items of a patient are the same."""
    values = np.random.default_rng(2).normal(0, 3, 500)
    alone = standard_error(weighted_mean(values, all_weights(np.arange(500), resamples=4000)))
    # 4000 resamples know a standard deviation to 1/sqrt(8000) = 1.1 percent.
    assert alone == pytest.approx(values.std() / np.sqrt(500), rel=0.04)
    four, units = np.repeat(values, 4), np.repeat(np.arange(500), 4)
    grouped = standard_error(weighted_mean(four, all_weights(units, resamples=4000)))
    ungrouped = standard_error(weighted_mean(four, all_weights(np.arange(2000), resamples=4000)))
    assert grouped is not None and ungrouped is not None
    assert grouped == pytest.approx(alone)
    assert grouped / ungrouped == pytest.approx(2.0, rel=0.06)


def test_standard_error_of_an_auroc() -> None:
    """Against the asymptotic variance of DeLong, DeLong and Clarke-Pearson (1988)."""
    frame = frame_of(0, size=1500)
    target = frame["target.mass"].to_numpy() == 1
    logits = frame["output.mass.0"].to_numpy()
    higher = logits[target][:, None] > logits[~target][None, :]
    ours, theirs = higher.mean(1), higher.mean(0)
    expected = np.sqrt(ours.var(ddof=1) / len(ours) + theirs.var(ddof=1) / len(theirs))
    weighted = METRICS["auroc"].weighted
    assert weighted is not None
    draws = weighted(logits[:, None], target, all_weights(np.arange(1500)))
    assert standard_error(draws) == pytest.approx(expected, rel=0.1)


def test_a_score_that_is_often_undefined_has_no_error() -> None:
    values = np.arange(100.0)
    values[:5] = np.nan
    assert standard_error(values) == pytest.approx(np.arange(5, 100).std(ddof=1))
    values[5] = np.nan
    assert standard_error(values) is None


def test_an_interval_holds_the_middle() -> None:
    assert percentile_interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))
    assert percentile_interval(np.arange(1001.0), 0.5) == pytest.approx((250.0, 750.0))


def test_the_error_is_that_of_the_mean_over_seeds(dataset: None) -> None:
    """Noise of training averages out over seeds, the choice of patients does not."""
    frames = [frame_of(seed) for seed in range(3)]
    cell = cell_of("mass", "age", seeds=3)
    found = standard_errors(frames, cell, "test")
    assert set(found) == {"mass", "age"} and set(found["mass"]) == set(SCORES)
    weights = all_weights(np.arange(400), "bootstrap/test")
    error = [np.square(f["output.age.0"].astype(float) - f["target.age"]) for f in frames]
    draws = np.cov([weighted_mean(e.to_numpy(), weights) for e in error])
    # What two seeds have in common, not the noise of each.
    shared = (draws.sum() - np.trace(draws)) / 6
    assert found["age"]["mse"] == pytest.approx(np.sqrt(max(0.0, shared)))
    assert shared < draws.mean()
    assert standard_errors(frames, cell, "test") == found


def test_patients_with_several_images_widen_the_error(dataset: None) -> None:
    frame = frame_of(0, size=200)
    same = frame.loc[np.repeat(frame.index, 4)].reset_index(drop=True)
    alone = standard_errors([same.assign(patient=np.arange(800))], cell_of("mass"), "test")
    grouped = standard_errors([same], cell_of("mass"), "test")
    for name in ("auroc", "accuracy", "bce"):
        assert grouped["mass"][name] / alone["mass"][name] == pytest.approx(2.0, rel=0.15)


def test_errors_where_a_score_is_undefined(dataset: None) -> None:
    frames = [frame_of(0, size=60), frame_of(1, size=60)]
    for frame in frames:
        frame["target.mass"] = 0
        frame["target.hernia"] = (np.arange(60) == 7).astype(int)
    found = standard_errors(frames, cell_of("mass", "hernia"), "test")
    assert {n for n, v in found["mass"].items() if v is None} == {"auroc", "auprc", "f1"}
    # One positive is not drawn in about 37 percent of the resamples.
    assert {n for n, v in found["hernia"].items() if v is None} == {"auroc", "auprc", "f1"}


def test_a_seed_without_numbers_has_no_part_in_the_error(dataset: None) -> None:
    good, bad = frame_of(0), frame_of(1)
    bad.loc[3, "output.mass.0"] = np.inf
    found = standard_errors([good, bad], cell_of("mass", "age"), "test")
    assert found["mass"] == standard_errors([good], cell_of("mass"), "test")["mass"]
    assert found["age"] != standard_errors([good], cell_of("age"), "test")["age"]
    alone = standard_errors([bad], cell_of("mass"), "test")
    assert alone == {"mass": dict.fromkeys(SCORES)}


# Skill ---------------------------------------------------------------------------------------


def test_a_network_that_learned_beats_the_constant(dataset: None) -> None:
    frames = [frame_of(seed, signal=3.0) for seed in range(2)]
    found = skill(frames, cell_of("mass", "hernia", "age"), TRAINING, "validation")
    assert found is not None and found["seeds"] == 2
    constant = constant_scores(pd.concat(frames), cell_of("mass", "hernia"), TRAINING)["test"]
    expected = np.mean([
        constant[task]["bce"]
        - METRICS["bce"].compute(f[[f"output.{task}.0"]].to_numpy(), f[f"target.{task}"].to_numpy())
        for f in frames
        for task in ("mass", "hernia")
    ])  # fmt: skip
    assert found["difference"] == pytest.approx(expected)
    low, high = found["interval"]
    assert 0 < low < found["difference"] < high


def test_noise_does_not_beat_the_constant(dataset: None) -> None:
    found = skill([frame_of(0, signal=0.0)], cell_of("mass", "hernia"), TRAINING, "validation")
    assert found is not None and found["difference"] < 0 and found["interval"][0] < 0


def test_the_constant_does_not_beat_itself(dataset: None) -> None:
    frame = frame_of(0).assign(**{"output.mass.0": np.log(0.3 / 0.7)})
    found = skill([frame], cell_of("mass"), TRAINING, "validation")
    assert found is not None
    assert [found["difference"], *found["interval"]] == pytest.approx([0, 0, 0], abs=1e-12)


def test_regression_alone_has_no_skill(dataset: None) -> None:
    assert skill([frame_of(0)], cell_of("age"), TRAINING, "validation") is None


def test_the_skill_of_the_seeds_whose_outputs_are_numbers(dataset: None) -> None:
    good, bad = frame_of(0), frame_of(1)
    bad.loc[0, "output.hernia.0"] = np.nan
    cell = cell_of("mass", "hernia")
    found = skill([good, bad], cell, TRAINING, "validation")
    assert found is not None and found["seeds"] == 1
    assert found == skill([good], cell, TRAINING, "validation")
    assert skill([bad], cell, TRAINING, "validation") is None


# Unknown labels ------------------------------------------------------------------------------


def partly(frame: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """The frame with a third of the masses and a half of the ages unknown; the rows that are."""
    masses, ages = frame["item"].to_numpy() % 3 > 0, frame["item"].to_numpy() % 4 < 2
    return (
        frame.assign(**{
            "target.mass": frame["target.mass"].where(masses, -1),
            "target.age": frame["target.age"].where(ages, np.nan),
        }),
        masses,
        ages,
    )  # fmt: skip


def test_scores_are_those_of_the_known_items(dataset: None) -> None:
    full = frame_of(0)
    frame, masses, ages = partly(full)
    found = score(frame, cell_of("mass", "age"), {})["0"]["test"]
    target, logits = full["target.mass"][masses], full["output.mass.0"][masses].astype(float)
    expected = {
        "auroc": sklearn.metrics.roc_auc_score(target, logits),
        "auprc": sklearn.metrics.average_precision_score(target, logits),
        "accuracy": sklearn.metrics.accuracy_score(target, logits > 0),
        "f1": sklearn.metrics.f1_score(target, logits > 0),
        "bce": sklearn.metrics.log_loss(target, special.expit(logits)),
    }
    assert found["mass"] == pytest.approx(expected)
    error = sklearn.metrics.mean_squared_error(full["target.age"][ages], full["output.age.0"][ages])
    assert found["age"]["mse"] == pytest.approx(error, rel=1e-6)
    constant = constant_scores(frame, cell_of("mass", "age"), TRAINING)["test"]
    assert constant["mass"]["auprc"] == pytest.approx(target.mean())
    assert constant["age"]["mse"] == pytest.approx(((full["target.age"][ages] - 49) ** 2).mean())


def test_a_task_without_a_known_item_is_undefined(dataset: None) -> None:
    frame = frame_of(0).assign(**{"target.mass": -1, "target.age": np.nan})
    cell = cell_of("mass", "hernia", "age")
    found, errors = score(frame, cell, {})["0"]["test"], standard_errors([frame], cell, "test")
    constant = constant_scores(frame, cell, TRAINING)["test"]
    assert errors["mass"] == dict.fromkeys(SCORES) and errors["age"] == {"mse": None}
    for values in (found, constant):
        assert values["mass"] == dict.fromkeys(SCORES) and values["age"] == {"mse": None}
        assert values["hernia"]["bce"] is not None
    expected = skill([frame_of(0)], cell_of("hernia"), TRAINING, "test")
    assert skill([frame], cell, TRAINING, "test") == expected
    assert skill([frame], cell_of("mass"), TRAINING, "test") is None


def test_errors_are_those_of_the_known_items(dataset: None) -> None:
    """Weights are drawn for all, so that tasks stay in pairs; the spread is that of the known."""
    frame, masses, ages = partly(frame_of(0, size=1200))
    cell = cell_of("mass", "hernia", "age")
    found = standard_errors([frame], cell, "test")
    assert found["hernia"] == standard_errors([frame_of(0, size=1200)], cell, "test")["hernia"]
    weights = all_weights(np.arange(1200), "bootstrap/test")
    gap = np.square(frame["output.age.0"].astype(float) - frame["target.age"])[ages]
    draws = weighted_mean(gap.to_numpy(), weights[:, ages])
    assert found["age"]["mse"] == pytest.approx(draws.std(ddof=1))
    alone = standard_errors([frame[masses].reset_index(drop=True)], cell, "test")
    for name in SCORES:  # two sets of a thousand draws
        assert found["mass"][name] == pytest.approx(alone["mass"][name], rel=0.1)


def test_skill_with_unknown_labels_is_a_mean_over_tasks_of_their_known_items(
    dataset: None,
) -> None:
    frame, masses, _ = partly(frame_of(0, signal=3.0))
    found = skill([frame], cell_of("mass", "hernia"), TRAINING, "test")
    parts = [
        skill([rows], cell_of(task), TRAINING, "test")
        for task, rows in (("mass", frame[masses].reset_index(drop=True)), ("hernia", frame))
    ]
    assert found is not None and parts[0] is not None and parts[1] is not None
    mean = (parts[0]["difference"] + parts[1]["difference"]) / 2
    assert found["difference"] == pytest.approx(mean)
    assert found["interval"][0] < mean < found["interval"][1]


def test_labels_that_resamples_often_miss_give_no_skill(dataset: None) -> None:
    """One known label of a hundred is not drawn in 37 percent of the resamples."""
    frame = frame_of(0, size=100)
    frame["target.mass"] = frame["target.mass"].where(frame["item"] == 4, -1)
    assert skill([frame], cell_of("mass", "hernia"), TRAINING, "test") is None
    assert standard_errors([frame], cell_of("mass"), "test")["mass"]["bce"] is None


# The file ------------------------------------------------------------------------------------


def files_of(folder: Path, record: dict[str, Any]) -> tuple[Path, Path, Path]:
    parts = [("validation", 120), ("test", 300)]
    frames = [frame_of(s, part, size, per_patient=3) for s in range(2) for part, size in parts]
    pd.concat(frames, ignore_index=True).to_parquet(folder / "predictions.parquet")
    write_json(folder / "record.json", record)
    return folder / "predictions.parquet", folder / "record.json", folder / "scores.json"


def test_what_a_file_of_scores_holds(dataset: None, tmp_path: Path) -> None:
    files, cell = files_of(tmp_path, {"training_targets": TRAINING}), cell_of("mass", "age")
    evaluate(cell, *files)
    found = read_json(files[2])
    assert set(found) == {
        "predictions", "code", "scores", "constant", "resamples", "reliability", "skill",
        "checksum",
    }  # fmt: skip
    shape = {"mass": set(SCORES), "age": {"mse"}}
    for scores in (*found["scores"].values(), found["constant"]):
        assert set(scores) == {"validation", "test"}
        assert {task: set(values) for task, values in scores["test"].items()} == shape
    drawn = found["resamples"]["test"]
    assert drawn["factors"] == [1] and set(drawn["tasks"]) == set(shape)
    for task, names in shape.items():
        entry = drawn["tasks"][task]
        assert {name: set(seeds) for name, seeds in entry["draws"].items()} == {
            name: {"0", "1"} for name in names
        }
        assert all(
            len(line.split()) == 1000
            for seeds in entry["draws"].values()
            for lines in seeds.values()
            for line in lines
        )
    # 300 images of 100 patients; those of a mass are the rarer class.
    assert set(drawn["tasks"]["age"]["units"].values()) == {100}
    assert 100 > drawn["tasks"]["mass"]["units"]["auroc"] > 50
    assert set(found["skill"]["validation"]) == {"difference", "interval", "seeds"}
    first = files[2].read_bytes()
    evaluate(cell, *files)
    assert files[2].read_bytes() == first


def test_items_are_known_by_what_they_are(dataset: None) -> None:
    """Other seeds, answers and tasks are of the same items; other patients are not."""
    cell, frame = cell_of("mass"), frame_of(0)
    name = names_of(frame, cell)
    assert name == names_of(frame_of(1), cell)
    assert name == names_of(frame.drop(columns=["target.age", "output.age.0"]), cell)
    assert name != names_of(frame.assign(patient=frame["patient"] + 1), cell)
    assert name != names_of(frame[::-1], cell)
    assert name != names_of(frame, cell.model_copy(update={"source": "y"}))


def test_a_finding_that_no_item_has_still_has_an_accuracy_with_its_items(dataset: None) -> None:
    frame = frame_of(0).assign(**{"target.hernia": 0})
    cell = cell_of("mass", "hernia")
    factors, found = resampled({"0": frame}, {}, cell, "test")
    assert found["hernia"]["units"]["accuracy"] == 400 and "auroc" not in found["hernia"]["draws"]
    parts = [
        Measured(
            {"0": 0.9},
            Draws(
                np.stack(entry["draws"]["accuracy"]["0"])[:, None],
                tuple(factors),
                entry["units"]["accuracy"],
            ),
        )
        for entry in found.values()
    ]
    assert mean_of(parts).items is not None


def test_a_score_that_one_scheme_never_defines_has_no_resamples(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The items' own draws all lack the only hernia, those of left and right do not."""
    both = {"tasks": lambda _: (MASS, HERNIA), "UNITS": ("left", "right")}
    module = SimpleNamespace(**both, Options=dict)
    monkeypatch.setattr(registry, "find", lambda kind, name: module)

    def weights(scheme: Scheme) -> Iterator[np.ndarray]:
        drawn = np.ones((2, len(scheme.units)))
        drawn[:, 0] = scheme.factor > 0
        yield drawn

    monkeypatch.setattr("counterpoise.evaluation.evaluate.item_weights", weights)
    frame = frame_of(0, size=60)
    frame["left"], frame["right"] = np.arange(60) % 7, np.arange(60) % 11
    frame["target.hernia"] = (np.arange(60) == 0).astype(int)
    files = [tmp_path / name for name in ("predictions.parquet", "record.json", "scores.json")]
    pd.concat([frame, frame.assign(part="validation")]).to_parquet(files[0])
    write_json(files[1], {"training_targets": TRAINING})
    evaluate(cell_of("mass", "hernia", seeds=1), *files)
    drawn = read_json(files[2])["resamples"]["test"]
    assert drawn["factors"] == [1, -1]
    assert set(drawn["tasks"]["hernia"]["draws"]) == {"accuracy", "bce"}
    assert {len(drawn["tasks"]["mass"]["draws"][name]["0"]) for name in SCORES} == {2}
    assert "auroc_micro" in drawn["tasks"]["all"]["draws"]
