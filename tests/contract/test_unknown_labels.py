"""What unknown labels do to every method: the entry that is masked changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from counterpoise import registry
from counterpoise.datasets._part import Part, is_known
from counterpoise.methods._base import Method, Signal, State
from counterpoise.training.engine import Replicate
from counterpoise.training.losses import Loss
from counterpoise.training.modules import Network
from counterpoise.training.problem import Problem
from counterpoise.training.step import StepReport, train_step

from ..support import hidden, method_cases, method_of, signal_of, small_cell, small_problem

TASKS = ("left", "sum", "density")
CASES = method_cases()
every = pytest.mark.parametrize(("name", "options"), CASES)
ROWS = torch.arange(40)
SOME = {"left": ROWS % 3 > 0, "sum": ROWS % 5 < 2}
BATCH = 10


@pytest.fixture
def double() -> Iterator[None]:
    """Everything in float64, so that another order of summation is seen in the last digits only."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def problem_of(name: str, options: dict[str, Any], known: dict[str, Tensor]) -> Problem:
    """The small problem with some training labels unknown."""
    problem = small_problem(small_cell(name, options=options, tasks=TASKS))
    problem.parts["train"] = hidden(problem.parts["train"], known)
    return problem


def selecting(loss: Loss, target: Tensor) -> Loss:
    """The loss by selection of the known rows of one batch."""
    rows = is_known(target).nonzero()[:, 0]
    return lambda outputs, target, known=None: loss(outputs[rows], target[rows])


