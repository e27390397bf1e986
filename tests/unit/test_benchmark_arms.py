"""What benchmarks do where something is missing or does not fit, and on a GPU, rehearsed on a CPU."""

from __future__ import annotations

import itertools
import json
import math
from types import SimpleNamespace

import pytest
import torch

from benchmarks import libmtl, loading, machine, ratios, speed, tables
from benchmarks.ratios import Absent, Ended, OutOfTime, Spent, interleaved
from benchmarks.work import Work
from counterpoise.errors import UserError
from counterpoise.workflow import MEMORY

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 1)


class Gpu:
    """torch.cuda's accounts of a device on which arms take time and memory."""

    def __init__(self) -> None:
        self.held = self.most = 0
        self.now = 0.0
        self.waited: list[torch.device] = []

    def allocate(self, count: int) -> None:
        self.held += count
        self.most = max(self.most, self.held)

    def reset(self, device: torch.device) -> None:
        self.most = self.held


@pytest.fixture
def gpu(monkeypatch):
    made = Gpu()
    own = {
        "synchronize": lambda device: made.waited.append(device),
        "memory_allocated": lambda device: made.held,
        "max_memory_allocated": lambda device: made.most,
        "reset_peak_memory_stats": made.reset,
        "empty_cache": lambda: None,
    }
    for name, function in own.items():
        monkeypatch.setattr(torch.cuda, name, function)
    monkeypatch.setattr(ratios.time, "perf_counter", lambda: made.now)
    return made


def test_memory_on_a_gpu_is_the_peak_above_what_was_there(gpu):
    def arm(own: int, step: int):
        def make():
            gpu.allocate(own)  # weights and data

            def call():
                gpu.allocate(step)
                gpu.held -= step
                gpu.now += 0.01

            return call

        return make

    found = interleaved({"large": arm(500, 70), "small": arm(300, 20)}, 2, None, CUDA)
    assert {name: one.memory for name, one in found.items()} == {"large": 70, "small": 20}


def test_the_given_device_is_awaited(gpu):
    ratios.clock(CUDA)
    assert gpu.waited == [CUDA]


@pytest.mark.parametrize(
    ("seconds", "calls"), [(0.001, ratios.MOST), (0.0105, 20), (1.0, ratios.LEAST)]
)
def test_steps_on_a_gpu_follow_each_other_without_a_wait(gpu, seconds, calls):
    counted = itertools.count()

    def make():
        def call():
            next(counted)
            gpu.now += seconds

        return call

    found = interleaved({"arm": make}, 3, None, CUDA)
    assert next(counted) == 2 + 1 + 3 * calls
    assert found["arm"].seconds == pytest.approx([seconds] * 3)


def raising(error: Exception, after: int = 0):
    """Makes a step that raises from some call on."""

    def make():
        calls = itertools.count()

        def call():
            if next(calls) >= after:
                raise error

        return call

    return make


def raising_from(cause: Exception, error: Exception):
    """Makes a step that raises the second because of the first."""
    error.__cause__ = cause
    return raising(error)


