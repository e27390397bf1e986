"""torchvision's classifiers as shared trunks. Imported only when a network is built: needs torch.

torchvision takes seconds to import, so only the networks that need it import it. A trunk keeps
torchvision's modules, and in ``published`` torchvision's name for each of its tensors, so that
published weights fit whatever the stages are called here.

Each stage that gives a map ends where the next pooling begins, so that its map is the largest one
that shows everything the stage has found.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.errors import UserError
from counterpoise.networks._branch import Branched, Row

SMALLEST = {"alexnet": 63, "squeezenet1_1": 17, "inception_v3": 299}
"""Size in pixels below which nothing is left to convolve or pool; Inception's is set by its
auxiliary head."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours."""


class ThreeChannels(nn.Module):
    """Grey images as colour ones; colour ones unchanged.

    A grey image is repeated. Its data are normalised with ImageNet's mean and standard deviation,
    averaged over the colours (:mod:`counterpoise.datasets.chestxray14`).
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) to (B, 3, H, W)."""
        return inputs.expand(-1, 3, -1, -1)


class PlusMinusOne(nn.Module):
    """Maps colours from ImageNet's mean and deviation to -1..1, on which Inception was trained."""

    def __init__(self) -> None:
        super().__init__()
        mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
        self.register_buffer("scale", std / 0.5, persistent=False)
        self.register_buffer("shift", (mean - 0.5) / 0.5, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, 3, H, W) to the same shape."""
        scaled: Tensor = inputs * self.get_buffer("scale") + self.get_buffer("shift")
        return scaled


def alexnet(shape: tuple[int, ...]) -> nn.Module:
    """AlexNet up to the 4,096 features that its last layer receives."""
    model = _model("alexnet", shape)
    layers = model.features
    return _row(
        model,
        conv1=nn.Sequential(ThreeChannels(), *layers[:2]),
        conv2=layers[2:5],
        conv3=layers[5:8],
        conv4=layers[8:10],
        conv5=layers[10:12],
        pool=nn.Sequential(layers[12], model.avgpool, nn.Flatten()),
        hidden=model.classifier[:6],
    )


def residual(depth: int, shape: tuple[int, ...]) -> nn.Module:
    """A residual network up to the features that its classifier receives.

    Args:
        depth: layers, as in torchvision's name.
        shape: shape of one input.
    """
    model = _model(f"resnet{depth}", shape)
    return _row(
        model,
        stem=nn.Sequential(ThreeChannels(), model.conv1, model.bn1, model.relu, model.maxpool),
        layer1=model.layer1,
        layer2=model.layer2,
        layer3=model.layer3,
        layer4=model.layer4,
        pool=nn.Sequential(model.avgpool, nn.Flatten()),
    )


def dense(shape: tuple[int, ...]) -> nn.Module:
    """DenseNet-121 up to the features for its classifier; a block ends with its transition.

    Args:
        shape: shape of one input.
    """
    model = _model("densenet121", shape)
    layers = model.features
    return _row(
        model,
        stem=nn.Sequential(ThreeChannels(), layers.conv0, layers.norm0, layers.relu0, layers.pool0),
        block1=nn.Sequential(layers.denseblock1, layers.transition1),
        block2=nn.Sequential(layers.denseblock2, layers.transition2),
        block3=nn.Sequential(layers.denseblock3, layers.transition3),
        block4=nn.Sequential(layers.denseblock4, layers.norm5, nn.ReLU(inplace=True)),
        pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def squeeze(shape: tuple[int, ...]) -> nn.Module:
    """SqueezeNet 1.1 up to the average of its last map.

    torchvision's classifier is a 1 x 1 convolution, a ReLU and the average. Without the ReLU, which
    would not allow negative logits, convolution and average can be exchanged.
    """
    model = _model("squeezenet1_1", shape)
    layers = model.features
    return _row(
        model,
        stem=nn.Sequential(ThreeChannels(), *layers[:2]),
        fire1=layers[2:5],
        fire2=layers[5:8],
        fire3=layers[8:],
        pool=nn.Sequential(model.classifier[0], nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def efficient(shape: tuple[int, ...]) -> nn.Module:
    """EfficientNet-B0 up to the features that its classifier receives, with their dropout."""
    model = _model("efficientnet_b0", shape)
    layers = model.features
    blocks = {f"block{i}": layers[i] for i in range(1, 8)}
    return _row(
        model,
        stem=nn.Sequential(ThreeChannels(), layers[0]),
        **blocks,
        top=layers[8],
        pool=nn.Sequential(model.avgpool, nn.Flatten(), nn.Dropout(0.2)),
    )


def inception(shape: tuple[int, ...]) -> nn.Module:
    """Inception v3: its 2,048 features, and beside them the 768 of its auxiliary classifier."""
    model = _model("inception_v3", shape, init_weights=True, transform_input=False)
    side = model.AuxLogits
    stages: dict[str, nn.Module] = {
        "stem": nn.Sequential(
            ThreeChannels(),
            PlusMinusOne(),
            model.Conv2d_1a_3x3,
            model.Conv2d_2a_3x3,
            model.Conv2d_2b_3x3,
            model.maxpool1,
            model.Conv2d_3b_1x1,
            model.Conv2d_4a_3x3,
        ),
        "mixed5": nn.Sequential(model.maxpool2, model.Mixed_5b, model.Mixed_5c, model.Mixed_5d),
        "mixed6": nn.Sequential(*(getattr(model, f"Mixed_6{part}") for part in "abcde")),
        "auxiliary": nn.Sequential(
            nn.AvgPool2d(5, 3), side.conv0, side.conv1, nn.AdaptiveAvgPool2d(1), nn.Flatten()
        ),
        "mixed7": nn.Sequential(model.Mixed_7a, model.Mixed_7b, model.Mixed_7c),
        "pool": nn.Sequential(model.avgpool, model.dropout, nn.Flatten()),
    }
    return _published(Branched(OrderedDict(stages)), model)


def _model(name: str, shape: tuple[int, ...], **options: Any) -> Any:
    """The model that torchvision has under this name, with random weights.

    Grey images are repeated over the three channels, so the model has torchvision's own parameters.

    Raises:
        UserError: inputs are not images of one or three channels, or are too small.
    """
    from torchvision.models import get_model

    if len(shape) != 3 or shape[0] not in (1, 3):
        raise UserError(f"{name} needs pictures of 1 or 3 channels, not inputs of shape {shape}")
    least = SMALLEST.get(name, 1)
    if min(shape[1:]) < least:
        raise UserError(
            f"{name} needs pictures of {least} x {least} or more, not inputs of shape {shape}",
            remedy="set the dataset's option `size`",
        )
    return get_model(name, weights=None, **options)


def _row(model: nn.Module, **stages: nn.Module) -> nn.Module:
    return _published(Row(OrderedDict(stages)), model)


def _published(trunk: Row | Branched, model: nn.Module) -> nn.Module:
    """The trunk with torchvision's names for its tensors, and weights in channels-last format."""
    names = {id(t): name for name, t in (*model.named_parameters(), *model.named_buffers())}
    own = (*trunk.named_parameters(), *trunk.named_buffers())
    trunk.published = {name: names[id(tensor)] for name, tensor in own if id(tensor) in names}
    return trunk.to(memory_format=torch.channels_last)
