"""The NIH release from a server on this machine to a split, whatever happens on the way.

The layout of the release is served: images of the real sample where that is there, else of the
phantom, in several archives beside the tables. In the end the same files are there as after a
download and a preparation that nothing disturbed.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from counterpoise.download import fetch_source
from counterpoise.generators import chest_phantom
from counterpoise.plan import load_plan
from counterpoise.project import load_project

from ..loopback import Page, Server
from ..support import ROOT, SHARED, copy_of_config, error_of, files_in

SAMPLE = SHARED / "data" / "nih-chestxray14-sample"
TABLES = ("Data_Entry_2017_v2020.csv", "BBox_List_2017.csv", "train_val_list.txt", "test_list.txt")
TIER = """
  served:
    title: Served
    description: From a server on this machine.
    datasets:
      chestxray14: {source: nih, dataset_options: {size: 32, split: stratified}}
    runs: [rotograd/chest/uniform]
"""


def pack(images: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with (
        gzip.GzipFile("", "wb", 1, held, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as file,
    ):
        for name, content in images.items():
            member = tarfile.TarInfo(f"images/{name}")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return held.getvalue()


def unpack(path: Path, most: int) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(path) as file:
        for member in file:
            if member.isreg() and len(found) < most:
                content = file.extractfile(member)
                assert content is not None
                found[Path(member.name).name] = content.read()
    return found


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Contents of the files of a small release by name."""
    folder = SAMPLE
    if not SAMPLE.is_dir():
        folder = tmp_path_factory.mktemp("phantom")
        chest_phantom.generate(folder, chest_phantom.Options(images=240, size=64))
    files = {name: (folder / name).read_bytes() for name in TABLES}
    images = {}
    for path in sorted(folder.glob("images_*.tar.gz")):
        images |= unpack(path, 240 if folder != SAMPLE else 70)
    names = sorted(images)
    for number in range(3):
        files[f"images_00{number + 1}.tar.gz"] = pack({n: images[n] for n in names[number::3]})
    files["sample_list.txt"] = "".join(f"{name}\n" for name in names).encode()
    return files


def checkout(folder: Path, release: dict[str, bytes]) -> Path:
    """A checkout whose source ``nih`` is that small release, with the checksums that NIH gives."""
    root = copy_of_config(folder)
    path = root / "config/datasets/chestxray14.yaml"
    spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    spec["sources"]["nih"]["whole"] = False
    spec["sources"]["nih"]["files"] = [
        {"name": name, "bytes": len(content)}
        | (
            {"md5": hashlib.md5(content, usedforsecurity=False).hexdigest()}
            if name.endswith(".gz")
            else {"sha256": hashlib.sha256(content).hexdigest()}
        )
        for name, content in release.items()
    ]
    path.write_text(yaml.safe_dump(spec), encoding="utf-8")
    tiers = root / "config/tiers.yaml"
    tiers.write_text(tiers.read_text(encoding="utf-8") + TIER, encoding="utf-8")
    return root


def command(
    root: Path, *words: str, start: tuple[str, str] = ("-m", "counterpoise")
) -> subprocess.Popen[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COUNTERPOISE_")}
    return subprocess.Popen(
        [sys.executable, *start, *words],
        cwd=root, env=kept | {"PYTHONPATH": str(ROOT / "src")}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def done(running: subprocess.Popen[str]) -> str:
    said = running.communicate(timeout=120)[0]
    assert running.returncode == 0, said
    return said


class Place:
    """A checkout and where its data go."""

    def __init__(self, root: Path) -> None:
        self.root = root
        plan = load_plan(root, {"tier": "served"})
        (training,) = plan.trainings.values()
        self.data = training.data
        self.raw = (root / self.data.raw).parent
        self.marker = root / self.data.raw
        self.prepared = (root / self.data.prepared).parent

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.marker.read_text(encoding="utf-8"))
        return told

    def prepare(self) -> dict[str, Any]:
        """What preparing and splitting gave, by file."""
        done(command(self.root, "prepare", self.data.digest))
        return self.split()

    def split(self) -> dict[str, Any]:
        """What splitting gave, and preparing before it."""
        done(command(self.root, "split", self.data.digest))
        found = (p for p in self.prepared.iterdir() if p.is_file())
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in found}


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, release: dict[str, bytes]
) -> dict[str, Any]:
    """What comes of files that were copied from a folder."""
    folder = tmp_path_factory.mktemp("undisturbed")
    place = Place(checkout(folder / "checkout", release))
    mirror = folder / "mirror"
    mirror.mkdir()
    for name, content in release.items():
        (mirror / name).write_bytes(content)
    done(command(place.root, "download", "nih", "--mirror", str(mirror)))
    return {"source": place.told(), "prepared": place.prepare()}


