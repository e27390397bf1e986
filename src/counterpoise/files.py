"""Files that are either whole or absent: atomic writes, canonical JSON, digests."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import Any

from counterpoise.errors import UserError
from counterpoise.lazy import pd


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that replaces it once the block ends well.

    The file is flushed to disk before the rename, so that a crash leaves the old content or the
    new, never a part. The suffix is kept, as some writers choose their format by it.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}")
    try:
        # The permissions of any new file. Asking for the umask would set it, for all threads.
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        os.close(handle)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        try:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(mode)  # some writers put a file of their own there
            temporary.replace(path)
        except OSError as error:
            raise unwritable(path, error) from error
    except OSError as error:
        if error.errno not in _DISK_TROUBLE:
            raise  # not of this file: a source that cannot be read, a connection
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path, names: Iterable[str] | None = None) -> None:
    """Remove what killed processes left of files that :func:`atomic` was writing.

    Only whoever is alone in the folder may do so.

    Args:
        names: of these files; by default of any.
    """
    patterns = [".*-????????.*"]
    if names is not None:
        whole = map(Path, names)
        patterns = [f".{escape(p.stem[:40])}-????????{escape(p.suffix)}" for p in whole]
    for pattern in patterns:
        for left in folder.glob(pattern):
            if left.is_file():
                left.unlink()


CHECKSUM = "checksum"
"""Key of a sealed file's own digest."""

_DISK_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}


def unwritable(path: Path, error: OSError) -> UserError:
    """What a user is told where a file cannot be written."""
    return UserError(
        f"cannot write: {error.strerror or error}",
        where=path,
        remedy="free space on the disk, or give yourself write permission to the folder",
    )


def read_parquet(path: Path, what: str) -> pd.DataFrame:
    """A table that another job has written; ``what`` it is, for the message.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return pd.read_parquet(path)
    except FileNotFoundError as error:
        raise UserError(
            f"cannot find the {what}", where=path, remedy=f"run {_command(path)} to make it"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the {what} ({error})",
            where=path,
            remedy=f"delete it and run {_command(path)} again",
        ) from error


def _command(path: Path) -> str:
    """What makes a file: of a result, with the tier that its place names."""
    tier = re.search(r"(?:^|/)results/([^/]+)/(?:cells|papers)/", path.as_posix())
    return f"`snakemake --config tier={tier[1]}`" if tier else "`snakemake`"


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_if_changed(path: Path, text: str) -> bool:
    """Write ``text`` unless the file holds it already, so that its time tells of a change."""
    try:
        if path.read_bytes() == text.encode():
            return False
    except OSError:
        pass  # missing or unreadable: writing it says what is wrong, if anything
    write_text(path, text)
    return True


def to_json(value: Any, *, indent: int | None = 1) -> str:
    """JSON in one canonical form: sorted keys, no NaN (it is not JSON), final newline."""
    return json.dumps(value, sort_keys=True, indent=indent, allow_nan=False, ensure_ascii=False) + (
        "\n" if indent is not None else ""
    )


def write_json(path: Path, value: Any) -> None:
    """Write canonical JSON, atomically."""
    write_text(path, to_json(value))


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write JSON that carries its own checksum, so that damage to it shows."""
    write_json(path, {**value, CHECKSUM: digest_of(value)})


def is_sealed(value: Any) -> bool:
    """Whether JSON as read is what :func:`write_sealed` wrote."""
    if not isinstance(value, dict):
        return False
    try:
        return value.get(CHECKSUM) == digest_of({k: v for k, v in value.items() if k != CHECKSUM})
    except (ValueError, RecursionError):  # NaN, which is not JSON, or nested beyond our writing
        return False


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            "no such file", where=path, remedy=f"run {_command(path)} to make it"
        ) from error
    # Besides what is no JSON, whole numbers of thousands of digits and nesting without end.
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"damaged file ({error})",
            where=path,
            remedy=f"delete it and run {_command(path)} again",
        ) from error


def digest_of(value: Any, length: int = 12) -> str:
    """Hexadecimal sha256 of the canonical JSON of ``value``, cut to ``length``."""
    return hashlib.sha256(to_json(value, indent=None).encode()).hexdigest()[:length]


def sha256_file(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
