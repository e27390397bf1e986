"""MTAdam: Adam with separate moments for each task, on gradients of equal norm in each tensor.

Malkiel and Wolf, "MTAdam: Automatic Balancing of Multiple Training Loss Terms" (EMNLP 2021, arXiv
2006.14683), Algorithm 1; what its text leaves open is taken from the authors' code. With g_k the
gradient of l_k with respect to one shared parameter tensor w, at each step t from one::

    n_k <- beta3 n_k + (1 - beta3) ||g_k||,       n_k = ||g_k|| at the first step
    g_k <- (n_a / n_k) g_k,                       a the first task whose n_a exceeds 1e-10
    m_k <- beta1 m_k + (1 - beta1) g_k,           v_k <- beta2 v_k + (1 - beta2) g_k^2
    w   <- w - eta sum_k m_k / (1 - beta1^t) / max_j (sqrt(v_j / (1 - beta2^t)) + epsilon)

- It is an optimizer: what it gives the trunk is the step itself, which the engine multiplies by the
  learning rate eta, whatever the protocol's optimizer (:attr:`Method.descends`). The protocol's
  optimizer moves the heads; if that is Adam, this is MTAdam there, too, since a head has one task,
  which is its own anchor.
- Weight decay is added to the step. The authors' code adds it to the gradient of every task.
- A norm of at most 1e-10 is left as it is, as in the authors' code.
- The code's AMSGrad and its per-task factors are left out.
- The root of v is stored rather than v, since squares of large gradients leave the range of
  float32.

Cost: K backward passes through the trunk, and memory for five K x P matrices at the peak.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise import recycled
from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._norms import blocks_of, norms_of
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape

Decay = Annotated[float, Field(ge=0, lt=1)]
NO_NORM = 1e-10


class MTAdam(Method):
    """The step sum_k m_k / max_j sqrt(v_j), over gradients that have the anchor's norm."""

    label = "MTAdam"
    signal = "jacobian"
    descends = True
    ordered = "the first task that has a gradient is the anchor"
    properties = frozenset({"blind_to_gradient_scale", "blind_to_loss_scale"})
    variants = ({"beta1": 0.5, "beta2": 0.9, "beta3": 0.0},)

    class Options(base.Options):
        """Hyper-parameters; the defaults are those of the authors' code."""

        beta1: Decay = 0.9
        """Decay of the first moments (the code)."""
        beta2: Decay = 0.999
        """Decay of the second moments (the code)."""
        beta3: Decay = 0.9
        """Decay of the norms' moving average (the code)."""
        epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-8
        """Added to the root of the second moment (the code)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def initial_state(self) -> State:
        """No moment yet."""
        tasks, size = self.shape.tasks, self.shape.parameters
        return {
            "norms": torch.zeros(tasks, len(self.shape.tensors), dtype=torch.float64),
            "first": torch.zeros(()).expand(tasks, size),
            "root": torch.zeros(()).expand(tasks, size),
        }

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Update norms and moments; the step is the sum of the tasks' own."""
        rule, count = self.rule, signal.step + 1
        scaled, norms = self._scaled(state["norms"], signal)
        first, root = (recycled.empty_like(state[name]) for name in ("first", "root"))
        matrices = (scaled, state["first"], state["root"], first, root)
        steps = []
        for g, m_before, r_before, m, r in zip(*map(blocks_of, matrices), strict=True):
            m.copy_(m_before * rule.beta1).add_(g, alpha=1 - rule.beta1)
            g.mul_((1 - rule.beta2) ** 0.5)
            r.copy_(torch.hypot(r_before * rule.beta2**0.5, g))  # in place it would not map
            largest = r.amax(0) / (1 - rule.beta2**count) ** 0.5 + rule.epsilon
            steps.append(m.sum(0) / largest / (1 - rule.beta1**count))
        step = torch.cat(steps)
        following = {"norms": norms, "first": first, "root": root}
        return Combined(torch.ones_like(signal.losses), trunk=step), following

    def _scaled(self, before: Tensor, signal: Signal) -> tuple[Tensor, Tensor]:
        """(K, P) gradients with the anchor's norm in each tensor, and the updated (K, T) norms.

        The gradients are in the Jacobian's own memory.
        """
        assert signal.jacobian is not None
        parts = torch.split(signal.jacobian, list(self.shape.tensors), dim=1)
        norms = torch.stack([norms_of(part) for part in parts], dim=1)
        followed = self.rule.beta3 * before + (1 - self.rule.beta3) * norms
        if signal.known is None:
            norms = norms if signal.step == 0 else followed
        else:  # a batch without labels says nothing of a task's norms
            begun = (before > 0).any(dim=1, keepdim=True)
            norms = torch.where(begun, followed, norms)
            norms = torch.where(signal.known[:, None], norms, before)
        there = norms > NO_NORM
        anchor = there & (there.long().cumsum(0) == 1)
        measure = torch.where(anchor, norms, 0.0).sum(0)
        factors = torch.where(there, measure / torch.where(there, norms, 1.0), 1.0)
        for part, factor in zip(parts, factors.unbind(1), strict=True):
            part.mul_(factor.to(part.dtype)[:, None])
        return signal.jacobian, norms
