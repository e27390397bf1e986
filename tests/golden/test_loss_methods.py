"""Methods that see losses alone, held to worked examples and to the losses that papers write."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torchjd import scalarization

from counterpoise.methods._base import Combined, Epoch, Method, Signal, State
from counterpoise.tasks import Task
from counterpoise.training.engine import Replicate

from ..support import method_of, small_cell, small_problem
from .transcription import Displacement, Written, agree, difference, followed, transcribed

TOLERANCE = 1e-6
LOGARITHMIC = [
    ("gls", {}),
    ("scale_invariant", {}),
    ("stch", {}),
    ("igb", {}),
    ("famo", {}),
]


def shown(losses: list[float] | Tensor, epoch: int = 0, step: int = 0, **draws: Tensor) -> Signal:
    values = torch.as_tensor(losses, dtype=torch.float64)
    nothing = torch.zeros(len(values), 1, 2)
    return Signal(values, nothing[0], nothing, nothing, nothing, step, epoch, draws=draws)


def double(state: State) -> State:
    return {key: value.double() for key, value in state.items()}


def step_of(
    name: str, losses: list[float], options: dict[str, Any] | None = None, **more: Any
) -> tuple[Combined, State]:
    method = method_of(name, len(losses), 2, **options or {})
    return method.combine(double(method.initial_state()), shown(losses, **more))


def close(found: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=found.dtype), rtol=1e-6, atol=0)


# By hand -------------------------------------------------------------------------------------


def test_rlw_by_hand() -> None:
    """exp(0), exp(log 2), exp(log 5) over their sum, 8."""
    scores = torch.tensor([1.0, 2.0, 5.0]).double().log()
    method = method_of("rlw", 3, 2)
    close(method.combine({}, shown([1.0] * 3, scores=scores))[0].weights, [1 / 8, 2 / 8, 5 / 8])
    to_tasks = method_of("rlw", 3, 2, sum="tasks")
    close(to_tasks.combine({}, shown([1.0] * 3, scores=scores))[0].weights, [3 / 8, 6 / 8, 15 / 8])
    flat = method_of("rlw", 3, 2, distribution="dirichlet")
    sizes = torch.tensor([1.0, 2.0, 5.0])
    close(flat.combine({}, shown([1.0] * 3, scores=sizes))[0].weights, [1 / 8, 2 / 8, 5 / 8])


@pytest.mark.parametrize("distribution", ["normal", "dirichlet"])
def test_rlw_has_the_moments_of_its_distribution(distribution: str) -> None:
    """Dirichlet(1, 1, 1, 1): variance (1/4)(3/4)/5. Softmax of normal numbers: by quadrature."""
    method = method_of("rlw", 4, 2, distribution=distribution)
    draws = torch.Generator().manual_seed(0)
    drawn = [method.draw(draws, 1) for _ in range(4000)]
    weights = torch.stack([method.combine({}, shown([1.0] * 4, **d))[0].weights for d in drawn])
    # Four standard errors of the mean and about four of the variance, of 4000 draws.
    assert weights.mean(0).tolist() == pytest.approx([0.25] * 4, abs=4 * 0.2 / 4000**0.5)
    if distribution == "dirichlet":
        assert weights.var(0).tolist() == pytest.approx([0.0375] * 4, rel=0.15)
    else:
        independent = torch.randn(200_000, 4, generator=draws).double().exp()
        expected = (independent[:, 0] / independent.sum(1)).var()
        assert weights.var(0).tolist() == pytest.approx([float(expected)] * 4, rel=0.15)


def test_cosmos_by_hand() -> None:
    """Losses 3 and 4, of length 5; r = (1/2, 1/2), of length 1 / sqrt 2; cosine 7 / (5 sqrt 2).

    Its derivatives: (1 - (7 / 5) (3 / 5)) / (5 sqrt 2) = 4 / (125 sqrt 2), and -3 / (125 sqrt 2).
    """
    unit = 125 * math.sqrt(2)
    combined, _ = step_of("cosmos", [3.0, 4.0], {"strength": 2.0})
    close(combined.weights, [0.5 - 8 / unit, 0.5 + 6 / unit])
    # Where losses stand to each other as is wanted, only the weighted sum is left.
    combined, _ = step_of("cosmos", [1.0, 3.0], {"preference": {"task1": 3.0}})
    close(combined.weights, [0.25, 0.75])


def test_pbi_by_hand() -> None:
    """Losses 3 and 1: (2, 2) on the line and (1, -1) beside it.

    w = (1, 3) / sqrt 10 and 3.5 - 0.5: (0.6, 1.8) on the line and (2.4, -0.8) = 0.8 (3, -1) beside.
    """
    close(step_of("pbi", [3.0, 1.0])[0].weights, [6 / math.sqrt(2), -4 / math.sqrt(2)])
    options = {"theta": 2.0, "preference": {"task1": 3.0}, "min_losses": {"task0": 0.5}}
    close(step_of("pbi", [3.5, 1.0], options)[0].weights, [7 / 10**0.5, 1 / 10**0.5])


def by_torchjd(scalarizer: scalarization.Scalarizer, losses: Tensor) -> Tensor:
    values = losses.clone().requires_grad_()
    (found,) = torch.autograd.grad(scalarizer(values), values)
    return found


LOSSES = torch.rand(20, 4, generator=torch.Generator().manual_seed(1)).double() + 0.1
WANTED = {"task0": 2.0, "task2": 0.5}
PREFERENCE = torch.tensor([2.0, 1.0, 0.5, 1.0]).double() / 4.5
LEAST = torch.tensor([0.0, 0.05, 0.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("strength", [0.0, 0.3, 8.0])
def test_cosmos_is_torchjds(strength: float) -> None:
    theirs = scalarization.COSMOS(strength, PREFERENCE)
    for losses in LOSSES:
        combined, _ = step_of(
            "cosmos", losses.tolist(), {"strength": strength, "preference": WANTED}
        )
        torch.testing.assert_close(combined.weights, by_torchjd(theirs, losses), rtol=1e-9, atol=0)


@pytest.mark.parametrize("theta", [0.0, 0.3, 5.0])
def test_pbi_is_torchjds(theta: float) -> None:
    theirs = scalarization.PBI(theta, PREFERENCE, LEAST)
    options = {"theta": theta, "preference": WANTED, "min_losses": {"task1": 0.05}}
    for losses in [*LOSSES, PREFERENCE + LEAST]:
        combined, _ = step_of("pbi", losses.tolist(), options)
        torch.testing.assert_close(
            combined.weights, by_torchjd(theirs, losses), rtol=1e-9, atol=1e-9
        )


def epoch_of(losses: list[float], number: int) -> Epoch:
    values = torch.tensor(losses)
    return Epoch(values, values, values, values, number)


def test_dwa_by_hand() -> None:
    """Epoch means (4, 1) then (2, 1): rates 0.5 and 1, over T = 2: 0.25 and 0.5.

    omega = 2 exp(0.25) / (exp(0.25) + exp(0.5)) = 2 / (1 + exp(0.25)), and two minus that.
    """
    method = method_of("dwa", 2, 2)
    state = method.initial_state()
    for number, losses in enumerate([[4.0, 1.0], [2.0, 1.0]]):
        assert method.combine(state, shown([1.0, 1.0], number))[0].weights.tolist() == [1, 1]
        state = method.end_of_epoch(state, epoch_of(losses, number))
    first = 2 / (1 + math.exp(0.25))
    close(method.combine(state, shown([1.0, 1.0], 2))[0].weights, [first, 2 - first])


def test_dwa_gives_a_solved_task_the_rate_one() -> None:
    method = method_of("dwa", 2, 2)
    state = method.initial_state()
    for number, losses in enumerate([[0.0, 1.0], [0.0, 1.0]]):
        state = method.end_of_epoch(state, epoch_of(losses, number))
    assert state["omega"].tolist() == [1, 1]


def test_uw_by_hand() -> None:
    """s = log 2 for both: weights 1/2 and, named as regression, 1/4; losses 3 and 8.

    d/ds: 1/2 - 3/2 = -1 and 1/2 - 2 = -3/2.
    """
    options = {"initial_log_variance": math.log(2), "regression": ("task1",)}
    combined, _ = step_of("uw", [3.0, 8.0], options)
    close(combined.weights, [0.5, 0.25])
    close(combined.gradients["log_variance"], [-1.0, -1.5])


def test_uw_in_the_public_form() -> None:
    """LibMTL's first weights: 1 / (2 exp(-0.5)) = 0.824 for all."""
    combined, _ = step_of("uw", [3.0, 8.0], {"form": "libmtl", "initial_log_variance": -0.5})
    close(combined.weights, [0.8243606353500641] * 2)