class Stepping:
    """A few updates by ``train_step``, masked or by selection."""

    def __init__(self, problem: Problem, masked: bool, normalise: bool = True) -> None:
        self.problem, self.masked, self.normalise = problem, masked, normalise
        network, method = problem.build(0)
        self.network: Network = network.to(torch.get_default_dtype())
        self.method: Method = method
        self.state: State = method.initial_state()
        self.normaliser: Tensor | None = None
        self.latest: Tensor | None = None
        self.steps = 0

    def step(self) -> StepReport:
        """The gradients of the next batch, and a small move."""
        part: Part = self.problem.parts["train"]
        inputs, targets = part.batch(torch.arange(BATCH) + BATCH * self.steps)
        losses = self.problem.losses()
        if not self.masked:
            pairs = zip(self.problem.tasks, losses, strict=True)
            losses = tuple(selecting(loss, targets[task.name]) for task, loss in pairs)
        self.network.zero_grad()
        self.state, self.normaliser, report = train_step(
            self.network, self.method, self.state, self.problem.tasks, losses, self.normaliser,
            inputs.to(torch.get_default_dtype()), targets, normalise=self.normalise, step=self.steps, epoch=0,
            epochs=2, draws=self.method.draw(torch.Generator().manual_seed(self.steps), BATCH),
            masks=part.masks(targets) if self.masked else None, latest=self.latest,
        )  # fmt: skip
        self.latest = report.losses
        self.steps += 1
        with torch.no_grad():
            for parameter in self.network.parameters():
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=1e-3)
        return report

    def gradients(self) -> dict[str, Tensor]:
        """Of the network."""
        return {k: p.grad for k, p in self.network.named_parameters() if p.grad is not None}


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Equal but for the order of sums over items, in float64, and what a solver makes of it."""
    scale = max(float(expected.abs().max()), 1e-30) if expected.numel() else 1.0
    torch.testing.assert_close(
        found / scale, expected / scale, rtol=1e-6, atol=1e-8, equal_nan=True
    )


@every
def test_a_masked_label_changes_nothing(name: str, options: dict[str, Any], double: None) -> None:
    """Held to losses over the known rows alone, selected by their index."""
    problem = problem_of(name, options, SOME)
    one, other = (Stepping(problem, masked) for masked in (True, False))
    for _ in range(3):
        found, expected = one.step(), other.step()
        for field in ("losses", "weights", "norms", "correct"):
            assert_close(getattr(found, field), getattr(expected, field))
        assert bool(found.finite) and bool(expected.finite)
        pairs = (
            (one.gradients(), other.gradients()),
            (one.state, other.state),
            (found.gradients, expected.gradients),
        )
        for mine, reference in pairs:
            assert mine.keys() == reference.keys()
            for key, value in reference.items():
                assert_close(mine[key].double(), value.double())
        assert one.normaliser is not None and other.normaliser is not None
        assert_close(one.normaliser, other.normaliser)


@pytest.mark.parametrize(
    ("name", "options", "normalise"),
    [
        pytest.param(*case.values, normalise, id=f"{case.id}-{normalise}")
        for case in CASES
        for normalise in ((True,) if case.values[1] else (True, False))
    ],
)
def test_a_task_without_a_label_in_the_batch_stands_still(
    name: str, options: dict[str, Any], normalise: bool
) -> None:
    """Unknown in the first, third and fourth batch of four: no gradient, the loss as it was."""
    absent = {**SOME, "sum": (ROWS >= BATCH) & (ROWS < 2 * BATCH)}
    stepping = Stepping(problem_of(name, options, absent), masked=True, normalise=normalise)
    place = TASKS.index("sum")
    losses = []
    for number in range(4):
        report = stepping.step()
        losses.append(float(report.losses[place]))
        for field in ("losses", "weights", "norms", "cosines", "finite"):
            assert torch.isfinite(getattr(report, field)).all(), field
        for values in (stepping.state, stepping.gradients(), report.gradients):
            assert all(torch.isfinite(value).all() for value in values.values())
        still = number != 1
        assert int(report.known[place]) == (0 if still else BATCH)
        assert (float(report.norms[place]) == 0) is still
        assert not still or float(report.cosines[place]) == 0
        head = stepping.network.heads["sum"].parameters()
        assert all(p.grad is not None and bool((p.grad == 0).all()) for p in head) is still
        assert stepping.normaliser is not None
        assert bool(stepping.normaliser[place].isnan()) is (number == 0 and normalise)
        follows = options.get("magnitudes") != "none" and "initial_losses" in stepping.state
        if number > 0 and follows:
            first = stepping.state["initial_losses"][place] * stepping.normaliser[place]
            assert float(first) == pytest.approx(losses[1], rel=1e-5), "its first known loss"
    assert losses[0] == 1.0 != losses[1] and losses[1:] == [losses[1]] * 3
    assert float(stepping.normaliser[place]) == (losses[1] if normalise else 1.0)


@pytest.mark.parametrize("name", ["igb", "stch"])
def test_a_warm_ups_mean_is_that_of_known_losses(name: str) -> None:
    """The task is unknown in two of three batches; the mean takes the one loss that is known."""
    method = method_of(name, 2, 3, **{"igb": {"base_epoch": 0}, "stch": {"warmup": 0}}[name])
    state = method.initial_state()
    own = torch.ones(2, 4, 3)
    for known, loss in ((False, 1.0), (True, 6.0), (False, 6.0)):
        shown = signal_of(method, state, own, losses=torch.tensor([2.0, loss]))
        _, state = method.combine(state, replace(shown, known=torch.tensor([True, known])))
    found = (state["total"] / state["batches"]).tolist()
    assert found == [2.0, 6.0]
    # One without a known label in all of that epoch is measured by itself.
    state = {"total": state["total"] * 0, "batches": state["batches"] * 0}
    shown = signal_of(method, state, own, losses=torch.tensor([2.0, 6.0]), epoch=1)
    weights = method.combine(state, shown)[0].weights
    assert torch.isfinite(weights).all()
    assert float(weights[0] / weights[1]) == pytest.approx(3.0)


@pytest.mark.parametrize("name", registry.names("methods"))
def test_training_with_unknown_labels_is_finite(name: str, tmp_path: Any) -> None:
    """Two epochs in which most batches know nothing of one task."""
    problem = problem_of(name, {}, {**SOME, "sum": ROWS == 7})
    problem.parts["validation"] = hidden(
        problem.parts["validation"], {"left": torch.arange(20) % 2 > 0}
    )
    made = Replicate(problem, 0, tmp_path / "state")
    made.run(lambda _: None, lambda: False)
    assert made.trouble is None and len(made.history) == 2


@pytest.mark.parametrize(
    ("name", "options", "kept"),
    [
        ("db_mtl", {}, "average"),
        ("db_mtl", {"norm": False}, "average"),
        ("db_mtl", {"level": "features"}, "norms"),
        ("metabalance", {}, "norms"),
        ("mtadam", {}, "norms"),
        ("pcd", {}, "average"),
    ],
)
def test_a_batch_without_labels_of_a_task_says_nothing_of_its_gradients(
    name: str, options: dict[str, Any], kept: str
) -> None:
    """What is remembered of the task stays as it is, as if its gradient had not been zero."""
    method = method_of(name, 2, 3, **options)
    own = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(5))
    before = method.combine(method.initial_state(), signal_of(method, {}, own))[1]
    blank = own * torch.tensor([2.0, 0.0])[:, None, None]
    signal = signal_of(method, before, blank, step=1)
    remembered = before[kept].clone()
    combined, after = method.combine(before, replace(signal, known=torch.tensor([True, False])))
    assert torch.equal(after[kept][1], remembered[1]) and remembered[1].any()
    assert not torch.equal(after[kept][0], remembered[0])
    if name == "db_mtl" and combined.trunk is not None:  # nor does it move the trunk
        cosine = torch.nn.functional.cosine_similarity(combined.trunk, after[kept][0], dim=0)
        assert float(cosine) == pytest.approx(1, abs=1e-6)


# Tasks that most batches have no label of ------------------------------------------------------

NUMBERS = 60


def noise(step: int) -> Tensor:
    """Gradients (2, 1, d) of length about one that two like tasks have of a batch."""
    generator = torch.Generator().manual_seed(step)
    return torch.randn(2, 1, NUMBERS, generator=generator) / NUMBERS**0.5


def shown(method: Method, state: State, step: int, known: list[bool], scale: float = 1.0) -> Signal:
    """A signal whose second task may have no label, and so no gradient."""
    here = torch.tensor(known)
    signal = signal_of(method, state, scale * noise(step) * here[:, None, None], step=step)
    return replace(signal, known=here)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gradnorm", {}),
        ("gradnorm", {"target": "mean_of_norms", "decay": 0.999}),
        ("rotograd", {}),
        ("rotograd_sgd", {}),
        ("famo", {}),
        ("famo", {"decay": 0.001}),
    ],
)
def test_a_task_that_is_seldom_labelled_neither_starves_others_nor_is_starved(
    name: str, options: dict[str, Any]
) -> None:
    """Two like tasks, one of them labelled in every tenth batch only.

    Each labelled loss falls by a twentieth on its own batch. A missing gradient taken for one of
    length zero gave nearly all weight to one of the two.
    """
    method = method_of(name, 2, NUMBERS, **options)
    state, weights = method.initial_state(), torch.ones(2)
    for step in range(600):
        known = [True, step % 10 == 0]
        combined, state = method.combine(state, shown(method, state, step, known))
        weights = combined.weights
        fallen = torch.tensor([0.95, 0.95 if known[1] else 1.0])
        state = method.after_step(state, fallen)
    assert 0.5 < float(weights[0] / weights[1]) < 2


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("excess_mtl", {"step_size": 1.0}, "log_shares"),
        ("gradnorm_deepchest", {}, "omega"),
        ("gradnorm", {}, "omega"),
    ],
)
def test_the_weight_of_a_task_stays_while_it_has_no_label(
    name: str, options: dict[str, Any], key: str
) -> None:
    method = method_of(name, 3, NUMBERS, **options)
    state = method.initial_state()
    own = torch.randn(3, 1, NUMBERS, generator=torch.Generator().manual_seed(1))
    own *= torch.tensor([1.0, 3.0, 2.0])[:, None, None]
    _, state = method.combine(state, signal_of(method, state, own.clone()))
    here = torch.tensor([True, True, False])
    signal = signal_of(method, state, own * here[:, None, None], step=1)
    _, after = method.combine(state, replace(signal, known=here))
    assert float(after[key][2]) == float(state[key][2])
    assert not torch.equal(after[key][:2], state[key][:2])


@pytest.mark.parametrize("name", ["mgda", "cagrad"])
def test_a_missing_gradient_is_none_of_length_zero(name: str) -> None:
    """The update is that of the tasks that have a label."""
    alone, both = method_of(name, 1, NUMBERS), method_of(name, 2, NUMBERS)
    found = both.combine({}, shown(both, {}, 3, [True, False]))[0].mixing
    wanted = alone.combine({}, signal_of(alone, {}, noise(3)[:1]))[0].mixing
    assert found is not None and wanted is not None
    assert found.tolist() == pytest.approx([float(wanted[0]), 0.0])


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("nash_mtl", {"every": 3}, "alpha"),
        ("fairgrad", {"smoothing": 0.9}, "mixing"),
        ("mgda", {"smoothing": 0.9, "normalisation": "l2"}, "mixing"),
    ],
)
def test_what_is_remembered_of_a_task_outlives_a_batch_without_its_labels(
    name: str, options: dict[str, Any], key: str
) -> None:
    method = method_of(name, 2, NUMBERS, **options)
    state = method.initial_state()
    for step in range(3):
        _, state = method.combine(state, shown(method, state, step, [True, True], 100.0))
    _, after = method.combine(state, shown(method, state, 3, [True, False], 100.0))
    assert float(after[key][1]) == pytest.approx(float(state[key][1]))
    assert 0 < float(state[key][1]) < 0.1


@pytest.mark.parametrize("name", ["metabalance", "mtadam"])
def test_norms_of_a_task_first_labelled_late_are_not_too_small(name: str) -> None:
    """Their average begins with its first batch, as the others' did; else it is scaled up."""
    method = method_of(name, 2, NUMBERS)
    state = method.initial_state()
    for step in range(30):
        combined, state = method.combine(state, shown(method, state, step, [True, step >= 29]))
    assert combined.trunk is not None
    signal = shown(method, state, 29, [True, True])
    if name == "mtadam":
        first, late = state["norms"][:, 0].tolist()
        assert late == pytest.approx(first, rel=0.3)
        return
    own = signal.task_gradients[1].sum(0)
    share = float(combined.trunk @ own / (own @ own))
    assert share == pytest.approx(1, abs=0.4)


