"""One GPU per job, where several jobs run on several GPUs."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from counterpoise.errors import UserError
from counterpoise.training.engine import Interrupted

log = logging.getLogger(__name__)

WAIT = 1.0
"""Seconds between two looks for a GPU that is free."""


@contextmanager
def own_gpu(
    device: torch.device, stopped: Callable[[], bool] = lambda: False
) -> Iterator[torch.device]:
    """A GPU that no other job of this user holds on this machine, as the process's current one.

    With several GPUs as many jobs run at once; each must find its own. It waits until one is free.
    Another device, a CPU, is given as it is.

    Args:
        device: a kind of device.
        stopped: whether to wait no longer.

    Yields:
        The device with its index.

    Raises:
        UserError: the folder of temporary files cannot be written to.
        Interrupted: stopped while it waited.
    """
    if device.type != "cuda":
        yield device
        return
    locks = [FileLock(_place(index)) for index in range(torch.cuda.device_count())]
    index = _first_free(locks, stopped)
    try:
        torch.cuda.set_device(index)
        yield torch.device("cuda", index)
    finally:
        locks[index].release()


def _first_free(locks: list[FileLock], stopped: Callable[[], bool]) -> int:
    """Index of the first lock that could be taken."""
    told = False
    while True:
        for index, lock in enumerate(locks):
            try:
                lock.acquire(timeout=0)
                return index
            except Timeout:
                continue
            except OSError as error:
                raise UserError(
                    f"cannot lock a GPU: {error.strerror or error}",
                    where=Path(lock.lock_file),
                    remedy="set TMPDIR to a folder where you may write, or `device=cpu`",
                ) from error
        if stopped():
            raise Interrupted
        if not told:
            log.info("all %d GPUs are in use by other jobs; waiting for one", len(locks))
            told = True
        time.sleep(WAIT)


def _place(index: int) -> Path:
    """Lock of the GPU that this process knows by an index, whatever others call it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    # Of a GPU in slices a process sees one, whose name alone tells it from the others.
    sliced = visible.startswith("MIG-")
    name = visible.split(",")[0] if sliced else torch.cuda.get_device_properties(index).uuid
    word = "".join(c for c in str(name) if c.isalnum() or c == "-")
    return Path(tempfile.gettempdir()) / f"counterpoise-{os.getuid()}-gpu-{word}.lock"
