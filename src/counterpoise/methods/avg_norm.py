"""AvgNorm: scales losses so that their gradients have the same norm at the last shared layer.

The method of arXiv 2509.23915, on the imbalance of optimisation in multi-task learning, as a note
on that paper describes it: the abstract says no more than "scaling task losses according to their
gradient norms", and no code was found. With g_k the gradient of the unweighted loss l_k with
respect to the last shared layer, at every iteration and without smoothing::

    w_k = S / (||g_k|| + epsilon)        the loss is sum_k w_k l_k

It scales losses, so the heads' gradients are scaled, too. It costs one backward pass through the
trunk, and K passes through its last layer.

- S is ||sum_j g_j|| in the note (``sum``), which does not fit the method's name; ``mean`` is that
  divided by K, and ``avgnorm`` is the mean of the norms. With K orthogonal gradients of the same
  norm the weights are sqrt(K), 1 / sqrt(K) and 1, respectively. The difference hardly matters under
  Adam, but does under SGD.
- Where gradients cancel out, ``sum`` and ``mean`` shrink the whole step.
- "Last layer" means the last module of the trunk that has parameters.
- epsilon is ours, and so is an exception to the rule: a task whose gradient at that layer has
  vanished (less than a millionth of the longest) keeps the weight one. There is nothing to scale,
  and its head, to which the same weight applies, would be thrown off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape

EPSILON = 1e-8
VANISHED = 1e-6
"""Share of the longest gradient's norm up to which a gradient counts as vanished: its task keeps
the weight one."""


class AvgNorm(Method):
    """w_k in inverse proportion to the norm of the task's gradient."""

    label = "AvgNorm"
    signal = "last_layer"
    properties = frozenset(
        {
            "weighted_loss",
            "equal_tasks_equal_weights",
            "plain_with_one_task",
            "blind_to_gradient_scale",
            "blind_to_loss_scale",
        }
    )
    variants = ({"numerator": "mean"}, {"numerator": "avgnorm"})

    class Options(base.Options):
        """Hyper-parameters of the rule."""

        numerator: Literal["sum", "mean", "avgnorm"] = "sum"
        """The norm S that all gradients get: of their sum (the note on the paper), of their mean,
        or the mean of their norms (what the name says)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """The weights of this step."""
        assert signal.last_layer is not None
        # Squares of large gradients leave the range of float32.
        gradients = signal.last_layer.double()
        norms = gradients.norm(dim=1)
        scale = {
            "sum": gradients.sum(0).norm(),
            "mean": gradients.mean(0).norm(),
            "avgnorm": norms.mean(),
        }[self.rule.numerator]
        weights = torch.where(norms > VANISHED * norms.max(), scale / (norms + EPSILON), 1.0)
        return Combined(weights.to(signal.losses.dtype)), state
