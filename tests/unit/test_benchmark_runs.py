"""All of the benchmark by one command: in a given time, going on, faults and other machines."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import __main__ as whole
from benchmarks import libmtl, machine, pieces, speed, tables
from benchmarks.ratios import OutOfTime, Spent
from counterpoise import registry
from counterpoise.workflow import MEMORY


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Call the whole benchmark in small; its exit code."""
    for name, value in MEMORY.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(libmtl.sys.modules, "LibMTL", raising=False)

    def called(*words: str) -> object:
        small = ["--batch", "4", "--blocks", "2", "--work", "lenet", "--out", str(tmp_path / "out")]
        monkeypatch.setattr("sys.argv", ["benchmarks", *small, *words])
        try:
            whole.main()
        except SystemExit as ended:
            return ended.code
        return 0

    called.folder = tmp_path / "out"
    return called


WORDS = ("--part", "methods", "rivals", "deepchest", "--method", "uniform", "imtl_g")


@pytest.fixture
def measured(monkeypatch):
    """Names of the pieces that were measured, each for nothing."""
    names = []

    def measure(piece, given):
        names.append(piece.name)
        table = tables.ratios(piece.name, {"arm": Spent([1.0, 1.0])}, "arm")
        return {"done": True, "why": "", "failed": False, "seconds": 1.0, "tables": [table.plain()]}

    monkeypatch.setattr(whole, "measure", measure)
    return names


def test_all_is_measured_by_one_command(run):
    assert run("--part", "methods", "rivals", "--method", "uw") == 0
    told = (run.folder / "speed.md").read_text()
    record = json.loads((run.folder / "speed.json").read_text())
    assert "torch" in record["about"] and torch.__version__.split("+")[0] in told
    assert "Not measured" not in told
    rows = [line.strip("| ").split(" | ") for line in told.splitlines() if line.startswith("| ")]
    times = next(row for row in rows if row[0] == "ours: uw")  # before the table of memory
    assert float(times[1]) > 0
    absent = next(row for row in rows if row[0] == "LibMTL: UW")
    assert absent[1].startswith("absent: ")
    memory = next(row for row in rows if row[0] == "uw")
    assert float(memory[-2]) > 0 and float(memory[-1]) > 0
    spent = record["pieces"]["rivals lenet uw"]["tables"][0]["spent"]
    assert len(spent["ours: uw"]["seconds"]) == 2


def test_what_is_measured_is_not_measured_again(run, measured):
    assert run(*WORDS) == 0
    first = list(measured)
    assert first[0].startswith("rivals") and first[-1] == "rivals lenet uniform"
    assert run(*WORDS) == 0
    assert measured == first


def test_time_that_is_up_leaves_the_rest_for_the_same_command(run, monkeypatch, measured):
    inner = whole.measure

    def slow(piece, given):
        if len(measured) == 2:
            raise OutOfTime
        return inner(piece, given)

    monkeypatch.setattr(whole, "measure", slow)
    assert run(*WORDS) == whole.UNFINISHED
    text = (run.folder / "speed.md").read_text()
    assert text.count("not measured yet") == 3 and "| arm |" in text
    monkeypatch.setattr(whole, "measure", inner)
    assert run(*WORDS) == 0
    assert len(measured) == len(set(measured)) == 5


def test_a_piece_that_kills_the_process_comes_last_and_is_given_up(run, monkeypatch, measured):
    inner = whole.measure

    def killed(piece, given):
        if piece.part == "deepchest":
            measured.append("died")
            raise KeyboardInterrupt  # nothing after it runs
        return inner(piece, given)

    monkeypatch.setattr(whole, "measure", killed)
    for _ in range(whole.ATTEMPTS):
        with pytest.raises(KeyboardInterrupt):
            run(*WORDS)
    assert measured.count("died") == whole.ATTEMPTS
    assert len(measured) == whole.ATTEMPTS + 4  # all others are done once
    assert run(*WORDS) == 0
    assert "deepchest: given up" in (run.folder / "speed.md").read_text()


def test_what_fails_by_a_fault_shows_in_the_exit_code(run, monkeypatch):
    def broken(given):
        yield tables.ratios("title", {"a": Spent([1.0, 1.0]), "b": Spent(failure="failed: x")}, "a")

    monkeypatch.setitem(speed.PARTS, "deepchest", broken)
    assert "deepchest" in str(run("--part", "deepchest"))
    assert "| b | failed: x | - | - |" in (run.folder / "speed.md").read_text()


def test_a_piece_that_cannot_begin_is_said_and_the_others_go_on(run, monkeypatch):
    def large(given):
        raise torch.OutOfMemoryError("CUDA out of memory")
        yield

    monkeypatch.setitem(speed.PARTS, "deepchest", large)
    monkeypatch.setitem(speed.PARTS, "seeds", lambda given: iter(()))
    assert run("--part", "deepchest", "seeds") == 0
    assert "- deepchest: out of memory" in (run.folder / "speed.md").read_text()


def test_figures_of_another_machine_are_left_alone(run, measured, monkeypatch):
    assert run(*WORDS) == 0
    before = (run.folder / "speed.json").read_text()
    assert "another --out" in str(run(*WORDS, "--blocks", "3"))
    monkeypatch.setattr(machine, "processor", lambda: "another")
    assert "another --out" in str(run(*WORDS))
    assert (run.folder / "speed.json").read_text() == before


def test_pieces_on_a_gpu_are_all_that_is_asked_for():
    given = SimpleNamespace(
        work=None,
        method=None,
        part=list(speed.PARTS),
        precision="float32",
        device=torch.device("cuda"),
    )
    found = pieces.all_pieces(given)
    names = [piece.name for piece in found]
    assert len(names) == len(set(names))
    assert names[:3] == ["gpu tests", "trainings", "loading resnet18 float32"]
    assert {piece.part for piece in found} == {"gpu tests", *speed.PARTS}
    for network in ("lenet", "resnet18", "densenet121"):
        mine = [p.given for p in found if p.part == "methods" and p.given["work"] == [network]]
        every = [method for given in mine for method in given["method"]]
        assert sorted(every) == sorted(registry.names("methods"))


def test_a_library_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(machine, "LIBRARIES", ("torch", "no-such-library"))
    assert machine.facts(torch.device("cpu"))["no-such-library"] == "absent"


def test_all_tests_that_need_a_gpu_are_run():
    root = Path(__file__).parents[2]
    marked = {
        str(file.relative_to(root))
        for file in (root / "tests").rglob("test_*.py")
        if "pytest.mark." + "gpu" in file.read_text()
    }
    assert marked == set(pieces.GPU_TESTS)


def test_tests_on_the_gpu_are_a_row():
    (table,) = pieces.gpu_tests(SimpleNamespace(until=math.inf))
    assert ("skipped" in table.rows[0][1]) != torch.cuda.is_available()
    with pytest.raises(OutOfTime):
        list(pieces.gpu_tests(SimpleNamespace(until=time.monotonic() + 0.01)))