def test_what_does_not_fit_or_is_not_there_is_a_row_and_the_others_go_on():
    arms = {
        "fits": lambda: lambda: math.factorial(2000),
        "large": raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")),
        "grows": raising(torch.OutOfMemoryError("CUDA out of memory."), after=3),
        "host": raising(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")),
        "elsewhere": raising(Absent("no checkout of LibMTL")),
        "library": raising(ModuleNotFoundError("No module named 'torchjd'")),
        "solver": raising_from(ImportError("quadprog"), UserError("not installed")),
        "diverged": raising(Ended("non-finite loss")),
        "broken": raising(ValueError("a | b\nc")),
    }
    found = interleaved(arms, 2, 1, CPU)
    assert {name: one.failure for name, one in found.items()} == {
        "fits": "",
        "large": "out of memory",
        "grows": "out of memory",
        "host": "out of memory",
        "elsewhere": "absent: no checkout of LibMTL",
        "library": "absent: No module named 'torchjd'",
        "solver": "absent: not installed",
        "diverged": "ended: non-finite loss",
        "broken": "failed: ValueError: a / b",
    }
    assert [name for name, one in found.items() if one.failed] == ["broken"]
    assert len(found["fits"].seconds) == 2
    table = tables.ratios("title", found, "fits")
    assert [row[1:] for row in table.rows if row[0] == "large"] == [("out of memory", "-", "-")]
    assert table.failed
    assert tables.read(json.loads(json.dumps(table.plain()))) == table


def test_a_reference_that_does_not_fit_leaves_times_without_ratios():
    spent = {"floor": Spent(failure="out of memory"), "arm": Spent([0.002, 0.002])}
    rows = tables.ratios("title", spent, "floor").rows
    assert rows == [("floor", "out of memory", "-", "-"), ("arm", "2.0", "-", "-")]
    peaks = tables.memory("title", {"floor": "out of memory", "arm": 3 << 20}, "floor").rows
    assert peaks == [("floor", "out of memory", "-"), ("arm", "3", "-")]


def test_memory_of_an_arm_that_failed_is_given_back():
    alive = set()

    class Large:
        def __init__(self):
            alive.add(id(self))

        def __del__(self):
            alive.discard(id(self))

    def make():
        held = Large()

        def call():
            raise torch.OutOfMemoryError(f"CUDA out of memory {held}")

        return call

    seen = []
    interleaved({"large": make, "next": lambda: lambda: seen.append(len(alive))}, 1, 1, CPU)
    assert set(seen) == {0}


def test_time_that_is_up_ends_a_measurement():
    with pytest.raises(OutOfTime):
        interleaved({"arm": lambda: lambda: None}, 2, 1, CPU, until=0.0)


@pytest.mark.parametrize(
    ("others", "word"),
    [([1.9, 2.0, 2.1], "kept"), ([0.5, 0.6, 0.5], "missed"), ([0.5, 2, 1], "open")],
)
def test_a_share_of_speed_is_kept_missed_or_open(others, word):
    assert ratios.reaches(0.9, Spent([1.0, 1.0, 1.0]), Spent(others)) == word
    assert ratios.reaches(0.9, Spent(failure="out of memory"), Spent(others)) == "not known"


def test_products_are_of_random_numbers():
    given = SimpleNamespace(device=CPU, precision="float32")
    product, _ = loading.large_product(given)
    assert product().std() > 1


def test_rates_are_those_of_the_gpu_at_hand(monkeypatch):
    for name, rate in {
        "NVIDIA H200": 67e12,
        "NVIDIA A100-SXM4-80GB": 19.5e12,
        "Tesla T4": 8.1e12,
        "NVIDIA GeForce RTX 4090": None,
    }.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert machine.rate_of(CUDA, "float32") == rate
    assert machine.rate_of(CPU, "float32") is None


def test_libmtl_that_is_not_here_is_said(monkeypatch):
    monkeypatch.delitem(libmtl.sys.modules, "LibMTL", raising=False)
    with pytest.raises(Absent, match="--libmtl FOLDER"):
        Work("lenet", CPU, batch=4).libmtl("EW")


def test_a_folder_without_libmtl_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="not a checkout of LibMTL"):
        libmtl.load(tmp_path)


def test_graphs_are_for_one_backward_pass():
    with pytest.raises(Absent, match="one backward pass"):
        Work("lenet", CPU, batch=4).graphed("imtl_g")


def test_seeds_side_by_side_are_of_one_problem_as_in_a_job():
    made = Work("lenet", CPU, batch=4).replicates("uniform", 3)
    assert len({id(one.problem) for one in made}) == 1
    assert [one.seed for one in made] == [0, 1, 2]


def test_a_replicate_that_has_ended_is_not_timed():
    work = Work("lenet", CPU, batch=4)
    made = work.replicate()
    with torch.no_grad():
        next(made.network.trunk.parameters()).fill_(math.nan)
    with pytest.raises(Ended, match="non-finite"):
        work.stepping(made)()


@pytest.mark.parametrize(
    ("part", "rows"),
    [
        ("trainings", {"side by side", "alone", "LibMTL"}),
        ("seeds", {"side by side", "alone", "LibMTL"}),
    ],
)
def test_ten_seeds_are_timed_in_each_way(part, rows, monkeypatch, capsys):
    for name, value in MEMORY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(libmtl.sys.modules, "LibMTL", raising=False)
    monkeypatch.setattr("sys.argv", ["speed", "--part", part, "--batch", "4", "--blocks", "2"])
    speed.main()
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    found = {first: rest for first, *rest in lines if first in rows}
    assert found.keys() == rows
    assert found["LibMTL"][0].startswith("absent: ")
    assert float(found["alone"][0]) > 0


