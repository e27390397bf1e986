"""Files over HTTP: whole, right and in place, or resumable and nowhere else."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from counterpoise.errors import UserError
from counterpoise.transfer import Edition, Patience, Progress, Wanted, contents, fetch_all, pace
from counterpoise.transfer import fetch as transfer
from counterpoise.transfer.replies import refuse_downgrade
from counterpoise.wording import duration, size

from ..loopback import QUICK, Page, Server
from ..support import error_of, files_in

CONTENT = bytes(range(256)) * 2000  # 512,000 bytes: several chunks
RIGHT = Edition(len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
UNKNOWN = Edition(None)
OTHER = bytes(len(CONTENT))


def wanted(folder: Path, *addresses: str, edition: Edition = RIGHT, **more: Any) -> Wanted:
    return Wanted(folder / "file.bin", addresses, (edition,), **more)


def get(one: Wanted, say: Any = lambda line: None) -> str | UserError:
    return fetch_all([one], Progress(None, say))[one.target.name]


def reason(one: Wanted) -> str:
    result = get(one)
    assert isinstance(result, UserError), result
    return result.what


def page(server: Server, path: str = "/file.bin", content: bytes = CONTENT, **more: Any) -> str:
    server.pages[path] = Page(content, **more)
    return server.address + path


def check_whole(folder: Path, content: bytes = CONTENT, result: Any = None) -> None:
    assert files_in(folder) == ["file.bin"]
    assert (folder / "file.bin").read_bytes() == content
    assert result in (None, hashlib.sha256(content).hexdigest())


# Resuming ------------------------------------------------------------------------------------


@pytest.mark.parametrize("edition", [RIGHT, UNKNOWN], ids=["published", "unknown"])
def test_a_cut_connection_goes_on_where_it_broke(
    tmp_path: Path, server: Server, edition: Edition
) -> None:
    address = page(server, cuts=[200_000, 100_000, 1])
    check_whole(tmp_path, result=get(wanted(tmp_path, address, edition=edition)))
    ends = ("200000", "300000", "300001")
    assert server.ranges == [("/file.bin", None), *(("/file.bin", f"bytes={e}-") for e in ends)]
    assert server.sent["/file.bin"] == len(CONTENT)  # no byte twice


def test_a_server_that_ignores_ranges_begins_anew(tmp_path: Path, server: Server) -> None:
    address = page(server, ranges=False, cuts=[200_000])
    check_whole(tmp_path, result=get(wanted(tmp_path, address)))
    assert server.sent["/file.bin"] == 200_000 + len(CONTENT)


@pytest.mark.parametrize("edition", [RIGHT, UNKNOWN], ids=["published", "unknown"])
def test_a_file_that_changed_meanwhile_is_not_patched_together(
    tmp_path: Path, server: Server, edition: Edition
) -> None:
    (tmp_path / ".file.bin.part").write_bytes(OTHER[:1000])
    address = page(server)
    state = f'{{"address": "{address}", "validator": "\\"old\\"", "total": 512000}}'
    (tmp_path / ".file.bin.part.json").write_text(state, encoding="utf-8")
    check_whole(tmp_path, result=get(wanted(tmp_path, address, edition=edition)))


def test_a_torn_part_of_the_same_version_is_found_out(tmp_path: Path, server: Server) -> None:
    (tmp_path / ".file.bin.part").write_bytes(OTHER[:1000])
    address = page(server)
    state = f'{{"address": "{address}", "validator": "\\"one\\"", "total": 512000}}'
    (tmp_path / ".file.bin.part.json").write_text(state, encoding="utf-8")
    check_whole(tmp_path, result=get(wanted(tmp_path, address)))
    assert [asked for _, asked in server.ranges] == ["bytes=1000-", None]


@pytest.mark.parametrize("state", ["", "{", "[]", "{}", '{"address": 3, "validator": null}'])
def test_a_part_that_nothing_is_known_of(tmp_path: Path, server: Server, state: str) -> None:
    """With a published checksum it is used all the same, and without one it is not."""
    (tmp_path / ".file.bin.part").write_bytes(CONTENT[:1000])
    (tmp_path / ".file.bin.part.json").write_text(state, encoding="utf-8")
    check_whole(tmp_path, result=get(wanted(tmp_path, page(server))))
    (tmp_path / "file.bin").rename(tmp_path / ".file.bin.part")
    check_whole(tmp_path, result=get(wanted(tmp_path, page(server), edition=UNKNOWN)))
    assert [asked for _, asked in server.ranges] == ["bytes=1000-", None]


def test_what_was_complete_before_a_kill_is_not_asked_for_again(
    tmp_path: Path, server: Server
) -> None:
    (tmp_path / ".file.bin.part").write_bytes(CONTENT)
    check_whole(tmp_path, result=get(wanted(tmp_path, page(server))))
    assert server.asked == []


def test_a_part_that_is_too_long_begins_anew(tmp_path: Path, server: Server) -> None:
    (tmp_path / ".file.bin.part").write_bytes(CONTENT + b"more")
    check_whole(tmp_path, result=get(wanted(tmp_path, page(server))))


def test_another_mirror_goes_on_with_what_the_first_gave(tmp_path: Path, server: Server) -> None:
    first = page(server, "/first", cuts=[200_000, 0, 0, 0], etag='"a"')
    check_whole(tmp_path, result=get(wanted(tmp_path, first, page(server, "/second", etag='"b"'))))
    assert ("/second", "bytes=200000-") in server.ranges


def test_a_server_that_refuses_every_range_begins_anew(tmp_path: Path, server: Server) -> None:
    """It has the file, though it says that the rest of its own is none."""
    address = page(server, cuts=[200_000], refuses=True)
    check_whole(tmp_path, result=get(wanted(tmp_path, address)))
    assert [asked for _, asked in server.ranges] == [None, "bytes=200000-", None]


@pytest.mark.parametrize("told", [True, False])
def test_a_mirror_that_has_less_costs_nothing_of_what_is_here(
    tmp_path: Path, server: Server, told: bool
) -> None:
    first = page(server, cuts=[200_000, 0])
    short = page(server, "/short", CONTENT[:500], length=told)
    check_whole(tmp_path, result=get(wanted(tmp_path, first, short)))
    assert server.ranges.count(("/short", "bytes=200000-")) == 1 == server.asked.count("/short")
    assert server.sent["/file.bin"] == len(CONTENT)  # no byte twice


def test_a_mirror_that_sends_another_range_costs_nothing(tmp_path: Path, server: Server) -> None:
    first = page(server, cuts=[200_000, 0])
    other = page(server, "/other", claimed="bytes 0-9/512000")
    check_whole(tmp_path, result=get(wanted(tmp_path, first, other)))
    assert server.asked.count("/other") == 1 and server.sent["/file.bin"] == len(CONTENT)


@pytest.mark.parametrize("status", [404, 503])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("told", [True, False])
def test_where_nobody_goes_on_with_what_is_here_it_begins_anew(
    tmp_path: Path, server: Server, told: bool, known: bool, status: int
) -> None:
    """The shorter edition is whole where it is, and whoever began the longer one is gone."""
    shorter = CONTENT[:1000]
    other = Edition(len(shorter), hashlib.sha256(shorter).hexdigest())
    gone = page(server, "/gone", statuses=[-status])
    second = page(server, "/second", shorter, length=told)
    part = Wanted(tmp_path / "file.bin", (gone, second), (RIGHT, other))
    part.part.write_bytes(CONTENT[:300_000])
    if known:
        state = {"address": gone, "validator": '"one"', "total": len(CONTENT)}
        part.state.write_text(json.dumps(state), encoding="utf-8")
    check_whole(tmp_path, shorter, get(part))


def test_without_a_checksum_mirrors_are_not_mixed(tmp_path: Path, server: Server) -> None:
    first = page(server, "/first", OTHER, cuts=[200_000, 0, 0, 0])
    second = page(server, "/second")
    check_whole(tmp_path, result=get(wanted(tmp_path, first, second, edition=UNKNOWN)))
    assert ("/second", None) in server.ranges


def test_without_a_validator_an_unknown_file_begins_anew(tmp_path: Path, server: Server) -> None:
    address = page(server, cuts=[200_000], etag=None)
    check_whole(tmp_path, result=get(wanted(tmp_path, address, edition=UNKNOWN)))
    assert [asked for _, asked in server.ranges] == [None, None]


@pytest.mark.parametrize("edition", [RIGHT, UNKNOWN], ids=["published", "unknown"])
@pytest.mark.parametrize("told", ["", "bytes 0-9/512000", "bytes 1000-511999/7", "nonsense"])
def test_a_reply_with_another_range_is_not_taken(
    tmp_path: Path, server: Server, told: str, edition: Edition
) -> None:
    """Whatever a server says of what it sends, nothing is put together that does not belong so."""
    address, second = page(server, claimed=told), page(server, "/second")
    part = wanted(tmp_path, address, second, edition=edition)
    part.part.write_bytes(CONTENT[:1000])
    state = {"address": address, "validator": '"one"', "total": len(CONTENT)}
    part.state.write_text(json.dumps(state), encoding="utf-8")
    check_whole(tmp_path, result=get(part))


def test_after_a_restart_it_matters_how_far_that_came(tmp_path: Path, server: Server) -> None:
    """Not how much of an older version was here."""
    address = page(server, cuts=[60_000] * 8)
    part = wanted(tmp_path, address)
    part.part.write_bytes(OTHER[:400_000])
    state = {"address": address, "validator": '"old"', "total": len(CONTENT)}
    part.state.write_text(json.dumps(state), encoding="utf-8")
    check_whole(tmp_path, result=get(part))
    assert server.sent["/file.bin"] == len(CONTENT)


# Giving up -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(tmp_path: Path, server: Server, status: int) -> None:
    address = page(server, statuses=[status, status], headers={"Retry-After": "1"})
    check_whole(tmp_path, result=get(wanted(tmp_path, address)))
    assert len(server.asked) == 3


def test_a_server_that_stays_busy_is_given_up(tmp_path: Path, server: Server) -> None:
    assert "status 503" in reason(wanted(tmp_path, page(server, statuses=[-503])))
    assert len(server.asked) == QUICK.rounds and files_in(tmp_path) == []


def test_a_server_that_always_begins_anew_and_breaks_off_is_given_up(
    tmp_path: Path, server: Server
) -> None:
    """Though every second try comes further than the one before."""
    address = page(server, ranges=False, cuts=[200_000, 100_000] * 50)
    assert "no mirror provided" in reason(wanted(tmp_path, address))
    assert len(server.asked) <= 4 * QUICK.rounds


def test_a_range_that_nobody_asked_for_is_given_up(tmp_path: Path, server: Server) -> None:
    told = {"Content-Range": "bytes 5-511999/512000"}
    address = page(server, statuses=[-206], headers=told)
    assert "another range" in reason(wanted(tmp_path, address))
    assert len(server.asked) == QUICK.rounds


@pytest.mark.parametrize("status", [400, 404, 410, 501])
def test_what_is_not_there_is_not_asked_for_again(
    tmp_path: Path, server: Server, status: int
) -> None:
    gone = page(server, "/gone", statuses=[-status])
    check_whole(tmp_path, result=get(wanted(tmp_path, gone, page(server))))
    assert server.asked == ["/gone", "/file.bin"]


@pytest.mark.parametrize("status", [401, 402, 403, 407, 451])
def test_a_login_is_told_with_the_page_for_people(
    tmp_path: Path, server: Server, status: int
) -> None:
    address = page(server, statuses=[-status])
    told = reason(wanted(tmp_path, address, page="https://example.org/terms"))
    assert "login" in told and f"status {status}" in told and "https://example.org/terms" in told
    assert len(server.asked) == 1 and files_in(tmp_path) == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"<p>Accept the licence</p>", "text/html; charset=utf-8"), (b"\n<!DOCTYPE html>\n", "text/plain"),
     (b"<HTML><body>", "application/octet-stream")],
)  # fmt: skip
def test_a_web_page_in_place_of_the_file(
    tmp_path: Path, server: Server, content: bytes, kind: str
) -> None:
    address = page(server, content=content, headers={"Content-Type": kind})
    for edition in (UNKNOWN, Edition(len(content), RIGHT.sha256)):
        told = reason(wanted(tmp_path, address, edition=edition))
        assert "consent to a licence" in told
        assert [p for p in files_in(tmp_path) if p == "file.bin"] == []


@pytest.mark.parametrize("length", [True, False])
def test_wrong_content_leaves_nothing(tmp_path: Path, server: Server, length: bool) -> None:
    told = reason(wanted(tmp_path, page(server, content=OTHER, length=length)))
    assert "not the checksum published" in told and files_in(tmp_path) == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b""])
def test_another_size_than_published_is_not_even_read(
    tmp_path: Path, server: Server, content: bytes
) -> None:
    told = reason(wanted(tmp_path, page(server, content=content)))
    assert "than published" in told and files_in(tmp_path) == []


def test_an_md5_is_computed_only_where_one_is_published(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes more than twice as long as the sha256."""
    monkeypatch.setattr(hashlib, "md5", None)
    check_whole(tmp_path, result=get(wanted(tmp_path, page(server))))