def test_uw_rests_at_the_log_of_twice_the_loss() -> None:
    method = method_of("uw", 2, 2, regression=("task1",))
    state = {"log_variance": torch.tensor([2 * 3.0, 8.0]).double().log()}
    combined, _ = method.combine(state, shown([3.0, 8.0]))
    torch.testing.assert_close(
        combined.gradients["log_variance"], torch.zeros(2).double(), rtol=0, atol=1e-15
    )


def test_gls_by_hand() -> None:
    """Losses 1, 2, 4: geometric mean 2, divided by 3 l_k."""
    close(step_of("gls", [1.0, 2.0, 4.0])[0].weights, [2 / 3, 1 / 3, 1 / 6])


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_gls_neither_under_nor_overflows(size: float) -> None:
    """The product of three such losses is no number of float32."""
    method = method_of("gls", 3, 2)
    signal = shown([size, 2 * size, 4 * size])
    signal = Signal(signal.losses.float(), *[signal.z] * 4, 0, 0)
    close(method.combine({}, signal)[0].weights, [2 / 3, 1 / 3, 1 / 6])


def test_scale_invariant_by_hand() -> None:
    close(step_of("scale_invariant", [0.5, 4.0])[0].weights, [2 / (1 + 2e-8), 0.25 / (1 + 0.25e-8)])


