"""What servers say, and what is made of it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from counterpoise.errors import UserError
from counterpoise.transfer.contents import Wanted, damage

_BUSY = {408, 425, 429, 500, 502, 503, 504}
_LOGIN = {401, 402, 403, 407, 451}
_PAGE = re.compile(rb"\s*(<!doctype\s+html|<html)", re.IGNORECASE)


class Again(Exception):
    """An attempt that failed and may do better later: a cut, a busy, slow or silent server."""

    def __init__(
        self, what: str, wait: float = 0.0, *, slow: bool = False, silent: bool = False
    ) -> None:
        self.what, self.wait, self.slow, self.silent = what, wait, slow, silent
        super().__init__(what)


class Unfit(UserError):
    """A reply that does not go on with what is here; from the start the address may serve."""


def is_loopback(address: str) -> bool:
    """Whether an address is of this machine."""
    return urlsplit(address).hostname in ("localhost", "127.0.0.1", "::1")


def refuse_plain(address: str, wanted: Wanted) -> None:
    """Without encryption and without a checksum anybody on the way could give another file."""
    scheme = urlsplit(address).scheme
    if scheme == "https" or (scheme == "http" and (wanted.checked or is_loopback(address))):
        return
    raise UserError(
        "only https is accepted, as nobody publishes a checksum of this file"
        if scheme == "http"
        else f"cannot fetch over {scheme!r}"
    )


def refuse_downgrade(address: str) -> Any:
    """A hook of requests that ends a redirection from https to anything else."""

    def check(response: Any, *_: Any, **__: Any) -> None:
        to = response.headers.get("Location", "") if response.is_redirect else ""
        if to and urlsplit(address).scheme == "https" and urlsplit(to).scheme not in ("", "https"):
            raise UserError(f"redirects to an address that is not encrypted ({to[:100]})")

    return check


def check_reply(response: Any, wanted: Wanted) -> None:
    """Look at status and kind before anything is read.

    Raises:
        Again: the server is busy.
        UserError: it does not have the file, or not for a program.
    """
    status = response.status_code
    if status in _LOGIN:
        raise login(wanted, f"status {status}")
    if status in _BUSY:
        asked = response.headers.get("Retry-After", "")
        raise Again(f"status {status}", float(asked) if re.fullmatch(r"\d{1,6}", asked) else 0.0)
    if status not in (200, 206):
        raise UserError(f"status {status} ({response.reason})")
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") and not is_page(wanted.target):
        raise login(wanted)


def is_page(path: Path) -> bool:
    """Whether a web page is what is wanted."""
    return path.suffix in (".html", ".htm")


def refuse_page(content: bytes, wanted: Wanted) -> None:
    """Refuse a file that begins as web pages do.

    Raises:
        UserError: it does, and no web page is wanted.
    """
    if _PAGE.match(content) and not is_page(wanted.target):
        raise login(wanted)


def login(wanted: Wanted, because: str = "a web page came instead of the file") -> UserError:
    """What a user is told where a person has to do something first."""
    place = f"; a person can get it at {wanted.page}" if wanted.page else ""
    return UserError(f"asks for a login or for consent to a licence ({because}){place}")


def total_of_range(response: Any, offset: int) -> int | None:
    """Size of the whole file by a reply that holds a part of it.

    Raises:
        Unfit: it is another part than asked for.
    """
    told = response.headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", told.strip())
    if match is None or int(match[1]) != offset:
        raise Unfit(f"the server sent another range than requested ({told[:60]!r})")
    return None if match[3] == "*" else int(match[3])


def refuse_less(response: Any, wanted: Wanted) -> None:
    """Look at what a refusal of the rest of a file (status 416) says of all of it.

    Raises:
        UserError: it is no edition of the file.
    """
    told = response.headers.get("Content-Range", "")
    total = re.fullmatch(r"bytes \*/(\d{1,15})", told.strip())
    if total is not None and not wanted.may_have(int(total[1])):
        raise UserError(damage(int(total[1]), wanted.editions))


def declared(response: Any) -> int | None:
    """Size of what comes, where it is told."""
    told = response.headers.get("Content-Length", "")
    return int(told) if re.fullmatch(r"\d{1,15}", told) else None