def test_an_md5_is_compared(tmp_path: Path, server: Server) -> None:
    md5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    check_whole(
        tmp_path, result=get(wanted(tmp_path, page(server), edition=Edition(None, md5=md5)))
    )
    server.pages["/file.bin"].content = OTHER
    (tmp_path / "file.bin").unlink()
    assert "not the checksum published" in reason(
        wanted(tmp_path, page(server, content=OTHER), edition=Edition(None, md5=md5))
    )


@pytest.mark.parametrize("size", [3, 600_000])
@pytest.mark.parametrize("length", [True, False])
def test_each_edition_is_as_good(tmp_path: Path, server: Server, size: int, length: bool) -> None:
    editions = (Edition(size, "0" * 64), RIGHT)
    one = Wanted(tmp_path / "file.bin", (page(server, length=length),), editions)
    check_whole(tmp_path, result=get(one))
    assert len(server.asked) == 1


def archive(kind: str) -> bytes:
    if kind == ".gz":
        return gzip.compress(CONTENT * 3)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr("a", CONTENT)
    return held.getvalue()


@pytest.mark.parametrize("kind", [".gz", ".zip"])
def test_an_archive_that_nobody_vouches_for_is_at_least_whole(
    tmp_path: Path, server: Server, kind: str
) -> None:
    content = archive(kind)
    whole, torn = page(server, "/whole", content), page(server, "/torn", content[:-20])
    one = Wanted(tmp_path / f"a{kind}", (torn, whole), (UNKNOWN,))
    assert get(one) == hashlib.sha256(content).hexdigest()
    assert files_in(tmp_path) == [f"a{kind}"] and server.asked == ["/torn", "/whole"]


