"""One update: the shared representation once forward, once backward, whatever the method.

Z is detached and becomes the leaf that tasks branch from. One backward pass of the plain sum of
the losses gives every g^k (the z^k are distinct leaves) and the unweighted gradients of all
heads; the method then decides, heads are scaled by omega_k, and the trunk receives one gradient.
So a method of the signals *losses* or *features* costs one trunk backward pass, as uniform does.

Gradients at the last shared layer take K passes of that layer alone. The Jacobian of the K losses
at all P shared parameters, and its Gramian, take K backward passes of the trunk, one for each row
of the gradients at Z; what such a method decides about the shared parameters is written into them,
without another pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from counterpoise.methods._base import Method, Signal, State
from counterpoise.tasks import Task
from counterpoise.training.losses import Loss
from counterpoise.training.modules import Network


@dataclass(frozen=True)
class StepReport:
    """What one step showed, per task: (K,) tensors, detached.

    Attributes:
        losses: raw losses; of a task without a known label in the batch, the last known one.
        weights: omega_k, or the v_k by which shared gradients are mixed.
        norms: ||grad_Z l_k||_F of the normalised, unweighted losses.
        cosines: median over the batch of cos(grad_z l_k, g), g being the trunk's gradient at Z; of
            a method that decides about parameters instead, g is sum_k v_k grad_z l_k. Over the
            items whose label is known; zero without any.
        correct: right answers; NaN for tasks without classes.
        known: labels of the batch that are known.
        gradients: those of the state that the method has trained, by name.
        finite: whether the gradient that the shared parameters receive is finite.
    """

    losses: Tensor
    weights: Tensor
    norms: Tensor
    cosines: Tensor
    correct: Tensor
    known: Tensor
    gradients: dict[str, Tensor]
    finite: Tensor


def task_outputs(network: Network, representations: Tensor) -> list[Tensor]:
    """Heads applied to (K, B, d) task representations."""
    parts = zip(network.heads.values(), representations.unbind(0), strict=True)
    return [head(z) for head, z in parts]


def count_correct(task: Task, outputs: Tensor, target: Tensor) -> Tensor:
    """Number of right answers among outputs (B, outputs), a scalar; NaN without classes.

    No answer is equal to -1, the unknown class.
    """
    if task.classes is None:
        return outputs.new_tensor(torch.nan)
    answer = outputs.argmax(dim=1) if task.outputs > 1 else outputs[:, 0] > 0
    return (answer == target).sum().to(outputs.dtype)


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


def count_known(
    tasks: tuple[Task, ...], masks: dict[str, Tensor], inputs: Tensor, like: Tensor
) -> Tensor:
    """(K,) number of the batch's labels that are known."""
    whole = like.new_full((), len(inputs))
    return torch.stack([masks[t.name].sum().to(like) if t.name in masks else whole for t in tasks])


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
    """(K,) medians over the known items of the cosines of (K, B, d) gradients with (B, d)."""
    cosines = torch.nn.functional.cosine_similarity(pulled, shared[None], dim=-1)
    if not masks:
        return cosines.median(dim=1).values
    every = torch.ones(len(shared), dtype=torch.bool, device=shared.device)
    known = torch.stack([masks.get(task.name, every) for task in tasks])
    medians = torch.where(known, cosines, torch.nan).nanmedian(dim=1).values
    return torch.where(known.any(dim=1), medians, 0.0)


def last_layer(trunk: nn.Module) -> list[Tensor]:
    """Parameters of the last shared layer W: the last module of the trunk that has some.

    What "the last shared layer" is, papers leave open; here it is the module that is defined last
    (of the reduced LeNet the second fully connected layer, of a residual network the last
    normalisation).
    """
    owners = [m for m in trunk.modules() if next(m.parameters(recurse=False), None) is not None]
    return list(owners[-1].parameters(recurse=False)) if owners else []


def inner(z: Tensor, gradient: Tensor) -> Tensor:
    """<z, gradient>, a scalar whose backward pass starts with exactly this gradient at z.

    Where autograd is handed a gradient instead, torch imports symbolic algebra: 0.2 s a job.
    """
    return (z * gradient).sum()


