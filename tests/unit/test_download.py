"""Raw files from folders and addresses: whole and checked, or not there."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from counterpoise import registry
from counterpoise.download import fetch_source
from counterpoise.spec.cell import Component
from counterpoise.spec.dataset import DataSource, SourceFile

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
    marker = folder / "raw" / "source.json"
    fetch_source("numbers", source(mirrors), marker, mirror)
    return marker


def fill(folder: Path, damage: str | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in CONTENT.items():
        (folder / name).write_bytes(DAMAGE[damage](content) if damage else content)


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
    assert files_in(tmp_path / "raw") == ["one.bin"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_in_a_folder(tmp_path: Path, damage: str) -> None:
    fill(tmp_path / "mirror" / "numbers", damage)
    error = error_of(lambda: fetch(tmp_path, str(tmp_path / "mirror")))
    assert "damaged or altered" in error.what and error.remedy
    assert error.where.endswith("numbers/one.bin")
    assert files_in(tmp_path / "raw") == []


def test_what_is_here_and_right_is_not_fetched_again(tmp_path: Path) -> None:
    fill(tmp_path / "raw")
    check_complete(fetch(tmp_path, str(tmp_path / "nowhere")))


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_here_and_wrong_is_fetched_again(tmp_path: Path, damage: str) -> None:
    fill(tmp_path / "raw", damage)
    fill(tmp_path / "mirror")
    check_complete(fetch(tmp_path, str(tmp_path / "mirror")))


# Addresses -----------------------------------------------------------------------------------


class Server:
    """A web server on this machine; ``pages`` maps paths to contents."""

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}
        self.cut: set[str] = set()
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                content = outer.pages.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                half = self.path in outer.cut
                self.wfile.write(content[: len(content) // 2] if half else content)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"

    def serve(self, folder: str, damage: str | None = None) -> str:
        """Serve the files under a folder and return its address."""
        for name, content in CONTENT.items():
            self.pages[f"/{folder}/{name}"] = DAMAGE[damage](content) if damage else content
        return f"{self.address}/{folder}/"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()


@pytest.mark.parametrize("end", ["", "/"])
def test_a_mirror_by_address(tmp_path: Path, server: Server, end: str) -> None:
    server.serve("mirror/numbers")
    check_complete(fetch(tmp_path, f"{server.address}/mirror{end}"))
    assert server.asked == ["/mirror/numbers/one.bin", "/mirror/numbers/two.bin"]


def test_the_published_mirrors_are_tried_in_order(tmp_path: Path, server: Server) -> None:
    mirrors = (f"{server.address}/gone/", server.serve("second"), server.serve("third"))
    check_complete(fetch(tmp_path, None, mirrors))
    assert server.asked == [f"/{d}/{n}" for n in CONTENT for d in ("gone", "second")]


def test_the_users_mirror_comes_first_and_the_published_ones_help_out(
    tmp_path: Path, server: Server
) -> None:
    check_complete(fetch(tmp_path, f"{server.address}/mine", (server.serve("published"),)))
    assert server.asked[:2] == ["/mine/numbers/one.bin", "/published/one.bin"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_mirror_with_wrong_content_is_passed_over(
    tmp_path: Path, server: Server, damage: str
) -> None:
    mirrors = (server.serve("wrong", damage), server.serve("right"))
    check_complete(fetch(tmp_path, None, mirrors))


def test_a_connection_that_breaks_off_is_passed_over(tmp_path: Path, server: Server) -> None:
    mirrors = (server.serve("breaks"), server.serve("right"))
    server.cut = {"/breaks/one.bin"}
    check_complete(fetch(tmp_path, None, mirrors))


def test_a_stream_without_end_is_cut_off(tmp_path: Path, server: Server) -> None:
    """Else a mirror could fill the disk before the checksum is looked at."""
    endless = server.serve("endless")
    server.pages["/endless/one.bin"] = CONTENT["one.bin"] + bytes(50_000_000)
    error = error_of(lambda: fetch(tmp_path, None, (endless,)))
    assert "longer than published" in error.what and files_in(tmp_path / "raw") == []


def test_when_no_mirror_helps_each_is_told_with_its_reason(tmp_path: Path, server: Server) -> None:
    mirrors = (f"{server.address}/gone/", server.serve("wrong", "corrupt"), "http://127.0.0.1:9/")
    error = error_of(lambda: fetch(tmp_path, None, mirrors))
    assert "no mirror gave one.bin" in error.what
    gone, wrong, closed = (error.what.index(address) for address in mirrors)
    assert "404" in error.what[gone:wrong]
    assert "damaged or altered" in error.what[wrong:closed]
    assert "connection" in error.what[closed:].lower()
    assert "mirror=FOLDER" in error.remedy
    assert files_in(tmp_path / "raw") == []


def test_a_page_that_is_gone_is_not_told_as_a_full_disk(tmp_path: Path, server: Server) -> None:
    error = error_of(lambda: fetch(tmp_path, None, (f"{server.address}/gone/",)))
    assert "cannot write" not in error.what


# Generated -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", registry.names("generators"))
def test_a_generated_source_lists_what_it_wrote(tmp_path: Path, name: str) -> None:
    options = {"images": 40, "size": 32} if name == "chest_phantom" else {}
    maker = Component(name=name, options=options)
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
