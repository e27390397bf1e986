"""Files that are either whole or absent: atomic writes, canonical JSON, digests."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    try:
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem[:40]}-", suffix=path.suffix
        )
        os.close(handle)
    except OSError as error:
        raise unwritable(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        try:
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        except OSError as error:
            raise unwritable(path, error) from error
    except OSError as error:
        if error.errno not in _DISK_TROUBLE:
            raise  # not of this file: a source that cannot be read, a connection
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


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
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read the {what} ({error})",
            where=path,
            remedy="delete it and run `snakemake` again",
        ) from error


def make_folder(path: Path) -> None:
    """Make a folder and those above it.

    Raises:
        UserError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_if_changed(path: Path, text: str) -> bool:
    """Write ``text`` unless the file holds it already, so that its time tells of a change."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
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
    except ValueError:  # NaN, which is not JSON
        return False


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError("no such file", where=path, remedy="run `snakemake` to make it") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(
            f"damaged file ({error})", where=path, remedy="delete it and run `snakemake` again"
        ) from error


def digest_of(value: Any, length: int = 12) -> str:
    """Hexadecimal sha256 of the canonical JSON of ``value``, cut to ``length``."""
    return hashlib.sha256(to_json(value, indent=None).encode()).hexdigest()[:length]


def sha256_file(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
