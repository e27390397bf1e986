"""Jobs that start from a process with their libraries: what passes through, and what ends with what."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from counterpoise import warm
from counterpoise.cli import app

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks on Linux only")

# A workflow with one command more, `evaluate` with the words below; it prints the variable.
WORKFLOW = """
import os, sys, time
from counterpoise import warm
import counterpoise.cli

def job():
    words = sys.argv[2:]
    if words[0] == "say":
        print("out", os.getcwd(), os.environ["WORD"], sys.argv[2:])
        print("err", file=sys.stderr)
        sys.exit(int(words[1]))
    if words[0] == "read":
        print(sys.stdin.read().upper(), end="")
    if words[0] == "fail":
        raise ValueError("nobody expected this")
    if words[0] == "die":
        os.kill(os.getpid(), 9)
    if words[0] == "wait":
        try:
            print(os.getpid(), flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            sys.exit(7)

counterpoise.cli.main = job
warm.LIBRARIES = {"results": {"evaluate": ("json",), "broken": ("no.such.module",)}}
if sys.argv[1] == "serve":
    import socket
    warm.serve(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3]))
else:
    warm.main()
"""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a job's own process; the workflow is this test."""
    program = tmp_path / "program.py"
    program.write_text(WORKFLOW, encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as listener:
        # A path of few characters: the system takes no more than 107.
        folder = os.open(tmp_path, os.O_RDONLY)
        place = Path(f"/proc/{os.getpid()}/fd/{folder}/results")
        listener.bind(str(place))
        listener.listen()
        server = subprocess.Popen(
            [sys.executable, program, "serve", str(listener.fileno()), str(os.getpid())],
            pass_fds=[listener.fileno()],
        )

    def start(*words: str, **options: object) -> subprocess.Popen[str]:
        variables = {**os.environ, warm.VARIABLE: str(place.parent), "WORD": "wörd"}
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            [sys.executable, program, *words],
            env=variables, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            **options,
        )  # fmt: skip

    yield start
    server.kill()
    server.wait()
    os.close(folder)


def state(number: int) -> str:
    """One letter: S sleeping, T stopped; X where there is no such process."""
    try:
        return (
            Path(f"/proc/{number}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
        )
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def soon(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Whether something comes to hold within some time."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("code", [0, 3])
def test_a_job_has_its_words_folder_variables_streams_and_code(run, tmp_path: Path, code: int):
    here = tmp_path / "folder"
    here.mkdir()
    job = run("evaluate", "say", str(code), cwd=here)
    out, err = job.communicate(timeout=60)
    assert out == f"out {here} wörd ['say', '{code}']\n"
    assert err == "err\n"
    assert job.returncode == code


def test_what_a_job_reads_reaches_it(run):
    assert run("evaluate", "read").communicate("abc", timeout=60)[0] == "ABC"


def test_a_fault_is_shown_where_the_job_was_started(run):
    job = run("evaluate", "fail")
    assert job.communicate(timeout=60)[1].endswith("ValueError: nobody expected this\n")
    assert job.returncode == 1


def test_a_job_whose_fork_is_killed_fails(run):
    job = run("evaluate", "die")
    job.communicate(timeout=60)
    assert job.returncode == 128 + signal.SIGKILL


def test_a_killed_job_takes_its_fork_along(run):
    job = run("evaluate", "wait")
    number = int(job.stdout.readline())
    assert number != job.pid
    job.kill()
    job.wait()
    assert soon(lambda: state(number) in "ZX")


def test_signals_are_handed_on(run):
    job = run("evaluate", "wait")
    number = int(job.stdout.readline())
    job.send_signal(signal.SIGINT)
    assert job.wait(60) == 7
    assert soon(lambda: state(number) in "ZX")
    job = run("evaluate", "wait")
    job.stdout.readline()
    job.send_signal(signal.SIGTERM)
    assert job.wait(60) == 128 + signal.SIGTERM


@pytest.mark.parametrize("command", ["broken", "train"])
def test_without_its_libraries_a_job_runs_by_itself(run, command: str):
    job = run(command, "wait")
    number = int(job.stdout.readline())
    assert number == job.pid
    job.kill()
    job.wait()


def test_jobs_run_at_the_same_time(run):
    jobs = [run("evaluate", "wait") for _ in range(3)]
    numbers = {int(job.stdout.readline()) for job in jobs}
    assert len(numbers) == 3
    assert all(job.poll() is None for job in jobs)
    for job in jobs:
        job.kill()
        job.wait()


def test_it_ends_with_the_workflow_and_leaves_nothing():
    words = (
        "import time; from counterpoise import warm;"
        "print(*warm.start().values(), flush=True); time.sleep(60)"
    )
    workflow = subprocess.Popen(
        [sys.executable, "-c", words], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert workflow.stdout is not None
    place = Path(workflow.stdout.readline().strip())
    assert place.stat().st_mode & 0o077 == 0, "others must not start jobs in one's name"
    workflow.kill()
    workflow.wait()
    assert soon(lambda: not place.exists())


def test_no_process_no_handing_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv(warm.VARIABLE, raising=False)
    assert warm.hand_over(["evaluate", "x"]) is None
    monkeypatch.setenv(warm.VARIABLE, str(tmp_path))
    assert warm.hand_over(["evaluate", "x"]) is None
    assert warm.hand_over([]) is None
    assert warm.hand_over(["status"]) is None


def test_a_job_that_is_suspended_suspends_its_fork(run):
    job = run("evaluate", "wait")
    number = int(job.stdout.readline())
    for sent, wanted in ((signal.SIGTSTP, "T"), (signal.SIGCONT, "S")):
        job.send_signal(sent)
        for process in (number, job.pid):
            assert soon(lambda p=process, w=wanted: state(p) == w), (sent, process)
    job.kill()
    job.wait()
    assert soon(lambda: state(number) in "ZX")


def test_where_no_socket_can_be_there_is_no_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    deep = tmp_path / ("long" * 25)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    assert warm.start() == {}
    assert list(deep.iterdir()) == []


def test_edited_code_is_imported_anew():
    assert warm._edited_since(0)
    assert not warm._edited_since(time.time())


def test_the_commands_exist_and_their_libraries_leave_a_process_that_can_fork():
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    libraries = {k: v for known in warm.LIBRARIES.values() for k, v in known.items()}
    assert set(libraries) <= commands
    names = sorted({name for names in libraries.values() for name in names})
    words = (
        f"import importlib, os; [importlib.import_module(n) for n in {names}]; import torch;"
        "print(len(os.listdir('/proc/self/task')), torch.cuda.is_initialized())"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], env={**os.environ, **warm.ONE_THREAD}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["1", "False"]
