"""What every method must do, whatever its rule."""

from __future__ import annotations

import copy
import io
import re
from dataclasses import dataclass, fields
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from counterpoise import registry
from counterpoise.methods._base import (
    Combined,
    Epoch,
    Method,
    Property,
    Shape,
    Signal,
    SignalKind,
    State,
)
from counterpoise.training.step import train_step

from ..support import (
    error_of,
    method_cases,
    method_of,
    random_signals,
    received,
    same_tensors,
    signal_of,
    small_cell,
    small_problem,
)

K, B, D = 4, 7, 6
CASES = method_cases()
every = pytest.mark.parametrize(("name", "options"), CASES)


def made(name: str, options: dict[str, Any], tasks: int = K) -> Method:
    return method_of(name, tasks, D, **options)


def promising(promise: Property) -> Any:
    """The cases that promise this."""
    chosen = [case for case in CASES if promise in made(*case.values).properties]
    return pytest.mark.parametrize(("name", "options"), chosen)


def draws(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def signal(
    method: Method, state: State, seed: int = 5, scale: float = 1.0, step: int = 9
) -> Signal:
    tasks = method.shape.tasks
    return signal_of(
        method, state, draws(seed, tasks, B, D) * scale, z=draws(seed + 1, B, D),
        losses=draws(seed + 2, tasks).abs() + 0.5, step=step,
    )  # fmt: skip


_USED: dict[tuple[type[Method], str, int], State] = {}


def used(method: Method) -> State:
    """A state that some steps have led to; made once, as a test below holds methods to change none."""
    key = (type(method), method.options.model_dump_json(), method.shape.tasks)
    if key not in _USED:
        _USED[key] = random_signals(method, method.initial_state(), 9, batch=B)
    return dict(_USED[key])


# Words ---------------------------------------------------------------------------------------


SOURCE = re.compile(
    r"\b(papers?|code|LibMTL|TorchJD|ASTMT|Algorithm \d|Eq|submission|Table \d|authors?|et al|section|"
    r"ours|usual|notebook|library|appendix)\b"
)
"""Words by which an option says where its default is from."""


@pytest.mark.parametrize("name", registry.names("methods"))
def test_a_method_explains_itself_and_its_options(name: str) -> None:
    """Its docstring becomes its card in the report, its options the schema's descriptions."""
    module, kind = registry.find("methods", name), registry.method(name)
    assert module.__doc__ and len(module.__doc__) > 100
    assert kind.label and kind.signal in get_args(SignalKind)
    for options in kind.option_sets():
        assert made(name, options).properties <= set(get_args(Property))
    for option, info in kind.Options.model_fields.items():
        assert info.description and SOURCE.search(info.description), f"{option}: whose default?"
        assert not info.is_required(), "the defaults are the paper's"


def test_an_unknown_method_is_told_with_the_nearest() -> None:
    assert error_of(lambda: registry.method("gradnrom")).remedy == "did you mean 'gradnorm'?"
    assert error_of(lambda: registry.find("methods", "_leader")).remedy


# State ---------------------------------------------------------------------------------------


@every
def test_the_state_is_tensors_and_survives_a_safe_checkpoint(
    name: str, options: dict[str, Any]
) -> None:
    method = made(name, options)
    state = used(method)
    assert state.keys() == method.initial_state().keys()
    assert all(isinstance(value, Tensor) for value in state.values())
    assert {k: (v.shape, v.dtype) for k, v in state.items()} == {
        k: (v.shape, v.dtype) for k, v in method.initial_state().items()
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    again = torch.load(buffer, weights_only=True)
    assert same_tensors(state, again)
    one, other = (method.combine(s, signal(method, s))[1] for s in (state, again))
    assert same_tensors(one, other)


@every
def test_combine_changes_nothing_that_it_is_given(name: str, options: dict[str, Any]) -> None:
    method = made(name, options)
    state = used(method)
    shown = signal(method, state)
    before, again = copy.deepcopy((state, shown)), copy.deepcopy(shown)
    first = method.combine(state, shown)
    second = method.combine(state, again)
    assert same_tensors(state, before[0])
    for field in fields(Signal):
        value = getattr(shown, field.name)
        # The Jacobian's memory is the method's: there may be no room for another.
        if isinstance(value, Tensor) and field.name != "jacobian":
            assert torch.equal(value, getattr(before[1], field.name)), field.name
    assert torch.equal(first[0].weights, second[0].weights)
    assert same_tensors(first[1], second[1])


@every
def test_nothing_carries_a_graph(name: str, options: dict[str, Any]) -> None:
    method = made(name, options)
    state = used(method)
    combined, following = method.combine(state, signal(method, state))
    values = [combined.weights, *following.values()]
    assert not any(value.requires_grad for value in values)


@every
def test_two_methods_of_one_kind_share_nothing(name: str, options: dict[str, Any]) -> None:
    one, other = made(name, options), made(name, options)
    expected = random_signals(one, one.initial_state(), 2)
    random_signals(other, other.initial_state(), 1)
    assert same_tensors(random_signals(one, one.initial_state(), 2), expected)


# What a method may see -----------------------------------------------------------------------


@dataclass(frozen=True)
class Blind:
    """A signal of a cheaper engine: losses, whether they are known, and where one is; no gradients."""

    losses: Tensor
    draws: dict[str, Tensor]
    step: int = 9
    epoch: int = 1
    known: Tensor | None = None

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a method of signal `losses` reads {name}")


@pytest.mark.parametrize(
    ("name", "options"),
    [case for case in CASES if registry.method(case.values[0]).signal == "losses"],
)
def test_methods_that_say_they_need_losses_read_no_gradients(
    name: str, options: dict[str, Any]
) -> None:
    method = made(name, options)
    drawn = method.draw(torch.Generator().manual_seed(1), B)
    blind: Any = Blind(draws(3, K).abs(), drawn)
    combined, _ = method.combine(method.initial_state(), blind)
    assert combined.weights.shape == (K,)
    assert combined.shared is None and combined.trunk is None, "it has seen no gradient"


# Transform -----------------------------------------------------------------------------------


@every
def test_pull_back_is_the_derivative_of_represent(name: str, options: dict[str, Any]) -> None:
    """Held to autograd: the vector-Jacobian product of z -> z^k, for every task and item."""
    method = made(name, options)
    state = used(method)
    z = draws(1, B, D).requires_grad_()
    own = draws(2, K, B, D)
    representations = method.represent(state, z)
    assert representations.shape == (K, B, D)
    pulled = method.pull_back(state, own)
    for k in range(K):
        (expected,) = torch.autograd.grad(representations[k], z, own[k], retain_graph=True)
        # Sums of six products in float32.
        torch.testing.assert_close(pulled[k], expected, rtol=1e-5, atol=1e-6)


@every
def test_represent_treats_items_one_by_one(name: str, options: dict[str, Any]) -> None:
    """It is used in evaluation, where batches are others than in training."""
    method = made(name, options)
    state, z = used(method), draws(1, B, D)
    together = method.represent(state, z)
    alone = torch.cat([method.represent(state, item[None]) for item in z], dim=1)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


# Decisions -----------------------------------------------------------------------------------


@every
def test_a_decision_is_one_of_the_forms_that_there_are(name: str, options: dict[str, Any]) -> None:
    method = made(name, options)
    state = used(method)
    shown = signal(method, state)
    combined, _ = method.combine(state, shown)
    assert combined.weights.shape == (K,)
    forms = [combined.mixing, combined.shared, combined.trunk]
    assert sum(form is not None for form in forms) <= 1
    if method.signal in ("gramian", "jacobian"):
        assert combined.shared is None, "the graph of Z is used up by then"
    else:
        assert combined.trunk is None
    gradient, rows = received(method, shown, combined)
    assert gradient.shape == rows.shape[1:]
    assert combined.gradients.keys() == set(method.trained)
    for key, value in combined.gradients.items():
        assert value.shape == state[key].shape


@promising("weighted_loss")
def test_the_shared_gradient_is_that_of_the_weighted_loss(
    name: str, options: dict[str, Any]
) -> None:
    method = made(name, options)
    state = used(method)
    shown = signal(method, state)
    combined, _ = method.combine(state, shown)
    found, rows = received(method, shown, combined)
    torch.testing.assert_close(found, combined.weights @ rows, rtol=1e-5, atol=1e-5)


@promising("neutral_start")
def test_the_first_step_is_that_of_uniform_weights(name: str, options: dict[str, Any]) -> None:
    method = made(name, options)
    state, z = method.initial_state(), draws(4, B, D)
    torch.testing.assert_close(method.represent(state, z), z.expand(K, B, D))
    own = draws(5, K, B, D)
    assert torch.equal(method.pull_back(state, own), own)
    shown = signal_of(method, state, own, z=z)
    combined, _ = method.combine(state, shown)
    assert torch.equal(combined.weights, torch.ones(K))
    found, rows = received(method, shown, combined)
    torch.testing.assert_close(found, rows.sum(0))


@promising("weights_sum_to_tasks")
def test_weights_stay_positive_and_sum_to_the_number_of_tasks(
    name: str, options: dict[str, Any]
) -> None:
    """Also when one task's gradient is a thousand times the others', step after step."""
    method = made(name, options)
    state = method.initial_state()
    for step in range(30):
        own = draws(step, K, B, D) * UNEVEN
        shown = signal_of(method, state, own, losses=draws(step, K).abs() + 0.1, step=step)
        combined, state = method.combine(state, shown)
        assert float(combined.weights.min()) > 0
        # Rescaled in float32 at every step.
        assert float(combined.weights.sum()) == pytest.approx(K, rel=1e-5)


@promising("equal_tasks_equal_weights")
def test_tasks_that_cannot_be_told_apart_are_treated_alike(
    name: str, options: dict[str, Any]
) -> None:
    method = made(name, options)
    state = method.initial_state()
    for step in range(5):
        own = draws(8, 1, B, D).repeat(K, 1, 1)  # always the same: some methods remember
        shown = signal_of(method, state, own, losses=torch.full((K,), 0.7), step=step)
        combined, state = method.combine(state, shown)
        for values in (combined.weights, combined.mixing):
            if values is not None:
                torch.testing.assert_close(values, values.mean().expand(K), rtol=1e-5, atol=1e-7)
        found, rows = received(method, shown, combined)
        cosine = torch.nn.functional.cosine_similarity(found, rows[0], dim=0)
        assert float(cosine) == pytest.approx(1, abs=1e-5)


@dataclass(frozen=True)
class Taken:
    """A step of a course.

    Attributes:
        combined: what was decided.
        shared: what the shared parameters receive.
        rows: the tasks' own gradients there.
    """

    combined: Combined
    shared: Tensor
    rows: Tensor


COURSE = ((0, 0), (1, 0), (2, 1), (3, 2), (4, 6))
"""Steps and their epochs: the first ones, and those after warm-ups."""


def course(
    method: Method, *, gradient: float = 1.0, loss: float = 1.0, sizes: Tensor | float = 1.0
) -> list[Taken]:
    """Some steps with the second task's gradient and loss times a factor, all along.

    Args:
        sizes: factors of all gradients.
    """
    state, taken = method.initial_state(), []
    for step, epoch in COURSE:
        own, losses = draws(step, K, B, D) * sizes, draws(step + 50, K).abs() + 0.5
        own[1] *= gradient
        losses[1] *= loss
        shown = signal_of(
            method, state, own, losses=losses, z=draws(step + 70, B, D), step=step, epoch=epoch
        )
        combined, state = method.combine(state, shown)
        taken.append(Taken(combined, *received(method, shown, combined)))
        if method.looks_back:
            state = method.after_step(state, losses * (0.9 + draws(step + 90, K).abs() / 10))
    return taken


def assert_same_directions(one: list[Taken], other: list[Taken]) -> None:
    for mine, reference in zip(one, other, strict=True):
        cosine = torch.nn.functional.cosine_similarity(mine.shared, reference.shared, dim=0)
        assert float(cosine) == pytest.approx(1, abs=1e-4)


@promising("blind_to_gradient_scale")
def test_the_scale_of_one_tasks_gradient_changes_no_direction(
    name: str, options: dict[str, Any]
) -> None:
    method = made(name, options)
    assert_same_directions(course(method, gradient=50), course(method))


@promising("blind_to_loss_scale")
def test_the_scale_of_one_tasks_loss_changes_no_direction(
    name: str, options: dict[str, Any]
) -> None:
    method = made(name, options)
    assert_same_directions(course(method, gradient=50, loss=50), course(method))


UNEVEN = torch.tensor([1000.0, 1.0, 0.1, 5.0])[:, None, None]


@promising("weights_sum_to_one")
def test_weights_of_the_shared_gradient_sum_to_one(name: str, options: dict[str, Any]) -> None:
    method = made(name, options)
    for taken in (*course(method), *course(method, sizes=UNEVEN)):
        combined = taken.combined
        assert combined.shared is None and combined.trunk is None
        weights = combined.weights if combined.mixing is None else combined.mixing
        assert float(weights.sum()) == pytest.approx(1, abs=1e-5)


@promising("never_lengthens")
def test_the_shared_gradient_is_no_longer_than_all_gradients_together(
    name: str, options: dict[str, Any]
) -> None:
    """Also where all are tiny, and where they are one and the same."""
    method = made(name, options)
    steps = [t for sizes in (1.0, UNEVEN, 1e-6) for t in course(method, sizes=sizes)]
    state, own = method.initial_state(), draws(1, 1, B, D).repeat(K, 1, 1)
    shown = signal_of(method, state, own)
    combined, _ = method.combine(state, shown)
    for taken in (*steps, Taken(combined, *received(method, shown, combined))):
        assert float(taken.shared.norm()) <= float(taken.rows.norm(dim=1).sum()) * (1 + 1e-5)


@promising("never_conflicts")
def test_no_task_is_worked_against(name: str, options: dict[str, Any]) -> None:
    method = made(name, options)
    for seed in range(40):
        state = method.initial_state()
        shown = signal_of(method, state, draws(seed, K, B, D), losses=draws(seed, K).abs() + 0.5)
        found, rows = received(method, shown, method.combine(state, shown)[0])
        products = rows @ found / (rows.norm(dim=1) * found.norm()).clamp(min=1e-30)
        # Rounding in float32, and a solver that stops a little short of the boundary.
        assert float(products.min()) > -1e-6


def permuted(state: State, order: Tensor) -> State:
    """The state with its tasks in another order: what has one entry a task is reordered."""

    def moved(value: Tensor) -> Tensor:
        for axis, size in enumerate(value.shape):
            if size == K:
                value = value.index_select(axis, order)
        return value

    return {k: moved(v) for k, v in state.items()}


@every
def test_the_order_of_the_tasks_is_no_matter(name: str, options: dict[str, Any]) -> None:
    method = made(name, options)
    order = torch.tensor([2, 0, 3, 1])
    state = method.initial_state()
    other = permuted(state, order)
    matters = False
    for step in range(6):
        own, z = draws(step, K, B, D), draws(step + 50, B, D)
        losses = draws(step + 90, K).abs() + 0.5
        more = {"z": z, "step": step, "epoch": step}
        shown = signal_of(method, state, own, losses=losses, **more)
        turned = signal_of(
            method, other, own[order], losses=losses[order], draws=permuted(shown.draws, order),
            **more,
        )  # fmt: skip
        one, state = method.combine(state, shown)
        two, other = method.combine(other, turned)
        given, expected = received(method, turned, two)[0], received(method, shown, one)[0]
        if method.ordered:
            matters = matters or not torch.allclose(given, expected, rtol=1e-3, atol=1e-4)
        else:  # sums over tasks in another order
            torch.testing.assert_close(two.weights, one.weights[order], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(given, expected, rtol=1e-3, atol=1e-4)
    assert matters == bool(method.ordered), "drop its `ordered`"
    torch.testing.assert_close(
        method.represent(other, draws(7, B, D)),
        method.represent(state, draws(7, B, D))[order],
        rtol=1e-4,
        atol=1e-4,
    )


EVERY, ONE = torch.ones(K), torch.tensor([0.0, 0.0, 1.0, 0.0])
SCALED = {
    "gradients": (EVERY, 0 * EVERY),
    "losses and gradients": (EVERY, EVERY),
    "one loss and its gradient": (ONE, ONE),
}
"""Of which tasks the gradient is scaled, and of which the loss."""


@every
@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12, 1e20])
def test_losses_and_gradients_of_any_size_leave_all_finite(
    name: str, options: dict[str, Any], size: float
) -> None:
    """Zero for a task that is solved, tiny at the end of a training, huge before it diverges.

    A loss that is outside of the method's range is named by ``usable``; the run ends there.
    """
    method = made(name, options)
    for what, tasks in SCALED.items():
        gradient, loss = (size**scaled for scaled in tasks)  # a factor of one where none is asked
        state = method.initial_state()
        for step, epoch in ((0, 0), (1, 6)):
            own, losses = draws(step, K, B, D), draws(step + 2, K).abs() + 0.5
            own, losses = own * gradient[:, None, None], losses * loss
            usable = method.usable(losses)
            assert usable[losses > 0].all()
            if not usable.all():
                break
            z = draws(step + 1, B, D)
            shown = signal_of(method, state, own, losses=losses, z=z, step=step, epoch=epoch)
            combined, state = method.combine(state, shown)
            if method.looks_back:
                state = method.after_step(state, losses)
            forms = (combined.mixing, combined.shared, combined.trunk, combined.through_gradients)
            decided = [value for value in forms if value is not None]
            for value in (combined.weights, *decided, *combined.gradients.values()):
                assert torch.isfinite(value).all(), what
            for key, value in state.items():
                assert torch.isfinite(value).all(), f"{key}, {what}"
        assert torch.isfinite(method.represent(state, draws(1, B, D))).all()


@every
def test_losses_that_come_to_exactly_zero_leave_all_finite(
    name: str, options: dict[str, Any]
) -> None:
    """All tasks are solved to the last digit, after steps at which they were not."""
    method = made(name, options)
    state, zero = method.initial_state(), torch.zeros(K)
    if not method.usable(zero).all():
        return
    for step, size in ((0, 1.0), (1, 1.0), (2, 0.0), (3, 0.0)):
        own, losses = draws(step, K, B, D) * size, (draws(step + 2, K).abs() + 0.5) * size
        shown = signal_of(method, state, own, losses=losses, z=draws(step + 1, B, D), step=step)
        combined, state = method.combine(state, shown)
        if method.looks_back:
            state = method.after_step(state, losses)
        assert torch.isfinite(received(method, shown, combined)[0]).all()
        for values in (combined.weights, *combined.gradients.values(), *state.values()):
            assert torch.isfinite(values).all(), f"step {step}"


@every
def test_one_task_without_gradient_leaves_a_finite_state(
    name: str, options: dict[str, Any]
) -> None:
    method = made(name, options)
    state = method.initial_state()
    own = draws(1, K, B, D)
    own[2] = 0
    for step in range(3):
        shown = signal_of(method, state, own, step=step)
        combined, state = method.combine(state, shown)
        assert torch.isfinite(received(method, shown, combined)[0]).all()
        # Its head may have a gradient all the same: where the head's weights are zero.
        assert torch.isfinite(combined.weights).all()
        assert float(combined.weights.abs().max()) < 100
    assert all(torch.isfinite(value).all() for value in state.values())


@promising("plain_with_one_task")
def test_with_one_task_a_method_is_plain_training(name: str, options: dict[str, Any]) -> None:
    """There is nothing to balance: the network moves as with uniform weights, epoch after epoch."""

    def trained(method_name: str, chosen: dict[str, Any]) -> dict[str, Tensor]:
        cell = small_cell(method_name, options=chosen, tasks=("sum",))
        problem = small_problem(cell)
        network, method = problem.build(0)
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
        state, normaliser = method.initial_state(), None
        for step in range(10):
            inputs, targets = problem.parts["train"].batch(
                torch.arange(4 * step, 4 * step + 4) % 40
            )
            optimizer.zero_grad()
            state, normaliser, _ = train_step(
                network, method, state, problem.tasks, problem.losses(), normaliser,
                inputs, targets, normalise=True, step=step, epoch=step // 4,
                draws=method.draw(torch.Generator().manual_seed(step), len(inputs)),
            )  # fmt: skip
            optimizer.step()
            if step % 4 == 3:
                told = (
                    torch.rand(1, generator=torch.Generator().manual_seed(step)) for _ in "1234"
                )
                state = method.end_of_epoch(state, Epoch(*told, step // 4))
        return dict(network.state_dict())

    found, expected = trained(name, options), trained("uniform", {})
    for key, value in expected.items():
        # A rotation by nothing is a matrix product in float32; ten steps of it.
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)


@every
def test_a_method_may_see_a_last_batch_of_another_size(name: str, options: dict[str, Any]) -> None:
    method = made(name, options)
    state = used(method)
    shown = signal_of(method, state, draws(1, K, 1, D), z=draws(2, 1, D), step=20)
    combined, following = method.combine(state, shown)
    assert combined.weights.shape == (K,)
    assert {k: v.shape for k, v in following.items()} == {k: v.shape for k, v in state.items()}


# Epochs --------------------------------------------------------------------------------------


def epoch_of(seed: int, number: int, order: Tensor | None = None) -> Epoch:
    values = [draws(seed + i, K).abs() / 4 + 0.1 for i in range(4)]
    chosen = values if order is None else [value[order] for value in values]
    return Epoch(*chosen, number)


@every
def test_the_end_of_an_epoch_is_a_pure_function(name: str, options: dict[str, Any]) -> None:
    method = made(name, options)
    state = used(method)
    before = copy.deepcopy(state)
    for number in range(3):
        told = epoch_of(7, number)
        following = method.end_of_epoch(state, told)
        assert same_tensors(state, before)
        assert same_tensors(following, method.end_of_epoch(state, epoch_of(7, number)))
        assert {k: (v.shape, v.dtype) for k, v in following.items()} == {
            k: (v.shape, v.dtype) for k, v in state.items()
        }
        assert all(torch.isfinite(value).all() for value in following.values())


@every
def test_the_order_of_the_tasks_is_no_matter_to_an_epoch(
    name: str, options: dict[str, Any]
) -> None:
    method = made(name, options)
    order = torch.tensor([2, 0, 3, 1])
    state = method.initial_state()
    other = permuted(state, order)
    for number in range(4):
        state = method.end_of_epoch(state, epoch_of(number, number))
        other = method.end_of_epoch(other, epoch_of(number, number, order))
    one, _ = method.combine(state, signal(method, state))
    # Sums over tasks in another order.
    expected = permuted(state, order)
    for key, value in other.items():
        torch.testing.assert_close(value, expected[key], rtol=1e-6, atol=1e-7)
    assert torch.isfinite(one.weights).all()


@pytest.mark.parametrize("name", registry.names("methods"))
def test_what_is_kept_is_all_that_representations_need(name: str) -> None:
    method = made(name, {})
    state = used(method)
    kept = {key: state[key] for key in method.kept}
    z = draws(1, B, D)
    assert torch.equal(method.represent(kept, z), method.represent(state, z))


def test_the_base_is_uniform_and_whole() -> None:
    class Plain(Method):
        signal = "losses"

    method = Plain(Method.Options(), Shape(K, D, (D,), ("a", "b", "c", "d")))
    combined, state = method.combine({}, signal(method, {}))
    assert isinstance(combined, Combined) and torch.equal(combined.weights, torch.ones(K))
    assert state == {}
