"""Augmentations: pure functions of a batch of images and a generator.

A rank of a distributed training draws the random numbers of the global batch and takes those of
its shard, so that the images do not depend on the number of ranks.

Shape letters: B batch, C channels, H height, W width.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ShardedGenerator:
    """A generator for one rank's shard of a batch: it draws for the global batch on every rank.

    Attributes:
        generator: the generator.
        batch: images of the global batch.
        indices: (B,) int64, indices of the shard in the global batch.
    """

    generator: torch.Generator
    batch: int
    indices: Tensor


Generator = torch.Generator | ShardedGenerator


class SourcePixels(NamedTuple):
    """Source coordinates of the pixels of flipped and cropped images.

    Attributes:
        rows: (B, H) int64, in 0..H-1.
        columns: (B, W) int64, in 0..W-1.
    """

    rows: Tensor
    columns: Tensor


def _uniform(count: int, like: Tensor, generator: Generator) -> Tensor:
    """Returns (B,) float32 in [0, 1) on the device of `like`."""
    source, batch, indices = _shard_of(generator, count)
    drawn = torch.rand(batch, generator=source, device=source.device)
    return drawn[indices].to(like.device)


def _integers(high: int, count: int, like: Tensor, generator: Generator) -> Tensor:
    """Returns (B,) int64 in 0..high-1 on the device of `like`."""
    source, batch, indices = _shard_of(generator, count)
    drawn = torch.randint(high, (batch,), generator=source, device=source.device)
    return drawn[indices].to(like.device)


def _shard_of(generator: Generator, count: int) -> tuple[torch.Generator, int, Tensor | slice]:
    """Returns the generator, the images that it draws for, and the indices of the shard."""
    if isinstance(generator, ShardedGenerator):
        return generator.generator, generator.batch, generator.indices
    return generator, count, slice(None)


def flip_and_crop(images: Tensor, generator: Generator, *, flips: bool, padding: int) -> Tensor:
    """Returns images, half of them mirrored, shifted by up to `padding` pixels each way.

    The arguments are those of `draw_source_pixels`.

    Returns:
        (B, C, H, W) of the same dtype.
    """
    sources = draw_source_pixels(images, generator, flips=flips, padding=padding)
    return gather_pixels(images, sources)


def draw_source_pixels(
    images: Tensor, generator: Generator, *, flips: bool, padding: int
) -> SourcePixels:
    """Draws for each image whether it is mirrored, and a shift of up to `padding` pixels.

    An image is padded by its reflection at the edges.

    Args:
        images: (B, C, H, W) of any dtype.
        generator: of the random numbers.
        flips: mirror half of the images.
        padding: less than H and W.
    """
    count, _, height, width = images.shape
    down = _integers(2 * padding + 1, count, images, generator) - padding
    right = _integers(2 * padding + 1, count, images, generator) - padding
    mirrored = _uniform(count, images, generator) < 0.5
    rows = _reflected(torch.arange(height, device=images.device) + down[:, None], height)
    columns = torch.arange(width, device=images.device).expand(count, width)
    if flips:
        columns = torch.where(mirrored[:, None], width - 1 - columns, columns)
    return SourcePixels(rows, _reflected(columns + right[:, None], width))


def gather_pixels(images: Tensor, sources: SourcePixels) -> Tensor:
    """Returns images (B, C, H, W) made of their source pixels, by one gather.

    Args:
        images: (B, C, H, W) of any dtype.
        sources: rows (B, H) and columns (B, W).
    """
    count, channels, height, width = images.shape
    rows, columns = sources
    start = torch.arange(count, device=images.device) * (height * width)
    indices = (start[:, None] + rows * width)[:, :, None] + columns[:, None, :]
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
    gathered = pixels.index_select(0, indices.reshape(-1))
    return gathered.view(count, height, width, channels).permute(0, 3, 1, 2)


def _reflected(indices: Tensor, size: int) -> Tensor:
    """Returns indices reflected at 0 and at size - 1."""
    return (size - 1) - ((size - 1) - indices.abs()).abs()


def colour_jitter(images: Tensor, generator: Generator, *, strength: float) -> Tensor:
    """Returns images with random brightness, contrast and (in colour) saturation.

    Each is scaled by a factor uniform in 1 ± strength; the result is clamped to 0..1.

    Args:
        images: (B, C, H, W) float32 in 0..1, or uint8.
        generator: of the random numbers.
        strength: in [0, 1].

    Returns:
        (B, C, H, W) of the same dtype.
    """
    if images.dtype == torch.uint8:
        values = colour_jitter(images.float() / 255, generator, strength=strength)
        return (values * 255).round().to(torch.uint8)
    count, channels = images.shape[:2]
    factors = [
        (1 + strength * (2 * _uniform(count, images, generator) - 1))[:, None, None, None]
        for _ in range(3)
    ]
    images = images * factors[0]
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * factors[1]
    if channels == 3:
        grey = images.mean(1, keepdim=True)
        images = grey + (images - grey) * factors[2]
    return images.clamp(0, 1)


def _box(images: Tensor, top: Tensor, left: Tensor, height: Tensor, width: Tensor) -> Tensor:
    """Returns the mask (B, 1, H, W) bool of a box in each image, clipped at the edges.

    The corner and the sides of the boxes are (B,) int64.
    """
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def cutout(images: Tensor, generator: Generator, *, size: int) -> Tensor:
    """Returns images with a square hole of zeros around a random pixel, clipped at the edges.

    DeVries, Taylor 2017.

    Args:
        images: (B, C, H, W), normalised, so that 0 is the mean.
        generator: of the random numbers.
        size: pixels a side of the hole.

    Returns:
        (B, C, H, W) of the same dtype.
    """
    count, _, height, width = images.shape
    top = _integers(height, count, images, generator) - size // 2
    left = _integers(width, count, images, generator) - size // 2
    side = torch.full_like(top, size)
    return images.masked_fill(_box(images, top, left, side, side), 0.0)


_ERASED_SHARE = (0.02, 0.4)  # Zhong et al.: s_l, s_h
_ERASED_ASPECT = 0.3  # r_1


def random_erasing(images: Tensor, generator: Generator, *, probability: float) -> Tensor:
    """Returns images, some with a box of noise of random area and aspect.

    Zhong, Zheng, Kang, Li, Yang, AAAI 2020: 2 to 40 % of the area, aspect 0.3 to 1/0.3. A box
    longer than the image is shortened to it.

    Args:
        images: (B, C, H, W), normalised, where the noise is N(0, 1); or uint8, where it is uniform.
        generator: of the random numbers.
        probability: that an image is erased, in [0, 1].

    Returns:
        (B, C, H, W) of the same dtype.
    """
    count, _, height, width = images.shape
    chosen = _uniform(count, images, generator) < probability
    low, high = _ERASED_SHARE
    area = (low + (high - low) * _uniform(count, images, generator)) * (height * width)
    aspect = _ERASED_ASPECT ** (2 * _uniform(count, images, generator) - 1)
    box_height = (area * aspect).sqrt().round().clamp(1, height).long()
    box_width = (area / aspect).sqrt().round().clamp(1, width).long()
    top = (_uniform(count, images, generator) * (height - box_height + 1)).long()
    left = (_uniform(count, images, generator) * (width - box_width + 1)).long()
    mask = _box(images, top, left, box_height, box_width) & chosen[:, None, None, None]
    source, batch, indices = _shard_of(generator, count)
    shape = (batch, *images.shape[1:])
    noise = torch.empty(shape, dtype=images.dtype, device=source.device)
    if images.dtype == torch.uint8:
        noise.random_(0, 256, generator=source)
    else:
        noise.normal_(generator=source)
    return torch.where(mask, noise[indices].to(images.device), images)
