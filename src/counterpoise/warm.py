"""Jobs that start from a process which has imported their libraries.

To import torch takes longer than to train most networks of the demo. So a workflow keeps a process
for trainings, and one for numbers and pictures, that imports what a command needs when its first
job comes, and then forks for every job. The fork takes over the job's arguments, folder,
environment and streams; the job's own process waits, hands signals on and ends with the fork's exit
code. Where there is no such process (another machine, container or system, a command typed by hand,
code edited since) a job imports for itself, with the same result.

A job that is killed takes its fork with it. The processes themselves end with the workflow.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypedDict

VARIABLE = "COUNTERPOISE_WARM"
"""Names the folder of the sockets where jobs ask; only its owner may."""

LIBRARIES: dict[str, dict[str, tuple[str, ...]]] = {
    "training": {
        "train": ("torch", "counterpoise.training.job"),
        "explain": ("torch", "counterpoise.plan", "counterpoise.explain.job"),
    },
    "results": {
        "evaluate": ("counterpoise.evaluation.evaluate", "scipy.stats", "sklearn.metrics"),
        "tables": ("counterpoise.plan", "counterpoise.reproduction.tables"),
        "figure": ("counterpoise.plan", "counterpoise.reproduction.figures"),
        "views": ("counterpoise.plan", "counterpoise.reproduction.views"),
        "claims": ("counterpoise.plan", "counterpoise.reproduction.claims"),
        "report": ("counterpoise.plan", "counterpoise.report.build"),
        "gate": ("counterpoise.plan", "counterpoise.reproduction.gate"),
    },
}
"""By process and command: what its jobs import, whatever they are about. Each runs on one thread.

Trainings have a process of their own, as a fork's memory begins with what its parent has imported.
"""

ONE_THREAD = {
    **{f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")},
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Read when a library is imported: nothing but this thread is there when the process forks.
Snakemake sets the first three for its jobs, too."""

HANDED_ON = {
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGINT: signal.SIGINT,
    signal.SIGTSTP: signal.SIGSTOP,  # nobody is asked to stop who is in no terminal's foreground
    signal.SIGCONT: signal.SIGCONT,
}
"""What the fork is sent when the job is sent something."""

GO = b"."
"""The job's last word: now signals reach the fork."""

PATIENCE = 1.0
"""Seconds between two looks at whether the workflow still runs."""
LONGEST = 10.0
"""Seconds that a job may take to say what it wants."""


class Order(TypedDict):
    """What a job's own process tells."""

    arguments: list[str]
    folder: str
    variables: dict[str, str]
    place: list[str]


def start() -> dict[str, str]:
    """Start the processes; the environment variable by which jobs find them, or none.

    They import nothing before their first job. Only Linux forks safely after so many imports.
    """
    if sys.platform != "linux":
        return {}
    folder = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="counterpoise-"))  # of this user alone
        for name in LIBRARIES:
            _start(folder, name)
    except OSError:  # no place for a socket, or too long a path: every job imports for itself
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        return {}
    return {VARIABLE: str(folder)}


def _start(folder: Path, name: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / name))
        listener.listen(128)
        number = listener.fileno()
        subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(number), str(folder), str(os.getpid())],
            env={**os.environ, **ONE_THREAD},
            pass_fds=[number],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def hand_over(arguments: list[str]) -> int | None:
    """Let a process of the workflow run a command; its exit code, or None where none does.

    Args:
        arguments: the command line after the program's name.
    """
    folder = os.environ.get(VARIABLE)
    names = [name for name, known in LIBRARIES.items() if arguments and arguments[0] in known]
    if not folder or not names:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        answer = connection.makefile("rb", buffering=0)
        try:
            connection.connect(str(Path(folder, names[0])))
            _tell(connection, arguments)
            fork = int(answer.readline())
        except (OSError, ValueError):
            return None
        ended = signal.SIGKILL

        def hand_on(number: int, _frame: FrameType | None) -> None:
            nonlocal ended
            if number in (signal.SIGTERM, signal.SIGINT):
                ended = signal.Signals(number)
            with contextlib.suppress(ProcessLookupError):
                os.kill(fork, HANDED_ON[signal.Signals(number)])
            if number == signal.SIGTSTP:
                os.kill(os.getpid(), signal.SIGSTOP)

        for number in HANDED_ON:
            signal.signal(number, hand_on)
        with contextlib.suppress(OSError):
            connection.sendall(GO)
            code = answer.readline()
            answer.readline()  # its end: what it held is free, such as locks and memory
            return int(code) if code else 128 + ended
        return 128 + ended


