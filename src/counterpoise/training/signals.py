"""Gradients that methods look at, each computed in the cheapest exact way.

Tensors of a batch may have a leading axis of replicates; "..." stands for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from counterpoise import recycled
from counterpoise.training.wide import WideLayer, watched, wide_layers

BLOCKS = {"cpu": 1 << 14, "cuda": 1 << 20}
"""Parameters that K rows are compared at, at a time. On a CPU K float64 blocks fit its cache, which
makes it five times as fast as with blocks of a million."""


def laid_out(tensor: Tensor, like: Tensor, axes: int) -> Tensor:
    """(..., p) numbers of a (..., *shape) tensor in the order in which ``like`` lies in memory.

    A view, where the tensor lies so itself: the gradients of weights that are channels-last do.
    """
    order = sorted(range(axes, tensor.ndim), key=like.stride, reverse=True)
    return tensor.permute(*range(axes), *order).flatten(axes)


def inner(z: Tensor, gradient: Tensor) -> Tensor:
    """<z, gradient>, a scalar whose backward pass starts with exactly this gradient at z.

    Where autograd is handed a gradient instead, torch imports symbolic algebra: 0.2 s a job.
    """
    return (z * gradient).sum()


def _pulled_rows(
    z: Tensor,
    parameters: Sequence[Tensor],
    pulled: Tensor,
    keep: bool,
    at_once: int,
    wide: Mapping[int, WideLayer],
) -> Iterator[Sequence[Tensor]]:
    """Gradients of each loss at the parameters, from those (..., K, B, d) at Z.

    K vector-Jacobian products, ``at_once`` of them by one backward pass; or one a pass, and of
    ``wide`` layers what reaches their outputs.
    """
    rows = pulled.movedim(-3, 0)
    if wide:
        for number, row in enumerate(rows):
            yield _row_at_outputs(z, parameters, row, keep or number + 1 < len(rows), wide)
        return
    for start in range(0, len(rows), at_once):
        some = rows[start : start + at_once]
        retain = keep or start + at_once < len(rows)
        if len(some) == 1:
            yield torch.autograd.grad(
                inner(z, some[0]), parameters, retain_graph=retain, materialize_grads=True
            )
            continue
        found = torch.autograd.grad(
            z, parameters, some, retain_graph=retain, is_grads_batched=True, allow_unused=True
        )
        pairs = zip(found, parameters, strict=True)
        parts = [p.new_zeros(len(some), *p.shape) if part is None else part for part, p in pairs]
        yield from zip(*(part.unbind(0) for part in parts), strict=True)


def _row_at_outputs(
    z: Tensor,
    parameters: Sequence[Tensor],
    row: Tensor,
    keep: bool,
    wide: Mapping[int, WideLayer],
) -> list[Tensor]:
    """Gradients of one loss at the parameters; of wide layers, at their outputs."""
    ends: list[Any] = list(parameters)
    for number, layer in wide.items():
        ends[number] = layer.outputs
    with watched(wide) as seen:
        found = torch.autograd.grad(inner(z, row), ends, retain_graph=keep, allow_unused=True)
    each: list[Tensor] = []
    for number, (gradient, parameter) in enumerate(zip(found, parameters, strict=True)):
        if number in wide:
            each.append(wide[number].flat(seen.get(number, gradient)))
        else:
            each.append(torch.zeros_like(parameter) if gradient is None else gradient)
    return each


def jacobian_of(
    z: Tensor,
    parameters: Sequence[Tensor],
    pulled: Tensor,
    *,
    keep: bool = False,
    at_once: int = 1,
) -> Tensor:
    """(..., K, P) gradients of K losses at shared parameters, from their (..., K, B, d) at Z.

    Each parameter's columns are in the order in which it lies in memory.

    Args:
        keep: the graph of Z is needed again.
        at_once: rows that one backward pass gives; it holds as many gradients of what is between.
    """
    axes = pulled.ndim - 3
    size = sum(p[(0,) * axes].numel() for p in parameters)
    rows = recycled.empty((*pulled.shape[: axes + 1], size), pulled)
    pulled_rows = _pulled_rows(z, parameters, pulled, keep, at_once, {})
    for row, found in zip(rows.unbind(-2), pulled_rows, strict=True):
        pairs = zip(found, parameters, strict=True)
        torch.cat([laid_out(part, like, axes) for part, like in pairs], dim=-1, out=row)
    return rows


@dataclass(frozen=True)
class Rows:
    """The same gradients, each where autograd has put it: no K x P matrix is made.

    Attributes:
        parts: of every parameter its K gradients (..., *shape); of a wide layer, at its outputs.
        axes: how many axes of replicates there are, none or one.
        wide: such layers, by the parameter's place.
    """

    parts: list[list[Tensor]]
    axes: int
    wide: Mapping[int, WideLayer] = field(default_factory=dict)

    def _blocks(self, part: list[Tensor], like: Tensor) -> Iterator[tuple[Tensor, slice]]:
        """(..., K, p) columns of one parameter, p at a time, in the order of ``like``."""
        flat = [laid_out(gradient, like, self.axes) for gradient in part]
        size, step = flat[0].shape[-1], BLOCKS.get(flat[0].device.type, 1 << 20)
        for start in range(0, size, step):
            place = slice(start, start + step)
            yield torch.stack([row[..., place] for row in flat], dim=-2), place

    def gramian(self) -> Tensor:
        """(..., K, K) inner products, in float64: squares of large rows leave float32's range."""
        first = self.parts[0]
        shape = (*first[0].shape[: self.axes], len(first), len(first))
        total = first[0].new_zeros(shape, dtype=torch.float64)
        for number, part in enumerate(self.parts):
            if number in self.wide:
                total += self.wide[number].products(part)
                continue
            for block, _ in self._blocks(part, part[0]):
                wide = block.double()
                total += wide @ wide.mT
        return total

    def mixed(self, mixing: Tensor) -> list[Tensor]:
        """sum_k v_k grad l_k of every parameter, for (..., K) v."""
        weights = mixing.to(self.parts[0][0])[..., None, :]
        found = []
        for number, part in enumerate(self.parts):
            sums = torch.empty_like(part[0])
            flat = laid_out(sums, sums, self.axes)
            for block, place in self._blocks(part, sums):
                flat[..., place] = (weights @ block).squeeze(-2)
            found.append(self.wide[number].gradient(sums) if number in self.wide else sums)
        return found