def test_a_stream_of_unknown_length_ends(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "UNKNOWN_LIMIT", 100_000)
    address = page(server, length=False)
    assert "longer" in reason(wanted(tmp_path, address, edition=UNKNOWN))
    assert files_in(tmp_path) == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    """Half a second without a byte is silence."""
    monkeypatch.setattr(pace, "PATIENCE", replace(QUICK, silence=0.5))


@pytest.mark.usefixtures("impatient")
def test_a_silent_server_is_left(tmp_path: Path, server: Server) -> None:
    silent = page(server, "/silent", rate=1)
    check_whole(tmp_path, result=get(wanted(tmp_path, silent, page(server))))
    assert server.asked[:2] == ["/silent", "/file.bin"]


@pytest.mark.usefixtures("impatient")
def test_bytes_between_silences_are_no_progress_to_wait_for(tmp_path: Path, server: Server) -> None:
    """A byte a second, each after a silence: the only address is given up, not asked for ever."""
    silent = page(server, "/silent", rate=1)
    assert "no mirror provided" in reason(wanted(tmp_path, silent))
    assert len(server.asked) == QUICK.rounds


def test_a_server_that_trickles_is_left_at_once(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not once a full chunk has come, which would take a quarter of a minute here."""
    monkeypatch.setattr(pace, "PATIENCE", replace(QUICK, slow=1e6, slow_after=0.2))
    trickle = page(server, "/trickle", rate=4000)
    check_whole(tmp_path, result=get(wanted(tmp_path, trickle, page(server))))
    assert server.sent["/trickle"] < transfer.CHUNK


def test_a_page_is_known_by_its_beginning_however_it_comes(tmp_path: Path, server: Server) -> None:
    """A login page of which a few letters come first, where no checksum is published."""
    html = b"<!doctype html>" + b"log in" * 500
    slowly = page(server, "/login", html, rate=20_000)
    assert "login" in reason(wanted(tmp_path, slowly, edition=UNKNOWN))
    assert not (tmp_path / "file.bin").exists()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_stalls_after_much_is_asked_on(tmp_path: Path, server: Server) -> None:
    """More stalls than passes are allowed, each after what counts as progress."""
    step = transfer.CHUNK + 1000
    stalls = len(CONTENT) // step
    assert stalls > QUICK.rounds
    stalling = page(server, "/stalls", stalls=[step] * stalls)
    check_whole(tmp_path, result=get(wanted(tmp_path, stalling)))


def test_where_all_are_slow_one_of_them_has_its_time(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of two slow addresses can go on where it was cut off."""
    monkeypatch.setattr(pace, "PATIENCE", replace(QUICK, slow=1e9, slow_after=0.05))
    one, other = (page(server, f"/{n}", rate=1_000_000, ranges=False) for n in range(2))
    check_whole(tmp_path, result=get(wanted(tmp_path, one, other)))
    assert len(server.asked) == 3


@pytest.mark.parametrize("address", ["https://[x/file.bin", "https://a b/file.bin"])
def test_what_is_no_address_is_left_for_the_next(
    tmp_path: Path, server: Server, address: str
) -> None:
    check_whole(tmp_path, result=get(wanted(tmp_path, address, page(server))))


def test_a_slow_server_is_left_where_there_is_another(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PATIENCE", replace(QUICK, slow=1e9, slow_after=0.05))
    slow = page(server, "/slow", rate=1_000_000)
    check_whole(tmp_path, result=get(wanted(tmp_path, slow, page(server))))
    assert server.asked[0] == "/slow" and server.ranges[1][0] == "/file.bin"
    assert server.ranges[1][1] is not None  # with what the slow one gave


def test_a_slow_server_that_is_the_only_one_is_waited_for(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "PATIENCE", replace(QUICK, slow=1e9, slow_after=0.05))
    check_whole(tmp_path, result=get(wanted(tmp_path, page(server, rate=1_000_000))))
    assert len(server.asked) == 1


def test_a_disk_that_is_full_is_not_blamed_on_a_mirror(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", no_space)
    error = error_of(lambda: get(wanted(tmp_path, page(server), page(server, "/second"))))
    assert "No space left" in error.what and "free space" in error.remedy
    assert server.asked == ["/file.bin"]


# Addresses -----------------------------------------------------------------------------------


def test_plain_http_to_elsewhere_needs_a_checksum(tmp_path: Path) -> None:
    told = reason(wanted(tmp_path, "http://192.0.2.1/file.bin", edition=UNKNOWN))
    assert "only https" in told
    assert "cannot fetch over 'file'" in reason(wanted(tmp_path, "file:///etc/passwd"))


def test_nobody_is_sent_on_from_https_to_http() -> None:
    check = refuse_downgrade("https://example.org/a")
    for to, fine in {"http://example.org/b": False, "https://example.org/b": True, "/b": True,
                     "ftp://example.org/b": False}.items():  # fmt: skip
        reply = SimpleNamespace(is_redirect=True, headers={"Location": to})
        if fine:
            check(reply)
        else:
            with pytest.raises(UserError, match="not encrypted"):
                check(reply)


def test_a_redirection_is_followed(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And each reply on the way is held against what it must not lead to."""
    seen: list[int] = []

    def refuse(address: str) -> Any:
        return lambda reply, **_: seen.append(reply.status_code)

    monkeypatch.setattr(transfer, "refuse_downgrade", refuse)
    moved = page(server, "/moved", statuses=[-302], headers={"Location": page(server)})
    check_whole(tmp_path, result=get(wanted(tmp_path, moved)))
    assert seen == [302, 200]


# Many ----------------------------------------------------------------------------------------


def test_files_come_at_once_and_one_that_fails_does_not_stop_the_others(
    tmp_path: Path, server: Server
) -> None:
    files = []
    for n in range(6):
        content = bytes([n]) * 300_000
        right = Edition(len(content), hashlib.sha256(content).hexdigest())
        address = page(server, f"/{n}", content, rate=1_000_000)
        files.append(Wanted(tmp_path / str(n), (address,), (right,)))
    server.pages["/2"].statuses = [-404]
    told: list[str] = []
    results = fetch_all(files, Progress(None, told.append), lambda name, _: told.append(name))
    assert [isinstance(results[str(n)], str) for n in range(6)] == [n != 2 for n in range(6)]
    assert files_in(tmp_path) == ["0", "1", "3", "4", "5"] == sorted(told)
    assert server.most == 4


# Words ---------------------------------------------------------------------------------------


def test_progress_tells_rate_and_time_left() -> None:
    now, lines = [0.0], []
    progress = Progress(1_000_000_000, lines.append, every=10, clock=lambda: now[0])
    progress.found(400_000_000)
    for _ in range(20):
        now[0] += 1
        progress.arrived(5_000_000)
    assert lines == [
        "450.0 MB of 1.0 GB (45 %), 5.0 MB/s, 2 min left",
        "500.0 MB of 1.0 GB (50 %), 5.0 MB/s, 2 min left",
    ]
    now[0] += 100
    progress.arrived(0)
    assert lines[-1].startswith("500.0 MB")
    unknown = Progress(None, lines.append, every=0, clock=lambda: now[0])
    now[0] += 1
    unknown.arrived(3)
    assert lines[-1] == "3 B here, 3 B/s"


def test_sizes_and_times() -> None:
    assert [size(n) for n in (0, 999, 1000, 45_100_000_000)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "45.1 GB",
    ]
    assert [duration(s) for s in (5, 89, 600, 7500)] == ["5 s", "89 s", "10 min", "2 h 05 min"]


def test_pauses_grow_and_heed_the_server() -> None:
    patience = Patience(first=1, longest=60)
    for passed, most in ((0, 1), (3, 8), (10, 60)):
        pauses = [patience.pause(passed) for _ in range(50)]
        assert all(most / 2 <= pause <= most for pause in pauses) and len(set(pauses)) > 1
    assert patience.pause(0, asked=30) == 30 and patience.pause(0, asked=1e9) == 60
