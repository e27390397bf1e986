"""One update: one forward pass through the trunk, and the backward passes that the method needs.

Z is detached and becomes the leaf that tasks branch from. One backward pass of the plain sum of the
losses gives every g^k (the z^k are distinct leaves) and the unweighted gradients of all heads; the
method then decides, heads are scaled by omega_k, and the trunk receives one gradient. So a method
with the signal *losses* or *features* costs one backward pass through the trunk, as uniform weights
do.

Gradients at the last shared layer take K passes through that layer only. The Jacobian of the K
losses at all P shared parameters, and its Gramian, take K backward passes through the trunk, one
for each row of the gradients at Z; what such a method decides about the shared parameters is
written to their gradients without another pass, unless it asks for one (``passes_again``).

Replicates side by side have a leading axis R in inputs, weights and states; the given network and
method then map over it (:mod:`counterpoise.training.replicates`). "..." in the shapes below stands
for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from counterpoise.methods._base import Method, Signal, State
from counterpoise.tasks import Task
from counterpoise.training.averages import Averages
from counterpoise.training.losses import Loss
from counterpoise.training.modules import Network
from counterpoise.training.passage import Passage
from counterpoise.training.signals import norm_of_gradients, written

OUT_OF_RANGE = "loss out of the method's range"


@dataclass(frozen=True)
class StepReport:
    """What one step showed, per task: (..., K) tensors, detached.

    Attributes:
        losses: raw losses; of a task without a known label in the batch, the last known one.
        weights: omega_k, or the v_k by which shared gradients are mixed.
        norms: ||grad_Z l_k||_F of the normalised, unweighted losses.
        cosines: median over the batch of cos(grad_z l_k, g), g being the trunk's gradient at Z; of
            a method that decides about parameters instead, g is sum_k v_k grad_z l_k. Over the
            items whose label is known; zero without any.
        correct: right answers; NaN for tasks without classes.
        known: labels of the batch that are known.
        usable: whether the method's rule is defined for the loss.
        gradients: those of the state that the method has trained, by name.
        lengths: (..., n) norm of the gradient of every parameter: of the heads in their order, of
            the trunk, and of the method's own state in the order of the names.
        finite: whether the gradient that the shared parameters receive is finite.
    """

    losses: Tensor
    weights: Tensor
    norms: Tensor
    cosines: Tensor
    correct: Tensor
    known: Tensor
    usable: Tensor
    gradients: dict[str, Tensor]
    lengths: Tensor
    finite: Tensor

    def unfit(self, following: State, within: Tensor) -> Tensor:
        """(..., n) of bool, what is not as it must be: each of :func:`shown` in its order.

        Args:
            following: the method's next state.
            within: (...), whether the optimizer's update stays in range.
        """
        states = states_of(following, self.losses)
        values = (self.losses, self.norms, self.weights, states, self.lengths)
        finite = torch.isfinite(torch.cat(values, dim=-1))
        tasks = self.losses.shape[-1]
        well = (finite[..., :tasks], self.usable, finite[..., tasks:])
        return ~torch.cat([*well, self.finite[..., None], within[..., None]], dim=-1)

    def totals(self, count: int) -> dict[str, Tensor]:
        """What an epoch adds up: of means over known labels, the sums over them.

        Args:
            count: items of the batch.
        """
        return {
            "losses": self.losses * self.known,
            "weights": self.weights * count,
            "norms": self.norms * self.known,
            "cosines": self.cosines * self.known,
            "correct": self.correct,
        }


def states_of(state: State, like: Tensor) -> Tensor:
    """(..., n) numbers, one a tensor by name, that are finite if its are.

    A large state is read once: its extremes tell, and need no wider numbers as a sum does.

    Args:
        like: (..., K) losses; where a method has no state, of their device and type.
    """
    axes = like.ndim - 1
    if not state:
        return like.new_zeros(*like.shape[:axes], 0)
    return torch.stack([_extremes(state[name], axes) for name in sorted(state)], dim=-1)


def _extremes(value: Tensor, axes: int) -> Tensor:
    """(...) sum of the least and the largest halves in float64, finite if all numbers are."""
    if value.ndim == axes:
        return value.double()
    if axes:
        least, largest = torch.aminmax(value.flatten(axes), dim=-1)
    else:  # over all there is, ten times as fast on a CPU
        least, largest = torch.aminmax(value)
    return least.double() / 2 + largest.double() / 2


def unfit_afterwards(method: Method, losses: Tensor, state: State) -> Tensor:
    """(..., n) of bool, what an update has led to and must not: :func:`shown_afterwards` in order.

    Args:
        losses: (..., K) after the update.
        state: what the method makes of them.
    """
    values = (losses, states_of(state, losses))
    finite, states = (~torch.isfinite(value) for value in values)
    return torch.cat([finite, ~method.usable(losses), states], dim=-1)


Words = list[tuple[str, str | None]]
"""What must be as it must be, each with its task."""


def shown(tasks: tuple[Task, ...], state: State, network: Network, trained: Sequence[str]) -> Words:
    """The order of :meth:`StepReport.unfit`.

    Args:
        trained: names of the state that the method trains.
    """
    whats = ("non-finite loss", OUT_OF_RANGE, "non-finite gradient", "non-finite weight")
    each = [(what, task.name) for what in whats for task in tasks]
    heads = [
        ("non-finite gradient of the head", name)
        for name, head in network.heads.items()
        for _ in head.parameters()
    ]
    shared = ("non-finite shared gradient", None)
    own = [(f"non-finite gradient of {name} of the method", None) for name in sorted(trained)]
    trunk = [shared] * len(network.shared_parameters())
    last = [shared, ("update out of the range of float32", None)]
    return [*each, *_states_in_words(state), *heads, *trunk, *own, *last]


def shown_afterwards(tasks: tuple[Task, ...], state: State) -> Words:
    """The order of :func:`unfit_afterwards`."""
    whats = ("non-finite loss", OUT_OF_RANGE)
    each = [(f"{what} after the update", task.name) for what in whats for task in tasks]
    return [*each, *_states_in_words(state)]


def _states_in_words(state: State) -> Words:
    return [(f"non-finite {name} of the method", None) for name in sorted(state)]


def lengths_of(tensors: Sequence[Tensor], axes: int) -> Tensor:
    """(..., n) norms of n tensors; not finite where a number is not, or its square.

    Such a square no optimizer of ours with averages could take, and no plain descent survives.
    """
    if not axes:
        return torch.stack(torch._foreach_norm(list(tensors)))
    flat = [tensor.flatten(axes) for tensor in tensors]
    return torch.stack([torch.linalg.vector_norm(t, dim=-1) for t in flat], dim=-1)


def task_outputs(network: Network, representations: Tensor) -> list[Tensor]:
    """Heads applied to (..., K, B, d) task representations."""
    parts = zip(network.heads.values(), representations.unbind(-3), strict=True)
    return [head(z) for head, z in parts]


def count_correct(task: Task, outputs: Tensor, target: Tensor) -> Tensor:
    """Number of right answers among outputs (..., B, outputs); NaN without classes.

    No answer is equal to -1, the unknown class.
    """
    if task.classes is None:
        return outputs.new_full(outputs.shape[:-2], torch.nan)
    answer = outputs.argmax(dim=-1) if task.outputs > 1 else outputs[..., 0] > 0
    return (answer == target).sum(-1).to(outputs.dtype)


def task_losses(
    tasks: tuple[Task, ...],
    losses: tuple[Loss, ...],
    outputs: list[Tensor],
    targets: dict[str, Tensor],
    masks: dict[str, Tensor],
) -> list[Tensor]:
    """Each task's loss, a scalar: over the known labels, where ``masks`` tell which these are."""
    return [
        loss(output, targets[task.name], masks[task.name])
        if task.name in masks
        else loss(output, targets[task.name])
        for task, loss, output in zip(tasks, losses, outputs, strict=True)
    ]