def test_a_target_without_a_label_yet_is_no_reference() -> None:
    """Its norm is unknown and not zero: the others' gradients stay as they are."""
    method = method_of("metabalance", 2, NUMBERS, relax=1.0)
    own = noise(3) * torch.tensor([0.0, 1.0])[:, None, None]
    signal = replace(signal_of(method, {}, own), known=torch.tensor([False, True]))
    trunk = method.combine(method.initial_state(), signal)[0].trunk
    assert trunk is not None
    torch.testing.assert_close(trunk, own[1].sum(0))


@pytest.mark.parametrize("schedule", ["constant", "inverse_sqrt"])
def test_a_share_at_the_representation_is_not_too_large_where_it_begins_late(schedule: str) -> None:
    method = method_of("db_mtl", 2, NUMBERS, level="features", beta=0.9, schedule=schedule)
    state = method.initial_state()
    for step in range(30):
        combined, state = method.combine(state, shown(method, state, step, [True, step >= 29]))
    assert combined.mixing is not None
    assert float(combined.mixing[1] / combined.mixing[0]) == pytest.approx(1, rel=0.3)


@pytest.mark.parametrize("name", ["gradnorm", "rotograd", "rotograd_sgd"])
def test_the_first_step_of_a_weight_has_the_leaders_rate_however_late(name: str) -> None:
    """Adam's moments begin with the task's first label, and so does their correction."""
    method = method_of(name, 2, NUMBERS, leader_learning_rate=0.02, decay=1.0)
    state = method.initial_state()
    for step in range(1000, 1040):
        _, state = method.combine(state, shown(method, state, step, [True, False]))
    assert state["omega"].tolist() == [1, 1]
    own = noise(7) * torch.tensor([1.0, 0.1])[:, None, None]
    _, state = method.combine(state, signal_of(method, state, own, step=1040))
    assert 1.005 < float(state["omega"][1]) < 1.025
