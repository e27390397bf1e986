"""Resumable state on disk: tensors and plain types only, complete or absent."""

from __future__ import annotations

import hashlib
import io
import logging
from pathlib import Path
from typing import Any

import torch

from counterpoise.errors import UserError
from counterpoise.files import atomic

log = logging.getLogger(__name__)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write the state atomically, with a checksum after it, and keep the one before.

    The previous state stays beside the new one, so that a damaged file costs one interval. Of a
    tensor that is a part of another only the part is written.
    """
    state = _parts(state)
    buffer = io.BytesIO()
    with atomic(path) as temporary:
        torch.save(state, buffer)
        content = buffer.getvalue()
        temporary.write_bytes(content + hashlib.sha256(content).digest())
        if path.exists():
            _keep(path, path.with_suffix(".previous"))


def _parts(value: Any) -> Any:
    """The same state without what its tensors do not show of the memory that they share."""
    if isinstance(value, torch.Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, dict):
        return {key: _parts(part) for key, part in value.items()}
    return [_parts(part) for part in value] if isinstance(value, list) else value


def _keep(path: Path, previous: Path) -> None:
    """Give the state a second name, so that the first stays until the new state takes it."""
    previous.unlink(missing_ok=True)
    try:
        previous.hardlink_to(path)
    except OSError:  # a file system without hard links
        path.replace(previous)


def load_state(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The newest undamaged state, or None.

    Nothing in the file can run code: torch's restricted unpickler reads it.

    Raises:
        UserError: a state is there that cannot be read.
    """
    for candidate in (path, path.with_suffix(".previous")):
        try:
            content = candidate.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UserError(
                f"a training's state cannot be read ({error.strerror or error})",
                where=candidate,
                remedy="make it readable, or delete it to train from the start",
            ) from error
        body, checksum = content[:-32], content[-32:]
        if hashlib.sha256(body).digest() != checksum:
            log.warning("%s is damaged and is passed over", candidate)
            continue
        try:
            state: dict[str, Any] = torch.load(
                io.BytesIO(body), map_location=device, weights_only=True
            )
        except Exception as error:  # a forged archive makes torch fail in any way
            log.warning("%s is not a state of ours (%s)", candidate, type(error).__name__)
            continue
        if isinstance(state, dict):
            return state
        log.warning("%s is not a state of ours (%s)", candidate, type(state).__name__)
    return None