def answers_and_losses(
    network: Network,
    tasks: tuple[Task, ...],
    losses: tuple[Loss, ...],
    outputs: list[Tensor],
    targets: dict[str, Tensor],
    masks: dict[str, Tensor],
) -> tuple[list[Tensor], list[Tensor]]:
    """Each task's own outputs (..., B, outputs), and its loss, a scalar.

    Heads of a network with an auxiliary branch give twice the outputs in training; the loss of the
    second half is added with the network's weight, and no answer is read from it.
    """
    answers = [o[..., : task.outputs] for task, o in zip(tasks, outputs, strict=True)]
    raw = task_losses(tasks, losses, answers, targets, masks)
    if not network.auxiliary_weight or answers[0].shape == outputs[0].shape:
        return answers, raw
    side = [o[..., task.outputs :] for task, o in zip(tasks, outputs, strict=True)]
    more = task_losses(tasks, losses, side, targets, masks)
    weight = network.auxiliary_weight
    return answers, [main + weight * extra for main, extra in zip(raw, more, strict=True)]


def count_known(
    tasks: tuple[Task, ...], masks: dict[str, Tensor], inputs: Tensor, like: Tensor
) -> Tensor:
    """(..., K) number of the batch's labels that are known; ``like`` the losses (..., K)."""
    axes = like.ndim - 1
    whole = like.new_full(like.shape[:-1], inputs.shape[axes])
    counts = [masks[t.name].sum(-1).to(like) if t.name in masks else whole for t in tasks]
    return torch.stack(counts, dim=-1)


