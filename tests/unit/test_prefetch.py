"""Inputs that stay on the host: batches that a thread gathers ahead are those taken in place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from counterpoise.datasets import _part
from counterpoise.datasets._part import Part
from counterpoise.spec.augment import Augment
from counterpoise.training import prefetch
from counterpoise.training.engine import Interrupted, Progress, Replicate
from counterpoise.training.prefetch import Prefetch, placed
from counterpoise.training.problem import Problem, outputs_of
from counterpoise.training.replicates import Together

from ..support import same_tensors, small_cell, small_problem

CPU = torch.device("cpu")


def mapped(folder: Path, count: int = 30) -> Part:
    """A part of 2/3 of the pictures of a file that is mapped, in another order."""
    rng = np.random.default_rng(0)
    np.save(folder / "images.npy", rng.integers(0, 256, (count, 5, 4), dtype=np.uint8))
    images = torch.from_numpy(np.load(folder / "images.npy", mmap_mode="c"))[:, None]
    rows = torch.from_numpy(rng.permutation(count)[: 2 * count // 3])
    return Part(images, {"t": torch.arange(len(rows))}, 0.4, 0.2, rows)


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Any:
    yield
    assert threads() == []


@pytest.mark.parametrize("ahead", [1, 2, 3, 50])
@pytest.mark.parametrize("start", [0, 2])
def test_batches_are_those_taken_in_place(ahead: int, start: int, tmp_path: Path) -> None:
    """All are held to the end: none is overwritten by a later one."""
    part = mapped(tmp_path)
    order = torch.randperm(len(part), generator=torch.Generator().manual_seed(1))
    batches = [*torch.split(order, 6), order[:4].reshape(2, 2)]
    with Prefetch(part.to(CPU, resident=False), batches[start:], ahead) as coming:
        held = [coming.take() for _ in batches[start:]]
        with pytest.raises(LookupError):
            coming.take()
    for inputs, index in zip(held, batches[start:], strict=True):
        expected, targets = part.batch(index)
        found, also = part.finished(inputs, index)
        assert torch.equal(found, expected) and same_tensors(also, targets)


def test_no_more_than_asked_wait_for_their_step(tmp_path: Path) -> None:
    part, gathered = mapped(tmp_path), []
    reached = threading.Event()

    class Watched(Part):
        def gathered(self, index: Tensor, out: Tensor | None = None) -> Tensor:
            gathered.append(index)
            if len(gathered) == 2:
                reached.set()
            return super().gathered(index, out)

    watched = Watched(part.inputs, part.targets, rows=part.rows, streamed=True)
    with Prefetch(watched, list(torch.split(torch.arange(20), 2)), ahead=2) as coming:
        assert reached.wait(10)
        coming._thread.join(0.2)
        assert len(gathered) == 2, "the third waits until the first is taken"
        coming.take()
    assert len(gathered) <= 3


def test_what_the_thread_meets_is_raised_where_the_batch_is_awaited(tmp_path: Path) -> None:
    part = mapped(tmp_path).to(CPU, resident=False)
    with Prefetch(part, [torch.arange(3), torch.tensor([99]), torch.arange(3)]) as coming:
        assert coming.take().shape == (3, 1, 5, 4)
        for _ in range(2):
            with pytest.raises(IndexError):
                coming.take()


def test_closing_does_not_wait_for_batches_that_nobody_takes(tmp_path: Path) -> None:
    part = mapped(tmp_path).to(CPU, resident=False)
    coming = Prefetch(part, [torch.arange(3)] * 1000, ahead=1)
    coming.close()
    coming.close()
    assert threads() == []


def test_on_a_cpu_data_stay_in_place_and_no_thread_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = mapped(tmp_path)
    there = placed(part, CPU)
    assert not there.streamed and there.inputs is part.inputs and there.rows is part.rows

    def never(*_: Any) -> None:
        raise AssertionError("a thread was started")

    monkeypatch.setattr(threading.Thread, "start", never)
    one = Replicate(small_problem(small_cell(epochs=1)), 0, tmp_path / "state")
    one.run(lambda _: None, lambda: False)


@pytest.mark.parametrize(("free", "streamed"), [(1000, False), (400, True)])
def test_what_fits_a_share_of_free_memory_is_resident(
    free: int, streamed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """20 pictures of 20 bytes."""
    part = mapped(tmp_path)
    assert part.nbytes == 400
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10 * free))
    assert prefetch.fits(part, torch.device("cuda")) is not streamed


@pytest.mark.parametrize("rows", [True, False])
def test_a_device_is_filled_in_blocks(
    rows: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never more than a block of the inputs is made on the host."""
    monkeypatch.setattr(_part, "BLOCK_BYTES", 60)
    part = mapped(tmp_path)
    if not rows:
        part = replace(part, inputs=part.inputs[part.rows], rows=None)
    assert torch.equal(part._copied(CPU), part.gathered(torch.arange(20)))
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            nonlocal largest
            made = func(*args, **(kwargs or {}))
            if isinstance(made, Tensor) and made.device == CPU and made.dtype == torch.uint8:
                fresh = made.untyped_storage().data_ptr() != storage
                largest = max(largest, made.nbytes if fresh else 0)
            return made

    storage = part.inputs.untyped_storage().data_ptr()
    with Watch():
        there = part.to(torch.device("meta"))
    assert there.inputs.device.type == "meta" and there.rows is None and len(there) == 20
    assert there.inputs.shape == (20, 1, 5, 4) and largest <= 60


