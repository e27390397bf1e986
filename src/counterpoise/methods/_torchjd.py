"""TorchJD (Quinton and Rey, arXiv 2406.16232; the extra ``methods``): weights from a Gramian."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from counterpoise.errors import UserError
from counterpoise.methods._gramian import Gradients, GramianMethod, GramianOptions
from counterpoise.methods._solving import solving

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape, Signal


class ConeOptions(GramianOptions):
    """Hyper-parameters of the methods that project onto the conflict-free cone."""

    regularisation: Annotated[float, Field(ge=1e-12, le=1)] = 1e-8
    """Added to the diagonal of the Gramian of trace one, so that the solver finds it positive
    definite. The papers project exactly; TorchJD and LibMTL use 1e-4, with which a short update may
    conflict after all."""


def torchjd_weights(name: str, gramian: Tensor, **options: Any) -> Tensor:
    """(K,) weights by one of TorchJD's weightings.

    Args:
        name: the class, of ``torchjd.aggregation``.
        gramian: (K, K), in float64, with a largest squared norm of one.
        options: of the class; ``projector`` stands for the options of TorchJD's projector.

    Raises:
        UserError: TorchJD or the solver that it needs is not installed.
        Unsolved: its solver failed.
    """
    try:
        aggregation = importlib.import_module("torchjd.aggregation")
        if "projector" in options:
            linalg = importlib.import_module("torchjd.linalg")
            options["projector"] = linalg.QuadprogProjector(**options["projector"])
        weighting = getattr(aggregation, name)(**options)
    except ImportError as error:
        raise UserError(
            f"this method needs TorchJD and its solvers, which are not installed: {error}",
            remedy="install the extra `methods`: pip install 'counterpoise[methods]'",
        ) from error
    with solving(f"TorchJD's {name}"):
        weights: Tensor = weighting(gramian)
    return weights


class ConeMethod(GramianMethod):
    """v by one of TorchJD's projections onto the conflict-free cone.

    Attributes:
        weighting: TorchJD's class.
    """

    weighting: ClassVar[str]
    sequential = "TorchJD's solver, quadprog, runs on the host"
    properties = frozenset(
        {
            "equal_tasks_equal_weights",
            "plain_with_one_task",
            "never_conflicts",
            "never_lengthens",
        }
    )
    variants = ({"level": "features"},)

    class Options(ConeOptions):
        """Where to look, and how exactly."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.projector = {"reg_eps": options.regularisation}

    def mix(self, gradients: Gradients, signal: Signal) -> Tensor:
        """TorchJD's weights."""
        return torchjd_weights(self.weighting, gradients.gramian, projector=self.projector)
