"""Gradients of wide layers by their coordinates, which are fewer than the layers' weights.

A layer's weights W (n, m) turn rows of inputs A (S, m) into outputs A W^T, one row an item or, in a
convolution, a position of an item. With delta_k (S, n) the gradient of l_k at the outputs::

    (grad_W l_k)^T = A^T delta_k = Q (R delta_k),    A^T = Q R,  Q (m, S) of orthonormal columns

So where S < m, as in the last stages of a residual network for a small batch, the K gradients lie
in the span of Q, and their coordinates R delta_k have the same inner products. A pass then ends at
delta_k: no task's gradient of the weights is made, kept or compared, and the one that the layer
receives is Q times a sum of coordinates. This is exact: Householder's reflections round as the
product would, whatever the rank of A.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

DEVICES = ("cpu",)
"""Where factorising is known to cost less than it saves."""


@dataclass(frozen=True)
class Span:
    """Where a layer's gradients lie.

    Attributes:
        weight: (n, ...), m of its numbers an output.
        outputs: the layer's, (B, n, ...), in autograd's graph.
        basis: (m, S), Q.
        factor: (S, S), R.
    """

    weight: Tensor
    outputs: GradientEdge
    basis: Tensor
    factor: Tensor

    def coordinates(self, delta: Tensor) -> Tensor:
        """(S, n) of the gradient that one at the outputs means."""
        return self.factor @ delta.movedim(1, -1).flatten(0, -2)

    def gradient(self, coordinates: Tensor) -> Tensor:
        """(n, ...) that (S, n) coordinates mean, as the weights lie in memory."""
        found = torch.empty_like(self.weight)
        return found.copy_((self.basis @ coordinates).T.view(found.shape))


@torch.no_grad()
def spans_of(z: Tensor, parameters: Sequence[Tensor], tasks: int) -> dict[int, Span]:
    """Spans of those parameters for which they pay, by the parameter's place.

    Layers are found in Z's graph, so that none is mistaken, whatever a network is made of: theirs
    are convolutions over two axes, and products of a batch with a matrix, whose weights enter the
    graph once.
    """
    places = {id(p): place for place, p in enumerate(parameters) if p.device.type in DEVICES}
    found = {}
    for layer in _layers(z):
        place = places.get(id(layer.weight))
        if place is not None and layer.pays(tasks):
            basis, factor = torch.linalg.qr(layer.rows().T)
            found[place] = Span(layer.weight, GradientEdge(layer.node, 0), basis, factor)
    return found


@dataclass(frozen=True)
class _Layer:
    """A product of inputs and weights."""

    node: Any
    weight: Tensor

    def pays(self, tasks: int) -> bool:
        """Whether Q, R and K products with R multiply fewer numbers than K gradients of weights."""
        outputs, width = len(self.weight), self.weight[0].numel()
        height: int = math.prod(self.node._input_metadata[0].shape) // outputs
        spared = tasks * height * outputs * (width - height)
        return 4 * width * height**2 < spared

    def rows(self) -> Tensor:
        """(S, m) inputs, as the weights of one output see them."""
        node = self.node
        if node.name() != CONVOLUTION:
            rows: Tensor = getattr(node, MATRICES[node.name()])
            return rows
        unfolded = torch.nn.functional.unfold(
            node._saved_input,
            self.weight.shape[2:],
            dilation=node._saved_dilation,
            padding=node._saved_padding,
            stride=node._saved_stride,
        )
        return unfolded.movedim(1, -1).flatten(0, 1)


CONVOLUTION = "ConvolutionBackward0"
MATRICES = {"AddmmBackward0": "_saved_mat1", "MmBackward0": "_saved_self"}
"""Products of a batch and a matrix, with the name of the batch."""


def _layers(z: Tensor) -> Iterator[_Layer]:
    """Those between Z and weights that enter its graph there alone."""
    nodes = _nodes(z)
    uses = Counter(before for node in nodes for before, _ in node.next_functions)
    for node in nodes:
        way = _way_to_weights(node)
        weight = getattr(way[-1], "variable", None) if way else None
        if weight is not None and all(uses[before] == 1 for before in way):
            yield _Layer(node, weight)


def _way_to_weights(node: Any) -> list[Any]:
    """Nodes before a product, down to the one that its weights enter by; none before others."""
    before = [entry for entry, _ in node.next_functions]
    if node.name() == CONVOLUTION:
        two_axes = len(node._input_metadata[0].shape) == 4
        plain = two_axes and node._saved_groups == 1 and not node._saved_transposed
        return before[1:2] if plain else []
    if node.name() in MATRICES and getattr(node, "_saved_alpha", 1) == 1:
        transpose = before[-1]  # a linear layer multiplies by that of its weights
        if transpose is not None and transpose.name() == "TBackward0":
            return [transpose, transpose.next_functions[0][0]]
    return []


def _nodes(z: Tensor) -> list[Any]:
    """Every node of Z's graph once."""
    found: dict[Any, None] = {}
    waiting = [z.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found[node] = None
            waiting += [before for before, _ in node.next_functions]
    return list(found)
