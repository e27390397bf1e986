"""Files over HTTP: in parallel, from several addresses, resumed where they broke off, checked.

What has arrived of a file waits in ``.NAME.part`` beside its place, with ``.NAME.part.json`` that
says where it came from and which version of it (the server's validator) that was. The next attempt,
in this process or after a kill, asks for the rest of the same version only (RFC 9110: Range and
If-Range). A file is moved to its place once all of it is there and its checksum is right, and never
else.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import re
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from counterpoise.errors import UserError
from counterpoise.files import make_folder, read_json, unwritable, write_json
from counterpoise.pace import Patience, Progress

log = logging.getLogger(__name__)

PATIENCE = Patience()
TOGETHER = 4
"""Files fetched at once: enough to fill most lines, few enough for a server to bear."""
CHUNK = 1 << 16
UNKNOWN_LIMIT = 16 << 30
"""Bytes after which a file whose size nobody publishes is cut off."""
DAMAGED = "damaged or altered file"
_BUSY = {408, 425, 429, 500, 502, 503, 504}
_LOGIN = {401, 402, 403, 407, 451}
_PAGE = re.compile(rb"\s*(<!doctype\s+html|<html)", re.IGNORECASE)


@dataclass(frozen=True)
class Edition:
    """What a file's content may be; what is None is not known.

    A checksum may be shorter than sha256's 64 digits; then the content's begins so.
    """

    size: int | None
    sha256: str | None = None
    md5: str | None = None

    @property
    def checked(self) -> bool:
        """Whether there is a checksum."""
        return self.sha256 is not None or self.md5 is not None


class Digests:
    """Checksums of content that is read once."""

    def __init__(self) -> None:
        self.size = 0
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)

    def update(self, content: bytes) -> None:
        """Further content."""
        self.size += len(content)
        self._sha256.update(content)
        self._md5.update(content)

    @property
    def sha256(self) -> str:
        """Hexadecimal sha256 so far."""
        return self._sha256.hexdigest()

    def fits(self, edition: Edition) -> bool:
        """Whether all that is known of an edition is so."""
        return (
            edition.size in (None, self.size)
            and (edition.sha256 is None or self.sha256.startswith(edition.sha256))
            and edition.md5 in (None, self._md5.hexdigest())
        )


def digests_of(path: Path) -> Digests:
    """Checksums of a file."""
    digests = Digests()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digests.update(chunk)
    return digests


@dataclass(frozen=True)
class Wanted:
    """A file to fetch.

    Attributes:
        addresses: in the order in which they are tried.
        editions: contents that are accepted, at least one.
        page: where a person may get it.
    """

    target: Path
    addresses: tuple[str, ...]
    editions: tuple[Edition, ...]
    page: str | None = None

    @property
    def part(self) -> Path:
        """Where it grows."""
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def state(self) -> Path:
        """What is known of its part."""
        return self.target.with_name(f".{self.target.name}.part.json")

    @property
    def checked(self) -> bool:
        """Whether its content can be told from another."""
        return all(edition.checked for edition in self.editions)

    @property
    def limit(self) -> int:
        """Bytes that it cannot be longer than."""
        sizes = [edition.size for edition in self.editions]
        return max(UNKNOWN_LIMIT if size is None else size for size in sizes)

    def may_have(self, size: int) -> bool:
        """Whether an edition may have so many bytes."""
        return any(edition.size in (None, size) for edition in self.editions)


class _Again(Exception):
    """An attempt that failed and may do better later: a cut, a busy or silent server."""

    def __init__(self, what: str, wait: float = 0.0, slow: bool = False) -> None:
        self.what, self.wait, self.slow = what, wait, slow
        super().__init__(what)


class _Full(UserError):
    """This machine cannot keep the file, whoever sends it."""


def fetch_all(
    wanted: Sequence[Wanted],
    progress: Progress,
    done: Callable[[str, str], object] | None = None,
    together: int = TOGETHER,
) -> dict[str, str | UserError]:
    """Fetch several files at once.

    Args:
        done: is told the name and sha256 of each file as soon as it is in its place.

    Returns:
        By name of the file its sha256, or why it could not be had: one that fails does not keep
        the others from arriving.
    """
    stop = threading.Event()

    def fetch(one: Wanted) -> str | UserError:
        try:
            sha256 = _fetch(one, progress, stop)
            if done is not None:
                done(one.target.name, sha256)
            return sha256
        except _Full as error:
            stop.set()
            return error
        except UserError as error:
            return error

    with ThreadPoolExecutor(max(1, min(together, len(wanted)))) as pool:
        try:
            found = list(pool.map(fetch, wanted))
        except BaseException:
            stop.set()
            raise
    return {one.target.name: result for one, result in zip(wanted, found, strict=True)}


def _fetch(wanted: Wanted, progress: Progress, stop: threading.Event) -> str:
    """Fetch one file from the first address that has it; its sha256."""
    make_folder(wanted.target.parent)
    whole = _finished(wanted)
    if whole is not None:
        return whole
    alive = list(wanted.addresses)
    failures: dict[str, str] = {}
    passed, farthest = 0, _length(wanted.part)
    while alive and passed < PATIENCE.rounds:
        asked, further, slow = 0.0, False, set[str]()
        for address in tuple(alive):
            try:
                return _attempt(wanted, address, len(alive) > 1, progress, stop)
            except _Again as again:
                failures[address] = again.what
                asked = max(asked, again.wait)
                if again.slow:
                    slow.add(address)
            except _Full:
                raise
            except UserError as error:
                failures[address] = error.what
                alive.remove(address)
            if stop.is_set():
                raise UserError("stopped", where=wanted.target)
            log.warning("%s: %s", address, failures[address])
            if address in slow:
                alive.append(alive.pop(alive.index(address)))  # the last resort
                passed = 0
            elif (length := _length(wanted.part)) > farthest:
                farthest, further = length, True
                break  # what came further is worth another try before the others are asked
        if alive and not further:
            stop.wait(PATIENCE.pause(passed, asked))
            passed += 1
        elif further:
            stop.wait(PATIENCE.first * 0.1)
            passed = 0
    raise UserError(
        f"no mirror gave {wanted.target.name}: "
        + "; ".join(f"{address}: {failures[address]}" for address in wanted.addresses),
        where=wanted.target,
    )


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _attempt(
    wanted: Wanted, address: str, others: bool, progress: Progress, stop: threading.Event
) -> str:
    """One request for what is missing, then the check and the move.

    Raises:
        _Again: it may do better later.
        UserError: this address cannot give the file.
    """
    import requests
    from urllib3.exceptions import HTTPError

    _refuse_plain(address, wanted)
    offset, headers = _resume(wanted, address)
    digests = digests_of(wanted.part) if offset else Digests()
    try:
        with requests.Session() as session:
            session.hooks["response"].append(_refuse_downgrade(address))
            with session.get(
                address,
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                timeout=(PATIENCE.connect, PATIENCE.silence),
            ) as response:
                if response.status_code == 416 and offset:
                    _drop(wanted)
                    raise _Again("what is here is no beginning of what the server has")
                _check_reply(response, wanted)
                if response.status_code == 206:
                    total = _total_of_range(response, offset, wanted)
                else:
                    offset, digests = 0, Digests()
                    total = _declared(response)
                if total is not None and not wanted.may_have(total):
                    raise _damaged(total, wanted)
                if not offset:
                    _begin(wanted, address, response, total)
                progress.found(offset)
                try:
                    _receive(response.raw, wanted, digests, offset, others, progress, stop)
                except BaseException:
                    progress.found(-digests.size)
                    raise
    except (requests.RequestException, HTTPError) as error:
        raise _Again(str(error)[:200] or type(error).__name__) from error
    if stop.is_set():
        raise UserError("stopped", where=wanted.target)
    expected = total if total is not None else wanted.editions[0].size
    if expected is not None and digests.size < expected:
        progress.found(-digests.size)
        raise _Again(f"the connection broke off after {digests.size} of {expected} bytes")
    problem = _problem(wanted, digests)
    if problem is not None:
        progress.found(-digests.size)
        _drop(wanted)
        if offset:  # the part may be to blame, of another version or torn by a crash
            raise _Again(f"{problem}; begun anew")
        raise UserError(problem)
    _move(wanted)
    return digests.sha256


def _resume(wanted: Wanted, address: str) -> tuple[int, dict[str, str]]:
    """Bytes that are here, and headers that ask for the rest of the same version."""
    length = _length(wanted.part)
    if not length:
        return 0, {}
    try:
        state = read_json(wanted.state)
        validator = str(state["validator"] or "")
        same = state["address"] == address
    except (UserError, KeyError, TypeError):
        validator, same = "", False
    usable = (same and validator) or wanted.checked
    if not usable or length >= wanted.limit:
        _drop(wanted)
        return 0, {}
    headers = {"Range": f"bytes={length}-"}
    if same and validator:
        headers["If-Range"] = validator
    return length, headers


def _begin(wanted: Wanted, address: str, response: Any, total: int | None) -> None:
    """Forget what is here; note what comes."""
    wanted.part.unlink(missing_ok=True)
    etag = response.headers.get("ETag", "")
    strong = etag if etag and not etag.startswith("W/") else None
    validator = strong or response.headers.get("Last-Modified")
    try:
        write_json(wanted.state, {"address": address, "validator": validator, "total": total})
    except UserError as error:
        raise _Full(error.what, where=wanted.target, remedy=error.remedy) from error


def _receive(
    stream: Any,
    wanted: Wanted,
    digests: Digests,
    offset: int,
    others: bool,
    progress: Progress,
    stop: threading.Event,
) -> None:
    started, limit = time.monotonic(), wanted.limit
    try:
        opened = wanted.part.open("ab" if offset else "wb")
    except OSError as error:
        raise _full(wanted, error) from error
    with opened as file:
        # As it is sent: what a server calls an encoding is what the file is.
        while chunk := stream.read(CHUNK, decode_content=False):
            if stop.is_set():
                return
            if digests.size == 0 and not _is_page(wanted.target) and _PAGE.match(chunk):
                raise _login(wanted)
            digests.update(chunk)
            if digests.size > limit:
                _drop(wanted)
                raise UserError(f"{DAMAGED}: longer than published")
            try:
                file.write(chunk)
                file.flush()
            except OSError as error:
                raise _full(wanted, error) from error
            progress.arrived(len(chunk))
            lasted = time.monotonic() - started
            rate = (digests.size - offset) / max(lasted, 1e-9)
            if others and lasted > PATIENCE.slow_after and rate < PATIENCE.slow:
                raise _Again(f"only {rate:.0f} bytes a second", slow=True)


def _full(wanted: Wanted, error: OSError) -> _Full:
    reason = unwritable(wanted.target, error)
    return _Full(reason.what, where=reason.where, remedy=reason.remedy)


def _finished(wanted: Wanted) -> str | None:
    """Move a part that is complete, as a kill just before the move leaves it; its sha256."""
    length = _length(wanted.part)
    try:
        total = read_json(wanted.state).get("total")
    except (UserError, AttributeError):
        total = None
    if not length or (length != total and all(e.size != length for e in wanted.editions)):
        return None
    digests = digests_of(wanted.part)
    if _problem(wanted, digests) is not None:
        return None
    _move(wanted)
    return digests.sha256


def _problem(wanted: Wanted, digests: Digests) -> str | None:
    """What is wrong with a complete part."""
    if not any(digests.fits(edition) for edition in wanted.editions):
        return str(_damaged(digests.size, wanted))
    if wanted.checked:
        return None
    try:  # nobody says what it should be: at least it has to be whole
        if wanted.target.suffix == ".zip":
            zipfile.ZipFile(wanted.part).close()
        elif wanted.target.suffix == ".gz":
            with gzip.open(wanted.part) as file:
                while file.read(1 << 20):
                    pass
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, ValueError) as error:
        return f"{DAMAGED}: no whole archive ({error})"
    return None


def _move(wanted: Wanted) -> None:
    try:
        with wanted.part.open("rb") as file:
            os.fsync(file.fileno())
        wanted.part.replace(wanted.target)
    except OSError as error:
        raise _full(wanted, error) from error
    wanted.state.unlink(missing_ok=True)


def _drop(wanted: Wanted) -> None:
    wanted.part.unlink(missing_ok=True)
    wanted.state.unlink(missing_ok=True)


def _damaged(size: int, wanted: Wanted) -> UserError:
    sizes = sorted({edition.size for edition in wanted.editions if edition.size is not None})
    if sizes and size not in sizes:
        than = "longer" if size > sizes[-1] else "shorter" if size < sizes[0] else "other"
        known = " or ".join(map(str, sizes))
        return UserError(f"{DAMAGED}: {than} than published ({size} bytes, {known} published)")
    return UserError(f"{DAMAGED}: another checksum than published or recorded")


# What servers say ------------------------------------------------------------------------------


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine."""
    return urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1")