def test_a_loader_with_processes_passes_an_epoch(monkeypatch):
    work = Work("lenet", CPU, batch=4)
    made = []
    monkeypatch.setattr(Work, "losses", lambda *args: made.append(1) or own(*args))
    epoch = work.loader(3, 2)
    epoch()
    epoch()
    assert len(made) == 6


own = Work.losses


def test_a_loop_of_a_ready_batch_learns_what_the_usual_one_does(monkeypatch):
    work = Work("lenet", CPU, batch=4)
    made = []
    inner = work.replicate
    monkeypatch.setattr(work, "replicate", lambda: made.append(inner()) or made[-1])
    for ready in (False, True):
        work.plain(ready=ready)()
    one, other = ([*replicate.network.parameters()] for replicate in made)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.fixture
def rehearsed(monkeypatch, capsys):
    """Call the benchmark as on a GPU, whose part the CPU plays; its tables' rows."""
    accounts = Gpu()
    monkeypatch.setattr(ratios, "on_gpu", lambda device: True)
    monkeypatch.setattr(ratios, "FILL", 0.0)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 5 << 20)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", accounts.reset)
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", lambda trunk, inputs: trunk)
    monkeypatch.setattr(loading, "rate_of", lambda device, precision: 1e13)
    monkeypatch.setattr(loading, "large_product", lambda given: (lambda: None, 1000))
    for name, value in MEMORY.items():
        monkeypatch.setenv(name, value)

    def called(*words: str) -> list[list[str]]:
        small = ["--batch", "4", "--blocks", "2", "--work", "lenet"]
        monkeypatch.setattr("sys.argv", ["speed", *words, *small])
        speed.main()
        text = capsys.readouterr().out
        called.text = text
        return [line.strip("| ").split(" | ") for line in text.splitlines()]

    return called


def test_memory_stands_beside_time_on_a_gpu(rehearsed):
    lines = rehearsed("--part", "methods", "rivals", "--method", "uw")
    head = next(line for line in lines if line[0] == "step")
    row = next(line for line in lines if line[0] == "uw")
    assert dict(zip(head, row, strict=True))["peak memory, MiB"] == "5"
    assert ["ours: uw", "5"] in lines


def test_loading_on_a_gpu_tells_the_share_of_what_is_promised(rehearsed):
    lines = rehearsed("--part", "loading")
    assert "; ours at least 90 % of 'plain loop, batch ready': " in rehearsed.text
    found = {first: rest for first, *rest in lines if len(rest) == 3}
    assert any(name.startswith("loader, ") for name in found)
    images, _, used = found["plain loop"]
    assert float(images) > 0 and 0 <= float(used) < 100


def test_graphs_are_held_to_the_weights_of_a_plain_step(rehearsed):
    lines = rehearsed("--part", "graphs")
    assert rehearsed.text.count("apart by 0.0e+00") == 2
    assert sum(line[0] == "graphs" for line in lines) == 2


def test_a_profiler_that_sees_no_gpu_says_so(rehearsed):
    rehearsed("--part", "profile", "--method", "uniform")
    assert "absent: the profiler sees nothing of the device" in rehearsed.text


def test_growth_with_replicates_is_told_once_of_each_method(monkeypatch):
    arms = []
    monkeypatch.setattr(speed, "timed", lambda made, given: arms.append(made) or {
        name: Spent([float(name)] * 2) for name in made
    })  # fmt: skip
    given = SimpleNamespace(device=CPU, batch=4, precision="float32", method=["gradnorm"])
    found = list(speed.scaling(given))
    assert [table.rows[0][1].partition(" ")[0] for table in found] == [
        "tasks", "batch", "shared", "replicates",
    ]  # fmt: skip
    assert {table.rows[0][0] for table in found} == {"gradnorm"}
    assert {table.rows[0][3] for table in found} == {"1.00"}
