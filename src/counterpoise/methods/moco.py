"""MoCo: tracks gradients over the steps and computes weights from the tracked ones.

Fernando et al., "Mitigating Gradient Bias in Multi-Objective Learning: A Provably Convergent
Approach" (ICLR 2023, arXiv 2210.12624), as the authors contributed it to LibMTL. With g_k the
gradient of l_k with respect to all P shared parameters, Y in R^{K x P} initially zero, lambda
initially 1/K and steps t counted from one::

    h_k      = l_k g_k / (||g_k|| + 1e-8)
    Y        <- Y - beta_t (Y - H),                            beta_t  = beta / t^beta_decay
    lambda   <- softmax(lambda - gamma_t (Y Y^T + rho I) lambda),  gamma_t = gamma / t^gamma_decay
    theta receives  Y^T lambda;  each head its own, unweighted gradient

- The paper tracks the plain gradient g_k; the normalised one, of norm l_k, is the authors' version
  in LibMTL.
- The paper keeps lambda on the simplex by Euclidean projection, ``simplex: projection`` (as does
  the authors' later public code). LibMTL's softmax, the default, is not a projection: while losses
  are near one it pulls lambda close to 1/K at every step.
- Y Y^T grows with the square of the losses: where they are large and different, lambda concentrates
  on the task with the smallest loss. Normalised losses are advisable.
- lambda sums to one: under SGD, the trunk's step is that of an average, the heads' steps are those
  of a sum.
- Losses are assumed to be positive; a negative one reverses its task's gradient.

Cost: K backward passes through the trunk, and memory for two K x P matrices.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._norms import norms_of, products_with_sum
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape

EPSILON = 1e-8
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class MoCo(Method):
    """Shared gradient Y^T lambda, Y tracking l_k g_k / ||g_k||."""

    label = "MoCo"
    signal = "jacobian"
    properties = frozenset({"equal_tasks_equal_weights", "blind_to_gradient_scale"})
    variants = (
        {"simplex": "projection", "gamma": 1.0, "rho": 0.1},
        {"beta": 0.99, "beta_decay": 0.0, "gamma_decay": 0.0},
    )

    class Options(base.Options):
        """Hyper-parameters; the defaults are LibMTL's."""

        beta: Annotated[float, Field(gt=0, le=1)] = 0.5
        """Step size of the tracked gradients (LibMTL)."""
        beta_decay: NotNegative = 0.5
        """Exponent of the step number by which beta falls (LibMTL)."""
        gamma: NotNegative = 0.1
        """Step size of the weights lambda (LibMTL)."""
        gamma_decay: NotNegative = 0.5
        """Exponent of the step number by which gamma falls (LibMTL)."""
        rho: NotNegative = 0.0
        """Regularisation of the weights towards equal ones (LibMTL: none)."""
        simplex: Literal["softmax", "projection"] = "softmax"
        """How lambda is kept on the simplex: LibMTL's softmax or the paper's projection."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def initial_state(self) -> State:
        """No gradient yet, equal weights."""
        tasks = self.shape.tasks
        return {
            "tracked": torch.zeros(()).expand(tasks, self.shape.parameters),
            "shares": torch.full((tasks,), 1 / tasks, dtype=torch.float64),
        }

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Track this step's gradients, then weigh the tracked ones."""
        assert signal.jacobian is not None
        rule, count = self.rule, signal.step + 1
        beta, gamma = rule.beta / count**rule.beta_decay, rule.gamma / count**rule.gamma_decay
        scales = signal.losses / (norms_of(signal.jacobian) + EPSILON)
        # In the Jacobian's own memory: fresh pages for a K x P matrix cost more than filling them.
        tracked = signal.jacobian.mul_((beta * scales).to(signal.jacobian.dtype)[:, None])
        tracked.add_(state["tracked"], alpha=1 - beta)
        shares = state["shares"]
        slope = products_with_sum(tracked, shares) + rule.rho * shares
        shares = self._on_simplex(shares - gamma * slope)
        following = {"tracked": tracked, "shares": shares}
        trunk = shares.to(tracked.dtype) @ tracked
        return Combined(torch.ones_like(signal.losses), trunk=trunk), following

    def _on_simplex(self, values: Tensor) -> Tensor:
        """(K,) positive weights that sum to one."""
        if self.rule.simplex == "softmax":
            return values.softmax(0)
        # The nearest point subtracts one threshold from all: the largest of those that bring the
        # sum of the j greatest to one.
        sums = values.sort(descending=True).values.cumsum(0)
        counts = torch.arange(1, len(values) + 1, dtype=values.dtype, device=values.device)
        return (values - ((sums - 1) / counts).max()).clamp(min=0)