def _refuse_plain(address: str, wanted: Wanted) -> None:
    """Without encryption and without a checksum anybody on the way could give another file."""
    scheme = urlsplit(address).scheme
    if scheme == "https" or (scheme == "http" and (wanted.checked or is_loopback(address))):
        return
    raise UserError(
        "only https will do, as nobody publishes a checksum of this file"
        if scheme == "http"
        else f"cannot fetch by {scheme!r}"
    )


def _refuse_downgrade(address: str) -> Any:
    def check(response: Any, *_: Any, **__: Any) -> None:
        to = response.headers.get("Location", "") if response.is_redirect else ""
        if to and urlsplit(address).scheme == "https" and urlsplit(to).scheme not in ("", "https"):
            raise UserError(f"sends on to an address that is not encrypted ({to[:100]})")

    return check


def _check_reply(response: Any, wanted: Wanted) -> None:
    status = response.status_code
    if status in _LOGIN:
        raise _login(wanted, f"status {status}")
    if status in _BUSY:
        asked = response.headers.get("Retry-After", "")
        raise _Again(f"status {status}", float(asked) if re.fullmatch(r"\d{1,6}", asked) else 0.0)
    if status not in (200, 206):
        raise UserError(f"status {status} ({response.reason})")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and not _is_page(wanted.target):
        raise _login(wanted)


def _is_page(path: Path) -> bool:
    return path.suffix in (".html", ".htm")


def _login(wanted: Wanted, because: str = "a web page came instead of the file") -> UserError:
    place = f"; a person finds it at {wanted.page}" if wanted.page else ""
    return UserError(f"asks for a login or a click on a licence ({because}){place}")


def _total_of_range(response: Any, offset: int, wanted: Wanted) -> int | None:
    """Size of the whole file by a reply that holds a part of it."""
    told = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", told.strip())
    if match is None or int(match[1]) != offset:
        _drop(wanted)
        raise _Again(f"another range came than was asked for ({told[:60]!r})")
    return None if match[3] == "*" else int(match[3])


def _declared(response: Any) -> int | None:
    told = response.headers.get("Content-Length", "")
    return int(told) if re.fullmatch(r"\d{1,15}", told) else None


def addresses(folders: Iterator[str] | Sequence[str], name: str) -> tuple[str, ...]:
    """Addresses of a file in folders."""
    return tuple(f"{folder.rstrip('/')}/{name}" for folder in folders)
