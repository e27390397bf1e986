"""Random changes of training images: rotation, crops, flip and brightness, for a batch at once.

What happens to an item follows only from (seed, epoch, item), by a hash of these and the number of
the draw (a counter-based generator). So it does not depend on the other items of the batch, the
size of batches, the number of processes, or where a run was resumed, and replicates that train side
by side see what each sees alone. Draws depend neither on the device nor on the method.

Changes are applied in the order of the usual chains of torchvision's transforms: rotation, resized
crop, crop, flip, brightness. Each alone equals torchvision's functional of that name, with bilinear
interpolation; rotation and resized crop together interpolate once, where a chain would do so twice.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from counterpoise.errors import UserError
from counterpoise.spec.augment import Augment, ResizedCrop
from counterpoise.training.seeding import seed_of

TRIES = 10
"""Windows drawn for a resized crop until one fits, as torchvision does."""
_GOLDEN, _FIRST, _SECOND = (
    value - (1 << 64) for value in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)
"""Constants of splitmix64 (Steele, Lea and Flood, Fast splittable pseudorandom number generators,
OOPSLA 2014), as signed numbers."""

# Numbers of the draws of an item; a resized crop has two for each try.
_ANGLE, _TOP, _LEFT, _SHIFT_Y, _SHIFT_X, _FLIP, _BRIGHTNESS, _WINDOWS = range(8)
_DRAWS = _WINDOWS + 2 * TRIES


def key_of(seeding: str, seed: int, epoch: int) -> int:
    """The 63-bit key of one replicate's epoch; ``seeding`` as of a cell."""
    return seed_of(seeding, seed, "augment", epoch)


def uniform(keys: Tensor, items: Tensor, draw: int | Tensor) -> Tensor:
    """Draws from [0, 1), float64, for each of (...) int64 keys and items: splitmix64's output."""
    z = keys + (items * _DRAWS + (draw + 1)) * _GOLDEN
    z = (z ^ _shifted(z, 30)) * _FIRST
    z = (z ^ _shifted(z, 27)) * _SECOND
    z = z ^ _shifted(z, 31)
    return _shifted(z, 11).double() * 2.0**-53


def _shifted(z: Tensor, by: int) -> Tensor:
    """Shift to the right as of unsigned numbers."""
    return (z >> by) & ((1 << (64 - by)) - 1)


def augmented(images: Tensor, augment: Augment, keys: Tensor, items: Tensor) -> Tensor:
    """Images changed at random.

    Args:
        images: (..., C, H, W) intensities in 0..1, float.
        augment: what may change, and how much.
        keys: (...) int64 of :func:`key_of`, one an image.
        items: (...) int64 places in the training part.

    Returns:
        The same shape. What comes from outside the picture is black, as in torchvision.
    """
    axes = images.shape[:-3]
    x, keys, items = images.flatten(0, -4), keys.reshape(-1), items.reshape(-1)
    if augment.rotation or augment.resized_crop is not None:
        side = x.shape[-2], x.shape[-1]
        angles = (2 * uniform(keys, items, _ANGLE) - 1) * augment.rotation
        window = None
        if augment.resized_crop is not None:
            window = windows(augment.resized_crop, side, keys, items)
        x = resample(x, angles, window)
    if augment.crop:
        shifts = []
        for draw, length in ((_SHIFT_Y, x.shape[-2]), (_SHIFT_X, x.shape[-1])):
            most = round(augment.crop * length)
            drawn = uniform(keys, items, draw) * (2 * most + 1)
            shifts.append(drawn.long() - most)
        x = shifted(x, shifts[0], shifts[1])
    if augment.flip:
        turned = uniform(keys, items, _FLIP) < augment.flip
        x = torch.where(turned[:, None, None, None], x.flip(-1), x)
    if augment.brightness:
        factors = 1 + (2 * uniform(keys, items, _BRIGHTNESS) - 1) * augment.brightness
        x = (x * factors.to(x.dtype)[:, None, None, None]).clamp(0, 1)
    return x.reshape(*axes, *x.shape[1:])