@pytest.fixture
def place(tmp_path: Path, release: dict[str, bytes]) -> Place:
    return Place(checkout(tmp_path / "checkout", release))


def fetch(place: Place, address: str, *published: str) -> None:
    """From an address of one's own and, where it has not got a file, from published ones."""
    source = load_project(place.root).datasets["chestxray14"].sources["nih"]
    source = source.model_copy(update={"mirrors": published})  # a file may name https only
    fetch_source("nih", source, place.marker, address)


def check_whole(place: Place, release: dict[str, bytes], undisturbed: dict[str, Any]) -> None:
    assert place.told() == undisturbed["source"]
    assert files_in(place.raw) == sorted([*release, "source.json"])


def test_from_a_server_to_a_split(
    place: Place, server: Server, release: dict[str, bytes], undisturbed: dict[str, Any]
) -> None:
    server.serve("nih", release)
    done(command(place.root, "download", "nih", "--mirror", server.address))
    check_whole(place, release, undisturbed)
    assert sorted(server.asked) == sorted(f"/nih/{name}" for name in release)
    assert place.prepare() == undisturbed["prepared"]
    place.marker.unlink()
    said = done(command(place.root, "download", "nih", "--mirror", server.address))
    assert said.count("is already here") == len(release) == len(server.asked)


def no_ranges(server: Server) -> None:
    for page in server.pages.values():
        page.ranges, page.cuts = False, [len(page.content) // 2]


def cuts(server: Server) -> None:
    for page in server.pages.values():
        page.cuts = [len(page.content) // 3, len(page.content) // 3]


def slow(server: Server) -> None:
    for page in server.pages.values():
        page.rate = 4e6


def busy(server: Server) -> None:
    for page in server.pages.values():
        page.statuses = [503, 429]


@pytest.mark.parametrize(
    "trouble",
    [cuts, no_ranges, *(pytest.param(f, marks=pytest.mark.slow) for f in (slow, busy))],
    ids=lambda f: f.__name__,
)
def test_trouble_on_the_way_changes_nothing(
    place: Place, server: Server, release: dict[str, bytes], undisturbed: dict[str, Any],
    trouble: Callable[[Server], None],
) -> None:  # fmt: skip
    server.serve("nih", release)
    trouble(server)
    fetch(place, server.address)
    check_whole(place, release, undisturbed)
    if trouble is cuts:
        assert all(server.sent[f"/nih/{name}"] == len(c) for name, c in release.items())


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "wrong checksum": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "truncated": lambda content: content[: len(content) // 2],
    "longer": lambda content: content + b"\0",
}


RARER = ("truncated", "longer", "a web page")
"""On demand; tests/unit/test_transfer.py has them without the rest of the way."""


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] * (kind in RARER))
        for kind in (*WRONG, "gone", "a login", "a web page")
    ],
)
def test_a_file_that_cannot_be_had_keeps_the_others(
    place: Place, server: Server, release: dict[str, bytes], undisturbed: dict[str, Any], kind: str
) -> None:
    """It is named, nothing of it stays, and once it can be had only it is asked for.

    One that is gone from the first address comes from the next.
    """
    server.serve("nih", release)
    name = "images_002.tar.gz"
    path = f"/nih/{name}"
    if kind in WRONG:
        server.pages[path] = Page(WRONG[kind](release[name]))
    elif kind == "gone":
        del server.pages[path]
    elif kind == "a login":
        server.pages[path] = Page(b"", statuses=[-403])
    else:
        server.pages[path] = Page(b"<html>Accept?</html>", headers={"Content-Type": "text/html"})
    error = error_of(lambda: fetch(place, server.address))
    assert name in error.what and "also not found" not in error.what and error.remedy
    said = {"gone": "404", "a login": "login", "a web page": "licence"}.get(kind, "damaged")
    assert said in error.what and "https://nihcc.app.box.com" in error.remedy
    assert files_in(place.raw) == sorted(set(release) - {name})
    server.asked.clear()
    if kind == "gone":
        fetch(place, server.address, server.serve("published", {name: release[name]}))
        assert server.asked == [path, f"/published/{name}"]
    else:
        server.pages[path] = Page(release[name])
        fetch(place, server.address)
        assert server.asked == [path]
    check_whole(place, release, undisturbed)


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.001)


