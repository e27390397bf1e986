"""Where a trunk starts: weights from ImageNet, or from a cell that was trained before."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from counterpoise.errors import UserError
from counterpoise.files import read_json, sha256_file
from counterpoise.training.modules import Network
from counterpoise.training.problem import Job

log = logging.getLogger(__name__)

Fill = Callable[[Network, int], None]
"""Puts the tensors of a seed into a network's trunk."""

_OLD_DENSE = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.\w+)$")
"""Names of tensors in torchvision's file of DenseNet-121, from before torch forbade dots."""
COUNTER = "num_batches_tracked"
"""Of normalisation layers; older files lack it, and nothing here reads it."""


def start_of(job: Job) -> tuple[Fill | None, dict[str, Any]]:
    """What fills the trunk of a cell's networks, None for random weights, and the record of it.

    Raises:
        UserError: the weights are missing or damaged.
    """
    kind = job.cell.protocol.initial.kind
    if kind == "imagenet":
        return _published(job)
    if kind == "pretrained":
        return _pretrained(job)
    return None, {"kind": "random"}


def _published(job: Job) -> tuple[Fill, dict[str, Any]]:
    assert job.weights is not None, "a plan gives a cell that starts from ImageNet its weights"
    files = read_json(job.weights)["files"]
    ((name, sha256),) = files.items()
    path = job.weights.parent / Path(name).name
    tensors = {_renamed(key): value for key, value in read_tensors(path).items()}
    log.info("the trunk starts from %s", name)

    def fill(network: Network, _seed: int) -> None:
        names: dict[str, str] = getattr(network.trunk, "published", {})
        own = network.trunk.state_dict()
        found = {
            key: value if names[key].endswith(COUNTER) else tensors.get(names[key], value[:0])
            for key, value in own.items()
        }
        put(network, found, path)

    return fill, {"kind": "imagenet", "file": name, "sha256": sha256}


def _pretrained(job: Job) -> tuple[Fill, dict[str, Any]]:
    key = job.cell.pretraining
    assert key is not None, "a plan gives a cell that starts from another that cell's key"
    folder = job.out.parent.parent / key
    ends = read_json(folder / "record.json")["seeds"]
    path = folder / "weights.safetensors"
    tensors = read_tensors(path)
    log.info("the trunk starts from %s", key)

    def fill(network: Network, seed: int) -> None:
        if ends.get(str(seed), {}).get("status") != "finished":
            raise UserError(
                f"seed {seed} of the training before has diverged",
                where=folder / "record.json",
                remedy="choose a smaller learning rate",
            )
        prefix = f"{seed}/network.trunk."
        put(network, {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }, path)  # fmt: skip

    return fill, {"kind": "pretrained", "cell": key, "sha256": sha256_file(path)}


def _renamed(key: str) -> str:
    found = _OLD_DENSE.match(key)
    return f"{found[1]}{found[2]}" if found else key


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors by name from safetensors, or from torch's format without running any code in it.

    Raises:
        UserError: the file is missing, damaged, or holds anything but tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a forged archive makes torch fail in any way
        if not isinstance(error, OSError | SafetensorError):
            log.warning("%s: %s", path, type(error).__name__)
        raise UserError(
            f"cannot read the weights ({type(error).__name__})",
            where=path,
            remedy="delete the file's folder and run `snakemake` again",
        ) from error
    if isinstance(found, dict) and all(isinstance(value, Tensor) for value in found.values()):
        return found
    raise UserError("holds other things than weights", where=path, remedy="fetch the file again")


def put(network: Network, tensors: dict[str, Tensor], path: Path) -> None:
    """Replace all tensors of a trunk, each by one of its own name and shape.

    Raises:
        UserError: some lack, or have another shape.
    """
    own = network.trunk.state_dict()
    wrong = [
        name
        for name, value in own.items()
        if name not in tensors or tensors[name].shape != value.shape
    ]
    if wrong or tensors.keys() - own.keys():
        first = (wrong or sorted(tensors.keys() - own.keys()))[0]
        raise UserError(
            f"the weights do not fit the network: {first} is missing or has another shape",
            where=path,
            remedy="start from the same network, with inputs of the same kind",
        )
    network.trunk.load_state_dict(tensors)
