"""One update: the shared representation once forward, once backward, whatever the method.

Z is detached and becomes the leaf that tasks branch from. One backward pass of the plain sum of
the losses gives every g^k (the z^k are distinct leaves) and the unweighted gradients of all
heads; the method then decides, heads are scaled by omega_k, and the trunk receives one gradient.
So a method of the signals *losses* or *features* costs one trunk backward pass, as uniform does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from counterpoise.methods._base import Method, Signal, State
from counterpoise.tasks import Task
from counterpoise.training.losses import Loss
from counterpoise.training.modules import Network


@dataclass(frozen=True)
class StepReport:
    """What one step showed, per task: (K,) tensors, detached.

    Attributes:
        losses: raw losses.
        weights: omega_k.
        norms: ||grad_Z l_k||_F of the normalised, unweighted losses.
        cosines: median over the batch of cos(grad_z l_k, g), g being the trunk's gradient at Z.
    """

    losses: Tensor
    weights: Tensor
    norms: Tensor
    cosines: Tensor


def task_outputs(network: Network, representations: Tensor) -> list[Tensor]:
    """Heads applied to (K, B, d) task representations."""
    parts = zip(network.heads.values(), representations.unbind(0), strict=True)
    return [head(z) for head, z in parts]


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
) -> tuple[State, Tensor, StepReport]:
    """Leave the gradients of one batch in the network's parameters.

    Args:
        normaliser: (K,) losses of the first batch, or None before there were any.
        normalise: divide losses by ``normaliser``.

    Returns:
        The method's next state, the normaliser, and a report. A non-finite loss or gradient shows
        in the report; the caller must then not apply the update.
    """
    z = network.trunk(inputs)
    base = z.detach()
    leaves = method.represent(state, base).detach().requires_grad_()
    outputs = task_outputs(network, leaves)
    raw = [
        loss(output, targets[task.name])
        for task, loss, output in zip(tasks, losses, outputs, strict=True)
    ]
    values = torch.stack([value.detach() for value in raw])
    if normaliser is None:
        normaliser = values if normalise else torch.ones_like(values)
    total = torch.stack([value / scale for value, scale in zip(raw, normaliser, strict=True)]).sum()
    torch.autograd.backward(total)
    own = leaves.grad
    assert own is not None
    pulled = method.pull_back(state, own)
    signal = Signal(values / normaliser, base, leaves.detach(), own, pulled, step, epoch)
    combined, following = method.combine(state, signal)
    shared = combined.shared
    if shared is None:
        shared = torch.einsum("k,kbd->bd", combined.weights, pulled)
    for head, weight in zip(network.heads.values(), combined.weights, strict=True):
        for parameter in head.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(weight)
    torch.autograd.backward(z, shared)
    cosines = torch.nn.functional.cosine_similarity(pulled, shared[None], dim=-1)
    report = StepReport(
        values, combined.weights, pulled.flatten(1).norm(dim=1), cosines.median(dim=1).values
    )
    return following, normaliser, report