def windows(
    crop: ResizedCrop, side: tuple[int, int], keys: Tensor, items: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Top, left, height and width, each (N,) int64, as torchvision's ``RandomResizedCrop`` draws.

    Area and logarithm of the ratio are uniform. Where none of ten windows fits, the largest one of
    an allowed ratio in the middle.
    """
    height, width = side
    low, high = (math.log(ratio) for ratio in crop.ratio)
    draws = torch.arange(_WINDOWS, _DRAWS, device=items.device)[:, None]
    drawn = uniform(keys, items, draws).reshape(TRIES, 2, -1)
    area = (drawn[:, 0] * (crop.scale[1] - crop.scale[0]) + crop.scale[0]) * height * width
    ratio = torch.exp(drawn[:, 1] * (high - low) + low)
    w, h = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.int().argmax(dim=0, keepdim=True)
    none = ~fits.any(dim=0)
    tall, wide = h.gather(0, first)[0], w.gather(0, first)[0]
    top = (uniform(keys, items, _TOP) * (height - tall + 1)).long()
    left = (uniform(keys, items, _LEFT) * (width - wide + 1)).long()
    last_w = min(width, round(height * crop.ratio[1]))
    last_h = min(height, round(width / crop.ratio[0]))
    return (
        torch.where(none, (height - last_h) // 2, top),
        torch.where(none, (width - last_w) // 2, left),
        torch.where(none, last_h, tall),
        torch.where(none, last_w, wide),
    )


def resample(
    images: Tensor, angles: Tensor, window: tuple[Tensor, Tensor, Tensor, Tensor] | None
) -> Tensor:
    """Images (N, C, H, W) turned counter-clockwise, then a window of each enlarged to the whole.

    Args:
        images: intensities.
        angles: (N,) degrees.
        window: top, left, height and width, (N,) each; None for the whole.
    """
    height, width = images.shape[-2:]
    kind = {"dtype": torch.float64, "device": images.device}
    y = torch.arange(height, **kind)[None, :]  # type: ignore[call-overload]
    x = torch.arange(width, **kind)[None, :]  # type: ignore[call-overload]
    if window is not None:
        top, left, tall, wide = (value[:, None] for value in window)
        # Pixel centres; beyond the outermost ones of the window is nothing of it to mix in.
        y = top + ((y + 0.5) * tall / height - 0.5).clamp(min=0).minimum(tall - 1.0)
        x = left + ((x + 0.5) * wide / width - 0.5).clamp(min=0).minimum(wide - 1.0)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    cosine, sine = (
        torch.cos(torch.deg2rad(angles))[:, None],
        torch.sin(torch.deg2rad(angles))[:, None],
    )
    # Sums of a row's and a column's part, in units of half the image.
    across = cosine * x * (2 / width), sine * x * (2 / height)
    down = -sine * y * (2 / width), cosine * y * (2 / height)
    grid = torch.empty(len(images), height, width, 2, dtype=images.dtype, device=images.device)
    for axis in (0, 1):
        one, other = down[axis].to(images.dtype), across[axis].to(images.dtype)
        torch.add(one[:, :, None], other[:, None, :], out=grid[..., axis])
    return torch.nn.functional.grid_sample(
        images, grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )


def shifted(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Windows of the images' own size, moved by (N,) pixels; black comes in at the edges.

    As ``RandomCrop`` of an image with padding on all sides, of which a window of the image's size
    is taken.
    """
    height, width = images.shape[-2:]
    rows = torch.arange(height, device=images.device) + down[:, None]
    columns = torch.arange(width, device=images.device) + right[:, None]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[
        :, None, :
    ]
    rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
    item = torch.arange(len(images), device=images.device)
    # Index arrays side by side, then the channels: (N, H, W, C).
    moved = images.movedim(1, -1)[item[:, None, None], rows[:, :, None], columns[:, None, :]]
    return torch.where(inside[:, None], moved.movedim(-1, 1), 0.0)


def check_augment(augment: Augment | None, shape: tuple[int, ...], *, images: bool) -> None:
    """Refuse data that have no images to change.

    Args:
        augment: what the protocol asks for.
        shape: of one input.
        images: whether inputs are intensities of 8 bits.

    Raises:
        UserError: inputs are not images (C, H, W).
    """
    if augment is not None and (len(shape) != 3 or not images):
        raise UserError(
            f"inputs of shape {shape} are not images, which `augment` needs",
            remedy="leave `augment` out of the protocol",
        )
