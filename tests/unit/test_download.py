"""Raw files from folders and addresses: whole and checked, or not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from counterpoise import registry
from counterpoise.download import batch, fetch_source, to_prepare
from counterpoise.layout import Data
from counterpoise.spec.cell import Component
from counterpoise.spec.dataset import DataSource, SourceFile
from counterpoise.transfer import Edition, copied, digests_of

from ..loopback import Server
from ..support import error_of, files_in

CONTENT = {"one.bin": bytes(range(256)) * 40, "two.bin": b"second file\n" * 99}
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "corrupt": lambda content: content[:100] + b"\x00\x01" + content[102:],
    "truncated": lambda content: content[:-1],
    "longer": lambda content: content + b"\n",
    "empty": lambda content: b"",
    "another": lambda content: b"<html>please log in</html>",
}


def source(mirrors: tuple[str, ...] = ()) -> DataSource:
    files = tuple(
        SourceFile(name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
        for name, content in CONTENT.items()
    )
    made = DataSource(title="Numbers", description="d", licence="l", files=files)
    return made.model_copy(update={"mirrors": mirrors})  # a file may name https addresses only


def fetch(folder: Path, mirror: str | None, mirrors: tuple[str, ...] = ()) -> Path:
    marker = folder / "raw" / "numbers-0" / "source.json"
    fetch_source("numbers", source(mirrors), marker, mirror)
    return marker


def fill(folder: Path, damage: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(DAMAGE[damage](content) if damage else content)


def contents(damage: str | None = None) -> dict[str, bytes]:
    return {name: DAMAGE[damage](c) if damage else c for name, c in CONTENT.items()}


def check_complete(marker: Path) -> None:
    assert files_in(marker.parent) == ["one.bin", "source.json", "two.bin"]
    for name, content in CONTENT.items():
        assert (marker.parent / name).read_bytes() == content
    told = json.loads(marker.read_text(encoding="utf-8"))
    assert told == {"source": "numbers", "files": {f.name: f.sha256 for f in source().files}}


# Folders -------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", ["numbers", "."])
def test_a_folder_with_the_files_or_with_one_folder_a_source(tmp_path: Path, inner: str) -> None:
    fill(tmp_path / "mirror" / inner)
    check_complete(fetch(tmp_path, str(tmp_path / "mirror")))


def test_a_file_that_changes_while_it_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "mirror")
    copy = shutil.copyfile

    def changed(found: Path, target: Path) -> None:
        copy(found, target)
        if found.name == "two.bin":
            target.write_bytes(DAMAGE["corrupt"](CONTENT["two.bin"]))

    monkeypatch.setattr(shutil, "copyfile", changed)
    error = error_of(lambda: fetch(tmp_path, str(tmp_path / "mirror")))
    assert "not the checksum published" in error.what
    assert error.where == str(tmp_path / "mirror" / "two.bin")
    assert files_in(tmp_path / "raw" / "numbers-0") == ["one.bin"]


def test_a_copy_of_what_nobody_publishes_is_held_to_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, target = tmp_path / "mirror" / "two.bin", tmp_path / "raw" / "two.bin"
    fill(found.parent)
    size = len(CONTENT["two.bin"])
    whole = copied(found, target, (Edition(size),), "fetch it again")
    assert whole == hashlib.sha256(CONTENT["two.bin"]).hexdigest()
    target.unlink()
    damaged = DAMAGE["corrupt"](CONTENT["two.bin"])
    monkeypatch.setattr(shutil, "copyfile", lambda found, target: target.write_bytes(damaged))
    error = error_of(lambda: copied(found, target, (Edition(size),), "fetch it again"))
    assert "its copy differs from the file itself" in error.what and error.where == str(found)
    assert files_in(target.parent) == []


def test_a_folder_below_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    fill(tmp_path / "mirror")
    check_complete(fetch(tmp_path, "~/mirror"))


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    error = error_of(lambda: fetch(tmp_path, str(tmp_path / "nowhere")))
    assert "mirror folder does not exist" in error.what
    assert error.where == str(tmp_path / "nowhere") and "numbers/" in error.remedy


def test_a_folder_that_lacks_a_file_is_not_replaced_by_the_network(tmp_path: Path) -> None:
    fill(tmp_path / "mirror")
    (tmp_path / "mirror" / "two.bin").unlink()
    unreachable = ("http://127.0.0.1:9/",)  # the discard port: nothing listens
    error = error_of(lambda: fetch(tmp_path, str(tmp_path / "mirror"), unreachable))
    assert "the mirror has no two.bin" in error.what
    assert files_in(tmp_path / "raw" / "numbers-0") == ["one.bin"]


def test_what_a_killed_process_was_writing_is_swept_up(tmp_path: Path) -> None:
    killed = (
        "import os, sys; from pathlib import Path; from counterpoise.files import atomic\n"
        "with atomic(Path(sys.argv[1])): os._exit(0)"
    )
    fill(tmp_path / "mirror")
    raw = tmp_path / "raw" / "numbers-0"
    for name in ("one.bin", ".two.bin.part.json", "source.json"):
        subprocess.run([sys.executable, "-c", killed, str(raw / name)], check=True)
    assert len(files_in(raw)) == 3
    (raw / ".mine-12345678.bin").touch()
    marker = fetch(tmp_path, str(tmp_path / "mirror"))
    (raw / ".mine-12345678.bin").unlink()  # which no file of the source is named by
    check_complete(marker)


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_in_a_folder(tmp_path: Path, damage: str) -> None:
    fill(tmp_path / "mirror" / "numbers", damage)
    error = error_of(lambda: fetch(tmp_path, str(tmp_path / "mirror")))
    assert "damaged or altered" in error.what and error.remedy
    assert error.where.endswith("numbers/one.bin")
    assert files_in(tmp_path / "raw" / "numbers-0") == []


def test_what_is_here_and_right_is_not_fetched_again(tmp_path: Path) -> None:
    fill(tmp_path / "raw" / "numbers-0")
    check_complete(fetch(tmp_path, str(tmp_path / "nowhere")))


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_here_and_wrong_is_fetched_again(tmp_path: Path, damage: str) -> None:
    fill(tmp_path / "raw" / "numbers-0", damage)
    fill(tmp_path / "mirror")
    check_complete(fetch(tmp_path, str(tmp_path / "mirror")))


# Addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", "/"])
def test_a_mirror_by_address(tmp_path: Path, server: Server, end: str) -> None:
    server.serve("mirror/numbers", contents())
    check_complete(fetch(tmp_path, f"{server.address}/mirror{end}"))
    assert sorted(server.asked) == ["/mirror/numbers/one.bin", "/mirror/numbers/two.bin"]


def test_the_published_mirrors_are_tried_in_order(tmp_path: Path, server: Server) -> None:
    mirrors = (
        f"{server.address}/gone/",
        server.serve("second", contents()),
        server.serve("third", contents()),
    )
    check_complete(fetch(tmp_path, None, mirrors))
    for name in CONTENT:
        mine = [path for path in server.asked if path.endswith(name)]
        assert mine == [f"/gone/{name}", f"/second/{name}"]


def test_the_users_mirror_comes_first_and_the_published_ones_help_out(
    tmp_path: Path, server: Server
) -> None:
    check_complete(
        fetch(tmp_path, f"{server.address}/mine", (server.serve("published", contents()),))
    )
    for name in CONTENT:
        mine = [path for path in server.asked if path.endswith(name)]
        assert mine == [f"/mine/numbers/{name}", f"/published/{name}"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_mirror_with_wrong_content_is_passed_over(
    tmp_path: Path, server: Server, damage: str
) -> None:
    mirrors = (server.serve("wrong", contents(damage)), server.serve("right", contents()))
    check_complete(fetch(tmp_path, None, mirrors))


def test_a_connection_that_breaks_off_is_passed_over(tmp_path: Path, server: Server) -> None:
    mirrors = (server.serve("breaks", contents()), server.serve("right", contents()))
    server.pages["/breaks/one.bin"].cuts = [5, 0, 0, 0]
    check_complete(fetch(tmp_path, None, mirrors))


def test_a_stream_without_end_is_cut_off(tmp_path: Path, server: Server) -> None:
    """Else a mirror could fill the disk before the checksum is looked at."""
    endless = server.serve("endless", contents())
    page = server.pages["/endless/one.bin"]
    page.content, page.length = CONTENT["one.bin"] + bytes(50_000_000), False
    error = error_of(lambda: fetch(tmp_path, None, (endless,)))
    assert "longer than published" in error.what
    assert files_in(tmp_path / "raw" / "numbers-0") == ["two.bin"]
    assert server.sent["/endless/one.bin"] < 20_000_000  # what fits into buffers of the sockets


def test_of_two_downloads_at_once_one_waits_for_the_other(tmp_path: Path, server: Server) -> None:
    """They would write the same parts; the second finds what the first has brought."""
    mirror = server.serve("a", contents())
    for page in server.pages.values():
        page.rate = 20_000
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(fetch, tmp_path, None, (mirror,)) for _ in range(2)]
    for done in both:
        check_complete(done.result())
    assert sorted(server.asked) == ["/a/one.bin", "/a/two.bin"]


def test_when_no_mirror_helps_each_is_told_with_its_reason(tmp_path: Path, server: Server) -> None:
    mirrors = (
        f"{server.address}/gone/",
        server.serve("wrong", contents("corrupt")),
        "http://127.0.0.1:9/",
    )
    error = error_of(lambda: fetch(tmp_path, None, mirrors))
    assert "no mirror provided one.bin" in error.what
    gone, wrong, closed = (error.what.index(address) for address in mirrors)
    assert "404" in error.what[gone:wrong]
    assert "damaged or altered" in error.what[wrong:closed]
    assert "connection" in error.what[closed:].lower()
    assert "mirror=FOLDER" in error.remedy
    assert files_in(tmp_path / "raw" / "numbers-0") == []


def test_a_page_that_is_gone_is_not_told_as_a_full_disk(tmp_path: Path, server: Server) -> None:
    error = error_of(lambda: fetch(tmp_path, None, (f"{server.address}/gone/",)))
    assert "cannot write" not in error.what


# What is remembered --------------------------------------------------------------------------


def unknown(mirrors: tuple[str, ...] = (), **more: Any) -> DataSource:
    """A source without checksums."""
    files = tuple(SourceFile(name=name) for name in CONTENT)
    made = DataSource(title="Numbers", description="d", licence="l", files=files, **more)
    return made.model_copy(update={"mirrors": mirrors})


def fetch_unknown(folder: Path, mirror: str | None, *mirrors: str) -> Path:
    marker = folder / "raw" / "numbers-0" / "source.json"
    fetch_source("numbers", unknown(mirrors), marker, mirror)
    return marker


def test_a_checksum_that_nobody_publishes_is_recorded_and_then_holds(
    tmp_path: Path, server: Server
) -> None:
    right = server.serve("right", contents())
    check_complete(fetch_unknown(tmp_path, None, right))
    shutil.rmtree(tmp_path / "raw")
    wrong = server.serve("wrong", contents("corrupt"))
    error = error_of(lambda: fetch_unknown(tmp_path, None, wrong))
    assert "not the checksum published or recorded" in error.what
    assert "numbers-0.checksums.json" in error.remedy
    check_complete(fetch_unknown(tmp_path, None, wrong, right))
    shutil.rmtree(tmp_path / "raw")
    fill(tmp_path / "mirror", "corrupt")
    error = error_of(lambda: fetch_unknown(tmp_path, str(tmp_path / "mirror")))
    assert "damaged or altered" in error.what and "checksums.json" in error.remedy


def test_only_a_full_success_is_recorded(tmp_path: Path, server: Server) -> None:
    half = server.serve("half", {"one.bin": CONTENT["one.bin"]})
    assert "two.bin" in error_of(lambda: fetch_unknown(tmp_path, None, half)).what
    assert files_in(tmp_path / "raw") == ["numbers-0/one.bin"]
    assert not (tmp_path / "records" / "numbers-0.checksums.json").exists()


def test_what_was_verified_is_not_read_again(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = server.serve("a", contents())
    marker = fetch(tmp_path, None, (mirror,))
    server.asked.clear()
    read: list[str] = []

    def spy(path: Path, editions: Any) -> Any:
        read.append(path.name)
        return digests_of(path, editions)

    monkeypatch.setattr(batch, "digests_of", spy)
    marker.unlink()
    check_complete(fetch(tmp_path, None, (mirror,)))
    assert read == [] and server.asked == []
    two = marker.parent / "two.bin"  # as long, and as old
    stamp = two.stat()
    damaged = tmp_path / "damaged"
    damaged.write_bytes(DAMAGE["corrupt"](CONTENT["two.bin"]))
    os.utime(damaged, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    damaged.replace(two)
    check_complete(fetch(tmp_path, None, (mirror,)))
    assert read == ["two.bin"] and server.asked == ["/a/two.bin"]


@pytest.mark.parametrize("content", ["{", "[]", '{"one.bin": 3}', '{"one.bin": []}'])
def test_a_damaged_record_of_what_was_verified_costs_a_reading(
    tmp_path: Path, server: Server, content: str
) -> None:
    mirror = server.serve("a", contents())
    marker = fetch(tmp_path, None, (mirror,))
    (tmp_path / "records" / "numbers-0.verified.json").write_text(content, encoding="utf-8")
    marker.unlink()
    check_complete(fetch(tmp_path, None, (mirror,)))
    assert len(server.asked) == 2


@pytest.mark.parametrize("content", ["{", "[]", '{"one.bin": 3}'])
def test_a_damaged_record_of_checksums_is_named(
    tmp_path: Path, server: Server, content: str
) -> None:
    (tmp_path / "records").mkdir()
    record = tmp_path / "records" / "numbers-0.checksums.json"
    record.write_text(content, encoding="utf-8")
    error = error_of(lambda: fetch_unknown(tmp_path, None, server.serve("a", contents())))
    assert error.where == str(record) and error.remedy


def test_what_is_not_always_needed(tmp_path: Path, server: Server) -> None:
    made = source((server.serve("half", {"one.bin": CONTENT["one.bin"]}),))
    marker = tmp_path / "raw" / "numbers-0" / "source.json"

    def needed(word: str) -> DataSource:
        two = made.files[1].model_copy(update={"needed": word})
        return made.model_copy(update={"files": (made.files[0], two)})

    fill(tmp_path / "mirror")
    (tmp_path / "mirror" / "two.bin").unlink()
    assert "two.bin" in error_of(lambda: fetch_source("n", needed("download"), marker, None)).what
    for word, mirror in (("never", None), ("download", str(tmp_path / "mirror"))):
        shutil.rmtree(marker.parent)
        fetch_source("n", needed(word), marker, mirror)
        assert list(json.loads(marker.read_text(encoding="utf-8"))["files"]) == ["one.bin"]


def test_a_disk_that_is_too_small_is_told_before(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    error = error_of(lambda: fetch(tmp_path, None, (server.serve("a", contents()),)))
    assert "free" in error.what and error.remedy and server.asked == []


@pytest.mark.parametrize("full", CONTENT)
def test_a_disk_that_is_full_is_told_whichever_file_meets_it(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """The others are stopped, which is no reason of its own."""
    opened = Path.open

    def no_space(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name == f".{full}.part":
            raise OSError(28, "No space left on device")
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", no_space)
    mirror = server.serve("a", contents())
    for name in CONTENT:
        server.pages[f"/a/{name}"].rate = None if name == full else 1000
    error = error_of(lambda: fetch(tmp_path, None, (mirror,)))
    assert "No space left" in error.what and error.where.endswith(full)
    assert "free space" in error.remedy and "connection" not in error.remedy


def chest(side: int, **options: Any) -> Data:
    """112,120 images to be prepared from the source ``numbers``."""
    every = {"size": side, "label_file": 2020, "damaged": 0, "split": "stratified", **options}
    digest = hashlib.sha256(repr(every).encode()).hexdigest()[:12]
    return Data("chestxray14", "numbers", every, 0, "0", digest, {}, {"images": 112_120})


def test_what_is_prepared_later_must_find_room_too(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """Sizes that a plan wants, each once whatever the splits, without those that are there."""
    every = [chest(128), chest(224), chest(224, split="official"), chest(299)]
    later = to_prepare(tmp_path, "numbers", every)
    assert later == {128: 1_836_974_080, 224: 5_625_733_120, 299: 10_023_640_120}
    assert to_prepare(tmp_path, "others", every) == {}
    done = tmp_path / every[2].prepared
    done.parent.mkdir(parents=True)
    done.write_text("{}", encoding="utf-8")
    assert set(to_prepare(tmp_path, "numbers", every)) == {128, 299}
    marker = tmp_path / "raw" / "numbers-0" / "source.json"
    made = source((server.serve("a", contents()),))
    fill(tmp_path / "mirror")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=17_000_000_000))
    for mirror in (None, str(tmp_path / "mirror")):
        error = error_of(lambda m=mirror: fetch_source("numbers", made, marker, m, later))  # type: ignore[misc]
        assert "17.5 GB of images prepared at 128, 224 and 299 pixels" in error.what
        assert "17.0 GB free" in error.what and error.remedy
    assert server.asked == [] and files_in(marker.parent) == []
    with caplog.at_level("INFO"):
        fetch_source("numbers", made, marker, None, {128: later[128]})
    assert "11.4 kB of files and 1.8 GB of images prepared at 128 pixels" in caplog.text
    check_complete(marker)


def test_files_that_are_not_there_make_one_message(tmp_path: Path, server: Server) -> None:
    error = error_of(lambda: fetch(tmp_path, None, (f"{server.address}/gone/",)))
    assert error.what.count("404") == 1 and "also not found: two.bin" in error.what


# In place ------------------------------------------------------------------------------------


def in_place(folder: Path, mirror: Path) -> dict[str, Any]:
    """The marker of a source of two tables and two archives."""
    files = (SourceFile(name="table.csv"), SourceFile(name="list.txt", needed="download"),
             SourceFile(name="images_001.tar.gz"), SourceFile(name="images_002.tar.gz"))  # fmt: skip
    made = DataSource(title="t", description="d", licence="l", files=files, in_place=True)
    marker = folder / "raw" / "big-0" / "source.json"
    fetch_source("big", made, marker, str(mirror))
    told: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
    return told


def test_a_copy_of_ones_own_is_linked(tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for name in ("table.csv", "images_001.tar.gz", "images_002.tar.gz"):
        (mirror / name).write_bytes(name.encode())
    assert list(in_place(tmp_path, mirror)["files"]) == [
        "images_001.tar.gz", "images_002.tar.gz", "table.csv"]  # fmt: skip
    for name in ("table.csv", "images_001.tar.gz"):
        link = tmp_path / "raw" / "big-0" / name
        assert link.is_symlink() and link.resolve() == mirror / name


@pytest.mark.parametrize("layout", ["images_001/images", "images_012/images", "images"])
def test_unpacked_images_of_ones_own_are_linked(tmp_path: Path, layout: str) -> None:
    mirror = tmp_path / "mirror"
    (mirror / "big" / layout).mkdir(parents=True)
    (mirror / "big" / "table.csv").write_text("a", encoding="utf-8")
    for name in ("a.png", "b.png", "c.txt"):
        (mirror / "big" / layout / name).write_text(name, encoding="utf-8")
    told = in_place(tmp_path, mirror)
    top = layout.split("/")[0]
    assert list(told["files"]) == ["table.csv"] and told["folders"][top]["images"] == 2
    assert (tmp_path / "raw" / "big-0" / top).resolve() == mirror / "big" / top
    assert in_place(tmp_path, mirror) == told
    (mirror / "big" / layout / "b.png").write_text("another", encoding="utf-8")
    error = error_of(lambda: in_place(tmp_path, mirror))
    assert "other images" in error.what and "checksums.json" in error.remedy


# Generated -----------------------------------------------------------------------------------


FEW = {"chest_phantom": {"images": 40, "size": 32}, "chest_phantom_npz": {"images": 40}}


# A folder of somebody's own is no file of ours: tests/unit/test_image_folder.py has it.
@pytest.mark.parametrize("name", sorted({*registry.names("generators")} - {"local_folder"}))
def test_a_generated_source_lists_what_it_wrote(tmp_path: Path, name: str) -> None:
    maker = Component(name=name, options=FEW.get(name, {}))
    made = DataSource(title="t", description="d", licence="l", generator=maker)
    told = []
    for folder in ("one", "two"):
        marker = tmp_path / folder / "source.json"
        fetch_source(name, made, marker, None)
        told.append(json.loads(marker.read_text(encoding="utf-8")))
        assert sorted([*told[-1]["files"], "source.json"]) == files_in(marker.parent)
    assert told[0] == told[1]
    for file, checksum in told[0]["files"].items():
        content = (tmp_path / "one" / file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == checksum
