"""IGBv2: an agent learns by trial and error which weights make the slowest task improve.

Dai, Fei and Lu, "Improvable Gap Balancing for Multi-Task Learning" (UAI 2023, arXiv 2307.15429),
the second of its two algorithms, following the authors' public code. The network descends::

    sum_k w_k log l_k,   omega_k = w_k / l_k

and w comes from a soft actor-critic (``_actor_critic``) that is shown the losses l(t) of the batch:

- while t is within the first ``start_epoch`` epochs, w = K softmax(x), x ~ N(0, 1)^K; then it is
  what the agent draws;
- after each step, once the bases B_k are known (the mean losses of epoch ``base_epoch``, from
  zero), the agent remembers (l(t - 1), w(t - 1), min_k (l_k(t - 1) - l_k(t)) / B_k, l(t)) among
  its last ``memory`` steps;
- every ``every`` steps, from epoch ``learning_epoch`` on, it makes (k / 2) every updates from
  samples of (k / 2) 256 steps, k = 1 + remembered / memory.

- A run shorter than ``start_epoch`` epochs is random loss weighting of the logarithms.
- The code multiplies the reward by the ratio of the first to the current learning rate of the
  network, which is one as long as the rate is constant; here that factor is left out.
- The code counts batches where epochs are counted here; for its settings the two are equivalent.
- All randomness follows from one number per step, so a resumed run continues exactly as before.
- Losses must be positive: otherwise the weights become NaN and the run ends, which is recorded as
  its result.

Cost: one backward pass through the trunk, as with uniform weighting, and on average up to one
update of the agent's small networks per step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from counterpoise.lazy import torch
from counterpoise.methods._actor_critic import Memory, acted, blank, drawn, part_of, trained
from counterpoise.methods._base import Combined, Method, Signal, State
from counterpoise.methods._reference import counted, no_reference, reference
from counterpoise.spec import base

if TYPE_CHECKING:
    from torch import Tensor

    from counterpoise.methods._base import Shape

SAMPLE = 256
Count = Annotated[int, Field(ge=1)]


class IGBv2(Method):
    """omega_k = w_k / l_k, w an agent's action."""

    label = "IGBv2"
    signal = "losses"
    sequential = "the agent learns in a loop whose length follows from what it has seen"
    on_host = "draws; before each of the agent's lessons, how much it remembers"
    host_draws = ("seed",)
    ordered = "the agent's networks know a task by its place"
    properties = frozenset({"weighted_loss"})

    class Options(base.Options):
        """Hyper-parameters; the defaults are those of the authors' code."""

        base_epoch: Annotated[int, Field(ge=0)] = 1
        """Epoch, from zero, whose mean training losses are the bases B_k (the code)."""
        learning_epoch: Annotated[int, Field(ge=0)] = 3
        """First epoch, from zero, in which the agent learns (the code)."""
        start_epoch: Annotated[int, Field(ge=0)] = 5
        """First epoch, from zero, in which it decides (the code)."""
        every: Count = 50
        """Steps between two of its lessons, each of several updates (the code)."""
        memory: Count = 10_000
        """How many steps it remembers (the code)."""
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-4
        """Learning rate of its networks and its temperature (the code)."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__(options, shape)
        self.rule = options

    def initial_state(self) -> State:
        """No bases, nothing remembered, and room for the agent, drawn at the first step."""
        tasks, size = self.shape.tasks, self.rule.memory
        return {
            **no_reference(tasks),
            **blank(tasks),
            "last_losses": torch.zeros(tasks),
            "last_weights": torch.zeros(tasks),
            "memory": torch.zeros(size, 3 * tasks + 1),
            "remembered": torch.zeros(()),
        }

    def usable(self, losses: Tensor) -> Tensor:
        """Those that have a logarithm."""
        return losses > 0

    def draw(self, generator: torch.Generator, batch: int) -> dict[str, Tensor]:
        """The seed of this step's random numbers."""
        return {"seed": torch.randint(2**62, (), generator=generator)}

    def combine(self, state: State, signal: Signal) -> tuple[Combined, State]:
        """Remember what the last weights led to, learn, and choose this step's."""
        rule, tasks = self.rule, self.shape.tasks
        numbers = torch.Generator().manual_seed(int(signal.draws["seed"]))
        losses = torch.where(signal.losses > 0, signal.losses, torch.nan)
        if signal.step == 0:
            state = {**state, **{k: v.to(state[k]) for k, v in drawn(tasks, numbers).items()}}
        if signal.epoch == rule.base_epoch:
            state = counted(state, losses.double(), signal)
        elif signal.epoch > rule.base_epoch:
            state = self._remembering(state, losses)
        if signal.epoch >= rule.learning_epoch and signal.step % rule.every == 0:
            state = self._learning(state, numbers)
        noise = torch.randn(tasks, generator=numbers).to(losses)
        chosen = tasks * noise.softmax(0)
        if signal.epoch >= rule.start_epoch:
            actor = part_of(state, "actor", tasks)
            found, _ = acted(actor, losses[None].to(actor["mu_bias"]), noise[None])
            chosen = found[0].to(losses)
        following = {**state, "last_losses": losses, "last_weights": chosen}
        return Combined(chosen / losses), following

    def _remembering(self, state: State, losses: Tensor) -> State:
        """The last step's transition takes the place of the oldest."""
        fallen = (state["last_losses"] - losses) / reference(state, losses.double())
        row = torch.cat([state["last_losses"], state["last_weights"], fallen.amin()[None], losses])
        place = (state["remembered"] % len(state["memory"])).long()
        memory = state["memory"].index_copy(0, place[None], row[None].to(state["memory"]))
        return {**state, "memory": memory, "remembered": state["remembered"] + 1}

    def _learning(self, state: State, numbers: torch.Generator) -> State:
        """Some updates from the remembered steps."""
        rule, tasks = self.rule, self.shape.tasks
        size = min(int(state["remembered"]), rule.memory)
        if not size:
            return state
        share = (1 + size / rule.memory) / 2
        count, agent = int(SAMPLE * share), {k: v for k, v in state.items() if k != "memory"}
        # What is drawn is sent to the device once per lesson.
        drawn = [
            (
                torch.randint(size, (count,), generator=numbers),
                torch.randn(2, count, tasks, generator=numbers),
            )
            for _ in range(int(rule.every * share))
        ]
        places, noises = (torch.stack(one) for one in zip(*drawn, strict=True))
        memory = state["memory"]
        for place, noise in zip(places.to(memory.device), noises.to(memory), strict=True):
            rows = memory[place]
            one, two, reward, three = torch.split(rows, [tasks, tasks, 1, tasks], dim=1)
            agent = trained(
                agent,
                Memory(one, two, reward[:, 0], three),
                (noise[0], noise[1]),
                rule.learning_rate,
            )
        return {**agent, "memory": state["memory"]}
