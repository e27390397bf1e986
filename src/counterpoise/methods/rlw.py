"""Random loss weighting: new random weights at every step, independent of losses and gradients.

Lin et al., "Reasonable Effectiveness of Random Weighting: A Litmus Test for Multi-Task Learning"
(TMLR 2022, arXiv 2111.10603). A balancing method that is no better than this has demonstrated
nothing. At every step, with s in R^K::

    omega = softmax(s),   s_k ~ N(0, 1), independent

- The weights sum to one, as in the paper and in LibMTL: under SGD this amounts to 1/K of the
  learning rate of a sum of losses. ``sum: tasks`` multiplies them by K (as the public code of IGB
  does).
- ``distribution: dirichlet`` draws omega uniformly from the simplex, which the first version of the
  paper (and LibMTL at that time) has in addition to the normal distribution. Its uniform and
  Bernoulli distributions are left out.

Cost: one backward pass through the trunk, as with uniform weighting; no state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape


class RLW(Method):
    """omega_k random, independent of the previous step."""

    label = "RLW"
    signal = "losses"
    properties = frozenset({"weighted_loss"})
    variants = ({"sum": "tasks"}, {"distribution": "dirichlet"})

    class Options(base.Options):
        """Hyper-parameters; the defaults are the paper's and LibMTL's."""

        distribution: Literal["normal", "dirichlet"] = "normal"
        """Softmax of standard normal numbers (the paper's default), or uniform on the simplex."""
        sum: Literal["one", "tasks"] = "one"
        """What the weights sum to: one (the paper, LibMTL) or the number of tasks."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options
        if options.sum == "one":
            self.properties = self.properties | {"weights_sum_to_one", "never_lengthens"}
        else:
            self.properties = self.properties | {"weights_sum_to_tasks"}

    def draw(self, generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        """The random numbers from which the weights are computed."""
        scores = torch.empty(self.shape.tasks)
        if self.rule.distribution == "normal":
            return {"scores": scores.normal_(generator=generator)}
        return {"scores": scores.exponential_(generator=generator)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The drawn numbers, mapped to the simplex."""
        scores = signal.draws["scores"].to(signal.losses.dtype)
        # Exponential numbers over their sum are Dirichlet(1, ..., 1).
        normal = self.rule.distribution == "normal"
        weights = scores.softmax(0) if normal else scores / scores.sum()
        return Combined(weights if self.rule.sum == "one" else self.shape.tasks * weights), state
