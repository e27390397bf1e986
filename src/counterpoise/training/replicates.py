"""Replicates of the same shape side by side, as one model mapped over them by torch.func.vmap.

On a GPU a small network leaves most of the device idle and a step's time is that of its many small
kernels, so ten replicates together take little longer than one. Each has what it would have alone:
its own initial weights, order of the data, draws, method state, optimizer state and learning rate;
results are those of each alone up to the order of sums. A replicate whose step is not finite is
frozen from then on while the others continue; the host learns about it at the end of the epoch, so
no step waits for it.

Networks and methods of the replicates share memory with the stacks here, and before a state is
saved their optimizers receive the state of the stacked one: validation, saved states and results
are those of the replicates, in the form that training alone reads and writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor, nn

from counterpoise.methods._base import Method, State
from counterpoise.training.averages import Averages
from counterpoise.training.engine import (
    UNSOLVED,
    Interrupted,
    Progress,
    Replicate,
    unsolved,
)
from counterpoise.training.modules import Network
from counterpoise.training.optimizer import StackedOptimizer
from counterpoise.training.passage import split_batches
from counterpoise.training.seeding import sent
from counterpoise.training.stacks import (
    StackedMethod,
    StackedNetwork,
    mapped_loss,
    spread,
)
from counterpoise.training.step import losses_again, train_step, unfit_afterwards


class Parted(Exception):
    """A step has no solution for all replicates together; the states from before it are saved."""


class Together:
    """Trains replicates side by side.

    Args:
        replicates: that :func:`fit_together`, one at least unfinished; those of one problem stand
            beside each other. Those that are finished stay as they are.
    """

    def __init__(self, replicates: Sequence[Replicate]) -> None:
        self.members = [r for r in replicates if not r.finished]
        self.groups = [list(same) for _, same in groupby(self.members, lambda r: id(r.problem))]
        first = self.members[0]
        self.problem, self.device = first.problem, first.problem.device
        self.network = StackedNetwork([r.network for r in self.members])
        self.method = StackedMethod([(g[0].method, len(g)) for g in self.groups])
        names = [task.name for task in self.problem.tasks]
        each = zip(*(group[0].losses for group in self.groups), strict=True)
        counts = [len(group) for group in self.groups]
        self.losses = tuple(mapped_loss(list(zip(own, counts, strict=True))) for own in each)
        self.names, self.state = names, self._stacked_states()
        own = [nn.Parameter(self.state[name]) for name in first.trained]
        self.trained = dict(zip(first.trained, own, strict=True))
        self._share_states()
        self.optimizer = StackedOptimizer(
            [r.optimizer for r in self.members], [*self.network.parameters(), *own]
        )
        self.alive = torch.tensor([not r.finished for r in self.members], device=self.device)
        self.died_at = torch.zeros(len(self.members), dtype=torch.long, device=self.device)
        self.flags: Tensor | None = None
        self.late_flags: Tensor | None = None  # of what an update has led to
        self.averages = Averages(self.network.buffers())

    def _stacked_states(self) -> State:
        states = [r.method_state for r in self.members]
        return {name: torch.stack([s[name] for s in states]) for name in states[0]}

    def _share_states(self) -> None:
        """Let every replicate see its part of the method's states."""
        for name, parameter in self.trained.items():
            parameter.data = self.state[name]
        for place, replicate in enumerate(self.members):
            replicate.method_state = {name: value[place] for name, value in self.state.items()}
            for name, parameter in replicate.trained.items():
                parameter.data = replicate.method_state[name]

    def run(self, report: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
        """Train all to their end.

        Raises:
            Interrupted: ``stop`` became true; the states are saved.
            Parted: a step has no solution for all; alone each shows whether it is its own.
        """
        try:
            self._run(report, stop)
        finally:
            for group in self.groups:
                group[0].problem.stop_gathering()

    def _run(self, report: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
        counted = saved = time.monotonic()
        for replicate in self.members:
            replicate.side_by_side = max(replicate.side_by_side, len(self.members))

        def clock(now: float) -> None:
            # Of an epoch those have a share that live at its start: the host learns at its end.
            nonlocal counted
            for replicate in alive:
                replicate.seconds += (now - counted) / len(alive)
            counted = now

        while alive := [r for r in self.members if not r.finished]:
            self.epoch, self.batch, self.step = alive[0].epoch, alive[0].batch, alive[0].step
            orders = torch.stack([r.begin_epoch() for r in self.members])
            batches = split_batches(orders.T, self.problem.cell.protocol.batch_size)
            self._expect(batches)
            self._take_up(alive)
            while self.batch < len(batches):
                try:
                    self._step(batches[self.batch].T)
                except UNSOLVED as error:
                    self.averages.put_back()
                    self._hand_back(alive)
                    for replicate in alive:
                        replicate.resumed = replicate.resumed or not replicate.finished
                    self._save()
                    raise Parted(unsolved(error)) from error
                now = time.monotonic()
                clock(now)
                wished, wait = stop(), self.members[0].save_every
                if wished or (wait and now - saved > wait):
                    self._hand_back(alive)
                    self._save()
                    saved = now
                if wished:
                    raise Interrupted
            self._hand_back(alive)
            for replicate in alive:
                if replicate.trouble is None:
                    replicate.end_epoch(orders.shape[1])
                report(replicate.progress())
            clock(time.monotonic())  # steps are asked for before the device has taken them
            if self.members[0].save_every == 0:
                self._save()
        self._save()

    def _save(self) -> None:
        for replicate in self.members:
            replicate.save()

    def _take_up(self, alive: list[Replicate]) -> None:
        """Stack what replicates hold by themselves between epochs."""
        self.state = self._stacked_states()
        self._share_states()
        self.rates = torch.tensor([r.rate for r in self.members], device=self.device)
        self.alive = torch.tensor([not r.finished for r in self.members], device=self.device)

        def stacked(choose: Callable[[Replicate], Any]) -> Any:
            rows = [choose(r) for r in self.members]
            there = next((row for row in rows if row is not None), None)
            if there is None:
                return None
            return torch.stack([torch.ones_like(there) if row is None else row for row in rows])

        self.normaliser = stacked(lambda r: r.normaliser)
        self.latest = stacked(lambda r: r.latest)
        self.sums: dict[str, Tensor] = {}
        for name, like in alive[0].sums.items():
            parts = [r.sums.get(name, torch.zeros_like(like)) for r in self.members]
            self.sums[name] = torch.stack(parts)

    def _hand_back(self, alive: list[Replicate]) -> None:
        """Give every replicate its part, and those that have come to a bad end their trouble."""
        self._share_states()
        living = self.alive.tolist()
        self.optimizer.hand_back()
        for place, replicate in enumerate(self.members):
            if replicate not in alive or replicate.trouble is not None:
                continue
            replicate.batch, replicate.step = self.batch, self.step
            replicate.normaliser, replicate.latest = self.normaliser[place], self.latest[place]
            replicate.sums = {name: value[place] for name, value in self.sums.items()}
            if not living[place]:
                step = int(self.died_at[place])
                if self.late_flags is not None and bool(self.late_flags[place].any()):
                    replicate.step = step + 1
                    replicate.end_afterwards(self.late_flags[place], step)
                    continue
                assert self.flags is not None
                replicate.step = step
                replicate.end_badly(self.flags[place])

    def _rows(self, index: Tensor) -> tuple[Tensor, ...]:
        """Of (R, B) items those of each group."""
        return torch.split(index, [len(group) for group in self.groups])

    def _expect(self, batches: list[Tensor]) -> None:
        """Tell each group's data which items come, of an epoch's (B, R) batches."""
        rows = zip(*(self._rows(index.T) for index in batches), strict=True)
        for group, own in zip(self.groups, rows, strict=True):
            group[0].problem.expect(own, self.batch)

    def _batch(self, index: Tensor) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Inputs, targets and masks of (R, B) items, under the first problem's task names."""
        inputs, targets, masks = [], [], []
        for rows, group in zip(self._rows(index), self.groups, strict=True):
            part = group[0].problem.parts["train"]
            seeds = [replicate.seed for replicate in group]
            x, found = group[0].problem.batch(seeds, self.epoch, rows)
            known = part.masks(found)
            own = [task.name for task in group[0].problem.tasks]
            inputs.append(x)
            targets.append([found[name] for name in own])
            masks.append([known.get(name) for name in own])
        columns = [torch.cat(column) for column in zip(*targets, strict=True)]
        partial = {}
        for name, *column in zip(self.names, *masks, strict=True):
            if any(mask is not None for mask in column):
                pairs = zip(column, inputs, strict=True)
                partial[name] = torch.cat([
                    torch.ones(x.shape[:2], dtype=torch.bool, device=x.device) if m is None else m
                    for m, x in pairs
                ])  # fmt: skip
        return torch.cat(inputs), dict(zip(self.names, columns, strict=True)), partial

    def _step(self, index: Tensor) -> None:
        network, method = cast(Network, self.network), cast(Method, self.method)
        inputs, targets, masks = self._batch(index)
        self.optimizer.clear()
        self.averages.keep()
        drawn = [r.draws(index.shape[1], self.step) for r in self.members]
        draws = {n: torch.stack([one[n] for one in drawn]) for n in drawn[0]}
        following, normaliser, seen = train_step(
            network,
            method,
            self.state,
            self.problem.tasks,
            self.losses,
            self.normaliser,
            inputs,
            targets,
            normalise=self.problem.cell.protocol.loss_normalisation == "first_batch",
            step=self.step,
            epoch=self.epoch,
            epochs=self.problem.cell.protocol.epochs,
            draws=sent(draws, self.device, self.members[0].method.host_draws),
            masks=masks,
            latest=self.latest,
            rows_at_once=self.problem.cell.protocol.rows_at_once,
        )
        bad = seen.unfit(following, self.optimizer.within(self.rates, seen.lengths))
        dies = self.alive & bad.any(-1)
        if self.flags is None:
            self.flags = torch.zeros_like(bad)
        self.flags = torch.where(dies[:, None], bad, self.flags)
        self.died_at = torch.where(dies, self.step, self.died_at)
        self.alive = self.alive & ~dies
        self.averages.put_back_where(~self.alive)
        late: Tensor | None = None
        for name, parameter in self.trained.items():
            parameter.grad = seen.gradients[name]
        self.optimizer.step(self.rates, self.alive)
        following |= {name: parameter.data for name, parameter in self.trained.items()}
        if self.method.looks_back:
            losses = losses_again(
                network, method, self.state, self.problem.tasks, self.losses, normaliser, inputs,
                targets, masks, seen,
            )  # fmt: skip
            later = self.method.after_step(following, losses)
            late = unfit_afterwards(method, losses, later)
            well = ~late.any(-1)
            following = {
                name: value
                if later[name] is value
                else torch.where(spread(well, value), later[name], value)
                for name, value in following.items()
            }
        self.state = {
            name: value if name in self.trained else self._unless_dead(value, self.state[name])
            for name, value in following.items()
        }
        self.normaliser = self._unless_dead(normaliser, self.normaliser)
        self.latest = self._unless_dead(seen.losses, self.latest)
        for name, value in seen.totals(index.shape[1]).items():
            kept = torch.where(spread(self.alive, value), value, 0.0)
            self.sums[name] = self.sums[name] + kept if name in self.sums else kept
        if late is not None:
            self._end_afterwards(late)
        self.batch += 1
        self.step += 1

    def _end_afterwards(self, late: Tensor) -> None:
        """Let those stand still from here whose update has led to what is not as it must be."""
        dies = self.alive & late.any(-1)
        if self.late_flags is None:
            self.late_flags = torch.zeros_like(late)
        self.late_flags = torch.where(dies[:, None], late, self.late_flags)
        self.died_at = torch.where(dies, self.step, self.died_at)
        self.alive = self.alive & ~dies

    def _unless_dead(self, new: Tensor, old: Tensor | None) -> Tensor:
        return new if old is None else torch.where(spread(self.alive, new), new, old)


def shape_of(replicate: Replicate) -> tuple[Any, ...]:
    """What replicates that train side by side must have in common."""
    problem, cell = replicate.problem, replicate.problem.cell
    protocol = cell.protocol.model_dump(exclude={"learning_rate"})
    tasks = tuple((task.loss, task.outputs, task.classes) for task in problem.tasks)
    part, method = problem.parts["train"], replicate.method
    state = tuple((name, value.shape) for name, value in sorted(replicate.method_state.items()))
    kind = (cell.method.name, method.signal, method.passes_again, state)
    return (cell.network, str(protocol), tasks, len(part), part.shape, kind)


def fit_together(replicates: Sequence[Replicate]) -> bool:
    """Whether replicates can train side by side: they map, and are at one step."""
    return stand_together(replicates) and map_together(replicates)


def stand_together(replicates: Sequence[Replicate]) -> bool:
    """Whether replicates are at one step.

    Those that are finished, perhaps by a bad end long ago, may stand anywhere.
    """
    return len({(r.epoch, r.batch, r.step) for r in replicates if not r.finished}) <= 1


def map_together(replicates: Sequence[Replicate]) -> bool:
    """Whether replicates are of one shape, and all of it maps, wherever they stand.

    What has to be alone to be as it is alone: a step that no optimizer comes between
    (``descends``), layers that draw at random, and half precision, as operations are taken apart
    before torch chooses it for them.
    """
    first, protocol = replicates[0], replicates[0].problem.cell.protocol
    shape = shape_of(first)
    if any(shape_of(r) != shape for r in replicates[1:]):
        return False
    if protocol.micro_batch or protocol.precision == "bfloat16":
        return False
    if first.method.sequential or first.method.descends:
        return False
    return not first.network.draws_at_random(first.problem.parts["train"].shape)