def test_scale_invariant_is_the_first_half_of_db_mtl() -> None:
    one, _ = followed("scale_invariant", {})
    other, _ = followed("db_mtl", {"norm": False, "beta": 0.0})
    agree(one, other, 1e-12)


def test_imtl_l_by_hand() -> None:
    """s = log 2, losses 3 and 0.5: weights 2, derivatives 2 * 3 - 1 and 2 * 0.5 - 1."""
    state = {"log_scale": torch.full((2,), math.log(2), dtype=torch.float64)}
    combined, _ = method_of("imtl_l", 2, 2).combine(state, shown([3.0, 0.5]))
    close(combined.weights, [2.0, 2.0])
    close(combined.gradients["log_scale"][:1], [5.0])
    assert float(combined.gradients["log_scale"][1]) == pytest.approx(0, abs=1e-12)


def warmed(name: str, options: dict[str, Any], last: int) -> tuple[Method, State]:
    """The state after epochs up to ``last``, of two batches each; in the last, means 2 and 8."""
    method = method_of(name, 2, 2, **options)
    state = method.initial_state()
    for epoch in range(last + 1):
        for losses in [[1.0, 6.0], [3.0, 10.0]] if epoch == last else [[50.0, 70.0]]:
            combined, state = method.combine(state, shown(losses, epoch))
            close(combined.weights, [1 / losses[0], 1 / losses[1]])
    return method, state


def test_stch_by_hand() -> None:
    """Nadir (2, 8). Losses (1, 8): relative 1/2 and 1.

    mu = 1: shares 1/3 and 2/3, so 2 (1/3) / 1 and 2 (2/3) / 8. mu = 1/2: shares of the squares, 1/5
    and 4/5.
    """
    method, state = warmed("stch", {}, last=4)
    close(method.combine(state, shown([1.0, 8.0], 5))[0].weights, [2 / 3, 1 / 6])
    method, state = warmed("stch", {"mu": 0.5, "warmup": 1}, last=1)
    close(method.combine(state, shown([1.0, 8.0], 2))[0].weights, [2 / 5, 1 / 5])


