"""SIGKILL at random moments: after the documented way to go on, the bytes of an unbroken run.

The way is that of docs/dvc.md: what still runs is left to end, ``snakemake --unlock``, the same
command again. ``COUNTERPOISE_KILLS`` sets how many kills of each kind the long tests make.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.checkouts import Checkout
from tests.workflow.test_dvc import for_smoke

RESULTS = ("weights.safetensors", "history.parquet", "predictions.parquet", "scores-*.json")
EXHIBITS = ("tables-*.json", "claims-*.json", "*.svg")
TRAINED = ("weights.safetensors", "history.parquet", "predictions.parquet", "record.json")
KILLS = int(os.environ.get("COUNTERPOISE_KILLS", "18"))
DEADLINE = 300.0


@dataclass
class Soak:
    """One checkout that is killed again and again.

    Attributes:
        during: file, as a pattern below the checkout, at whose appearance it is killed; at random
            moments if empty.
        moments: seconds after the start at which something was killed.
    """

    checkout: Checkout
    rng: random.Random
    longest: float
    during: str = ""
    moments: list[float] = field(default_factory=list)
    complete: dict[Path, int] = field(default_factory=dict)

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command, cwd=self.checkout.root, env=self.checkout.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def ends_before(self, process: subprocess.Popen[bytes], moment: float) -> bool:
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill_once(
        self, command: tuple[str, ...], victim: Callable[[Soak, int], int | None]
    ) -> bool:
        """Run a command and kill a process of it; whether the command ended well before that."""
        process, moment = self.start(*command), self.rng.uniform(0.0, self.longest)
        if self.during:
            moment = self.appears(process)
        elif self.ends_before(process, moment):
            assert process.returncode == 0
            self.check_kept()
            return True
        number = victim(self, process.pid)
        if number is not None:
            try:
                os.kill(number, signal.SIGKILL)
                self.moments.append(moment)
                if self.during:
                    self.check_orphans()
            except ProcessLookupError:
                pass  # it has just ended
        process.wait(DEADLINE)
        return False

    def appears(self, process: subprocess.Popen[bytes]) -> float:
        """Wait until there is what it is killed at; the seconds."""
        started = time.monotonic()
        while not any(self.checkout.root.glob(self.during)):
            assert process.poll() is None and time.monotonic() - started < DEADLINE
            time.sleep(0.01)
        return time.monotonic() - started

    def check_orphans(self) -> None:
        """A training lives on, to be waited for."""
        alive = {number for number, _ in processes(self.checkout.root)}
        for path in self.checkout.root.glob(self.during):
            cell = self.checkout.root / "results/smoke/cells" / Path(*path.parts[-3:-1])
            if json.loads(path.read_text())["pid"] in alive and not (cell / "record.json").exists():
                return
        raise AssertionError("no training lives on")

    def go_on(self) -> None:
        """The documented way: let a workflow that still runs end, then unlock."""
        deadline = time.monotonic() + DEADLINE
        while any("snakemake" in words for _, words in processes(self.checkout.root)):
            assert time.monotonic() < deadline, "an orphan never ends"
            time.sleep(0.1)
        self.check_kept()
        done = self.checkout.run("snakemake", "--unlock", "--config", "tier=smoke")
        assert done.returncode == 0, done.stderr

    def check_kept(self) -> None:
        """What was complete after the last kill is still the same file."""
        for path, when in self.complete.items():
            assert path.stat().st_mtime_ns == when, f"{path} was made again"
        cells = (self.checkout.root / "results").glob("*/cells/*/*")
        whole = [c for c in cells if all((c / name).is_file() for name in TRAINED)]
        self.complete = {c / n: (c / n).stat().st_mtime_ns for c in whole for n in TRAINED}


def processes(root: Path) -> Iterator[tuple[int, str]]:
    """Number and command line of this machine's processes that run in a checkout."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and (folder / "cwd").resolve() == root:
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if words:
                    yield int(folder.name), words
        except OSError:
            continue


