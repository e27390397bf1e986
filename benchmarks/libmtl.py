"""LibMTL's weightings on a network of ours, from a checkout that is not part of this repository.

    git clone https://github.com/median-research-group/LibMTL && git -C LibMTL checkout 4336804

Patched in memory, as otherwise three of its methods are not what they claim: ``torch.symeig``,
which torch has dropped and Aligned-MTL calls, is ``torch.linalg.eigh``; ecos and quadprog must be
there for Nash-MTL (which without ecos silently weighs equally) and UPGrad. Its trainer, which
imports a library for graphs and wants a device named cuda:0, is not used; benchmarks/work.py has
its step. Weights are laid out as torch makes them, as it cannot read channels-last gradients.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path

import torch
from torch import nn

from benchmarks.ratios import Absent

ARGUMENTS = {
    "EW": {}, "UW": {}, "IMTL": {}, "PCGrad": {}, "Aligned_MTL": {"mtl": 0},
    "GradNorm": {"alpha": 1.5}, "MGDA": {"mgda_gn": "none"},
    "CAGrad": {"calpha": 0.5, "rescale": 1},
    "GradVac": {"GradVac_beta": 0.5, "GradVac_group_type": 0},
    "Nash_MTL": {"update_weights_every": 1, "optim_niter": 20, "max_norm": 1.0},
    "UPGrad": {"UPGrad_norm_eps": 1e-4, "UPGrad_reg_eps": 1e-4},
    "DB_MTL": {"DB_beta": 0.9, "DB_beta_sigma": 0.5},
}  # fmt: skip
"""Its defaults."""


def folder_on_path() -> Path | None:
    """A checkout that Python finds by itself, if there is one."""
    found = importlib.util.find_spec("LibMTL")
    places = list(found.submodule_search_locations or ()) if found else []
    return Path(places[0]).parent if places else None


def required() -> None:
    """Raise Absent if LibMTL, or what it needs to do what it claims, is not here."""
    if "LibMTL" not in sys.modules:
        raise Absent("no checkout of LibMTL (--libmtl FOLDER)")
    for library in ("ecos", "quadprog"):
        if importlib.util.find_spec(library) is None:
            raise Absent(f"LibMTL needs {library} to do what it claims")


def load(folder: Path) -> None:
    """Make LibMTL's weightings and architectures importable, without its trainer."""
    if not (folder / "LibMTL" / "weighting").is_dir():
        raise SystemExit(f"error: {folder} is not a checkout of LibMTL (no LibMTL/weighting there)")
    package = types.ModuleType("LibMTL")
    package.__path__ = [str(folder / "LibMTL")]
    sys.modules["LibMTL"] = package
    if not hasattr(torch, "symeig"):
        torch.symeig = lambda matrix, **_: torch.linalg.eigh(matrix)


def model(
    name: str, trunk: nn.Module, heads: nn.ModuleDict, device: torch.device, *, at_z: bool
) -> nn.Module:
    """A hard-parameter-sharing model with one of its weightings.

    Args:
        at_z: gradients at the representation (``rep_grad``) instead of the parameters.
    """
    architecture = importlib.import_module("LibMTL.architecture.HPS").HPS
    weighting = getattr(importlib.import_module(f"LibMTL.weighting.{name}"), name)
    kind = type("MTLmodel", (architecture, weighting), {})
    made = kind(list(heads), lambda: trunk, heads, at_z, False, device)
    made.init_param()
    made.to(device)
    made.epoch, made.epochs = 1, 10
    made.train_loss_buffer = torch.ones(len(heads), 10).numpy()
    return made