def test_kill_9_in_the_middle_of_a_download(
    place: Place, server: Server, release: dict[str, bytes], undisturbed: dict[str, Any]
) -> None:
    server.serve("nih", release)
    size = sum(map(len, release.values()))
    for page in server.pages.values():
        page.rate = size / 16  # four at a time: seconds for all
    whole: set[str] = set()
    for share in (0.1, 0.3, 0.5):
        before = sum(server.sent.values())
        running = command(place.root, "download", "nih", "--mirror", server.address)
        wait_for(lambda share=share: sum(server.sent.values()) > share * size)  # type: ignore[misc]
        os.kill(running.pid, signal.SIGKILL)
        running.communicate(timeout=60)
        assert running.returncode == -signal.SIGKILL and sum(server.sent.values()) > before
        assert not place.marker.exists()
        there = {name for name in files_in(place.raw) if not name.startswith(".")}
        assert there >= whole
        for name in there:  # whole or not there
            assert (place.raw / name).read_bytes() == release[name]
        whole = there
    assert whole and whole != set(release)
    for page in server.pages.values():
        page.rate = None
    server.asked.clear()
    done(command(place.root, "download", "nih", "--mirror", server.address))
    check_whole(place, release, undisturbed)
    assert sorted(server.asked) == sorted(f"/nih/{name}" for name in set(release) - whole)
    # What was on its way when the process died, in buffers of both ends, is all that comes twice.
    again = sum(server.sent.values()) - size
    print(f"of {size} bytes, {again} came twice after three kills")
    assert 0 <= again < min(3 * 4 * (1 << 20), size / 2)
    assert place.prepare() == undisturbed["prepared"]


UNTIL = """
import itertools, time
from counterpoise.cli import main
from counterpoise.datasets import _arrays, chestxray14
decode, count = chestxray14.decode, itertools.count()
def decode_some(image, size):
    if next(count) >= 20:
        time.sleep(600)
    return decode(image, size)
_arrays.SHARD, _arrays.cores, chestxray14.decode = 8, lambda: 1, decode_some
main()
"""
"""The command line that decodes twenty images, notes sixteen, and sleeps."""


def test_kill_9_in_the_middle_of_preparing(
    place: Place, server: Server, release: dict[str, bytes], undisturbed: dict[str, Any]
) -> None:
    server.serve("nih", release)
    fetch(place, server.address)
    running = command(place.root, "prepare", place.data.digest, start=("-c", UNTIL))
    wait_for((place.prepared / "images.npy.shard-00001.json").exists)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    assert running.returncode == -signal.SIGKILL
    assert (place.prepared / "images.npy.partial").exists()
    assert not (place.prepared / "images.npy").exists()
    assert not (place.prepared / "prepared.json").exists()
    said = done(command(place.root, "prepare", place.data.digest))
    assert "16 of " in said and "images are here already" in said
    assert place.split() == undisturbed["prepared"]
