"""Training of one replicate: a network, a method and a seed, from the first step to the last."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise import registry
from counterpoise.datasets._part import is_known
from counterpoise.errors import UserError
from counterpoise.methods._base import Epoch, State
from counterpoise.methods._solving import Unsolved
from counterpoise.metrics import metric
from counterpoise.spec.cell import Schedule
from counterpoise.training import lookahead
from counterpoise.training.averages import Averages
from counterpoise.training.lookahead import Answer, Place, Taken
from counterpoise.training.optimizer import Optimizer
from counterpoise.training.passage import split_batches
from counterpoise.training.problem import Problem, hardware_of, outputs_of
from counterpoise.training.seeding import generator, layer_generators, seed_of, sent
from counterpoise.training.state import load_state, save_state
from counterpoise.training.step import (
    count_correct,
    losses_again,
    shown,
    shown_afterwards,
    train_step,
    unfit_afterwards,
)

UNSOLVED = (Unsolved, torch.linalg.LinAlgError)  # type: ignore[attr-defined]
"""What a method raises whose rule has no solution for what it sees."""


def unsolved(error: Exception) -> str:
    """In words, what was not solved."""
    known = isinstance(error, Unsolved)
    return f"no solution of {error}" if known else "a matrix decomposition that did not converge"


class Interrupted(Exception):
    """Training was asked to stop; its state is saved."""


@dataclass(frozen=True)
class Progress:
    """Where a replicate is, for people."""

    seed: int
    epoch: int
    epochs: int
    message: str
    folder: Path
    """Of its state, which tells cells apart."""


def learning_rate(schedule: Schedule, base: float, epoch: int, epochs: int) -> float:
    """The network's learning rate during an epoch, counted from zero."""
    if schedule.kind == "step":
        return float(base * schedule.factor ** (epoch // schedule.every))
    if schedule.kind == "exponential":
        return float(base * schedule.factor**epoch)
    if schedule.kind == "cosine":
        return 0.5 * base * (1 + math.cos(math.pi * epoch / epochs))
    return base


def _refuse_unlabelled(problem: Problem) -> None:
    """Without any label a task can be neither trained nor selected."""
    for name, part in problem.parts.items():
        for task in problem.tasks:
            if part.known[task.name] == 0:
                raise UserError(
                    f"no label of the task {task.name!r} is known in the {name} part of "
                    f"{problem.cell.dataset}",
                    remedy="leave the task out, or choose larger or other parts",
                )


class Replicate:
    """Everything that one seed's training consists of; it can be saved and resumed anywhere.

    Args:
        problem: cell and data.
        seed: the replicate.
        path: file of the resumable state.
        save_every: seconds between two states; zero saves after every epoch.

    Raises:
        UserError: no label of a task is known in the training or the validation part, or images
            are to be changed and there are none.
    """

    def __init__(self, problem: Problem, seed: int, path: Path, save_every: float = 60.0) -> None:
        self.problem, self.seed, self.path, self.save_every = problem, seed, path, save_every
        _refuse_unlabelled(problem)
        problem.check_augment()
        self.network, self.method = problem.build(seed)
        self.method_state: State = {
            name: value.to(problem.device) for name, value in self.method.initial_state().items()
        }
        # What the optimizer trains of the method's state shares its memory.
        self.trained = {name: nn.Parameter(self.method_state[name]) for name in self.method.trained}
        self.optimizer = Optimizer(
            problem.cell.protocol,
            self.network.trained_parameters(),
            list(self.trained.values()),
            self.network.shared_parameters() if self.method.descends else (),
        )
        self.rate = problem.cell.protocol.learning_rate
        there = problem.device.type in lookahead.DEVICES
        fast = self.method.signal in lookahead.SIGNALS
        self.ahead = there and fast and self.optimizer.holds
        self.averages = Averages(self.network.buffers(), depth=2 if self.ahead else 1)
        self.taken: Taken | None = None  # the last step, until it is known to be good
        # What was not as it must be after the last update; the next step's check reads it.
        self.aftermath: Tensor | None = None
        self.losses = problem.losses()
        self.normaliser: Tensor | None = None
        self.latest: Tensor | None = None  # losses of the last step
        self.epoch = 0
        self.batch = 0  # position in the epoch's order
        self.step = 0
        self.sums: dict[str, Tensor] = {}
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"value": math.inf, "epoch": -1, "tensors": self._tensors()}
        self.trouble: dict[str, Any] | None = None
        self.seconds = 0.0
        self.side_by_side = 1
        """Most replicates that it has trained with as one model, itself included."""
        self.resumed = False
        """Whether it was stopped, changed between alone and side by side, or trained on other
        hardware than that of the process that goes on with it, even if only to write it down: then
        ``seconds`` is no measurement."""

    def _tensors(self) -> dict[str, Tensor]:
        network = {f"network.{k}": v.clone() for k, v in self.network.state_dict().items()}
        method = {f"method.{k}": self.method_state[k].clone() for k in self.method.kept}
        return {**network, **method}

    def save(self) -> None:
        """Write the state that :meth:`resume` reads."""
        self._settle()
        state = {
            "network": self.network.state_dict(),
            "method": self.method_state,
            "optimizer": self.optimizer.state(),
            "normaliser": self.normaliser,
            "latest": self.latest,
            "position": [self.epoch, self.batch, self.step],
            "sums": self.sums,
            "history": self.history,
            "best": self.best,
            "trouble": self.trouble,
            "seconds": self.seconds,
            "way": [self.side_by_side, self.resumed, hardware_of(self.problem.device)],
        }
        save_state(self.path, state)

    def resume(self) -> bool:
        """Continue from the saved state, if there is one."""
        state = load_state(self.path, self.problem.device)
        if state is None:
            return False
        try:
            self._restore(state)
            self.resumed = self.resumed or not self.finished
        except Exception as error:  # whatever a foreign state makes torch stumble over
            raise UserError(
                f"is not a state of this cell, or of another version ({type(error).__name__})",
                where=self.path,
                remedy=f"delete the folder {self.path.parent} and run `snakemake` again",
            ) from error
        return True

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.method_state = state["method"]
        for name, parameter in self.trained.items():
            parameter.data = self.method_state[name]
        self.optimizer.restore(state["optimizer"])
        self.taken = None
        self.normaliser, self.latest = state["normaliser"], state["latest"]
        self.epoch, self.batch, self.step = state["position"]
        self.sums, self.history, self.best = state["sums"], state["history"], state["best"]
        self.trouble, self.seconds = state["trouble"], state["seconds"]
        beside, resumed, hardware = state["way"]
        elsewhere = str(hardware) != hardware_of(self.problem.device)
        self.side_by_side, self.resumed = int(beside), bool(resumed) or elsewhere

    @property
    def finished(self) -> bool:
        """All epochs are done, or the run has come to a bad end."""
        return self.trouble is not None or self.epoch >= self.problem.cell.protocol.epochs

    def run(self, report: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
        """Train to the end.

        Raises:
            Interrupted: ``stop`` became true; the state is saved.
        """
        try:
            self._run(report, stop)
        finally:
            self.problem.stop_gathering()

    def _run(self, report: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
        started = saved = time.monotonic()
        before = self.seconds
        protocol = self.problem.cell.protocol
        while not self.finished:
            order = self.begin_epoch()
            batches = split_batches(order, protocol.batch_size)
            self.problem.expect(batches, self.batch)
            while self.batch < len(batches) and self.trouble is None:
                self._step(batches[self.batch])
                now = time.monotonic()
                self.seconds = before + now - started
                if stop():
                    self.save()
                    raise Interrupted
                if self.save_every and now - saved > self.save_every:
                    self.save()
                    saved = now
            if self.trouble is None:
                self.end_epoch(len(order))
            report(self.progress())
            if self.save_every == 0:
                self.save()
        self.seconds = before + time.monotonic() - started
        self.save()

    def begin_epoch(self) -> Tensor:
        """(N,) the order of the epoch's items; sets its learning rate."""
        protocol = self.problem.cell.protocol
        self.rate = learning_rate(
            protocol.schedule, protocol.learning_rate, self.epoch, protocol.epochs
        )
        words = (self.problem.cell.seeding, self.seed, "order", self.epoch)
        count = len(self.problem.parts["train"])
        return torch.randperm(count, generator=generator(*words)).to(self.problem.device)

    def _step(self, index: Tensor) -> None:
        part = self.problem.parts["train"]
        inputs, targets = self.problem.batch([self.seed], self.epoch, index)
        masks = part.masks(targets)
        self.optimizer.clear()
        self.seed_layers(self.step)
        before = Place(
            self.batch, self.step, self.method_state, self.normaliser, self.latest, self.sums,
            self.aftermath, self.averages.keep(),
        )  # fmt: skip
        try:
            following, normaliser, seen = train_step(
                self.network,
                self.method,
                self.method_state,
                self.problem.tasks,
                self.losses,
                self.normaliser,
                inputs,
                targets,
                normalise=self.problem.cell.protocol.loss_normalisation == "first_batch",
                step=self.step,
                epoch=self.epoch,
                epochs=self.problem.cell.protocol.epochs,
                draws=sent(
                    self.draws(len(index), self.step), self.problem.device, self.method.host_draws
                ),
                masks=masks,
                latest=self.latest,
                micro_batch=self.problem.cell.protocol.micro_batch,
                rows_at_once=self.problem.cell.protocol.rows_at_once,
            )
        except Exception as error:
            self._hear()  # a bad step before it may have left a state that no method expects
            if self.trouble is not None:
                return
            if not isinstance(error, UNSOLVED):
                raise
            self.averages.put_back()
            self._end(unsolved(error))
            return
        unfit = seen.unfit(following, self.optimizer.within(self.rate, seen.lengths))
        # One look at the device a step, which takes in what the last update has led to.
        bad = (unfit if self.aftermath is None else torch.cat([unfit, self.aftermath])).any()
        if self.taken is not None:
            bad = bad | self.taken.bad.yes
        taken = Taken(Answer(bad), unfit, before)
        if not self.ahead and taken.bad.heard():
            self._go_back(taken)
            return
        for name, parameter in self.trained.items():
            parameter.grad = seen.gradients[name]
        self.optimizer.step(self.rate, bad if self.ahead else None)
        following = {**following, **{name: p.data for name, p in self.trained.items()}}
        if self.method.looks_back:
            losses = losses_again(
                self.network, self.method, self.method_state, self.problem.tasks, self.losses,
                normaliser,
                inputs, targets, masks, seen, self.problem.cell.protocol.micro_batch,
            )  # fmt: skip
            later = self.method.after_step(following, losses)
            self.aftermath = unfit_afterwards(self.method, losses, later)
            well = ~self.aftermath.any()
            following = {
                name: value if later[name] is value else torch.where(well, later[name], value)
                for name, value in following.items()
            }
        self.method_state, self.normaliser, self.latest = following, normaliser, seen.losses
        self.sums = {
            name: self.sums[name] + value if name in self.sums else value
            for name, value in seen.totals(len(index)).items()
        }
        self.batch += 1
        self.step += 1
        if self.ahead:
            self._hear()
            self.taken = taken if self.trouble is None else None

    def _hear(self) -> None:
        """Hear whether the step before was good, and go back if not."""
        taken, self.taken = self.taken, None
        if taken is not None and taken.bad.heard():
            self._go_back(taken)

    def _go_back(self, taken: Taken) -> None:
        """Be as before a bad step, whose weights have not moved, and end there."""
        before = taken.before
        self.averages.put_back(before.averages)
        self.batch, self.step = before.batch, before.step
        self.method_state, self.aftermath = before.state, before.aftermath
        self.normaliser, self.latest, self.sums = before.normaliser, before.latest, before.sums
        self._settle()
        if self.trouble is None:
            self.end_badly(taken.unfit)

    def seed_layers(self, step: int) -> None:
        """Let what random layers draw (dropout) follow from words alone, too."""
        seed = seed_of(self.problem.cell.seeding, self.seed, "layers", step)
        # torch.manual_seed asks for every kind of device first: 0.2 ms a step.
        for source in layer_generators(self.problem.device):
            source.manual_seed(seed)

    def draws(self, batch: int, step: int) -> dict[str, Tensor]:
        """Random numbers of the method, on the host, from words alone: a resumed run draws them."""
        if step and self.method.draws_once:
            return {}
        draws = generator(self.problem.cell.seeding, self.seed, "method", step)
        return self.method.draw(draws, batch)

    def end_badly(self, unfit: Tensor) -> None:
        """Record what was not finite, with task, step and method; the last good state is kept.

        Args:
            unfit: as :meth:`StepReport.unfit` gives it.
        """
        words = shown(self.problem.tasks, self.method_state, self.network, self.method.trained)
        self._end(*words[int(unfit.nonzero()[0])])

    def end_afterwards(self, unfit: Tensor, step: int) -> None:
        """The same of what the update of a step has led to; the method stays as before it.

        Args:
            unfit: as :func:`unfit_afterwards` gives it.
            step: that step.
        """
        words = shown_afterwards(self.problem.tasks, self.method_state)
        self._end(*words[int(unfit.nonzero()[0])], step=step)

    def _settle(self) -> None:
        """Look at the last step and what its update has led to, where no further step does."""
        self._hear()
        if self.trouble is None and self.aftermath is not None and bool(self.aftermath.any()):
            self.end_afterwards(self.aftermath, self.step - 1)

    def _end(self, what: str, task: str | None = None, *, step: int | None = None) -> None:
        method = self.problem.cell.method.name
        at = self.step if step is None else step
        place = {"epoch": self.epoch, "step": at, "method": method}
        self.trouble = {"what": what, "task": task, **place}

    def end_epoch(self, count: int) -> None:
        """Validate, write the history's row, keep the best weights and tell the method.

        Args:
            count: items of the epoch.
        """
        self._settle()
        if self.trouble is not None:
            return
        tasks, part = self.problem.tasks, self.problem.parts["validation"]
        known = self.problem.parts["train"].known
        dataset = registry.find("datasets", self.problem.cell.dataset)
        outputs = outputs_of(self.network, self.method, self.method_state, part)
        row: dict[str, Any] = {"epoch": self.epoch, "learning_rate": self.rate}
        normalised, values, correct = [], [], []
        for k, task in enumerate(tasks):
            answers, target = outputs[k], part.targets[task.name]
            if part.known[task.name] < len(part):
                there = is_known(target)
                answers, target = answers[there], target[there]
            value = float(self.losses[k](answers, target))
            values.append(value)
            correct.append(float(count_correct(task, answers, target)) / len(target))
            assert self.normaliser is not None
            normalised.append(value / float(self.normaliser[k]))
            score = metric(dataset, task.metrics[0]).compute(
                answers.cpu().numpy(), target.cpu().numpy()
            )
            labels = known[task.name]
            row |= {
                f"training_loss/{task.name}": float(self.sums["losses"][k]) / labels,
                f"weight/{task.name}": float(self.sums["weights"][k]) / count,
                f"gradient_norm/{task.name}": float(self.sums["norms"][k]) / labels,
                f"cosine/{task.name}": float(self.sums["cosines"][k]) / labels,
                f"validation_loss/{task.name}": value,
                f"validation_metric/{task.name}": score,
            }
            if task.classes is not None:
                row[f"validation_accuracy/{task.name}"] = correct[-1]
            if self.problem.cell.protocol.trace_outputs:
                for j, mean in enumerate(outputs[k].mean(0).tolist()):
                    row[f"output/{task.name}/{j}"] = mean
        value = sum(normalised) / len(normalised)
        row["selection"] = value
        if not math.isfinite(value):
            bad = next(
                t.name for t, v in zip(tasks, normalised, strict=True) if not math.isfinite(v)
            )
            self._end("non-finite validation loss", bad)
            return
        self.history.append(row)
        last = self.problem.cell.protocol.selection == "last"
        if last or value < self.best["value"]:
            self.best = {"value": value, "epoch": self.epoch, "tensors": self._tensors()}
        told = Epoch(
            self._mean("losses", count),
            self._mean("correct", count),
            torch.tensor(values, device=self.problem.device),
            torch.tensor(correct, device=self.problem.device),
            self.epoch,
        )
        following = self.method.end_of_epoch(self.method_state, told)
        for name, new in sorted(following.items()):
            if new is not self.method_state[name] and not bool(torch.isfinite(new).all()):
                self._end(f"non-finite {name} of the method after the epoch")
                return
        self.method_state = following
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, {}

    def _mean(self, name: str, count: int) -> Tensor:
        """(K,) the epoch's mean over known labels; ``count`` items were seen."""
        known = [self.problem.parts["train"].known[task.name] for task in self.problem.tasks]
        if min(known) == count:
            return self.sums[name] / count
        return self.sums[name] / self.sums[name].new_tensor(known)

    def progress(self) -> Progress:
        """Where it is, for people."""
        epochs, folder = self.problem.cell.protocol.epochs, self.path.parent
        return Progress(self.seed, self.epoch, epochs, self._message(), folder)

    def _message(self) -> str:
        if self.trouble is not None:
            task = f" in task {self.trouble['task']}" if self.trouble["task"] else ""
            return f"stopped: {self.trouble['what']}{task} at step {self.trouble['step']}"
        row = self.history[-1]
        values = {t.name: row[f"validation_metric/{t.name}"] for t in self.problem.tasks}
        scores = " ".join(f"{n} {'-' if v is None else f'{v:.4g}'}" for n, v in values.items())
        return f"validation: {scores} | mean normalised loss {row['selection']:.4f}"
