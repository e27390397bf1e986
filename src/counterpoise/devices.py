"""Accelerators, counted without importing torch."""

from __future__ import annotations

import os
import re
import subprocess
from itertools import takewhile

_DEVICE = re.compile(r"[0-9]+$|GPU-|MIG-")


def count_gpus() -> int:
    """NVIDIA GPUs that this process may use: as the environment says, or else the driver."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        # As CUDA reads it: the list ends at the first part that names no device.
        parts = takewhile(_DEVICE.match, map(str.strip, visible.split(",")))
        return sum(1 for _ in parts)
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=20, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listed.splitlines())