def rows_of(
    z: Tensor,
    parameters: Sequence[Tensor],
    pulled: Tensor,
    *,
    keep: bool = False,
    at_once: int = 1,
    at_outputs: bool = False,
) -> Rows:
    """Gradients of K losses at shared parameters, from their (..., K, B, d) gradients at Z.

    Args:
        keep: the graph of Z is needed again.
        at_once: as in :func:`jacobian_of`.
        at_outputs: end at the outputs of wide layers, for rows that are not added to those of
            other items. Replicates side by side, and several rows at once, do not.
    """
    axes = pulled.ndim - 3
    fit = at_outputs and not axes and at_once == 1
    wide = wide_layers(z, parameters, pulled.shape[-3]) if fit else {}
    found = _pulled_rows(z, parameters, pulled, keep, at_once, wide)
    return Rows([list(part) for part in zip(*found, strict=True)], axes, wide)


def written(parameters: Sequence[Tensor], flat: Tensor, axes: int) -> None:
    """Split a (..., P) gradient over the parameters, as their gradients."""
    sizes = [p[(0,) * axes].numel() for p in parameters]
    for parameter, part in zip(parameters, torch.split(flat, sizes, dim=-1), strict=True):
        parameter.grad = torch.empty_like(parameter)
        laid_out(parameter.grad, parameter, axes).copy_(part)


def norm_of_gradients(parameters: Sequence[Tensor], like: Tensor) -> Tensor:
    """(...) norms of the gradients of some parameters together; zero without any.

    Args:
        like: what the result has the shape and dtype of.
    """
    parts = [p.grad.flatten(like.ndim) for p in parameters if p.grad is not None]
    return torch.cat(parts, dim=-1).norm(dim=-1) if parts else torch.zeros_like(like)