def jacobian_of(
    z: Tensor, parameters: Sequence[Tensor], pulled: Tensor, *, keep: bool = False
) -> Tensor:
    """(K, P) gradients of K losses at shared parameters, from their (K, B, d) gradients at Z.

    K vector-Jacobian products, one after the other: on a CPU a batched product is slower.

    Args:
        keep: the graph of Z is needed again.
    """
    tasks = len(pulled)
    rows = pulled.new_empty(tasks, sum(p.numel() for p in parameters))
    for k, gradient in enumerate(pulled):
        found = torch.autograd.grad(
            inner(z, gradient),
            parameters,
            retain_graph=keep or k < tasks - 1,
            materialize_grads=True,
        )
        torch.cat([part.flatten() for part in found], out=rows[k])
    return rows


BLOCK = 1 << 20


def gramian_of(jacobian: Tensor) -> Tensor:
    """(K, K) inner products of the rows, in float64: squares of large rows leave float32's range.

    Block by block, so that no second K x P matrix is made.
    """
    tasks = len(jacobian)
    total = jacobian.new_zeros(tasks, tasks, dtype=torch.float64)
    for block in torch.split(jacobian, BLOCK, dim=1):
        wide = block.double()
        total += wide @ wide.T
    return total


def _write_gradient(parameters: Sequence[Tensor], flat: Tensor) -> None:
    """Split a (P,) gradient over the parameters."""
    parts = torch.split(flat, [p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter))


def _norm(parameters: Sequence[Tensor], like: Tensor) -> Tensor:
    """Norm of the gradients of some parameters together; zero without any."""
    parts = [p.grad.flatten() for p in parameters if p.grad is not None]
    return torch.cat(parts).norm() if parts else like.new_zeros(())


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

    Returns:
        The method's next state, the normaliser, and a report. A non-finite loss or gradient shows
        in the report; the caller must then not apply the update.
    """
    z = network.trunk(inputs)
    base = z.detach()
    leaves = method.represent(state, base).detach().requires_grad_()
    outputs = task_outputs(network, leaves)
    masks = masks or {}
    raw = task_losses(tasks, losses, outputs, targets, masks)
    values = torch.stack([value.detach() for value in raw])
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
    total = torch.stack([value / scale for value, scale in zip(raw, scales, strict=True)]).sum()
    heads = [list(head.parameters()) for head in network.heads.values()]
    found = torch.autograd.grad(
        total, [leaves, *chain(*heads)], create_graph=method.second_order, materialize_grads=True
    )
    for parameter, gradient in zip(chain(*heads), found[1:], strict=True):
        parameter.grad = gradient.detach()
    own = found[0].detach()
    pulled = method.pull_back(state, own)
    parameters = list(network.trunk.parameters())
    jacobian = None
    more: dict[str, Tensor] = {}
    if method.signal in ("gramian", "jacobian"):
        jacobian = jacobian_of(z, parameters, pulled)
        seen = gramian_of(jacobian) if method.signal == "gramian" else jacobian
        more = {method.signal: seen}
    elif method.signal == "last_layer":
        more = {"last_layer": jacobian_of(z, last_layer(network.trunk), pulled, keep=True)}
    correct = torch.stack(
        [
            count_correct(task, output.detach(), targets[task.name])
            for task, output in zip(tasks, outputs, strict=True)
        ]
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
        correct=correct,
        head_norms=torch.stack([_norm(head, own) for head in heads]),
        draws=draws or {},
        **more,
    )
    combined, following = method.combine(state, signal)
    mixing = combined.weights if combined.mixing is None else combined.mixing
    shared = combined.shared
    if shared is None:
        shared = torch.einsum("k,kbd->bd", mixing, pulled)
    for head, weight in zip(heads, combined.weights, strict=True):
        for parameter in head:
            assert parameter.grad is not None
            parameter.grad.mul_(weight)
    if combined.through_gradients is not None:
        at_leaves, *at_heads = torch.autograd.grad(
            found[0], [leaves, *chain(*heads)], combined.through_gradients, materialize_grads=True
        )
        shared = shared + method.pull_back(state, at_leaves).sum(0)
        for parameter, gradient in zip(chain(*heads), at_heads, strict=True):
            assert parameter.grad is not None
            parameter.grad.add_(gradient)
    given = combined.trunk
    if given is None and jacobian is not None:
        given = mixing.to(jacobian.dtype) @ jacobian
    if given is not None:
        _write_gradient(parameters, given)
    else:
        inner(z, shared).backward()  # type: ignore[no-untyped-call]
    report = StepReport(
        values,
        mixing,
        pulled.flatten(1).norm(dim=1),
        _cosines(pulled, shared, tasks, masks),
        correct,
        known,
        combined.gradients,
        torch.isfinite(shared if given is None else given).all(),
    )
    return following, normaliser, report
