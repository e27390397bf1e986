"""IGBv2 held to worked examples, and to an agent of torch's own modules and optimizers."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional

from counterpoise.methods._base import Method, Signal, State

from ..support import method_of

K = 2


def shown(losses: Tensor | list[float], step: int, epoch: int, seed: int) -> Signal:
    values, nothing = torch.as_tensor(losses, dtype=torch.float64), torch.zeros(K, 1, 2)
    draws = {"seed": torch.tensor(seed)}
    return Signal(values, nothing[0], nothing, nothing, nothing, step, epoch, draws=draws)


def begun(**options: Any) -> tuple[Method, State]:
    """In float64."""
    method = method_of("igb_v2", K, 2, **options)
    return method, {key: value.double() for key, value in method.initial_state().items()}


def close(found: Tensor, expected: list[float]) -> None:
    wanted = torch.tensor(expected, dtype=found.dtype)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=0)


def test_two_transitions_by_hand() -> None:
    """The base epoch has losses (1, 6) and (3, 2): B = (2, 4).

    Then (2, 3): the falls are (3 - 2) / 2 and (2 - 3) / 4, of which -1/4 is the reward. Then
    (1, 1): 1/2 and 2/4.
    """
    method, state = begun(base_epoch=0, memory=3)
    course, weights = [[1.0, 6.0], [3.0, 2.0], [2.0, 3.0], [1.0, 1.0]], []
    for step, losses in enumerate(course):
        combined, state = method.combine(state, shown(losses, step, step // 2, seed=step))
        weights.append((combined.weights * torch.tensor(losses).double()).tolist())
    assert float(state["remembered"]) == 2
    close(state["memory"][0], [3.0, 2.0, *weights[1], -0.25, 2.0, 3.0])
    close(state["memory"][1], [2.0, 3.0, *weights[2], 0.5, 1.0, 1.0])
    assert not state["memory"][2].any()
    for step in (4, 5):
        combined, state = method.combine(state, shown([5.0, 1.0], step, 2, seed=step))
    # The fourth takes the first one's place.
    close(state["memory"][0, 5:], [5.0, 1.0])
    close(state["memory"][0, 4:5], [0.0])


def test_the_first_weights_are_random_by_hand() -> None:
    """2 softmax(x) / l with the numbers that the seed gives."""
    method, state = begun()
    x = torch.randn(K, generator=torch.Generator().manual_seed(8)).tolist()
    share = 1 / (1 + math.exp(x[1] - x[0]))
    combined, _ = method.combine(state, shown([4.0, 0.5], 1, 4, seed=8))
    expected = torch.tensor([2 * share / 4, 2 * (1 - share) / 0.5]).double()
    torch.testing.assert_close(combined.weights, expected, rtol=1e-6, atol=0)


class Actor(nn.Module):
    def __init__(self, state: State) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(K, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.mu, self.log_std = nn.Linear(128, K), nn.Linear(128, K)
        names = {"0": self.body[0], "1": self.body[2], "mu": self.mu, "sigma": self.log_std}
        for name, layer in names.items():
            layer.weight.data = state[f"actor_{name}_weight"].clone()
            layer.bias.data = state[f"actor_{name}_bias"].clone()

    def forward(self, states: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.body(states)
        mu, std = self.mu(inner), self.log_std(inner).clamp(-20, 2).exp()
        u = mu + std * noise
        bounded = (2 * (math.log(2) - u - functional.softplus(-2 * u))).sum(1)
        return K * torch.softmax(u, 1), Normal(mu, std).log_prob(u).sum(1) - bounded


def critic(state: State, number: int) -> nn.Sequential:
    layers = [nn.Linear(2 * K, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1)]
    for place, layer in enumerate(layers[::2]):
        layer.weight.data = state[f"critic_{place}_weight"][number].clone()
        layer.bias.data = state[f"critic_{place}_bias"][number].clone()
    return nn.Sequential(*layers)


class Agent:
    """Soft actor-critic by torch's modules, autograd and Adam."""

    def __init__(self, state: State, rate: float) -> None:
        self.actor, self.critics = Actor(state), nn.ModuleList(critic(state, n) for n in (0, 1))
        self.slow = copy.deepcopy(self.critics)
        self.log_alpha = torch.tensor(math.log(0.2), dtype=torch.float32).double().requires_grad_()
        own = (self.actor.parameters(), self.critics.parameters(), [self.log_alpha])
        self.optimizers = [torch.optim.Adam(parameters, lr=rate) for parameters in own]

    def descend(self, which: int, loss: Tensor) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        loss.backward()
        self.optimizers[which].step()

    def learn(self, rows: list[Tensor], noise: Tensor) -> None:
        states, actions, rewards, after = rows
        alpha = self.log_alpha.detach().exp()

        def values(critics: nn.ModuleList, states: Tensor, actions: Tensor) -> list[Tensor]:
            return [net(torch.cat([states, actions], 1))[:, 0] for net in critics]

        with torch.no_grad():
            chosen, density = self.actor(after, noise[0])
            goal = torch.minimum(*values(self.slow, after, chosen)) - alpha * density
            goal = rewards[:, 0] + 0.99 * goal
        gaps = [functional.mse_loss(v, goal) for v in values(self.critics, states, actions)]
        self.descend(1, gaps[0] + gaps[1])
        chosen, density = self.actor(states, noise[1])
        best = torch.minimum(*values(self.critics, states, chosen))
        self.descend(0, (alpha * density - best).mean())
        self.descend(2, -(self.log_alpha * (density.detach() - K)).mean())
        with torch.no_grad():
            pairs = zip(self.slow.parameters(), self.critics.parameters(), strict=True)
            for slow, fast in pairs:
                slow.mul_(0.995).add_(fast, alpha=0.005)


