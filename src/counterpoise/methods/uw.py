"""Uncertainty weighting: each task's weight is a trained precision.

Kendall, Gal and Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry
and Semantics" (CVPR 2018, arXiv 1705.07115), section 3.2. sigma_k is the noise of task k; the
network's optimizer trains s_k = log sigma_k^2 together with the network, on::

    sum_k  f_k exp(-s_k) l_k + s_k / 2,   omega_k = f_k exp(-s_k)

    d / d s_k = 1/2 - f_k exp(-s_k) l_k,  so that s_k is pulled towards log(2 f_k l_k)

The factor f_k is 1 for a task with a softmax likelihood and 1/2 for one with a Gaussian likelihood.

- ``form: kendall``, the default, follows the paper: 1/2 for regressions, whose squared error is a
  Gaussian likelihood (its Eqs. 5 and 10), 1 for tasks with classes. Regressions are the tasks
  without classes, unless ``regression`` names others. ``form: libmtl`` uses 1/2 for every task, as
  LibMTL and the public code of IGB do.
- s starts at 0, so a task's first weight is f_k; in LibMTL it starts at -0.5 (first weights 0.824).
- s is trained without weight decay; LibMTL applies the network's weight decay to it, a defect:
  decay pulls every weight back to f_k.
- A loss that falls to zero or below drives its weight to infinity.

Cost: one backward pass through the trunk, as with uniform weighting, and K trained numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._given import Constant, unknown_tasks
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape
    from counterpoise.tasks import Task


class UW(Method):
    """omega_k = f_k exp(-s_k), s_k trained."""

    label = "Uncertainty weighting"
    signal = "losses"
    trained = ("log_variance",)
    properties = frozenset({"weighted_loss", "equal_tasks_equal_weights"})
    variants = ({"form": "libmtl", "initial_log_variance": -0.5},)

    class Options(base.Options):
        """Hyper-parameters; the defaults are the paper's."""

        form: Literal["kendall", "libmtl"] = "kendall"
        """Factor of the losses: the paper's, by likelihood, or one half for all tasks (LibMTL)."""
        regression: tuple[str, ...] | None = None
        """Tasks with a Gaussian likelihood, whose factor is one half in the paper; by default all
        without classes."""
        initial_log_variance: Annotated[float, Field(allow_inf_nan=False)] = 0.0
        """s before training: 0 (the authors' public notebook); LibMTL starts at -0.5."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options
        halved = shape.regressions if options.regression is None else options.regression
        halved = shape.names if options.form == "libmtl" else halved
        self.factors = Constant([0.5 if name in halved else 1.0 for name in shape.names])

    @classmethod
    def problems(cls, options: base.Options, tasks: tuple[Task, ...]) -> list[str]:
        """Unknown tasks among those that are named."""
        assert isinstance(options, cls.Options)
        return unknown_tasks("regression", options.regression or (), tasks)

    def initial_state(self) -> State:
        """The first log-variances."""
        return {"log_variance": torch.full((self.shape.tasks,), self.rule.initial_log_variance)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """This step's precisions, and the gradient of the log-variances."""
        log_variance = state["log_variance"]
        weights = self.factors.like(log_variance) * (-log_variance).exp()
        gradient = 0.5 - weights * signal.losses
        return Combined(weights, gradients={"log_variance": gradient}), state