@pytest.mark.parametrize(("name", "last"), [("stch", 4), ("igb", 1)])
def test_a_run_that_is_resumed_after_the_warm_up_goes_on(name: str, last: int) -> None:
    """LibMTL's STCH, started then, divides by zero; here all is in the state."""
    _, state = warmed(name, {}, last)
    resumed = method_of(name, 2, 2)
    combined, following = resumed.combine(state, shown([1.0, 8.0], last + 3))
    assert torch.isfinite(combined.weights).all()
    assert following is state, "the mean is of that one epoch"


def test_igb_by_hand() -> None:
    """Bases (2, 8). Losses (1, 16): gaps 1/2 and 2, w = 2 / (1 + exp(3/2)) and two minus that."""
    method, state = warmed("igb", {}, last=1)
    first = 2 / (1 + math.exp(1.5))
    close(
        method.combine(state, shown([1.0, 16.0], 2))[0].weights, [first / 1.0, (2 - first) / 16.0]
    )


def test_famo_by_hand() -> None:
    """Equal logits, losses 1 and 3: 1/1 and 1/3 over 4/3. Then both fall to 0.5 and 2.4.

    delta = log 2 and log 1.25, whose difference decides: slope (d, -d) with
    d = (log 2 - log 1.25) / 4; Adam's first step is the learning rate in the sign's direction, so
    that the task that fell less gains.
    """
    method = method_of("famo", 2, 2, decay=0.0)
    combined, state = method.combine(double(method.initial_state()), shown([1.0, 3.0]))
    close(combined.weights, [3 / 4, 1 / 4])
    state = method.after_step(state, torch.tensor([0.5, 2.4]).double())
    slope = (math.log(2) - math.log(1.25)) / 4
    close(state["first_moment"], [0.1 * slope, -0.1 * slope])
    close(state["logits"], [-0.025, 0.025])


def test_famo_measures_losses_from_their_lower_bounds() -> None:
    """Bound 0.5 for the first task: distances 0.5 and 3, weights 2 and 1/3 over 7/3."""
    combined, _ = step_of("famo", [1.0, 3.0], {"min_losses": {"task0": 0.5}})
    close(combined.weights, [6 / 7, 1 / 7])
    below, _ = step_of("famo", [0.4, 3.0], {"min_losses": {"task0": 0.5}})
    assert torch.isnan(below.weights).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("famo", {"min_losses": {"oedema": 0.1}}),
        ("uw", {"regression": ("oedema",)}),
        ("cosmos", {"preference": {"oedema": 0.1}}),
        ("pbi", {"min_losses": {"oedema": 0.1}}),
    ],
)
def test_an_option_that_names_no_task_is_told(name: str, options: dict[str, Any]) -> None:
    tasks = (Task("edema", "Edema", 1, "bce", ("auroc",), classes=2),)
    kind = type(method_of(name, 1, 3))
    (problem,) = kind.problems(kind.Options(**options), tasks)
    assert "'oedema'" in problem and "'edema'" in problem
    assert kind.problems(kind.Options(), tasks) == []


# Losses without a logarithm ------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), LOGARITHMIC)
@pytest.mark.parametrize("epoch", [0, 6])
def test_a_loss_that_has_no_logarithm_shows(name: str, options: Any, epoch: int) -> None:
    method = method_of(name, 2, 2, **options)
    state = method.initial_state()
    for passed in range(6):
        _, state = method.combine(state, shown([1.0, 2.0], passed))
    combined, _ = method.combine(state, shown([-1.0, 2.0], epoch))
    assert torch.isnan(combined.weights[0])