def standing(values: Tensor, known: Tensor, latest: Tensor | None) -> Tensor:
    """(K,) losses; of a task without a known label in the batch the latest, or one before any.

    So that weights that follow the level of a loss, or its ratio to others, see nothing new.
    """
    return torch.where(known > 0, values, torch.ones_like(values) if latest is None else latest)


def scales_of(normaliser: Tensor) -> Tensor:
    """(K,) divisors of the losses: one while no label of a task has been seen."""
    return torch.where(normaliser.isnan(), 1.0, normaliser)


def _first_known(values: Tensor, known: Tensor, normaliser: Tensor | None) -> Tensor:
    """(K,) normaliser after a batch: each task's first loss over known labels, NaN until then."""
    seen = torch.where(known > 0, values, torch.nan)
    return seen if normaliser is None else torch.where(normaliser.isnan(), seen, normaliser)


def _cosines(
    pulled: Tensor, shared: Tensor, tasks: tuple[Task, ...], masks: dict[str, Tensor]
) -> Tensor:
    """(..., K) medians over the known items of the cosines of (..., K, B, d) with (..., B, d)."""
    cosines = torch.nn.functional.cosine_similarity(pulled, shared[..., None, :, :], dim=-1)
    if not masks:
        return cosines.median(dim=-1).values
    every = torch.ones(shared.shape[:-1], dtype=torch.bool, device=shared.device)
    known = torch.stack([masks.get(task.name, every) for task in tasks], dim=-2)
    medians = torch.where(known, cosines, torch.nan).nanmedian(dim=-1).values
    return torch.where(known.any(dim=-1), medians, 0.0)


def _spread(weight: Tensor, like: Tensor) -> Tensor:
    """(...) numbers, one a replicate, in the shape that multiplies (..., *shape)."""
    return weight.reshape(*weight.shape, *[1] * (like.ndim - weight.ndim))


