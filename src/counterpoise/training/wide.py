"""Inner products of the gradients of wide layers, without computing these gradients.

A layer's weights W (n, m) turn rows of inputs A (S, m) into outputs A W^T, one row per item or, in
a convolution, per position of an item. With D_k (S, n) the gradient of l_k at the outputs::

    grad_W l_k = D_k^T A,    <grad_W l_j, grad_W l_k> = <D_j, (A A^T) D_k>,
    sum_k v_k grad_W l_k = (sum_k v_k D_k)^T A

So where S is well below m, as in the last stages of a residual network with a small batch, the rows
of A give all K^2 products, in float64, and a pass may end at D_k: no task's gradient of the weights
is computed, stored or compared, and the layer receives one product, as it does from autograd.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

DEVICES = ("cpu",)
"""Where products in float64 are known to cost less than what they save."""


@dataclass(frozen=True)
class WideLayer:
    """A layer whose gradients follow from those at its outputs.

    Attributes:
        weight: (n, ...), m of its numbers an output.
        node: of autograd's graph, whose output is the layer's.
        rows: (S, m), A.
    """

    weight: Tensor
    node: Any
    rows: Tensor

    @property
    def outputs(self) -> GradientEdge:
        """What a gradient at the outputs is asked for by."""
        return GradientEdge(self.node, 0)

    def flat(self, delta: Tensor | None) -> Tensor:
        """D_k (S, n), of a gradient (B, n, ...) at the outputs; None is one of zeros."""
        if delta is None:
            return self.rows.new_zeros(len(self.rows), len(self.weight))
        return delta.movedim(1, -1).flatten(0, -2)

    def products(self, deltas: Sequence[Tensor]) -> Tensor:
        """(K, K) inner products of the gradients that K D_k mean, in float64."""
        rows, stacked = self.rows.double(), torch.stack(list(deltas)).double()
        found = stacked.flatten(1) @ (rows @ rows.T @ stacked).flatten(1).T
        found = (found + found.T) / 2
        found.diagonal().clamp_(min=0)  # where all but rounding cancels
        return found

    def gradient(self, delta: Tensor) -> Tensor:
        """(n, ...) that one D means, as the weights lie in memory."""
        found = torch.empty_like(self.weight)
        return found.copy_((delta.T @ self.rows).view(found.shape))


@torch.no_grad()
def wide_layers(z: Tensor, parameters: Sequence[Tensor], tasks: int) -> dict[int, WideLayer]:
    """Those of some parameters for which products among inputs pay, by the parameter's place.

    Layers are found in Z's graph, whatever modules have made it: convolutions over two axes, and
    products of a batch with a matrix, whose weights enter the graph there alone. Those with hooks
    on their weights or on their node are left to autograd. Only a hook on a transpose that a
    network makes of the weights by itself would be overlooked.
    """
    places = {
        id(p): place
        for place, p in enumerate(parameters)
        if p.device.type in DEVICES
        and p.dtype in (torch.float32, torch.float64)
        and p.numel()
        and not p._backward_hooks
    }
    found = {}
    for node, weight in _layers(z):
        place = places.get(id(weight))
        if place is None or not _pays(node, weight, tasks) or _has_hooks(node):
            continue
        rows = _rows(node, weight)
        if rows.layout == torch.strided:
            found[place] = WideLayer(weight, node, rows.detach())
    return found


@contextmanager
def watched(wide: Mapping[int, WideLayer]) -> Iterator[dict[int, Tensor | None]]:
    """Gradients at the outputs of layers as these receive them in a backward pass.

    Hooks on an output come before its layer. What autograd captures at an edge has met them only
    where the layer itself need not be passed; such a layer is not in the dictionary.
    """
    seen: dict[int, Tensor | None] = {}

    def note(number: int) -> Any:
        return lambda gradients: seen.__setitem__(number, gradients[0])

    handles = [layer.node.register_prehook(note(number)) for number, layer in wide.items()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _pays(node: Any, weight: Tensor, tasks: int) -> bool:
    """Whether products by way of A A^T are less work than the K - 1 gradients that they spare.

    Counted are multiplications, in float64 as two. One gradient of the weights is made either way.
    """
    outputs = len(weight)
    width = weight.numel() // outputs
    height: int = math.prod(node._input_metadata[0].shape) // outputs
    return 2 * height * (width + tasks * outputs) < (tasks - 1) * width * outputs


def _has_hooks(node: Any) -> bool:
    """Whether somebody looks at the node itself: a hook of ours is not the only one then."""
    ours = [node.register_prehook(lambda *_: None), node.register_hook(lambda *_: None)]
    others = any(len(handle.hooks_dict_ref()) > 1 for handle in ours)
    for handle in ours:
        handle.remove()
    return others


CONVOLUTION = "ConvolutionBackward0"
MATRICES = {"AddmmBackward0": "_saved_mat1", "MmBackward0": "_saved_self"}
"""Products of a batch and a matrix, with the name of the batch."""
LEAF = "torch::autograd::AccumulateGrad"


def _rows(node: Any, weight: Tensor) -> Tensor:
    """(S, m) inputs, as the weights of one output see them."""
    if node.name() != CONVOLUTION:
        rows: Tensor = getattr(node, MATRICES[node.name()])
        return rows
    unfolded = torch.nn.functional.unfold(
        node._saved_input,
        weight.shape[2:],
        dilation=_both(node._saved_dilation),
        padding=_both(node._saved_padding),
        stride=_both(node._saved_stride),
    )
    return unfolded.movedim(1, -1).flatten(0, 1)


def _both(sizes: Sequence[int]) -> tuple[int, ...]:
    """Of two axes, where one number may stand for both."""
    return tuple(sizes) * (2 if len(sizes) == 1 else 1)


def _layers(z: Tensor) -> Iterator[tuple[Any, Tensor]]:
    """Products between Z and weights that enter its graph there alone: node and weights."""
    nodes = _nodes(z)
    uses = Counter(before for node in nodes for before, _ in node.next_functions)
    for node in nodes:
        way = _way_to_weights(node)
        once = all(before is not None and uses[before] == 1 for before in way)
        if way and once and way[-1].name() == LEAF:
            yield node, way[-1].variable


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