def itself(soak: Soak, process: int) -> int:
    """Snakemake, DVC or the job: the orphans that it leaves live on."""
    return process


def some_job(soak: Soak, process: int) -> int | None:
    """One of the jobs that Snakemake has started, its fork, or the process that it is a fork of."""
    jobs = [
        number
        for number, words in processes(soak.checkout.root)
        if ("/counterpoise " in words or "counterpoise.warm" in words) and number != process
    ]
    return soak.rng.choice(sorted(jobs)) if jobs else None


def template(checkout: Checkout) -> Checkout:
    """One paper, trainings of some seconds, whose state is saved after every epoch."""
    checkout.edit("config/config.yaml", "papers: all", "papers: [rotograd]")
    checkout.edit("config/tiers.yaml", "        epochs: 2\n", "        epochs: 12\n")
    return Checkout(checkout.root, (("COUNTERPOISE_SAVE_EVERY", "0"),))


def soak(
    clean: Checkout,
    folder: Path,
    kills: int,
    command: tuple[str, ...],
    victim: Callable[[Soak, int], int | None],
    finished: Checkout | None = None,
    during: str = "",
) -> None:
    """Kill so often, in as many checkouts as it takes, and compare with a run that is not broken."""
    if finished is not None:
        found, longest = finished.bytes_of(RESULTS + EXHIBITS), 15.0
        others = [path for path in found if "/papers/" in path and "/rotograd/" not in path]
        expected = {path: content for path, content in found.items() if path not in others}
    else:
        expected, longest = unbroken_run(clean, folder, command)
    names = RESULTS + EXHIBITS
    rng, moments, rounds = random.Random(f"{command} {victim.__name__}"), [], 0
    while len(moments) < kills:
        rounds += 1
        copy = Checkout(clean.copy(folder / f"round-{rounds}").root, clean.variables)
        shutil.copytree(clean.root / ".dvc", copy.root / ".dvc", dirs_exist_ok=True)
        broken = Soak(copy, rng, longest, during)
        while len(moments) + len(broken.moments) < kills:
            if broken.kill_once(command, victim):
                break
            broken.go_on()
        last = copy.run(*command)
        assert last.returncode == 0, last.stderr[-3000:]
        broken.check_kept()
        assert copy.bytes_of(names) == expected
        checked = copy.run("counterpoise", "check")
        assert checked.returncode == 0 and "damaged" not in checked.stdout, checked.stdout
        moments += broken.moments
        shutil.rmtree(copy.root)
    print(json.dumps({"kills": len(moments), "runs": rounds, "unbroken run, s": round(longest, 1),
                      "moments, s": [round(m, 2) for m in moments]}))  # fmt: skip


def unbroken_run(
    clean: Checkout, folder: Path, command: tuple[str, ...]
) -> tuple[dict[str, bytes], float]:
    """What a run gives that nobody kills, and how many seconds it takes."""
    unbroken = Checkout(clean.copy(folder / "unbroken").root, clean.variables)
    shutil.copytree(clean.root / ".dvc", unbroken.root / ".dvc", dirs_exist_ok=True)
    started = time.monotonic()
    done = unbroken.run(*command)
    longest = time.monotonic() - started
    assert done.returncode == 0, done.stderr[-3000:]
    return unbroken.bytes_of(RESULTS + EXHIBITS), longest


SNAKEMAKE = ("snakemake", "--cores", "2", "--config", "tier=smoke", "papers=rotograd")
KINDS = {
    "job": (SNAKEMAKE, some_job),
    "snakemake": (SNAKEMAKE, itself),
    "dvc": (("dvc", "repro"), itself),
}


def prepared(checkout: Checkout, kind: str) -> Checkout:
    return template(for_smoke(checkout) if kind == "dvc" else checkout)


def test_a_kill_of_snakemake(checkout: Checkout, finished: Checkout, tmp_path: Path) -> None:
    clean = Checkout(checkout.root, (("COUNTERPOISE_SAVE_EVERY", "0"),))
    shutil.copytree(finished.root / "data", clean.root / "data")
    soak(clean, tmp_path, 1, *KINDS["snakemake"], finished, "work/smoke/*/*/progress.json")


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_many_kills(checkout: Checkout, tmp_path: Path, kind: str) -> None:
    soak(prepared(checkout, kind), tmp_path, KILLS, *KINDS[kind])


