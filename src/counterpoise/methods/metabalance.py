"""MetaBalance: scales the gradients of each tensor towards the norm of one task's gradient.

He et al., "MetaBalance: Improving Multi-Task Recommendations via Adapting Gradient Magnitudes of
Auxiliary Tasks" (WWW 2022, arXiv 2203.06801), Algorithm 1. With g_k the gradient of l_k with
respect to one shared parameter tensor and t the target task, at each step and for each tensor::

    m_k <- beta m_k + (1 - beta) ||g_k||,   m_k = 0 at first
    g_k <- r (m_t / m_k) g_k + (1 - r) g_k
    the tensor receives  sum_k g_k

r = 1 gives all tasks the norm of the target's gradient; r = 0 is uniform weighting. The moving
averages are not bias-corrected; the bias cancels in the ratio.

- The paper serves one task and calls the others auxiliary. Where none is named, the target is the
  first, as in the authors' code, whose list of losses begins with it. Comparisons among equal tasks
  (such as DB-MTL's, or those made with LibMTL) do not say which one they used.
- ``strategy``: the paper's strategy C adapts all gradients (the default, and the only one in the
  code), A only reduces larger ones, and B only enlarges smaller ones.
- For a tensor that a task does not reach, that task's zero gradient is left as it is.
- Heads have one task each and keep their gradients. The authors' optimiser would multiply those of
  auxiliary heads by 1 - r, as the target's gradient there is zero; the paper speaks of shared
  parameters only.

Cost: K backward passes through the trunk, and memory for one K x P matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._given import unknown_tasks
from counterpoise.methods._norms import norms_of
from counterpoise.spec import base

if TYPE_CHECKING:
    from counterpoise.methods._base import Shape
    from counterpoise.tasks import Task


class MetaBalance(Method):
    """Tensor by tensor, sum_k (r m_t / m_k + 1 - r) g_k."""

    label = "MetaBalance"
    signal = "jacobian"
    ordered = "the first task is the target, if none is named"
    properties = frozenset({"equal_tasks_equal_weights", "plain_with_one_task"})
    variants = (
        {"relax": 1.0, "strategy": "reduce"},
        {"beta": 0.0, "strategy": "enlarge"},
    )

    class Options(base.Options):
        """Hyper-parameters; the defaults are those of the authors' code."""

        target: str | None = None
        """The task whose norms serve as the reference (the paper's target); the first if not
        named."""
        relax: Annotated[float, Field(ge=0, le=1)] = 0.7
        """r, the share of the gap between norms that is closed (the code)."""
        beta: Annotated[float, Field(ge=0, lt=1)] = 0.9
        """Decay of the moving average of a norm (the code)."""
        strategy: Literal["both", "reduce", "enlarge"] = "both"
        """Which gradients are adapted: the paper's strategies C (its best), A and B."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    @classmethod
    def problems(cls, options: base.Options, tasks: tuple[Task, ...]) -> list[str]:
        """An unknown target."""
        assert isinstance(options, cls.Options)
        return unknown_tasks("target", [] if options.target is None else [options.target], tasks)

    def initial_state(self) -> State:
        """No norm yet."""
        return {
            "norms": torch.zeros(self.shape.tasks, len(self.shape.tensors)).double(),
            "count": torch.zeros(self.shape.tasks, dtype=torch.float64),
        }

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Track the norms, then scale each tensor's gradients towards the target's norm."""
        assert signal.jacobian is not None
        rule, parts = self.rule, torch.split(signal.jacobian, list(self.shape.tensors), dim=1)
        before, found = state["norms"], torch.stack([norms_of(part) for part in parts], dim=1)
        norms, count = rule.beta * before + (1 - rule.beta) * found, state["count"] + 1
        if signal.known is not None:  # a batch without labels says nothing of a task's norms
            norms = torch.where(signal.known[:, None], norms, before)
            count = torch.where(signal.known, count, state["count"])
        following = {"norms": norms, "count": count}
        # An average over few steps is too small; of as many steps, the bias cancels in the ratio.
        bias = 1 - rule.beta ** count.clamp(min=1)
        norms = norms * (bias.max() / bias)[:, None]
        target = 0 if rule.target is None else self.shape.names.index(rule.target)
        ratio = torch.where(norms > 0, norms[target] / torch.where(norms > 0, norms, 1), 1.0)
        # A target that has had no label yet has no norm to be a reference.
        ratio = torch.where(count[target] > 0, ratio, 1.0)
        if rule.strategy == "reduce":
            ratio = ratio.clamp(max=1)
        elif rule.strategy == "enlarge":
            ratio = ratio.clamp(min=1)
        factors = (rule.relax * ratio + (1 - rule.relax)).clamp(max=torch.finfo(parts[0].dtype).max)
        mixed = [factors[:, n].to(part.dtype) @ part for n, part in enumerate(parts)]
        return Combined(torch.ones_like(signal.losses), trunk=torch.cat(mixed)), following
