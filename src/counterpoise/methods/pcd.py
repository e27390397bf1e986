"""PCD: one task leads, and every other task is promised a share of its own best progress.

Varam and AlHajri, "Not All Objectives Are Born Equal: Priority-Constrained Descent" (TMLR 2026,
arXiv 2606.29521), as TorchJD describes it. With task 1 the primary one, v^_k the bias-corrected
moving average of ||g_k||^2 and g~_k = s_k g_k, s_k = 1 / sqrt(v^_k + epsilon)::

    d = argmin ||d - g~_1||^2    subject to  g~_j.d >= tau ||g~_j||^2  for every other task j
    shared parameters receive  (||g_1|| / ||d||) d

If the constraints are incompatible, they are dropped: d = g~_1. Without a gradient for the primary
task the shared parameters receive a zero update.

The quadratic program is solved as a least-distance problem by non-negative least squares (Lawson
and Hanson, "Solving Least Squares Problems", chapter 23); the paper enumerates active sets, and
TorchJD has its own active-set solver and keeps the moving average inside its object, outside the
method's state that is saved here.

The tasks are not on an equal footing here: the primary one is the dataset's first unless another is
named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import np, torch
from counterpoise.methods._base import Combined, Signal, State
from counterpoise.methods._given import unknown_tasks
from counterpoise.methods._gramian import (
    LevelMethod,
    LevelOptions,
    seen_gradients,
    within_range,
)
from counterpoise.methods._solving import solving
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape
    from counterpoise.tasks import Task

LIBRARIES = ("scipy",)


def constrained(primary: Tensor, others: Tensor, tau: float) -> Tensor | None:
    """(J,) mu >= 0 such that d = primary + mu others is the nearest that keeps the promises.

    Returns:
        None if no d keeps them.
    """
    from scipy.optimize import nnls

    if not len(others):
        return others.sum(1)
    bounds = tau * others.square().sum(1) - others @ primary
    system = torch.cat([others.T, bounds[None]]).numpy()
    with solving("the nearest direction that keeps the promises", RuntimeError):
        found, distance = nnls(
            system, np.append(np.zeros(len(primary)), 1.0), maxiter=100 * len(others)
        )
    # The squared distance is 1 / (1 + ||d - primary||^2): zero, but for rounding, if there is no d.
    return torch.from_numpy(found / distance**2) if distance > 1e-6 else None


class PCD(LevelMethod):
    """v_k = w_k s_k ||g_1|| / ||d||, with d = sum_k w_k g~_k."""

    label = "PCD"
    sequential = "SciPy's solver runs on the host"
    ordered = "the first task leads, if none is named"
    # The scale of all tasks' past is divided out; the length is the primary task's.
    properties = frozenset(
        {
            "plain_with_one_task",
            "blind_to_gradient_scale",
            "blind_to_loss_scale",
            "never_lengthens",
        }
    )
    variants = ({"tau": 0.5}, {"level": "features"})

    class Options(LevelOptions):
        """Hyper-parameters of the promise."""

        primary: str = ""
        """The task that leads (the paper's primary task); the dataset's first if empty."""
        tau: Annotated[float, Field(ge=0, le=1)] = 0.02
        """Share of its own best first-order progress that each other task is promised (TorchJD)."""
        beta: Annotated[float, Field(ge=0, lt=1)] = 0.999
        """Weight of the past in the moving average of squared norms (TorchJD)."""
        epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-8
        """Added to that average before its root is taken (TorchJD)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    @classmethod
    def problems(cls, options: base.Options, tasks: tuple[Task, ...]) -> list[str]:
        """A primary task that does not exist."""
        assert isinstance(options, cls.Options)
        return unknown_tasks("primary", [options.primary] if options.primary else [], tasks)

    def initial_state(self) -> State:
        """No norms yet; squares need the range of float64."""
        average = torch.zeros(self.shape.tasks, dtype=torch.float64)
        return {"average": average, "count": torch.zeros(self.shape.tasks)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Follow the primary task as far as the promises to the others allow."""
        plain = torch.ones_like(signal.losses)
        known = plain if signal.known is None else signal.known
        gradients, (average, count, known) = seen_gradients(
            self, signal, state["average"], state["count"], known
        )
        if not gradients.told:
            return Combined(plain, mixing=plain), state
        beta, norms, seen = self.rule.beta, gradients.norms * gradients.scale, known > 0
        average = torch.where(seen, beta * average + (1 - beta) * norms**2, average)
        count = count + seen
        corrected = average / (1 - beta**count).clamp(min=1 - beta)
        scales = (corrected + self.rule.epsilon).rsqrt()
        normalised = gradients.scaled(scales)
        rows = normalised.rows
        primary = self.rule.primary
        leads = torch.zeros(len(rows), dtype=torch.bool)
        leads[self.shape.names.index(primary) if primary else 0] = True
        weights = leads.double()
        promised = constrained(rows[leads][0], rows[~leads], self.rule.tau)
        if promised is not None:
            weights[~leads] = promised
        length = (weights @ rows).norm()
        # A direction that is zero but for rounding stays zero.
        rounding = 1e-9 * (weights @ normalised.norms)
        factor = norms[leads][0] / (length * normalised.scale) if length > rounding else 0.0
        following = {
            "average": average.to(state["average"]),
            "count": count.to(state["count"]),
        }
        return Combined(plain, mixing=within_range(factor * weights * scales, plain)), following
