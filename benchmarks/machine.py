"""What the figures were measured on, and what that could do at most."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import torch

from counterpoise.code import library_version
from counterpoise.provenance import commit, processor

LIBRARIES = ("torch", "torchvision", "torchjd")
RATES = {
    "H200": {"float32": 67e12, "tf32": 495e12, "bfloat16": 990e12},
    "H100 80GB HBM3": {"float32": 67e12, "tf32": 495e12, "bfloat16": 990e12},
    "A100": {"float32": 19.5e12, "tf32": 156e12, "bfloat16": 312e12},
    "L40S": {"float32": 91.6e12, "tf32": 183e12, "bfloat16": 362e12},
    "T4": {"float32": 8.1e12},
}
"""Operations a second by the makers' data sheets, without sparsity, by what a GPU's name says."""


def name_of(device: torch.device) -> str:
    """The processor's or the GPU's name."""
    return processor() if device.type == "cpu" else torch.cuda.get_device_name(device)


def rate_of(device: torch.device, precision: str) -> float | None:
    """Operations a second that the data sheet promises, where it is known here."""
    if device.type != "cuda":
        return None
    words = name_of(device)
    known = [
        rates for name, rates in RATES.items() if f" {name} " in f" {words.replace('-', ' ')} "
    ]
    return known[0].get(precision) if known else None


def facts(device: torch.device) -> dict[str, Any]:
    """Hardware, versions and commit."""
    found = {
        "device": name_of(device),
        "processor": processor(),
        "python": platform.python_version(),
        "commit": commit(Path(__file__).parent)["id"],
        # Without an optional library only the arms that need it are left out.
        **{name: library_version(name, optional=True) for name in LIBRARIES},
    }
    if device.type == "cuda":
        driver = getattr(torch.version, "cuda", None)
        memory = torch.cuda.get_device_properties(device).total_memory
        found |= {"cuda": driver, "memory, GiB": round(memory / 2**30, 1)}
    return found


def described(device: torch.device) -> str:
    """The same in a line."""
    known = facts(device)
    rest = [f"{name} {value}" for name, value in known.items() if name != "device" and value]
    return f"{known['device']}; {', '.join(rest)}"
