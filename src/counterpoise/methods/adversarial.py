"""Adversarial task gradients: a discriminator must not be able to tell which task one comes from.

The baseline of the RotoGrad submission (section 5.2.2, Table 3) after Maninis et al., "Attentive
Single-Tasking of Multiple Tasks" (CVPR 2019), "using a two-layer feed-forward neural network as
discriminator", with the constants of their public code (ASTMT), reimplemented here. With the unit
vector u^k_i = g^k_i / (||g^k_i|| + 1e-10) of every item and task, a network D predicts k from
u^k_i::

    D descends                   C = mean_{k,i} cross-entropy(D(u^k_i), k), at a rate of its own
    the others' objective is     (1 - w) sum_k l_k - lambda w C
    lambda = 2 / (1 + exp(-10 p)) - 1,   p = (epoch + 1) / epochs

C moves the trunk and the heads through the g^k, which takes a second backward pass through the
heads but not through the trunk.

- The discriminator is D(u) = W_2 leaky_relu(W_1 u + b_1) + b_2, from Z in R^d through h hidden
  units to K outputs. ASTMT works on feature maps; its variant for vectors has h = 128 and the slope
  0.2.
- ASTMT trains D at ten times the network's rate; here D has its own Adam, whose default rate is ten
  times the submission's 0.001.
- An item without a gradient for a task, such as one whose label is unknown, has no direction: C is
  the mean over the others. At an exact zero the derivative of u is 1e10, which would reach the
  trunk.
- D is initialised uniformly within 1 / sqrt(inputs), drawn anew for each seed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._adam import adam
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape

EPSILON = 1e-10
MOMENTS = ("_first_moment", "_second_moment")
LAYERS = ("inner_weight", "inner_bias", "outer_weight", "outer_bias")


def answers_of(layers: list[Tensor], own: Tensor) -> Tensor:
    """Logits (K B, K) of the discriminator on gradients (K, B, d), meaningless for zero ones."""
    inner_weight, inner_bias, outer_weight, outer_bias = layers
    largest = own.detach().abs().amax(2, keepdim=True)
    there, divisor = largest > 0, torch.where(largest > 0, largest, 1)
    # Divide by the largest entry first: squares of small gradients vanish in float32.
    norms = divisor * torch.where(there, own / divisor, 1.0).norm(dim=2, keepdim=True)
    units = torch.where(there, own, 1.0) / (norms + EPSILON)
    linear, relu = torch.nn.functional.linear, torch.nn.functional.leaky_relu
    inner = relu(linear(units.flatten(0, 1), inner_weight, inner_bias), 0.2)
    return linear(inner, outer_weight, outer_bias)


class Adversarial(Method):
    """The network is trained against a discriminator of its task gradients."""

    label = "Adversarial"
    signal = "features"
    second_order = True
    draws_once = True

    class Options(base.Options):
        """Hyper-parameters; the defaults are ASTMT's."""

        weight: Annotated[float, Field(ge=0, lt=1)] = 0.01
        """w, the share of the discriminator's loss in the objective (ASTMT)."""
        hidden: Annotated[int, Field(ge=1)] = 128
        """h, hidden units of the discriminator (ASTMT's variant for vectors)."""
        discriminator_learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01
        """Ten times the network's rate (ASTMT; that of the submission is 0.001)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def initial_state(self) -> State:
        """Room for the discriminator, which is drawn at the first step."""
        names = [f"{name}{moment}" for name in LAYERS for moment in ("", *MOMENTS)]
        sizes = [size for size in self._sizes() for _ in range(3)]
        return {name: torch.zeros(size) for name, size in zip(names, sizes, strict=True)}

    def _sizes(self) -> list[tuple[int, ...]]:
        d, hidden, tasks = self.shape.features, self.rule.hidden, self.shape.tasks
        return [(hidden, d), (hidden,), (tasks, hidden), (tasks,)]

    def draw(self, generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        """A discriminator, for the first step."""
        d, hidden = self.shape.features, self.rule.hidden
        return {
            name: (2 * torch.rand(size, generator=generator) - 1) / math.sqrt(inputs)
            for name, size, inputs in zip(
                LAYERS, self._sizes(), (d, d, hidden, hidden), strict=True
            )
        }

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """What reaches the network through its gradients, and the discriminator's step."""
        rule, tasks, batch = self.rule, self.shape.tasks, len(signal.z)
        if signal.step == 0:
            state = {**state, **signal.draws}
        own, layers = signal.task_gradients, [state[name] for name in LAYERS]
        task = torch.arange(tasks, device=own.device).repeat_interleave(batch)
        there = (own != 0).any(2).flatten()

        def loss(own: Tensor, layers: list[Tensor]) -> Tensor:
            answers = answers_of(layers, own)
            each = torch.nn.functional.cross_entropy(answers, task, reduction="none")
            return (each * there).sum() / there.sum().clamp(min=1)

        at_own, slopes = torch.func.grad(loss, argnums=(0, 1))(own, layers)
        following = {}
        for name, layer, slope in zip(LAYERS, layers, slopes, strict=True):
            moments = tuple(f"{name}{moment}" for moment in MOMENTS)
            before = state[moments[0]], state[moments[1]]
            one, two, direction = adam(*before, slope, signal.step)
            following[name] = layer - rule.discriminator_learning_rate * direction
            following |= dict(zip(moments, (one, two), strict=True))
        passed = (signal.epoch + 1) / signal.epochs
        strength = 2 / (1 + math.exp(-10 * passed)) - 1
        return Combined(
            torch.full_like(signal.losses, 1 - rule.weight),
            through_gradients=-strength * rule.weight * at_own,
        ), following
