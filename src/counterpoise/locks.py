"""Whether somebody works where a lock lies."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout


def is_held(path: Path) -> bool:
    """Whether a process, of this machine or of another that shares the disk, holds a lock.

    Another user's, which cannot be asked, counts as not held.
    """
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False