def streaming(problem: Problem) -> Problem:
    parts = {name: part.to(CPU, resident=False) for name, part in problem.parts.items()}
    return replace(problem, parts=parts)


def weights(replicates: list[Replicate]) -> list[dict[str, Tensor]]:
    return [replicate.best["tensors"] for replicate in replicates]


def made(problem: Problem, folder: Path, save_every: float = 1e9) -> list[Replicate]:
    return [Replicate(problem, s, folder / f"seed-{s}", save_every) for s in (0, 1)]


def run(replicates: list[Replicate], together: bool, stop: Callable[[], bool]) -> None:
    def nothing(_: Progress) -> None:
        pass

    if together:
        Together(replicates).run(nothing, stop)
    else:
        for replicate in replicates:
            replicate.run(nothing, stop)


@pytest.mark.parametrize("together", [False, True])
def test_training_ends_with_the_same_weights(together: bool, tmp_path: Path) -> None:
    """With images that are changed at random, and a last batch of another size."""
    augment = Augment(rotation=20, flip=0.5)
    plain = small_problem(small_cell("gradnorm", augment=augment, batch_size=12))
    one, other = made(plain, tmp_path / "a"), made(streaming(plain), tmp_path / "b")
    run(one, together, lambda: False)
    run(other, together, lambda: False)
    for own, found in zip(weights(one), weights(other), strict=True):
        assert same_tensors(own, found)
    part, last = plain.parts["validation"], one[0]
    outputs = [
        outputs_of(last.network, last.method, last.method_state, p)
        for p in (part, part.to(CPU, resident=False))
    ]
    assert all(torch.equal(a, b) for a, b in zip(*outputs, strict=True))


@pytest.mark.parametrize("together", [False, True])
def test_a_run_that_was_stopped_in_an_epoch_goes_on(together: bool, tmp_path: Path) -> None:
    """Stopped after the second of four batches of the first epoch, and the thread has ended."""
    plain = small_problem(small_cell(batch_size=10))
    one = made(plain, tmp_path / "a")
    run(one, together, lambda: False)
    stopped, steps = made(streaming(plain), tmp_path / "b"), iter(range(100))
    with pytest.raises(Interrupted):
        run(stopped, together, lambda: next(steps) == 1)
    assert threads() == [] and stopped[0].batch == 2
    again = made(streaming(plain), tmp_path / "b")
    resumed = [replicate.resume() for replicate in again]
    assert resumed[0] and again[0].batch == 2
    run(again, together, lambda: False)
    for own, found in zip(weights(one), weights(again), strict=True):
        assert same_tensors(own, found)


@pytest.mark.parametrize("together", [False, True])
def test_an_error_of_the_thread_ends_training(together: bool, tmp_path: Path) -> None:
    plain = streaming(small_problem(small_cell(batch_size=10)))
    plain.parts["train"].inputs = plain.parts["train"].inputs[:5]  # a file that was cut
    plain.parts["train"].rows = torch.arange(40)
    with pytest.raises(IndexError):
        run(made(plain, tmp_path), together, lambda: False)


