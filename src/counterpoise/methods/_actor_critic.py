"""Soft actor-critic for weights on a simplex, as in IGBv2's public code; pure functions.

Haarnoja et al., "Soft Actor-Critic" (ICML 2018, arXiv 1801.01290), two critics and a trained
temperature. With s the state and a the action, both in R^K, and e standard normal::

    u = mu(s) + sigma(s) e,   a = K softmax(u)
    log pi = sum_k log N(u_k; mu_k, sigma_k^2) - sum_k 2 (log 2 - u_k - softplus(-2 u_k))

The last sum is the correction for a = tanh(u), which the code kept from the implementation it was
adapted from; for a softmax it does not give the density. It is kept here, because the method is
what the code does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from counterpoise.lazy import torch
from counterpoise.methods._adam import adam

if TYPE_CHECKING:
    from torch import Tensor

Tensors = dict[str, "Tensor"]

HIDDEN = 128
TEMPERATURE = 0.2
DISCOUNT, POLYAK = 0.99, 0.005
LOG_SIGMA = (-20.0, 2.0)


def shapes(tasks: int) -> dict[str, dict[str, tuple[int, ...]]]:
    """The shape of every tensor of the agent; the two critics are stored side by side."""
    h = HIDDEN
    return {
        "actor": {
            "0_weight": (h, tasks), "0_bias": (h,), "1_weight": (h, h), "1_bias": (h,),
            "mu_weight": (tasks, h), "mu_bias": (tasks,),
            "sigma_weight": (tasks, h), "sigma_bias": (tasks,),
        },
        "critic": {
            "0_weight": (2, h, 2 * tasks), "0_bias": (2, h), "1_weight": (2, h, h),
            "1_bias": (2, h), "2_weight": (2, 1, h), "2_bias": (2, 1),
        },
        "temperature": {"log": ()},
    }  # fmt: skip


def blank(tasks: int) -> Tensors:
    """Room for an agent that has not been drawn, its copy of the critics and its moments."""
    found: Tensors = {}
    for part, tensors in shapes(tasks).items():
        for name, shape in tensors.items():
            for kind in ("", "_first", "_second"):
                found[f"{part}_{name}{kind}"] = torch.zeros(shape)
    found |= {f"target_{n}": torch.zeros(shape) for n, shape in shapes(tasks)["critic"].items()}
    return {**found, "updates": torch.zeros(())}


def drawn(tasks: int, generator: torch.Generator) -> Tensors:
    """A new agent: layers are initialised uniformly within 1 / sqrt(inputs), as torch does."""
    found: Tensors = {}
    for part in ("actor", "critic"):
        tensors = shapes(tasks)[part]
        for name, shape in tensors.items():
            inputs = tensors[name.replace("bias", "weight")][-1]
            values = 2 * torch.rand(shape, generator=generator) - 1
            found[f"{part}_{name}"] = values / math.sqrt(inputs)
    found |= {
        name.replace("critic", "target", 1): value
        for name, value in found.items()
        if name.startswith("critic")
    }
    return {**found, "temperature_log": torch.tensor(math.log(TEMPERATURE))}


def part_of(agent: Tensors, part: str, tasks: int) -> Tensors:
    """The tensors of the actor, the critics, their copy (``target``) or the temperature."""
    names = shapes(tasks)["critic" if part == "target" else part]
    return {name: agent[f"{part}_{name}"] for name in names}


def acted(actor: Tensors, states: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Actions (n, K), and their log densities (n,), at states (n, K) with noise (n, K)."""
    linear = torch.nn.functional.linear
    inner = linear(states, actor["0_weight"], actor["0_bias"]).relu()
    inner = linear(inner, actor["1_weight"], actor["1_bias"]).relu()
    mu = linear(inner, actor["mu_weight"], actor["mu_bias"])
    log_sigma = linear(inner, actor["sigma_weight"], actor["sigma_bias"]).clamp(*LOG_SIGMA)
    u = mu + log_sigma.exp() * noise
    density = -(noise.square() / 2 + log_sigma + math.log(2 * math.pi) / 2)
    correction = 2 * (math.log(2) - u - torch.nn.functional.softplus(-2 * u))
    return states.shape[-1] * u.softmax(-1), (density - correction).sum(-1)


def valued(critics: Tensors, states: Tensor, actions: Tensor) -> Tensor:
    """(2, n) values of both critics."""
    values = torch.cat([states, actions], dim=-1).expand(2, -1, -1)
    for layer in range(3):
        weight, bias = critics[f"{layer}_weight"], critics[f"{layer}_bias"]
        values = torch.baddbmm(bias[:, None], values, weight.mT)
        values = values.relu() if layer < 2 else values
    return values.squeeze(-1)


@dataclass(frozen=True)
class Memory:
    """n transitions: states (n, K), actions (n, K), rewards (n,), and the states after (n, K)."""

    states: Tensor
    actions: Tensor
    rewards: Tensor
    after: Tensor


def trained(agent: Tensors, memory: Memory, noise: tuple[Tensor, Tensor], rate: float) -> Tensors:
    """The agent after one update of critics, actor, temperature and the critics' slow copy.

    Args:
        agent: as :func:`blank` and :func:`drawn` name its tensors.
        memory: a sample.
        noise: (n, K) each, for actions after and before.
        rate: learning rate of all three Adams.
    """
    tasks = memory.states.shape[-1]
    actor, critic = (part_of(agent, part, tasks) for part in ("actor", "critic"))
    temperature = agent["temperature_log"].exp()
    actions, densities = acted(actor, memory.after, noise[0])
    values = valued(part_of(agent, "target", tasks), memory.after, actions).amin(0)
    goal = memory.rewards + DISCOUNT * (values - temperature * densities)

    def critics_loss(critic: Tensors) -> Tensor:
        return (valued(critic, memory.states, memory.actions) - goal).square().mean(1).sum()

    agent = _descended(agent, "critic", critics_loss, tasks, rate)
    critic = part_of(agent, "critic", tasks)

    def actors_loss(actor: Tensors) -> Tensor:
        actions, densities = acted(actor, memory.states, noise[1])
        values = valued(critic, memory.states, actions).amin(0)
        return (temperature * densities - values).mean()

    _, densities = acted(actor, memory.states, noise[1])
    agent = _descended(agent, "actor", actors_loss, tasks, rate)

    def temperatures_loss(temperature: Tensors) -> Tensor:
        return -(temperature["log"] * (densities - tasks)).mean()

    agent = _descended(agent, "temperature", temperatures_loss, tasks, rate)
    slow = {
        f"target_{name}": POLYAK * value + (1 - POLYAK) * agent[f"target_{name}"]
        for name, value in critic.items()
    }
    return {**agent, **slow, "updates": agent["updates"] + 1}


def _descended(
    agent: Tensors, part: str, loss: Callable[[Tensors], Tensor], tasks: int, rate: float
) -> Tensors:
    """The agent with one step of Adam made by one of its parts."""
    own = part_of(agent, part, tasks)
    following = dict(agent)
    for name, slope in torch.func.grad(loss)(own).items():
        key = f"{part}_{name}"
        first, second = agent[f"{key}_first"], agent[f"{key}_second"]
        one, two, direction = adam(first, second, slope, agent["updates"])
        following |= {f"{key}_first": one, f"{key}_second": two, key: own[name] - rate * direction}
    return following
