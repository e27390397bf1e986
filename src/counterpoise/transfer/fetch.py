"""One file or several, fetched until they are whole and right."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.files import make_folder, read_json, unwritable, write_json
from counterpoise.transfer import pace
from counterpoise.transfer.contents import (
    DAMAGED,
    Digests,
    Wanted,
    damage,
    digests_of,
    problem,
)
from counterpoise.transfer.pace import Progress
from counterpoise.transfer.replies import (
    Again,
    Unfit,
    check_reply,
    declared,
    refuse_downgrade,
    refuse_less,
    refuse_page,
    refuse_plain,
    total_of_range,
)

log = logging.getLogger(__name__)

TOGETHER = 4
"""Files fetched at once: enough to fill most lines, few enough for a server to bear."""
CHUNK = 1 << 16
BEGINNING = 512
"""Bytes by which a page that asks for a login is told from a file."""


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

    Raises:
        UserError: this machine cannot keep a file, so that all have been stopped.
    """
    stop = threading.Event()
    full: list[_Full] = []

    def fetch(one: Wanted) -> str | UserError:
        try:
            sha256 = _fetch(one, progress, stop)
            if done is not None:
                done(one.target.name, sha256)
            return sha256
        except _Full as error:
            full.append(error)
            stop.set()
            return error
        except UserError as error:
            return error

    with ThreadPoolExecutor(max(1, min(together, len(wanted)))) as pool:
        try:
            found = list(pool.map(fetch, wanted))
        except BaseException:
            stop.set()
            log.warning("stopping; what has arrived is kept")
            raise
    if full:
        raise full[0]
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
    restarts = 0  # only so many count, or who breaks off each time would be asked for ever
    left = set[str]()  # addresses that were too slow once; after all others they have their time
    aside: list[str] = []  # those that cannot go on with what others brought
    while alive and passed < pace.PATIENCE.rounds:
        asked, further, slow, silent = 0.0, False, set[str](), set[str]()
        for address in tuple(alive):
            before = _length(wanted.part)
            try:
                hurry = len(alive) > 1 and address not in left
                return _attempt(wanted, address, hurry, progress, stop)
            except Again as again:
                failures[address] = again.what
                asked = max(asked, again.wait)
                if again.silent:
                    silent.add(address)
                if again.slow:
                    slow.add(address)
                    left.add(address)
            except _Full:
                raise
            except UserError as error:
                failures[address] = error.what
                alive.remove(address)
                if isinstance(error, Unfit):
                    aside.append(address)
            if stop.is_set():
                raise UserError("stopped", where=wanted.target)
            log.warning("%s: %s", address, failures[address])
            length = _length(wanted.part)
            if length < before and restarts < pace.PATIENCE.rounds:
                farthest, restarts = length, restarts + 1  # what is gone is no measure any more
            if address in slow:
                alive.append(alive.pop(alive.index(address)))  # the last resort
                passed = 0
            elif address not in silent and length > farthest:
                farthest, further = length, True
                break  # what came further is worth another try before the others are asked
        if alive and not further:
            stop.wait(pace.PATIENCE.pause(passed, asked))
            passed += 1
        elif further:
            stop.wait(pace.PATIENCE.first * 0.1)
            passed = 0
        if aside and (not alive or passed >= pace.PATIENCE.rounds):
            # Nobody goes on with what is here, and from the start these may have all of it.
            wanted.drop()
            alive, aside, passed, farthest = aside, [], 0, 0
    raise UserError(
        f"no mirror provided {wanted.target.name}: "
        + "; ".join(f"{address}: {failures[address]}" for address in wanted.addresses),
        where=wanted.target,
    )


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _attempt(
    wanted: Wanted, address: str, hurry: bool, progress: Progress, stop: threading.Event
) -> str:
    """One request for what is missing, then the check and the move.

    Args:
        hurry: give up an address that is slow.

    Raises:
        Again: it may do better later.
        Unfit: it cannot go on with what another address brought.
        UserError: this address cannot give the file.
    """
    import requests
    from urllib3.exceptions import HTTPError
    from urllib3.exceptions import TimeoutError as TimeoutError_

    offset, digests = 0, Digests(wanted.editions)
    try:
        refuse_plain(address, wanted)
        offset, own, headers = _resume(wanted, address)
        digests = digests_of(wanted.part, wanted.editions) if offset else digests
        with requests.Session() as session:
            session.hooks["response"].append(refuse_downgrade(address))
            with session.get(
                address,
                headers={"Accept-Encoding": "identity", **headers},
                stream=True,
                timeout=(pace.PATIENCE.connect, pace.PATIENCE.silence),
            ) as response:
                if response.status_code == 416 and offset:
                    if not own:
                        refuse_less(response, wanted)
                    raise Unfit("the server's file ends before what is here")
                check_reply(response, wanted)
                if response.status_code == 206:
                    total = total_of_range(response, offset)
                else:
                    offset, digests = 0, Digests(wanted.editions)
                    total = declared(response)
                if total is not None and not wanted.may_have(total):
                    raise UserError(damage(total, wanted.editions))
                if not offset:
                    _begin(wanted, address, response, total)
                progress.found(offset)
                try:
                    _receive(response.raw, wanted, digests, offset, hurry, progress, stop)
                except BaseException:
                    progress.found(-digests.size)
                    raise
    except Unfit as error:
        if offset and not own:
            raise
        wanted.drop()
        raise Again(error.what) from error
    except (requests.RequestException, HTTPError) as error:
        brought = digests.size - offset
        silent = isinstance(error, requests.Timeout | TimeoutError_) and brought < CHUNK
        raise Again(str(error)[:200] or type(error).__name__, silent=silent) from error
    except ValueError as error:  # an address, or one that it sends on to
        raise UserError(f"cannot be requested: {error}") from error
    if stop.is_set():
        raise UserError("stopped", where=wanted.target)
    expected = total if total is not None else wanted.editions[0].size
    ended = total is None and digests.fit()  # another edition than the first, which is longer
    if expected is not None and digests.size < expected and not ended:
        progress.found(-digests.size)
        raise Again(f"the connection broke off after {digests.size} of {expected} bytes")
    if expected is not None and digests.size > expected and not wanted.checked:
        progress.found(-digests.size)
        wanted.drop()
        raise Again(f"{digests.size} bytes came, {expected} were announced")
    wrong = problem(wanted, digests)
    if wrong is not None:
        progress.found(-digests.size)
        wanted.drop()
        if offset:  # the part may be to blame, of another version or torn by a crash
            raise Again(f"{wrong}; starting again")
        raise UserError(wrong)
    _move(wanted)
    return digests.sha256