def test_the_agent_learns_and_acts_as_torchs_own() -> None:
    """Lessons at steps 4, 8 and 12 of 3, 4 and 4 updates: four times (1 + size / 6) / 2."""
    options = {"every": 4, "memory": 6, "learning_rate": 0.01}
    method, state = begun(base_epoch=0, learning_epoch=1, start_epoch=2, **options)
    agent, rows, updates = None, [], 0
    losses = torch.rand(14, K, generator=torch.Generator().manual_seed(5)).double() + 0.2
    bases = losses[:2].mean(0)
    for step in range(14):
        epoch = 0 if step < 2 else 1 if step < 7 else 2
        combined, state = method.combine(state, shown(losses[step], step, epoch, seed=70 + step))
        numbers = torch.Generator().manual_seed(70 + step)
        if agent is None:  # its networks are drawn first; they have learned nothing yet
            agent = Agent(state, 0.01)
            chosen = combined.weights * losses[step]
            continue
        if epoch:
            reward = ((losses[step - 1] - losses[step]) / bases).min()
            rows.append(torch.cat([losses[step - 1], chosen, reward[None], losses[step]]))
            size = min(len(rows), 6)
            # As a ring: the place of each is its number modulo six.
            ring = [rows[n] for n in sorted(range(len(rows))[-6:], key=lambda n: n % 6)]
            share = (1 + size / 6) / 2
            for _ in range(int(4 * share) if step % 4 == 0 else 0):
                place = torch.randint(size, (int(256 * share),), generator=numbers)
                noise = torch.randn(2, len(place), K, generator=numbers).double()
                sample = torch.stack(ring)[place]
                agent.learn(list(sample.split([K, K, 1, K], dim=1)), noise)
                updates += 1
        x = torch.randn(K, generator=numbers).double()
        chosen = K * x.softmax(0)
        if epoch == 2:
            with torch.no_grad():
                chosen = agent.actor(losses[step][None], x[None])[0][0]
        torch.testing.assert_close(combined.weights, chosen / losses[step], rtol=1e-6, atol=0)
    assert agent is not None and updates == float(state["updates"]) == 11
    found = Agent(state, 0.01)
    mine, theirs = ((a.actor, a.critics) for a in (found, agent))
    for one, other in zip(mine, theirs, strict=True):
        for parameter, expected in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(parameter, expected, rtol=1e-6, atol=1e-9)
    slow = [value for name, value in state.items() if name.startswith("target_")]
    theirs = [torch.stack(pair) for pair in zip(*(n.parameters() for n in agent.slow), strict=True)]
    for value, expected in zip(slow, theirs, strict=True):
        torch.testing.assert_close(value, expected.view_as(value), rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(state["temperature_log"], agent.log_alpha, rtol=1e-6, atol=0)


def test_its_first_critics_are_their_own_slow_copy() -> None:
    method, state = begun()
    _, state = method.combine(state, shown([1.0, 2.0], 0, 0, seed=3))
    for name, value in state.items():
        if name.startswith("target_"):
            assert torch.equal(value, state[name.replace("target", "critic")]) and value.any()
    bound = state["critic_1_weight"].abs().max()
    assert 0.99 / 128**0.5 < float(bound) <= 1 / 128**0.5


def test_a_loss_without_a_logarithm_shows() -> None:
    method, state = begun()
    combined, _ = method.combine(state, shown([-1.0, 2.0], 1, 0, seed=3))
    assert torch.isnan(combined.weights[0])
    assert method.usable(torch.tensor([-1.0, 0.0, 2.0])).tolist() == [False, False, True]
