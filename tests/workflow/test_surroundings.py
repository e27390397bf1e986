"""Odd places to run in: each works, or fails with one clear message.

Spaces and letters beyond ASCII in the path are in every test here and in others: the fixture
``finished`` lies in such a folder. No GPU is where most of these tests run; asking for one that is
not there is in ``tests/unit/test_job.py``, a clock that is set back there and in ``test_status.py``,
two users at once are in ``test_crashes.py``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from counterpoise.plan import load_plan
from tests.checkouts import ROOT, Checkout, jobs

SMOKE = ("--config", "tier=smoke")


def own_mounts(checkout: Checkout, mounts: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that sees other file systems in its checkout, and nobody else does."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system of one's own is not allowed here")
    return checkout.run("unshare", "-rm", "sh", "-c", f'{mounts} && exec "$@"', "sh", *command)


def key_of(cell: Path) -> str:
    return f"{cell.parent.name}/{cell.name}"


def is_one_message(done: subprocess.CompletedProcess[str]) -> bool:
    said = done.stderr
    return done.returncode == 1 and said.count("error: ") == 1 and "Traceback" not in said


def test_a_full_disk_is_one_message_and_costs_no_training(
    finished: Checkout, tmp_path: Path
) -> None:
    clone = finished.copy(tmp_path / "klön")
    (cell,) = clone.cells("*-uniform")
    before = clone.bytes_of(("weights.safetensors", "history.parquet", "predictions.parquet"))
    shutil.rmtree(clone.root / "results")
    (clone.root / "results").mkdir()
    train = ("counterpoise", "train", key_of(cell), "--tier", "smoke")
    done = own_mounts(clone, "mount -t tmpfs -o size=64k none results", *train)
    assert is_one_message(done) and "cannot write" in done.stderr and "free space" in done.stderr
    assert list((clone.root / "work").rglob("seed-0.state")), "what was trained is kept"
    done = clone.run(*train)
    assert done.returncode == 0 and "continues at epoch 2" in done.stdout, done.stderr
    after = clone.bytes_of(("weights.safetensors", "history.parquet", "predictions.parquet"))
    assert after.items() <= before.items() and len(after) == 3
    assert not list(clone.root.rglob(".weights*"))


def test_a_full_disk_under_the_states(finished: Checkout, tmp_path: Path) -> None:
    clone = finished.copy(tmp_path / "klön")
    (cell,) = clone.cells("*-uniform")
    shutil.rmtree(cell)
    (clone.root / "work").mkdir(exist_ok=True)
    train = ("counterpoise", "train", key_of(cell), "--tier", "smoke")
    done = own_mounts(clone, "mount -t tmpfs -o size=64k none work", *train)
    assert is_one_message(done) and "cannot write" in done.stderr and "free space" in done.stderr
    assert not cell.exists()


def test_read_only_results_can_be_read_and_say_so_when_written(
    finished: Checkout, tmp_path: Path
) -> None:
    clone = finished.copy(tmp_path / "klön")
    (cell,) = clone.cells("*-uniform")
    read_only = "mount --bind results results && mount -o remount,ro,bind results"
    for words in (("check",), ("plan", "--tier", "smoke"), ("report", "--tier", "smoke")):
        done = own_mounts(clone, read_only, "counterpoise", *words)
        assert done.returncode == 0, done.stderr
    evaluate = ("counterpoise", "evaluate", key_of(cell), "--tier", "smoke")
    done = own_mounts(clone, read_only, *evaluate)
    assert is_one_message(done) and "Read-only" in done.stderr and "permission" in done.stderr


def test_a_renamed_checkout_makes_nothing_again(finished: Checkout, tmp_path: Path) -> None:
    moved = Checkout(Path(shutil.copytree(finished.root, tmp_path / "anders benannt")))
    said = moved.run("snakemake", "-n", "--cores", "1", *SMOKE)
    assert said.returncode == 0 and jobs(said.stdout) == {}, said.stdout[-1500:]


def test_an_environment_that_was_moved_is_made_again(tmp_path: Path) -> None:
    """The scripts in .venv/bin name its folder."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).write_text("")
    for path in (".uv/bin/uv", ".venv/.ready"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).write_text("")
    wanted = []
    for place in ("/somewhere/else", str(tmp_path)):
        (tmp_path / ".venv/.ready").write_text(place + "\n")
        done = subprocess.run(
            ["make", "-n", "environment"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        wanted.append("-m venv --clear" in done.stdout)
    assert wanted == [True, False]


def test_a_user_without_home_name_or_locale(finished: Checkout, tmp_path: Path) -> None:
    """As in a container that runs with some number for a user."""
    clone = finished.copy(tmp_path / "klön")
    (cell,) = clone.cells("*-uniform")
    shutil.rmtree(clone.root / "reports")
    for scores in (*cell.glob("scores-*.json"), *sorted(clone.root.rglob("*.svg"))[:1]):
        scores.unlink()
    command = ["env", "-u", "HOME", "-u", "LANG", "LC_ALL=C"]
    nobody = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"]
    # Only where the interpreter is not in a folder of root's own.
    allowed = clone.run(*nobody, *command, "snakemake", "--version").returncode == 0
    if os.geteuid() == 0 and allowed:
        subprocess.run(["chown", "-R", "54321:54321", str(clone.root)], check=True)
        for folder in clone.root.parents:
            if folder != Path("/tmp") and folder.is_relative_to("/tmp"):
                folder.chmod(0o755)
        command = [*nobody, *command]
    done = clone.run(*command, "snakemake", "--cores", "2", *SMOKE)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (clone.root / "reports/smoke/index.html").is_file() and cell.is_dir()


@pytest.mark.parametrize("form", ["CRLF", "BOM", "both"])
def test_line_ends_and_byte_order_marks_change_no_digest(config_copy: Path, form: str) -> None:
    before = load_plan(config_copy, {"tier": "smoke"})
    for path in config_copy.rglob("*.yaml"):
        content = path.read_bytes()
        if form != "BOM":
            content = content.replace(b"\n", b"\r\n")
        if form != "CRLF":
            content = b"\xef\xbb\xbf" + content
        path.write_bytes(content)
    after = load_plan(config_copy, {"tier": "smoke"})
    assert list(after.trainings) == list(before.trainings)
    assert after.exhibits == before.exhibits
