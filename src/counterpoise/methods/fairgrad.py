"""FairGrad: the update that is alpha-fair to the tasks' rates of improvement.

Ban and Ji, "Fair Resource Allocation in Multi-Task Learning" (ICML 2024, arXiv 2402.15638),
Equation 4 and Algorithm 1. With G the Gramian of the K gradients, the shared parameters receive
sum_k a_k g_k, where::

    G a = a^(-1/alpha),   a > 0, element by element

alpha chooses the kind of fairness: proportional (1, which gives Nash-MTL's equation), favouring the
worst task (large), or favouring the sum (small).

- The paper's code, TorchJD and LibMTL solve it with SciPy's least squares, starting from 1/K;
  residuals of 1e-4 were seen where gradients differ widely in length. Here Newton's method finds
  the minimiser of the strictly convex function whose stationarity condition is the equation, with
  residuals below 1e-6 where lengths differ by six orders of magnitude.
- Public code also weights the heads by a (``heads``). alpha = 0, equal weights, is ``uniform``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.methods._base import Combined, Signal, State
from counterpoise.methods._fairness import SEQUENTIAL, fair_weights
from counterpoise.methods._gramian import Gradients, GramianMethod, GramianOptions

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape


class FairGrad(GramianMethod):
    """v = a, with G a = a^(-1/alpha)."""

    label = "FairGrad"
    sequential = SEQUENTIAL
    # g_k.update = a_k^(-1/alpha) > 0.
    properties = frozenset({"equal_tasks_equal_weights", "never_conflicts"})
    variants = (
        {"alpha": 2.0, "heads": "weighted"},
        {"alpha": 0.5},
        {"level": "features"},
    )

    class Options(GramianOptions):
        """What is fair."""

        alpha: Annotated[float, Field(ge=0.5, le=20)] = 1.0
        """Kind of fairness (LibMTL's default; the paper searches it per dataset). Below 0.5 and
        above 20 the equation's powers leave the range of float64 where gradients differ widely in
        length."""
        heads: Literal["own", "weighted"] = "own"
        """Heads receive their own gradients, or a_k times them as in the public code."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options
        if options.alpha == 1:  # Nash-MTL's equation
            self.promise("blind_to_gradient_scale", "blind_to_loss_scale")

    def mix(self, gradients: Gradients, signal: Signal) -> Tensor:
        """The fair a."""
        return fair_weights(gradients, self.rule.alpha)

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The shared parameters' mixing, also used for the heads if asked for."""
        combined, state = super().combine(state, signal)
        if self.rule.heads == "weighted":
            assert combined.mixing is not None
            combined = Combined(combined.mixing, mixing=combined.mixing)
        return combined, state
