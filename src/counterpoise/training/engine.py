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
from counterpoise.metrics import metric
from counterpoise.spec.cell import Cell, Schedule
from counterpoise.training.modules import Network
from counterpoise.training.problem import Problem, outputs_of
from counterpoise.training.seeding import generator
from counterpoise.training.state import load_state, save_state
from counterpoise.training.step import (
    StepReport,
    count_correct,
    scales_of,
    standing,
    task_losses,
    task_outputs,
    train_step,
)


class Interrupted(Exception):
    """Training was asked to stop; its state is saved."""


@dataclass(frozen=True)
class Progress:
    """Where a replicate is, for people."""

    seed: int
    epoch: int
    epochs: int
    message: str


def split_batches(order: Tensor, size: int) -> list[Tensor]:
    """The epoch's batches. A last one of a single item joins the one before it.

    Normalisation over a batch has nothing to normalise in a single item.
    """
    batches = list(torch.split(order, size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        last = batches.pop()
        batches[-1] = torch.cat([batches[-1], last])
    return batches


def learning_rate(schedule: Schedule, base: float, epoch: int, epochs: int) -> float:
    """The network's learning rate during an epoch, counted from zero."""
    if schedule.kind == "step":
        return float(base * schedule.factor ** (epoch // schedule.every))
    if schedule.kind == "exponential":
        return float(base * schedule.factor**epoch)
    if schedule.kind == "cosine":
        return 0.5 * base * (1 + math.cos(math.pi * epoch / epochs))
    return base


def _optimizer(cell: Cell, network: Network, own: list[nn.Parameter]) -> torch.optim.Optimizer:
    protocol = cell.protocol
    common: dict[str, Any] = {"lr": protocol.learning_rate, "weight_decay": protocol.weight_decay}
    parameters: list[dict[str, Any]] = [{"params": list(network.parameters())}]
    if own:
        parameters.append({"params": own, "weight_decay": 0.0})
    if protocol.optimizer == "adam":
        return torch.optim.Adam(parameters, fused=True, **common)
    if protocol.optimizer == "sgd":
        return torch.optim.SGD(parameters, **common)
    return torch.optim.RMSprop(parameters, **common)


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
        UserError: no label of a task is known in the training or the validation part.
    """

    def __init__(self, problem: Problem, seed: int, path: Path, save_every: float = 60.0) -> None:
        self.problem, self.seed, self.path, self.save_every = problem, seed, path, save_every
        _refuse_unlabelled(problem)
        self.network, self.method = problem.build(seed)
        self.method_state: State = {
            name: value.to(problem.device) for name, value in self.method.initial_state().items()
        }
        # What the optimizer trains of the method's state shares its memory.
        self.trained = {name: nn.Parameter(self.method_state[name]) for name in self.method.trained}
        self.optimizer = _optimizer(problem.cell, self.network, list(self.trained.values()))
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

    def _tensors(self) -> dict[str, Tensor]:
        network = {f"network.{k}": v.clone() for k, v in self.network.state_dict().items()}
        method = {f"method.{k}": self.method_state[k].clone() for k in self.method.kept}
        return {**network, **method}

    def _save(self) -> None:
        state = {
            "network": self.network.state_dict(),
            "method": self.method_state,
            "optimizer": self.optimizer.state_dict(),
            "normaliser": self.normaliser,
            "latest": self.latest,
            "position": [self.epoch, self.batch, self.step],
            "sums": self.sums,
            "history": self.history,
            "best": self.best,
            "trouble": self.trouble,
            "seconds": self.seconds,
        }
        save_state(self.path, state)

    def resume(self) -> bool:
        """Continue from the saved state, if there is one."""
        state = load_state(self.path, self.problem.device)
        if state is None:
            return False
        try:
            self._restore(state)
        except Exception as error:  # whatever a foreign state makes torch stumble over
            raise UserError(
                f"is not a state of this cell ({type(error).__name__})",
                where=self.path,
                remedy=f"delete the folder {self.path.parent} and run `snakemake` again",
            ) from error
        return True

    def _restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.method_state = state["method"]
        for name, parameter in self.trained.items():
            parameter.data = self.method_state[name]
        self.optimizer.load_state_dict(state["optimizer"])
        self.normaliser, self.latest = state["normaliser"], state["latest"]
        self.epoch, self.batch, self.step = state["position"]
        self.sums, self.history, self.best = state["sums"], state["history"], state["best"]
        self.trouble, self.seconds = state["trouble"], state["seconds"]

    @property
    def finished(self) -> bool:
        """All epochs are done, or the run has come to a bad end."""
        return self.trouble is not None or self.epoch >= self.problem.cell.protocol.epochs

    def run(self, report: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
        """Train to the end.

        Raises:
            Interrupted: ``stop`` became true; the state is saved.
        """
        started = saved = time.monotonic()
        before = self.seconds
        protocol = self.problem.cell.protocol
        while not self.finished:
            order = torch.randperm(
                len(self.problem.parts["train"]),
                generator=generator(self.problem.cell.seeding, self.seed, "order", self.epoch),
            ).to(self.problem.device)
            rate = learning_rate(
                protocol.schedule, protocol.learning_rate, self.epoch, protocol.epochs
            )
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            batches = split_batches(order, protocol.batch_size)
            while self.batch < len(batches) and self.trouble is None:
                self._step(batches[self.batch])
                now = time.monotonic()
                self.seconds = before + now - started
                if stop():
                    self._save()
                    raise Interrupted
                if self.save_every and now - saved > self.save_every:
                    self._save()
                    saved = now
            if self.trouble is None:
                self._end_epoch(rate, len(order))
            report(Progress(self.seed, self.epoch, protocol.epochs, self._message()))
            if self.save_every == 0:
                self._save()
        self.seconds = before + time.monotonic() - started
        self._save()

    def _step(self, index: Tensor) -> None:
        part = self.problem.parts["train"]
        inputs, targets = part.batch(index)
        masks = part.masks(targets)
        self.optimizer.zero_grad(set_to_none=True)
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
            draws=self._draws(len(index)),
            masks=masks,
            latest=self.latest,
        )
        if self._is_trouble(seen, following):
            return
        for name, parameter in self.trained.items():
            parameter.grad = seen.gradients[name]
        self.optimizer.step()
        following = {**following, **{name: p.data for name, p in self.trained.items()}}
        if self.method.looks_back:
            losses = self._losses(inputs, targets, masks, seen, normaliser)
            following = self.method.after_step(following, losses)
        self.method_state, self.normaliser, self.latest = following, normaliser, seen.losses
        self._add(seen, len(index))
        self.batch += 1
        self.step += 1

    def _add(self, seen: StepReport, count: int) -> None:
        """Add a batch to the epoch's sums: what is a mean over known labels by their number."""
        values = {
            "losses": seen.losses * seen.known,
            "weights": seen.weights * count,
            "norms": seen.norms * seen.known,
            "cosines": seen.cosines * seen.known,
            "correct": seen.correct,
        }
        for name, value in values.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value

    def _draws(self, batch: int) -> dict[str, Tensor]:
        """The method's random numbers, from words alone: a resumed run draws the same."""
        draws = generator(self.problem.cell.seeding, self.seed, "method", self.step)
        drawn = self.method.draw(draws, batch)
        return {name: value.to(self.problem.device) for name, value in drawn.items()}

    def _losses(
        self,
        inputs: Tensor,
        targets: dict[str, Tensor],
        masks: dict[str, Tensor],
        seen: StepReport,
        normaliser: Tensor,
    ) -> Tensor:
        """(K,) normalised losses of a batch by the weights as they are now.

        Of a task without a known label in the batch, what it was before the update.
        """
        with torch.no_grad():
            z = self.method.represent(self.method_state, self.network.trunk(inputs))
            outputs = task_outputs(self.network, z)
        values = torch.stack(task_losses(self.problem.tasks, self.losses, outputs, targets, masks))
        if not masks:
            return values / normaliser
        return standing(values, seen.known, seen.losses) / scales_of(normaliser)

    def _is_trouble(self, seen: StepReport, following: State) -> bool:
        """Record what is not finite, with task, step and method; the last good state is kept."""
        shown = (("loss", seen.losses), ("gradient", seen.norms), ("weight", seen.weights))
        for what, values in shown:
            bad = ~torch.isfinite(values)
            if bool(bad.any()):
                task = self.problem.tasks[int(bad.nonzero()[0])].name
                self.trouble = {"what": f"non-finite {what}", "task": task}
                break
        else:
            if not bool(seen.finite):
                self.trouble = {"what": "non-finite shared gradient", "task": None}
            for name, value in following.items():
                if not bool(torch.isfinite(value).all()):
                    self.trouble = {"what": f"non-finite {name} of the method", "task": None}
                    break
        if self.trouble is None:
            return False
        self._place_trouble()
        return True

    def _place_trouble(self) -> None:
        assert self.trouble is not None
        method = self.problem.cell.method.name
        self.trouble |= {"epoch": self.epoch, "step": self.step, "method": method}

    def _end_epoch(self, rate: float, count: int) -> None:
        tasks, part = self.problem.tasks, self.problem.parts["validation"]
        known = self.problem.parts["train"].known
        dataset = registry.find("datasets", self.problem.cell.dataset)
        outputs = outputs_of(self.network, self.method, self.method_state, part)
        row: dict[str, Any] = {"epoch": self.epoch, "learning_rate": rate}
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
            if self.problem.cell.protocol.trace_outputs:
                for j, mean in enumerate(outputs[k].mean(0).tolist()):
                    row[f"output/{task.name}/{j}"] = mean
        value = sum(normalised) / len(normalised)
        row["selection"] = value
        if not math.isfinite(value):
            bad = next(
                t.name for t, v in zip(tasks, normalised, strict=True) if not math.isfinite(v)
            )
            self.trouble = {"what": "non-finite validation loss", "task": bad}
            self._place_trouble()
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
        self.method_state = self.method.end_of_epoch(self.method_state, told)
        self.epoch, self.batch, self.sums = self.epoch + 1, 0, {}

    def _mean(self, name: str, count: int) -> Tensor:
        """(K,) the epoch's mean over known labels; ``count`` items were seen."""
        known = [self.problem.parts["train"].known[task.name] for task in self.problem.tasks]
        if min(known) == count:
            return self.sums[name] / count
        return self.sums[name] / self.sums[name].new_tensor(known)

    def _message(self) -> str:
        if self.trouble is not None:
            task = f" in task {self.trouble['task']}" if self.trouble["task"] else ""
            return f"stopped: {self.trouble['what']}{task} at step {self.trouble['step']}"
        row = self.history[-1]
        values = {t.name: row[f"validation_metric/{t.name}"] for t in self.problem.tasks}
        scores = " ".join(f"{n} {'-' if v is None else f'{v:.4g}'}" for n, v in values.items())
        return f"validation: {scores} | mean normalised loss {row['selection']:.4f}"