def test_a_run_that_comes_to_a_bad_end_leaves_no_thread(tmp_path: Path) -> None:
    plain = streaming(small_problem(small_cell(batch_size=10, learning_rate=1e30, optimizer="sgd")))
    replicates = made(plain, tmp_path)
    run(replicates, False, lambda: False)
    assert replicates[0].trouble is not None


class Streams:
    """CUDA's order of work in small: a copy happens when the host waits for its event, or at last."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.waiting: list[Callable[[], object]] = []
        self.chosen: list[torch.device] = []
        self.pinned: list[bool] = []
        self.recorded: list[Tensor] = []
        self.awaited: list[Any] = []
        streams, empty, copy_ = self, torch.empty, Tensor.copy_

        class Event:
            def record(self, _: Any) -> None:
                self.work, streams.waiting = streams.waiting, []

            def synchronize(self) -> None:
                while self.work:
                    self.work.pop(0)()

        class Stream:
            def __init__(self, *_: Any) -> None:
                pass

            def wait_event(self, event: Event) -> None:
                streams.awaited.append(event)

        def choose(device: torch.device) -> Any:
            streams.chosen.append(device)
            return nullcontext()

        def made(*shape: Any, dtype: Any, pin_memory: bool = False, device: Any = None) -> Tensor:
            if device is None:
                streams.pinned.append(pin_memory)
            return empty(*shape, dtype=dtype)

        def later(self: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
            assert non_blocking
            streams.waiting.append(partial(copy_, self, source))
            return self

        patch.setattr(torch, "empty", made)
        patch.setattr(Tensor, "copy_", later)
        patch.setattr(Tensor, "record_stream", lambda t, _: streams.recorded.append(t))
        patch.setattr(torch.cuda, "Event", Event)
        patch.setattr(torch.cuda, "Stream", Stream)
        patch.setattr(torch.cuda, "device", choose)
        patch.setattr(torch.cuda, "stream", lambda _: nullcontext())
        patch.setattr(torch.cuda, "current_stream", lambda _: Stream())


@pytest.mark.parametrize("ahead", [1, 2, 3])
def test_memory_is_used_again_only_after_its_copy(
    ahead: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With streams that put every copy off as long as they may; the device is the data's own."""
    part, there = mapped(tmp_path), torch.device("cuda", 1)

    class Away(Part):
        @property
        def device(self) -> torch.device:
            return there

    batches = [torch.randperm(20)[:5] for _ in range(9)]
    expected = [part.gathered(index) for index in batches]
    with monkeypatch.context() as patch:
        streams = Streams(patch)
        away = Away(part.inputs, part.targets, rows=part.rows, streamed=True)
        with Prefetch(away, batches, ahead) as coming:
            found = [coming.take() for _ in batches]
        for event in streams.awaited:
            event.synchronize()
    assert len(streams.awaited) == len(batches)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
    assert streams.chosen == [there] and streams.pinned == [True] * ahead
    assert [id(t) for t in streams.recorded] == [id(t) for t in found]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("together", [False, True])
def test_on_a_gpu_streamed_batches_are_the_resident_ones(together: bool, tmp_path: Path) -> None:
    there = torch.device("cuda", torch.cuda.device_count() - 1)
    part = mapped(tmp_path, 3000)
    order = list(torch.split(torch.randperm(len(part)), 100))
    with Prefetch(part.to(there, resident=False), order, ahead=3) as coming:
        held = [coming.take() for _ in order]
    whole = part.to(there)
    assert all(torch.equal(h, whole.gathered(i)) for h, i in zip(held, order, strict=True))
    plain, found = small_problem(small_cell("gradnorm", batch_size=12)), []
    for resident in (True, False):
        parts = {n: p.to(there, resident=resident) for n, p in plain.parts.items()}
        replicates = made(replace(plain, parts=parts, device=there), tmp_path / str(resident))
        run(replicates, together, lambda: False)
        found.append(weights(replicates))
    for own, other in zip(*found, strict=True):
        for name, value in own.items():
            torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4)
