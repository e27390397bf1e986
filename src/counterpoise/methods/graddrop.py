"""GradDrop: where tasks disagree on a sign, one sign is drawn at random and the other dropped.

Chen et al., "Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout"
(NeurIPS 2020, arXiv 2010.06808), Algorithm 1, at the shared representation Z. With g_k the (B, d)
gradients there, all operations taken element by element and u uniform in [0, 1)::

    P = (1 + sum_k g_k / sum_k |g_k|) / 2          (purity of the positive sign)
    m_k = 1 if g_k has the sign that is picked: positive where P > u, else negative
    Z receives  sum_k (leak + (1 - leak) m_k) g_k

It costs one backward pass through the trunk and needs no Gramian: it acts on Z, element by element.
What it drops is random, and any direction may be dropped.

- ``batch`` is the paper's way of sharing one decision among the items of a batch, also used in
  LibMTL and in lingvo's layer: P and m_k are those of sum_b sign(z_b) g_kb, and m_k holds for all
  items. ``element`` computes P for each item and feature separately: only lines 10-15 of the
  algorithm, which is all that an aggregator such as TorchJD's sees.
- lingvo also rescales the sum to its previous norm; neither the paper nor this implementation does.
- The monotone function of P is the identity, the paper's choice; leak is one number for all tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape


class GradDrop(Method):
    """Z receives the gradients of the picked signs."""

    label = "GradDrop"
    signal = "features"
    properties = frozenset({"equal_tasks_equal_weights", "plain_with_one_task", "never_lengthens"})
    variants = ({"pooling": "element"}, {"leak": 0.3})

    class Options(base.Options):
        """Hyper-parameters of Algorithm 1."""

        leak: Annotated[float, Field(ge=0, le=1)] = 0.0
        """Share of a dropped gradient that is let through (LibMTL and TorchJD: none)."""
        pooling: Literal["batch", "element"] = "batch"
        """A sign for each feature of the batch (the paper, LibMTL), or for each item and feature
        (TorchJD)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def draw(self, generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        """Uniform numbers for each item and feature, or for each feature."""
        size = (batch if self.rule.pooling == "element" else 1, self.shape.features)
        return {"u": torch.rand(size, generator=generator)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Drop one of the signs, element by element."""
        judged = signal.gradients
        if self.rule.pooling == "batch":
            judged = (judged * signal.z.sign()).sum(1, keepdim=True)
        total = judged.abs().sum(0)
        purity = (1 + judged.sum(0) / torch.where(total > 0, total, 1)) / 2
        positive = purity > signal.draws["u"]
        kept = torch.where(positive, judged > 0, judged < 0).to(judged)
        leak = self.rule.leak
        shared = ((leak + (1 - leak) * kept) * signal.gradients).sum(0)
        return Combined(torch.ones_like(signal.losses), shared=shared), state
