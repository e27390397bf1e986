"""Files over HTTP: in parallel, from several addresses, resumed where they broke off, checked.

What has arrived of a file waits in ``.NAME.part`` beside its place, with ``.NAME.part.json`` that
says where it came from and which version of it (the server's validator) that was. The next attempt,
in this process or after a kill, asks for the rest of the same version only (RFC 9110: Range and
If-Range). A file is moved to its place once all of it is there and its checksum is right, and never
else.
"""

from counterpoise.transfer.contents import (
    Digests,
    Edition,
    Wanted,
    addresses,
    copied,
    digests_of,
    folder_of,
    sha256_of,
)
from counterpoise.transfer.fetch import fetch_all
from counterpoise.transfer.pace import Patience, Progress

__all__ = [
    "Digests",
    "Edition",
    "Patience",
    "Progress",
    "Wanted",
    "addresses",
    "copied",
    "digests_of",
    "fetch_all",
    "folder_of",
    "sha256_of",
]
