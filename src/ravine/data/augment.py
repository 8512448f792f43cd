"""Augmentation of whole batches on the device, with random numbers of its own for each image.

Every operation is a pure function of a batch and a generator. The order: flip and crop on
bytes, colour jitter on values in 0..1, normalisation, then holes (which are 0, the mean).

Shape letters: B batch, C channels, H height, W width.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from ravine.core.settings import Settings
from ravine.core.validation import check_choice

OPERATIONS = ("flip", "crop", "cutout", "erase", "jitter")

_DIGITS = frozenset(
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
)
_SIDED = re.compile(r"(?i)(^|[^a-z])(left|right|clockwise)([^a-z]|$)")


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


class AugmentSettings(Settings):
    """Augmentation of training images."""

    augment: str = "auto"
    """Comma list of flip, crop, cutout, erase, jitter; none; or auto: what the data allows."""

    crop_padding: int | None = Field(default=None, ge=0, le=512)
    """Pixels by which a crop may move, at reflected edges; by default a 16th of the side."""

    cutout_size: int | None = Field(default=None, ge=1, le=2048)
    """Pixels a side of cutout's hole; by default a quarter of the image's side."""

    erase_probability: float = Field(default=0.5, ge=0, le=1)
    """Share of images of which random erasing takes a part."""

    jitter_strength: float = Field(default=0.2, ge=0, le=1)
    """Most by which brightness, contrast and saturation change."""

    mixup: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """α of mixup's Beta distribution; 0 is off."""

    cutmix: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """α of cutmix's Beta distribution; 0 is off. With mixup, each batch takes one by turns."""

    @model_validator(mode="after")
    def _known_operations(self) -> Self:
        for name in self.named_operations():
            check_choice("augment", name, OPERATIONS)
        return self

    def named_operations(self) -> tuple[str, ...]:
        """Returns the operations that are named; none for auto."""
        named = [part.strip().lower() for part in self.augment.split(",") if part.strip()]
        return () if named in (["auto"], ["none"]) else tuple(named)


def choose_operations(
    settings: AugmentSettings, *, classes: Sequence[str]
) -> tuple[tuple[str, ...], str]:
    """Returns the operations, and the reason in a sentence.

    >>> choose_operations(AugmentSettings(), classes=["cat", "dog"])[0]
    ('flip', 'crop')
    >>> choose_operations(AugmentSettings(), classes=["0", "1", "2"])[0]
    ('crop',)
    """
    if settings.augment.strip().lower() != "auto":
        named = settings.named_operations()
        return named, f"augmentation: {', '.join(named) or 'none'}, as asked"
    why_not = _forbids_flip(classes)
    if why_not:
        return (
            "crop",
        ), f"augmentation: crop; no flip, since {why_not} (--augment flip,crop adds it)"
    return ("flip", "crop"), "augmentation: flip, crop (--augment none switches it off)"


def _forbids_flip(classes: Sequence[str]) -> str | None:
    names = [name.strip().lower() for name in classes]
    if all(len(name) == 1 or name.isdecimal() or name in _DIGITS for name in names):
        return "the classes look like digits or letters"
    sided = [name for name in classes if _SIDED.search(name.replace("_", " "))]
    return f"the class {sided[0]!r} has a side" if sided else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmenter:
    """The operations of a run with their sizes fixed.

    Attributes:
        operations: of `OPERATIONS`.
        padding: pixels of the crop.
        hole: pixels a side of cutout.
        erase_probability: of random erasing, in [0, 1].
        jitter: strength, in [0, 1].
    """

    operations: tuple[str, ...]
    padding: int
    hole: int
    erase_probability: float
    jitter: float

    def draw_source_pixels(self, images: Tensor, generator: Generator) -> SourcePixels | None:
        """Returns the random flips and crops of images (B, C, H, W); None without both."""
        flips = "flip" in self.operations
        padding = self.padding if "crop" in self.operations else 0
        if not flips and not padding:
            return None
        return draw_source_pixels(images, generator, flips=flips, padding=padding)

    def jitter_values(self, images: Tensor, generator: Generator) -> Tensor:
        """Returns images (B, C, H, W) float32 in 0..1 with jittered colours, of the same shape."""
        if "jitter" not in self.operations:
            return images
        return colour_jitter(images, generator, strength=self.jitter)

    def cut_holes(self, images: Tensor, generator: Generator) -> Tensor:
        """Returns normalised images (B, C, H, W) float32 after cutout and random erasing."""
        if "cutout" in self.operations:
            images = cutout(images, generator, size=self.hole)
        if "erase" in self.operations:
            images = random_erasing(images, generator, probability=self.erase_probability)
        return images


def make_augmenter(
    settings: AugmentSettings, *, classes: Sequence[str], image_size: int
) -> Augmenter:
    """Returns the augmenter of these settings for images of this size."""
    operations, _ = choose_operations(settings, classes=classes)
    padding = settings.crop_padding
    return Augmenter(
        operations=operations,
        padding=max(1, image_size // 16) if padding is None else min(padding, image_size - 1),
        hole=settings.cutout_size or max(1, image_size // 4),
        erase_probability=settings.erase_probability,
        jitter=settings.jitter_strength,
    )


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
