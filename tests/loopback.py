"""A web server on this machine that misbehaves as told."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from counterpoise.transfer import Patience, pace


@dataclass
class Page:
    """What is served at one path."""

    content: bytes
    ranges: bool = True
    """Whether parts may be asked for."""
    refuses: bool = False
    """Whether every part that is asked for is said to lie beyond the end."""
    etag: str | None = '"one"'
    cuts: list[int] = field(default_factory=list)
    """Of the next replies, after how many bytes the connection breaks."""
    stalls: list[int] = field(default_factory=list)
    """Of the next replies, after how many bytes nothing more comes."""
    statuses: list[int] = field(default_factory=list)
    """Of the next replies, errors; the last one stays if it is negative."""
    headers: dict[str, str] = field(default_factory=dict)
    rate: float | None = None
    """Bytes a second."""
    length: bool = True
    """Whether the size is told."""
    claimed: str | None = None
    """What replies to a range say that they are; whatever was asked for, they have all of it."""


class Server:
    """``pages`` maps paths to what is served; ``asked`` has the requests."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        self.ranges: list[tuple[str, str | None]] = []
        self.sent: dict[str, int] = {}
        self.most = 0
        """How many pages at once were on their way."""
        self._open: set[BaseHTTPRequestHandler] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def end_headers(self) -> None:
                # Said, as whoever is not told may ask again on a connection that is being closed.
                self.send_header("Connection", "close")
                super().end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """Whoever hangs up is no error here."""

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"

    def serve(self, folder: str, contents: dict[str, bytes]) -> str:
        """Serve files under a folder and return its address."""
        for name, content in contents.items():
            self.pages[f"/{folder}/{name}"] = Page(content)
        return f"{self.address}/{folder}/"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path, asked = request.path, request.headers.get("Range")
        self.asked.append(path)
        self.ranges.append((path, asked))
        page = self.pages.get(path)
        if page is None:
            request.send_error(404)
            return
        if page.statuses:
            status = page.statuses[0] if page.statuses[0] < 0 else page.statuses.pop(0)
            request.send_response(abs(status))
            for key, value in page.headers.items():
                request.send_header(key, value)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        content, start = page.content, 0
        same = request.headers.get("If-Range") in (None, page.etag)
        if asked and page.ranges and same and (match := re.fullmatch(r"bytes=(\d+)-", asked)):
            start = int(match[1])
            if start >= len(content) or page.refuses:
                request.send_response(416)
                if page.length:
                    request.send_header("Content-Range", f"bytes */{len(content)}")
                request.send_header("Content-Length", "0")
                request.end_headers()
                return
            request.send_response(206)
            told = f"bytes {start}-{len(content) - 1}/{len(content)}"
            if page.claimed is not None:
                told, start = page.claimed, 0
            request.send_header("Content-Range", told)
        else:
            request.send_response(200)
        if page.length:
            request.send_header("Content-Length", str(len(content) - start))
        if page.etag:
            request.send_header("ETag", page.etag)
        for key, value in page.headers.items():
            request.send_header(key, value)
        request.end_headers()
        limits = page.cuts or page.stalls
        stalled = limits is page.stalls and bool(limits)
        end = min(len(content), start + limits.pop(0)) if limits else len(content)
        try:
            self.send(request, path, content[start:end], page.rate)
        finally:
            self._open.discard(request)
        if stalled:
            time.sleep(4 * pace.PATIENCE.silence)

    def send(
        self, request: BaseHTTPRequestHandler, path: str, content: bytes, rate: float | None
    ) -> None:
        """Block by block, at so many bytes a second."""
        step = 1 << 14 if rate is None else max(1, int(rate / 50))
        self._open.add(request)
        self.most = max(self.most, len(self._open))
        for place in range(0, len(content), step):
            block = content[place : place + step]
            if place + step >= len(content):
                # Whoever has the last block may ask for the next page before this returns.
                self._open.discard(request)
            request.wfile.write(block)
            self.sent[path] = self.sent.get(path, 0) + len(block)
            if rate is not None:
                time.sleep(len(block) / rate)


QUICK = Patience(connect=10, silence=10, rounds=3, first=0.01, longest=0.05)
"""No pause of a busy machine is taken for silence."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server, stopped in the end; nobody waits for it as long as a user would."""
    monkeypatch.setattr(pace, "PATIENCE", QUICK)
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.http.shutdown()
    thread.join()
    made.http.server_close()