def _resume(wanted: Wanted, address: str) -> tuple[int, bool, dict[str, str]]:
    """Bytes that are here, whether this address began them, and headers that ask for the rest."""
    length = _length(wanted.part)
    if not length:
        return 0, False, {}
    try:
        state = read_json(wanted.state)
        validator = str(state["validator"] or "")
        same = state["address"] == address
    except (UserError, KeyError, TypeError):
        validator, same = "", False
    usable = (same and validator) or wanted.checked
    if not usable or length >= wanted.limit:
        wanted.drop()
        return 0, False, {}
    headers = {"Range": f"bytes={length}-"}
    if same and validator:
        headers["If-Range"] = validator
    return length, same, headers


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
    hurry: bool,
    progress: Progress,
    stop: threading.Event,
) -> None:
    started, limit = time.monotonic(), wanted.limit
    try:
        opened = wanted.part.open("ab" if offset else "wb")
    except OSError as error:
        raise _full(wanted, error) from error
    with opened as file:
        for chunk in _chunks(stream, 0 if digests.size else BEGINNING):
            if stop.is_set():
                return
            if digests.size == 0:
                refuse_page(chunk, wanted)
            digests.update(chunk)
            if digests.size > limit:
                wanted.drop()
                raise UserError(f"{DAMAGED}: longer than published")
            try:
                file.write(chunk)
                file.flush()
            except OSError as error:
                raise _full(wanted, error) from error
            progress.arrived(len(chunk))
            lasted = time.monotonic() - started
            rate = (digests.size - offset) / max(lasted, 1e-9)
            if hurry and lasted > pace.PATIENCE.slow_after and rate < pace.PATIENCE.slow:
                raise Again(f"only {rate:.0f} bytes per second", slow=True)


def _chunks(stream: Any, beginning: int) -> Iterator[bytes]:
    """What is sent, as it comes: what a server calls an encoding is what the file is.

    To wait for full chunks would hide how slow a server is; only the first has at least so many
    bytes, if there are.
    """
    first = b""
    while len(first) < beginning and (more := stream.read1(CHUNK, decode_content=False)):
        first += more
    if first:
        yield first
    while chunk := stream.read1(CHUNK, decode_content=False):
        yield chunk


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
    digests = digests_of(wanted.part, wanted.editions)
    if problem(wanted, digests) is not None:
        return None
    _move(wanted)
    return digests.sha256


def _move(wanted: Wanted) -> None:
    try:
        with wanted.part.open("rb") as file:
            os.fsync(file.fileno())
        wanted.part.replace(wanted.target)
    except OSError as error:
        raise _full(wanted, error) from error
    wanted.state.unlink(missing_ok=True)
