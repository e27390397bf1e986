"""Memory of a training: how much of a GPU's was used, what is freed, and what did not suffice."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from counterpoise import recycled
from counterpoise.errors import UserError


def release(device: torch.device) -> None:
    """Give back what nothing refers to any longer, so that others, and a peak, do not see it."""
    recycled.clear()
    if device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def device_peak_mib(device: torch.device) -> float | None:
    """Largest memory of tensors on a GPU since the start or :func:`release`; None elsewhere."""
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)


@contextmanager
def enough_memory(micro_batch: int | None) -> Iterator[None]:
    """Say what to do where the device's memory does not suffice.

    Args:
        micro_batch: items of a part of a batch, if batches are taken in parts.

    Raises:
        UserError: it did not suffice.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        smaller = "smaller parts" if micro_batch else "parts"
        value = max(1, (micro_batch or 32) // 2)
        raise UserError(
            f"the device's memory does not hold this training ({str(error).partition('. ')[0]})",
            remedy=f"set `micro_batch: {value}` in the protocol, which takes each batch in "
            f"{smaller} for the same update; COUNTERPOISE_REPLICATES=alone trains one seed at a "
            "time; end other programs on the GPU, or set `device=cpu`",
        ) from error