def train_step(
    network: Network,
    method: Method,
    state: State,
    tasks: tuple[Task, ...],
    losses: tuple[Loss, ...],
    normaliser: Tensor | None,
    inputs: Tensor,
    targets: dict[str, Tensor],
    *,
    normalise: bool,
    step: int,
    epoch: int,
    epochs: int = 1,
    draws: dict[str, Tensor] | None = None,
    masks: dict[str, Tensor] | None = None,
    latest: Tensor | None = None,
    micro_batch: int | None = None,
    rows_at_once: int = 1,
) -> tuple[State, Tensor, StepReport]:
    """Leave the gradients of one batch in the network's parameters.

    Args:
        normaliser: (K,) losses of the first batch that has a known label of the task, NaN before
            there was one; None before there was any batch.
        normalise: divide losses by ``normaliser``.
        epochs: epochs of the whole training.
        draws: the method's random numbers for this step.
        masks: (B,) of bool, which labels are known, of the tasks that lack some
            (:meth:`counterpoise.datasets._part.Part.masks`).
        latest: (K,) losses that the step before reported, or None before there was one.
        micro_batch: items that pass the trunk at once; None for the batch.
        rows_at_once: rows of the Jacobian that one backward pass of the trunk gives.

    Returns:
        The method's next state, the normaliser, and a report. A non-finite loss or gradient shows
        in the report; the caller must then not apply the update.
    """
    passage = Passage(network, inputs, micro_batch, rows_at_once)
    base = passage.z
    leaves = method.represent(state, base).detach().requires_grad_()
    outputs = task_outputs(network, leaves)
    masks = masks or {}
    outputs, raw = answers_and_losses(network, tasks, losses, outputs, targets, masks)
    values = torch.stack([value.detach() for value in raw], dim=-1)
    known = count_known(tasks, masks, inputs, values)
    if not normalise and normaliser is None:
        normaliser = torch.ones_like(values)
    elif masks:
        normaliser = _first_known(values, known, normaliser)
    elif normaliser is None:
        normaliser = values
    scales = scales_of(normaliser) if masks else normaliser
    if masks:
        values = standing(values, known, latest)
    each = zip(raw, scales.unbind(-1), strict=True)
    total = torch.stack([value / scale for value, scale in each]).sum()
    heads = [list(head.parameters()) for head in network.heads.values()]
    found = torch.autograd.grad(
        total, [leaves, *chain(*heads)], create_graph=method.second_order, materialize_grads=True
    )
    for parameter, gradient in zip(chain(*heads), found[1:], strict=True):
        parameter.grad = gradient.detach()
    own = found[0].detach()
    pulled = method.pull_back(state, own)
    parameters = network.shared_parameters()
    rows = jacobian = None
    more: dict[str, Tensor] = {}
    if method.signal == "gramian":
        rows = passage.rows(parameters, pulled, keep=method.passes_again)
        more = {"gramian": rows.gramian()}
    elif method.signal == "jacobian":
        jacobian = passage.jacobian(parameters, pulled)
        more = {"jacobian": jacobian}
    elif method.signal == "last_layer":
        more = {"last_layer": passage.jacobian(network.last_layer, pulled, keep=True)}
    correct = torch.stack(
        [
            count_correct(task, output.detach(), targets[task.name])
            for task, output in zip(tasks, outputs, strict=True)
        ],
        dim=-1,
    )
    signal = Signal(
        losses=values / scales,
        z=base,
        representations=leaves.detach(),
        task_gradients=own,
        gradients=pulled,
        step=step,
        epoch=epoch,
        epochs=epochs,
        known=known > 0 if masks else None,
        correct=correct,
        head_norms=torch.stack([norm_of_gradients(h, values[..., 0]) for h in heads], dim=-1),
        draws=draws or {},
        **more,
    )
    combined, following = method.combine(state, signal)
    mixing = combined.weights if combined.mixing is None else combined.mixing
    shared = combined.shared
    if shared is None:
        shared = torch.einsum("...k,...kbd->...bd", mixing, pulled)
    for head, weight in zip(heads, combined.weights.unbind(-1), strict=True):
        for parameter in head:
            assert parameter.grad is not None
            parameter.grad.mul_(_spread(weight, parameter.grad))
    if combined.through_gradients is not None:
        at_leaves, *at_heads = torch.autograd.grad(
            found[0], [leaves, *chain(*heads)], combined.through_gradients, materialize_grads=True
        )
        shared = shared + method.pull_back(state, at_leaves).sum(-3)
        for parameter, gradient in zip(chain(*heads), at_heads, strict=True):
            assert parameter.grad is not None
            parameter.grad.add_(gradient)
    axes = base.ndim - 2
    given = combined.trunk
    if given is None and jacobian is not None:
        given = torch.einsum("...k,...kp->...p", mixing.to(jacobian.dtype), jacobian)
    if given is not None:
        written(parameters, given, axes)
        finite = torch.isfinite(_extremes(given, axes))
    elif rows is not None and not method.passes_again:
        for parameter, gradient in zip(parameters, rows.mixed(mixing), strict=True):
            parameter.grad = gradient
        # The terms bound the sum: a check of K numbers in place of P.
        lengths = more["gramian"].diagonal(dim1=-2, dim2=-1).sqrt()
        terms = (mixing.abs() * lengths).sum(-1)
        finite = terms <= torch.finfo(pulled.dtype).max
    else:
        passage.backward(shared)
        finite = torch.isfinite(shared).flatten(axes).all(-1)
    own_gradients = [combined.gradients[name] for name in sorted(combined.gradients)]
    every = [p.grad for p in (*chain(*heads), *parameters) if p.grad is not None]
    report = StepReport(
        values,
        mixing,
        pulled.flatten(-2).norm(dim=-1),
        _cosines(pulled, shared, tasks, masks),
        correct,
        known,
        method.usable(signal.losses),
        combined.gradients,
        lengths_of([*every, *own_gradients], axes),
        finite,
    )
    return following, normaliser, report


@torch.no_grad()
def losses_again(
    network: Network,
    method: Method,
    state: State,
    tasks: tuple[Task, ...],
    losses: tuple[Loss, ...],
    normaliser: Tensor,
    inputs: Tensor,
    targets: dict[str, Tensor],
    masks: dict[str, Tensor],
    seen: StepReport,
    micro_batch: int | None = None,
) -> Tensor:
    """(..., K) normalised losses of a batch by the weights as they are now.

    Of a task without a known label in the batch, what it was before the update. Running averages of
    a normalisation stay as they are: a look at the losses is no step.
    """
    averages = Averages(network.buffers())
    base = Passage(network, inputs, micro_batch).z
    outputs = task_outputs(network, method.represent(state, base))
    averages.put_back()
    _, raw = answers_and_losses(network, tasks, losses, outputs, targets, masks)
    values = torch.stack(raw, dim=-1)
    if not masks:
        return values / normaliser
    return standing(values, seen.known, seen.losses) / scales_of(normaliser)