@pytest.mark.parametrize(("name", "options"), LOGARITHMIC)
def test_such_a_run_ends_as_a_recorded_result(name: str, options: Any, tmp_path: Path) -> None:
    """Shifted losses: cross-entropy minus three is negative from the first step."""
    problem = small_problem(small_cell(name, options=options, epochs=1))

    def shifted(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda output, target: loss(output, target) - 3

    whole = problem.losses()
    problem.losses = lambda: tuple(shifted(loss) for loss in whole)  # type: ignore[method-assign]
    replicate = Replicate(problem, 0, tmp_path / "state")
    replicate.run(lambda progress: None, lambda: False)
    assert replicate.trouble is not None
    assert replicate.trouble["what"] == "loss out of the method's range"


# As written ----------------------------------------------------------------------------------


class PlainSum(Written):
    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        return losses.sum()


class WeightedSum(Written):
    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        return 0.5 * losses[0] + losses[1] + 3 * losses[2]


class RandomWeights(Written):
    def __init__(self, distribution: str) -> None:
        self.distribution = distribution

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        numbers = torch.Generator().manual_seed(step)
        if self.distribution == "normal":
            sizes = torch.empty(3).normal_(generator=numbers).double().exp()
        else:
            sizes = torch.empty(3).exponential_(generator=numbers).double()
        return (sizes * losses).sum() / sizes.sum()


class DynamicAverage(Written):
    def __init__(self) -> None:
        self.means: list[Tensor] = []

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        if epoch < 2:
            return losses.sum()
        sizes = (self.means[epoch - 1] / self.means[epoch - 2] / 2).exp()
        return (3 * sizes / sizes.sum() * losses).sum()

    def ended(self, losses: Tensor) -> None:
        self.means.append(losses)


class Cosine(Written):
    """The mean of the losses, less their cosine with ones."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        cosine = torch.nn.functional.cosine_similarity(losses, torch.ones_like(losses), dim=0)
        return losses.mean() - self.strength * cosine


class Boundary(Written):
    """The way along the diagonal, and theta times the distance from it."""

    def __init__(self, theta: float) -> None:
        self.theta = theta

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        along = losses.sum() / 3**0.5
        return along + self.theta * (losses - losses.mean()).norm()


class Uncertainty(Written):
    """sum_k f_k l_k / sigma_k^2 + log sigma_k, with sigma_k = exp(s_k / 2)."""

    def __init__(self, factors: list[float], first: float) -> None:
        self.factors = torch.tensor(factors).double()
        self.log_variance = torch.full((3,), first, dtype=torch.float64, requires_grad=True)
        self.own = [self.log_variance]

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        sigma = (self.log_variance / 2).exp()
        return (self.factors * losses / sigma**2 + sigma.log()).sum()


class GeometricMean(Written):
    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        return losses.prod() ** (1 / 3)


class SumOfLogs(Written):
    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        return (losses + 1e-8).log().sum()


class Scales(Written):
    def __init__(self) -> None:
        self.log_scale = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        self.own = [self.log_scale]

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        return (math.e**self.log_scale * losses - self.log_scale).sum()


class FromAnEpoch(Written, ABC):
    """Sum of logarithms up to an epoch, whose mean (normalised) losses are then referred to."""

    def __init__(self, last: int, mu: float = 1.0) -> None:
        self.last, self.mu, self.batches = last, mu, []

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        if epoch <= self.last:
            if epoch == self.last:
                self.batches.append(losses.detach())
            return losses.log().sum()
        return self.after(losses, torch.stack(self.batches).mean(0))

    @abstractmethod
    def after(self, losses: Tensor, reference: Tensor) -> Tensor:
        """The scalar to descend afterwards."""


class Tchebycheff(FromAnEpoch):
    def after(self, losses: Tensor, reference: Tensor) -> Tensor:
        return 3 * self.mu * ((losses / reference).log() / self.mu).exp().sum().log()


class ImprovableGap(FromAnEpoch):
    def after(self, losses: Tensor, reference: Tensor) -> Tensor:
        gap = (losses.detach() / reference).exp()
        return (3 * gap / gap.sum() * losses.log()).sum()


class FastAdaptive(Written):
    """The logits by torch's own Adam, their gradient by autograd through the softmax."""

    def __init__(self, rate: float, decay: float) -> None:
        self.logits = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.logits], lr=rate, weight_decay=decay)

    def total(self, losses: Tensor, shared: list[Tensor], step: int, epoch: int) -> Tensor:
        self.before = losses.detach() + 1e-8
        z = self.logits.detach().softmax(0)
        return (z * (losses + 1e-8).log()).sum() / (z / self.before).sum()

    def looked(self, losses: Tensor) -> None:
        fell = self.before.log() - (losses + 1e-8).log()
        with torch.enable_grad():
            (self.logits.grad,) = torch.autograd.grad(self.logits.softmax(0), self.logits, fell)
        self.optimizer.step()