# Asked to stop --------------------------------------------------------------------------------


def another_user(checkout: Checkout) -> None:
    """A second workflow is told what to do, and a second job waits for the first one."""
    second = checkout.run(*SNAKEMAKE)
    assert second.returncode != 0 and "--unlock" in second.stderr
    assert "Traceback" not in second.stderr
    (cell, *_) = sorted(checkout.root.glob("work/smoke/*/*/progress.json"))
    first = json.loads(cell.read_text())["pid"]
    key = f"{cell.parts[-3]}/{cell.parts[-2]}"
    job = subprocess.Popen(
        ["counterpoise", "train", key, "--tier", "smoke"], cwd=checkout.root,
        env=checkout.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert job.stdout is not None
    said = job.stdout.readline()
    job.terminate()
    job.communicate(timeout=60)
    assert "waiting" in said and f"kill {first}" in said and job.returncode == 143


def test_who_waits_for_a_training_takes_its_result(finished: Checkout, tmp_path: Path) -> None:
    """Who finishes a cell removes the folder with the lock that the other one is waiting for."""
    clone = finished.copy(tmp_path / "clone")
    clone.edit("config/tiers.yaml", "        epochs: 2\n", "        epochs: 20\n")
    done = clone.run("counterpoise", "plan", "--tier", "smoke")
    key = next(line.split()[-1] for line in done.stdout.splitlines() if "-uniform/" in line)

    def train() -> subprocess.Popen[str]:
        return subprocess.Popen(
            ("counterpoise", "train", key, "--tier", "smoke"), cwd=clone.root,
            env=clone.environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    with train() as first:
        assert first.stdout is not None and "epoch" in first.stdout.readline()
        first.send_signal(signal.SIGSTOP)
        try:
            second = train()
            assert second.stdout is not None
            waits = second.stdout.readline()
        finally:
            first.send_signal(signal.SIGCONT)
        said = second.communicate(timeout=DEADLINE)[0]
        first.communicate(timeout=DEADLINE)
    assert (first.returncode, second.returncode) == (0, 0)
    assert "waiting for it" in waits and "has finished it" in said
    assert "epoch" not in waits + said
    assert all((clone.root / "results/smoke/cells" / key / name).is_file() for name in TRAINED)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_two_at_once_and_the_process_group_is_asked_to_stop(
    checkout: Checkout, number: signal.Signals
) -> None:
    checkout.edit("config/tiers.yaml", "        epochs: 2\n", "        epochs: 3000\n")
    process = subprocess.Popen(
        SNAKEMAKE, cwd=checkout.root, env=checkout.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + DEADLINE
        while len(
            running := list(checkout.root.glob("work/smoke/*/*/progress.json"))
        ) < 2 or not all(json.loads(path.read_text())["done"] > 1 for path in running):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        forks = [n for n, words in processes(checkout.root) if "counterpoise.warm" in words]
        trainings = {json.loads(path.read_text())["pid"] for path in running}
        assert trainings < set(forks)
        another_user(checkout)
        started = time.monotonic()
        os.killpg(process.pid, number)
        while trainings & {n for n, _ in processes(checkout.root)}:
            # Ten seconds, as promised, of a core that is not shared with other work.
            limit = 10 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
            assert time.monotonic() - started < limit, "a training goes on"
            time.sleep(0.05)
        # The rest is not promised in seconds: the report of what failed, and what jobs fork from.
        process.wait(DEADLINE)
        while list(processes(checkout.root)):
            assert time.monotonic() - started < DEADLINE, "something lives on"
            time.sleep(0.05)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    states = list(checkout.root.glob("work/smoke/*/*/seed-0.state"))
    assert len(states) == 2, "both have saved"
    assert not list(checkout.root.rglob("weights.safetensors"))
