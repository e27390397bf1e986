"""Saliency maps of one task's logit: where in a picture the evidence for a finding is.

Every map is (B, H, W), not negative, of the size of the picture. Captum computes what it has; Grad-
CAM++ is not in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from counterpoise.methods._base import Method, State
from counterpoise.training.modules import Network
from counterpoise.training.seeding import seed_of
from counterpoise.training.step import task_outputs


class Answer(nn.Module):
    """The logits of one task, as a module of the picture alone."""

    def __init__(self, network: Network, method: Method, state: State, task: int) -> None:
        super().__init__()
        self.network, self.method, self.state, self.task = network, method, state, task

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, H, W) to (B, outputs)."""
        z = self.method.represent(self.state, self.network.shared(inputs))
        return task_outputs(self.network, z)[self.task]


@dataclass(frozen=True)
class Question:
    """What is asked of a network about some pictures.

    Attributes:
        answer: logits of the task, in evaluation mode.
        layer: the module whose output Grad-CAM weighs, (B, C, h, w).
        inputs: (B, C, H, W) normalised pictures.
        baselines: (N, C, H, W) other pictures, which SHAP takes as what is to be expected.
    """

    answer: Answer
    layer: nn.Module
    inputs: Tensor
    baselines: Tensor


def map_stages(network: Network, shape: tuple[int, ...]) -> dict[str, nn.Module]:
    """The trunk's stages that convolve and give a map, by name, from the first to the last."""
    stages = dict(network.trunk.named_children())
    return {
        name: stages[name]
        for name in network.maps(shape)
        if any(isinstance(module, nn.Conv2d) for module in stages[name].modules())
    }


def first_blocks(stages: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """``<stage>[0]``, the first block of every stage that is a row of blocks of one kind."""
    return {
        f"{name}[0]": stage[0]
        for name, stage in stages.items()
        if isinstance(stage, nn.Sequential) and len(stage) > 1 and len(set(map(type, stage))) == 1
    }


def activation(module: nn.Module, layer: nn.Module, inputs: Tensor) -> Tensor:
    """(B, C, h, w) output of a layer while ``module`` answers."""
    seen: list[Tensor] = []
    # A copy, as the next module may write over its input.
    handle = layer.register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
    try:
        with torch.no_grad():
            module(inputs)
    finally:
        handle.remove()
    return seen[0]


def enlarged(maps: Tensor, inputs: Tensor) -> Tensor:
    """(B, h, w) to the pictures' (B, H, W), bilinear."""
    size = (inputs.shape[-2], inputs.shape[-1])
    return functional.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def grad_cam(question: Question) -> Tensor:
    """ReLU(sum_c w_c A_c), w_c the map's mean of dy/dA_c (Selvaraju et al. 2017, eqs. 1-2)."""
    from captum.attr import LayerGradCam

    found = LayerGradCam(question.answer, question.layer).attribute(
        question.inputs.clone().requires_grad_(), target=0, relu_attributions=True
    )
    return enlarged(found.detach()[:, 0], question.inputs)


def grad_cam_pp(question: Question) -> Tensor:
    """Grad-CAM++ (Chattopadhay et al. 2018): w_c = sum_ij alpha_ij ReLU(dy/dA_ij).

    alpha = g^2 / (2 g^2 + (sum_ab A_ab) g^3), eq. 19 with the exponential of the score, whose
    derivatives are powers of g = dy/dA; zero where g is.
    """
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        # A copy, as the next module may write over its input.
        kept.append(output)
        return output.clone()

    handle = question.layer.register_forward_hook(keep)
    try:
        # The picture asks for gradients so that maps of frozen stages have some.
        logit = question.answer(question.inputs.clone().requires_grad_())[:, 0]
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(logit.sum(), kept[0])
    maps = kept[0].detach()
    square = gradient.square()
    below = 2 * square + maps.sum((2, 3), keepdim=True) * square * gradient
    alpha = torch.where(below != 0, square / torch.where(below != 0, below, 1.0), 0.0)
    weights = (alpha * gradient.relu()).sum((2, 3), keepdim=True)
    return enlarged((weights * maps).sum(1).relu(), question.inputs)


SAMPLES = 16
"""Noisy copies, and points between picture and baseline. Smilkov et al. see little gain after 50;
a quarter of the time for maps that differ little."""
NOISE = 0.15
"""Standard deviation of SmoothGrad's noise as a share of the picture's range (10 to 20 % there)."""


def smooth_grad(question: Question) -> Tensor:
    """Mean over noisy copies of |dy/dx| (Smilkov et al. 2017), the largest over the channels."""
    return torch.cat([_smooth_grad(question, picture[None]) for picture in question.inputs])


def _smooth_grad(question: Question, picture: Tensor) -> Tensor:
    """The map (1, H, W) of one picture, whatever others there are: noise follows its own range."""
    from captum.attr import NoiseTunnel, Saliency

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("explain", "smooth_grad"))
        found = NoiseTunnel(Saliency(question.answer)).attribute(
            picture.clone().requires_grad_(),
            nt_type="smoothgrad",
            nt_samples=SAMPLES,
            stdevs=NOISE * float(picture.max() - picture.min()),
            target=0,
            abs=True,
        )
    saliency: Tensor = found.detach().amax(1)
    return saliency


def shap(question: Question) -> Tensor:
    """What speaks for the finding, by expected gradients (Erion et al. 2021), as GradientShap."""
    # Captum draws baselines by numpy, whose state is put back afterwards.
    import numpy as np
    from captum.attr import GradientShap

    kept = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of("explain", "shap"))
        np.random.seed(seed_of("explain", "shap") % 2**32)
        found = GradientShap(question.answer).attribute(
            question.inputs.clone().requires_grad_(),
            baselines=question.baselines,
            n_samples=SAMPLES,
            target=0,
        )
    np.random.set_state(kept)
    saliency: Tensor = found.detach().sum(1).relu()
    return saliency


WAYS: dict[str, Callable[[Question], Tensor]] = {
    "grad_cam": grad_cam,
    "grad_cam_pp": grad_cam_pp,
    "smooth_grad": smooth_grad,
    "shap": shap,
}