def written() -> list[tuple[str, dict[str, Any], Callable[[], Written], bool]]:
    """Method, options, what is written, and whether losses are normalised."""
    return [
        ("rlw", {}, lambda: RandomWeights("normal"), False),
        ("rlw", {"distribution": "dirichlet"}, lambda: RandomWeights("dirichlet"), False),
        ("cosmos", {}, lambda: Cosine(1.0), False),
        ("cosmos", {"strength": 3.0}, lambda: Cosine(3.0), True),
        ("pbi", {}, lambda: Boundary(5.0), False),
        ("dwa", {}, DynamicAverage, False),
        ("dwa", {}, DynamicAverage, True),
        # The problem's tasks: left (classes), sum and density (regression).
        ("uw", {}, lambda: Uncertainty([1, 0.5, 0.5], 0.0), False),
        ("uw", {"regression": ("sum",)}, lambda: Uncertainty([1, 0.5, 1], 0.0), False),
        ("uw", {"regression": ()}, lambda: Uncertainty([1, 1, 1], 0.0), False),
        (
            "uw",
            {"form": "libmtl", "initial_log_variance": -0.5},
            lambda: Uncertainty([0.5] * 3, -0.5),
            True,
        ),
        ("gls", {}, GeometricMean, False),
        ("scale_invariant", {}, SumOfLogs, False),
        ("imtl_l", {}, Scales, True),
        ("stch", {"warmup": 1}, lambda: Tchebycheff(1), False),
        ("stch", {"warmup": 0, "mu": 0.3}, lambda: Tchebycheff(0, 0.3), True),
        ("igb", {}, lambda: ImprovableGap(1), False),
        ("igb", {"base_epoch": 0}, lambda: ImprovableGap(0), True),
        ("famo", {}, lambda: FastAdaptive(0.025, 0.01), False),
        ("famo", {"learning_rate": 0.2, "decay": 0.1}, lambda: FastAdaptive(0.2, 0.1), True),
    ]


@cache
def plain(normalise: bool) -> Displacement:
    return followed("uniform", {}, normalise=normalise)[0]


@pytest.mark.parametrize(("name", "options", "rule", "normalise"), written())
def test_the_network_moves_as_autograd_on_the_written_loss_moves_it(
    name: str, options: dict[str, Any], rule: Callable[[], Written], normalise: bool
) -> None:
    """Twelve steps in four epochs, in float64."""
    found, _ = followed(name, options, normalise=normalise)
    agree(found, transcribed(rule(), normalise=normalise), TOLERANCE)
    assert difference(found, plain(normalise)) > 1e-4, "it does something"


@pytest.mark.parametrize("normalise", [False, True])
def test_fixed_descends_the_weighted_sum_of_the_losses(normalise: bool) -> None:
    options = {"weights": {"left": 0.5, "density": 3.0}}
    found, _ = followed("fixed", options, normalise=normalise)
    agree(found, transcribed(WeightedSum(), normalise=normalise), TOLERANCE)


@pytest.mark.parametrize("normalise", [False, True])
def test_uniform_descends_the_sum_of_the_losses(normalise: bool) -> None:
    found, _ = followed("uniform", {}, normalise=normalise)
    agree(found, transcribed(PlainSum(), normalise=normalise), TOLERANCE)
