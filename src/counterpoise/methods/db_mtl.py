"""DB-MTL: balances losses by logarithms, and gradients by scaling them to a common norm.

Lin et al., "Dual-Balancing for Multi-Task Learning" (arXiv 2308.12029), Algorithm 1. With theta all
shared parameters, g_k = grad_theta log(l_k + epsilon) and g^_k = 0 before the first step::

    g^_k <- beta_t g^_k + (1 - beta_t) g_k                       (no bias correction)
    theta receives  alpha sum_k g^_k / (||g^_k|| + epsilon),  alpha = max_k ||g^_k||

Each head receives grad log(l_k + epsilon), which is not rescaled, so its weight is 1 / (l_k +
epsilon). It needs the gradients of all shared parameters: K backward passes through the trunk, and
memory for two K x P matrices, unless ``level: features`` is set.

- The paper searches beta over {0.1, 0.5, 0.9} and the same divided by the square root of the step,
  and does not report which was chosen. In its figure for Office-31 the best value is near 0.5 /
  sqrt(t), which is the default here; the public library's default, a constant 0.9, is the worst
  point of that figure. Steps count from one, as in the public code (the paper counts from zero,
  which would mean a division by zero).
- ``log`` and ``norm`` switch the two halves off (Tables of ablations); ``scale`` replaces the
  maximum in alpha, or alpha by a constant.
- ``level: features`` measures at the shared representation Z instead, at one backward pass through
  the trunk: g_k = grad_Z log(l_k + epsilon) over the items of the batch. Such gradients belong to
  the items of one batch, so their norms n_k are averaged instead, starting from zero as g^_k does,
  and the gradients of the current step are scaled: Z receives sum_k (alpha / (n_k + epsilon)) g_k,
  alpha = max_k n_k. With beta = 0 this is Algorithm 1 with Z in place of theta. The paper uses the
  gradients of the parameters, and the public library does not support the representation; without
  ``norm`` this is ``scale_invariant``.
- A batch without a label for a task says nothing about its gradient: the task's average stays
  unchanged, still counts for alpha, and takes no part in that step. A norm at Z that begins late
  begins as if it had been the same from the start: from zero, it would be too small beside the
  others', and the task's share too large. The paper's tasks have all labels.
- The log needs positive losses: otherwise the run ends, which is recorded as its result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._norms import norms_of
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape, SignalKind

EPSILON = 1e-8

Constant = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DBMTL(Method):
    """Shared gradient alpha sum_k g^_k / ||g^_k||; heads descend log l_k."""

    label = "DB-MTL"
    signal: SignalKind = "jacobian"
    # Even with one task it descends the log of the loss and smooths the gradient.
    properties = frozenset({"equal_tasks_equal_weights"})
    variants = (
        {"log": False, "beta": 0.0},
        {"norm": False, "schedule": "constant", "beta": 0.9},
        {"scale": "median"},
        {"scale": 0.5, "level": "features"},
    )

    class Options(base.Options):
        """Hyper-parameters of Algorithm 1."""

        beta: Annotated[float, Field(ge=0, lt=1)] = 0.5
        """Weight of the past in the moving average of each task's gradient; the paper searches it
        per dataset and does not report it; this is the middle of its grid."""
        schedule: Literal["inverse_sqrt", "constant"] = "inverse_sqrt"
        """beta_t = beta / sqrt(t), t counted from one, or beta always (the paper tries both)."""
        log: bool = True
        """Take gradients of log(l_k + epsilon) rather than of l_k (Algorithm 1)."""
        norm: bool = True
        """Scale all smoothed gradients to the same norm (Algorithm 1); otherwise they are just
        summed."""
        scale: Literal["maximum", "minimum", "mean", "median"] | Constant = "maximum"
        """Which of the K norms this is (Algorithm 1: the maximum), or a constant (as in its
        ablation)."""
        level: Literal["parameters", "features"] = "parameters"
        """Which gradients are scaled to the same norm: those of all shared parameters
        (Algorithm 1), or those at the shared representation Z."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options
        if options.level == "features":
            self.signal = "features"
        if options.norm:
            self.properties = self.properties | {"blind_to_gradient_scale"}
        if options.norm or options.log:
            self.properties = self.properties | {"blind_to_loss_scale"}

    def initial_state(self) -> State:
        """No gradient yet."""
        if self.rule.level == "features":
            norms = torch.zeros(self.shape.tasks, dtype=torch.float64)
            return {"norms": norms, "mass": torch.zeros((), dtype=torch.float64)}
        return {"average": torch.zeros(()).expand(self.shape.tasks, self.shape.parameters)}

    def usable(self, losses: Tensor) -> Tensor:
        """Those that have a logarithm, where it is taken."""
        return losses + EPSILON > 0 if self.rule.log else super().usable(losses)

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The heads' weights and the shared gradient, both from this step's losses."""
        rule = self.rule
        weights = torch.ones_like(signal.losses)
        if rule.log:
            # The log of a loss that is not positive is undefined; let it show.
            shifted = signal.losses + EPSILON
            weights = torch.where(shifted > 0, 1 / shifted, torch.nan)
        beta = rule.beta
        if rule.schedule == "inverse_sqrt":
            beta /= (signal.step + 1) ** 0.5
        if rule.level == "features":
            return self._at_features(state, signal, weights, beta)
        return self._at_parameters(state, signal, weights, beta)

    def _at_parameters(
        self, state: State, signal: Signal, weights: Tensor, beta: float
    ) -> tuple[Combined, State]:
        """Algorithm 1."""
        assert signal.jacobian is not None
        # In the Jacobian's own memory: fresh pages for a K x P matrix cost more than filling them.
        average = signal.jacobian.mul_(((1 - beta) * weights)[:, None])
        average.add_(state["average"], alpha=beta)
        if signal.known is not None:
            average = torch.where(signal.known[:, None], average, state["average"])
        factors = torch.ones_like(weights)
        if self.rule.norm:
            factors = self._factors(norms_of(average)).to(factors.dtype)
        if signal.known is not None:
            factors = torch.where(signal.known, factors, 0)
        trunk = factors.to(average.dtype) @ average
        return Combined(weights, trunk=trunk), {"average": average}

    def _at_features(
        self, state: State, signal: Signal, weights: Tensor, beta: float
    ) -> tuple[Combined, State]:
        """Its counterpart at Z."""
        before, current = state["norms"], weights * norms_of(signal.gradients)
        norms = beta * before + (1 - beta) * current
        mass = beta * state["mass"] + (1 - beta)  # what a constant norm of one has become
        if signal.known is not None:
            norms = torch.where(before > 0, norms, mass * current)
            norms = torch.where(signal.known, norms, before)
        factors = self._factors(norms).to(weights.dtype) if self.rule.norm else 1
        return Combined(weights, mixing=factors * weights), {"norms": norms, "mass": mass}

    def _factors(self, norms: Tensor) -> Tensor:
        """(K,) alpha / (n_k + epsilon), from the norms n_k."""
        scale = self.rule.scale
        if isinstance(scale, float):
            return scale / (norms + EPSILON)
        kinds = {"maximum": "max", "minimum": "min", "mean": "mean", "median": "median"}
        alpha: Tensor = getattr(norms, kinds[scale])()
        return alpha / (norms + EPSILON)
