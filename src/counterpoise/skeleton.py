"""Skeletons of new files, for ``counterpoise new``."""

from __future__ import annotations

import re
from pathlib import Path

from counterpoise.errors import UserError
from counterpoise.files import write_text
from counterpoise.spec.paper import SINGLE_TASK

METHOD = '''"""{label}: what it does, in one line.

Author et al., "Title" (venue and year, arXiv number), equations (1) to (3). With l_k the loss of
task k of K:

    omega_k = ...

Here stand the symbols, and every difference from the paper or its public code; this text becomes
the method's card in the report. Cost: that of uniform weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape


class {kind}(Method):
    """omega_k = scale, so far."""

    label = "{label}"
    signal = "losses"
    properties = frozenset({{"weighted_loss", "equal_tasks_equal_weights"}})
    variants = ({{"scale": 2.0}},)

    class Options(base.Options):
        """Hyper-parameters; each says where its default comes from."""

        scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
        """Weight of every task (an example)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Weights of this step, and the state for the next."""
        return Combined(torch.full_like(signal.losses, self.rule.scale)), state
'''


def new_method(root: Path, name: str) -> Path:
    """Write the skeleton of a method beside the others of a checkout.

    Raises:
        UserError: the name will not do, or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", name):
        raise UserError(
            f"{name!r} will not do as the name of a file",
            remedy="use small letters, digits and underscores, a letter first",
        )
    path = root / "src" / "counterpoise" / "methods" / f"{name}.py"
    if name == SINGLE_TASK or path.exists():
        raise UserError(f"there is a method {name!r}", where=path, remedy="choose another name")
    words = name.split("_")
    kind = "".join(word.capitalize() for word in words)
    write_text(path, METHOD.format(kind=kind, label=" ".join(words).capitalize()))
    return path
