"""What a step of a method asks of the host: on a device each question waits for all before it.

Torch's device without data, `meta`, stands for a GPU: what would be copied is counted.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from counterpoise import registry
from counterpoise.methods._base import Method, Signal, State
from counterpoise.methods._given import Constant
from counterpoise.methods._gramian import LevelMethod

from ..support import method_cases, method_of, signal_of

K, B, D = 4, 7, 6
CASES = method_cases()
every = pytest.mark.parametrize(("name", "options"), CASES)
STEPS = ((9, 1), (50, 4), (61, 6))
"""Steps and their epochs: within warm-ups, at their ends and after them; 50: a lesson of IGBv2."""
SHORT = {"igb_v2": {"every": 2}}
"""Options by which less is computed."""
DECOMPOSED = {"_linalg_svd", "_linalg_eigh", "linalg_matrix_exp"}
"""Of which torch asks on the host whether they converged, or how to go on."""


class Copies(TorchDispatchMode):
    """Counts copies between the host and the device, and gives ones for what comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.count: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        there = any(isinstance(value, Tensor) and value.is_meta for value in args)
        if name == "_local_scalar_dense" and there:
            self.count["question"] += 1
            return args[0].dtype.is_floating_point or args[0].dtype == torch.bool or 1
        if name in DECOMPOSED and there:
            self.count["decomposition"] += 1
        if name == "_to_copy" and there and kwargs.get("device") == torch.device("cpu"):
            self.count["to the host"] += 1
            return torch.ones(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if name == "_to_copy" and not there and kwargs.get("device") == torch.device("meta"):
            self.count["to the device"] += 1
        return func(*args, **kwargs)


class Made(TorchFunctionMode):
    """Counts tensors that are made of Python's numbers on the device: a copy each."""

    def __init__(self, count: Counter[str]) -> None:
        super().__init__()
        self.count = count

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func is torch.Tensor.new_tensor and args[0].is_meta
        made |= func is torch.tensor and str(kwargs.get("device")) == "meta"
        self.count["to the device"] += made
        return func(*args, **kwargs)


def there(tensors: dict[str, Tensor], but: tuple[str, ...] = ()) -> dict[str, Tensor]:
    return {k: v if k in but else v.to("meta") for k, v in tensors.items()}


def asked(method: Method, state: State, step: int, epoch: int) -> Counter[str]:
    """The copies of one step."""
    own = torch.randn(K, B, D, generator=torch.Generator().manual_seed(step))
    shown = signal_of(method, state, own, step=step, epoch=epoch)
    drawn = there(shown.draws, method.host_draws)
    values = {k: v for k, v in vars(shown).items() if isinstance(v, Tensor)}
    seen = Signal(**{**vars(shown), **there(values), "draws": drawn})
    far = there(state)
    with Copies() as copies, Made(copies.count):
        method.represent(far, seen.z)
        method.pull_back(far, seen.task_gradients)
        method.usable(seen.losses)
        _, following = method.combine(far, seen)
        if method.looks_back:
            method.after_step(following, seen.losses)
    assert all(value.is_meta for value in following.values()), "the state has left the device"
    return +copies.count


@every
def test_a_step_asks_the_host_only_where_that_is_declared(
    name: str, options: dict[str, Any]
) -> None:
    method = method_of(name, K, D, **options, **SHORT.get(name, {}))
    state = method.initial_state()
    asked(method, state, 1, 0)  # the options' numbers are sent at the first step
    found = [asked(method, state, *place) for place in STEPS]
    if not method.on_host:
        assert not any(found), found
    elif isinstance(method, LevelMethod):
        assert {count["to the host"] for count in found} == {1}, "one copy for all that is read"
        assert not any(count["question"] or count["decomposition"] for count in found), found


@pytest.mark.parametrize(
    "name", [n for n in registry.names("methods") if registry.method(n).on_host]
)
def test_what_is_declared_to_run_on_the_host_does(name: str) -> None:
    for options in registry.method(name).option_sets():
        method = method_of(name, K, D, **options, **SHORT.get(name, {}))
        if any(asked(method, method.initial_state(), *place) for place in STEPS):
            return
    pytest.fail(f"{name} never asks: drop its `on_host`")


def test_bounds_of_losses_and_their_factors_are_sent_once() -> None:
    given: dict[str, Any] = {
        "famo": {"min_losses": {"task1": 0.1}},
        "uw": {"regression": ("task1",)},
    }
    for name, options in given.items():
        method = method_of(name, K, D, **options)
        first, second = (asked(method, method.initial_state(), step, 0) for step in (3, 4))
        assert set(first) == {"to the device"} and not second, name


def test_a_constant_is_made_once_for_each_device_and_dtype() -> None:
    constant, like = Constant([1.0, 2.5]), torch.zeros(2)
    assert constant.like(like).tolist() == [1.0, 2.5]
    assert constant.like(like) is constant.like(torch.ones(2))
    assert constant.like(like.double()).dtype == torch.float64


def test_rotograd_asks_once_about_the_heads() -> None:
    for translation in ("means", "offset"):
        method = method_of("rotograd", K, D, translation=translation)
        assert asked(method, method.initial_state(), 3, 0)["question"] == 1, translation


def test_draws_that_are_read_once_are_made_once(tmp_path: Any) -> None:
    from counterpoise.training.engine import Replicate

    from ..support import small_cell, small_problem

    made = Replicate(small_problem(small_cell("adversarial")), 0, tmp_path / "state")
    assert made.draws(4, 0) and not made.draws(4, 1)