def _tell(connection: socket.socket, arguments: list[str]) -> None:
    order = Order(
        arguments=arguments, folder=os.getcwd(), variables=dict(os.environ), place=_place()
    )
    words = json.dumps(order).encode()
    socket.send_fds(connection, [len(words).to_bytes(8)], [0, 1, 2])
    connection.sendall(words)


def _place() -> list[str]:
    """Equal where two processes see the same files and the same libraries."""
    return [os.readlink("/proc/self/ns/mnt"), sys.prefix, os.environ.get("PYTHONPATH", "")]


def serve(listener: socket.socket, workflow: int) -> None:
    """Fork for every job, until the workflow has ended.

    Args:
        listener: where jobs ask.
        workflow: number of the process that started this one.
    """
    began = time.time()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP):  # jobs are told by themselves
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no fork is waited for
    listener.settimeout(PATIENCE)
    while os.getppid() == workflow:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection, contextlib.suppress(Exception):  # the job then runs by itself
            connection.settimeout(LONGEST)
            _take(connection, listener, began)


def _take(connection: socket.socket, listener: socket.socket, began: float) -> None:
    head, streams, _, _ = socket.recv_fds(connection, 8, 3)
    try:
        size, words = int.from_bytes(head), b""
        while len(words) < size and (more := connection.recv(size - len(words))):
            words += more
        order: Order = json.loads(words)
        if order["place"] != _place() or _edited_since(began):
            return
        for known in LIBRARIES.values():
            for name in known.get(order["arguments"][0], ()):
                importlib.import_module(name)
        gc.freeze()
        if os.fork() == 0:
            listener.close()
            _become(connection, order, streams)
    finally:
        for stream in streams:
            os.close(stream)


def _edited_since(began: float) -> bool:
    """Whether what is in memory may differ from the files, whose digest a result records."""
    package = Path(__file__).parent
    return any(path.stat().st_ctime > began for path in package.rglob("*.py"))


def _become(connection: socket.socket, order: Order, streams: list[int]) -> NoReturn:
    """What the fork does: run the command as if it had been started for it, and end."""
    code = 1
    try:
        os.setpgid(0, 0)  # a signal to the workflow's group comes once, by the job
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for number in (signal.SIGTERM, signal.SIGTSTP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
            os.close(stream)
        connection.settimeout(None)
        connection.sendall(b"%d\n" % os.getpid())
        if connection.recv(1) != GO:
            os._exit(code)  # the job has ended before it could wait
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["variables"])
        tempfile.tempdir = None
        sys.argv[:] = ["counterpoise", *order["arguments"]]
        from counterpoise.cli import main as run

        run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            with contextlib.suppress(Exception):
                atexit._run_exitfuncs()  # digests of code are remembered then
                sys.stdout.flush()
            with contextlib.suppress(Exception):
                connection.sendall(b"%d\n" % code)
        finally:
            os._exit(code)


def _end_with(connection: socket.socket) -> None:
    """End when the job's own process does: nobody waits for what is computed."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """The program ``counterpoise``: a job of a workflow is handed over, all else runs here."""
    code = hand_over(sys.argv[1:])
    if code is not None:
        sys.exit(code)
    from counterpoise.cli import main as here

    here()


if __name__ == "__main__":
    handle, home, parent = sys.argv[1:]
    try:
        serve(socket.socket(fileno=int(handle)), int(parent))
    finally:
        shutil.rmtree(home, ignore_errors=True)
