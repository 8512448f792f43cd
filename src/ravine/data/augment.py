"""Augmentation of whole batches on the device, each image by its own chance.

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
class PartOfChance:
    """Chance for some images of a batch: drawn for all of it, so that the parts fit together.

    Attributes:
        generator: the source.
        whole: images of the whole batch.
        places: (B,), which of them these are.
    """

    generator: torch.Generator
    whole: int
    places: Tensor


Chance = torch.Generator | PartOfChance


class Moves(NamedTuple):
    """Where the pixels of each image come from.

    Attributes:
        rows: (B, H) int64.
        columns: (B, W) int64.
    """

    rows: Tensor
    columns: Tensor


class AugmentSettings(Settings):
    """How training images are varied."""

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


def choose(settings: AugmentSettings, *, classes: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Returns the operations, and the reason in a sentence.

    >>> choose(AugmentSettings(), classes=["cat", "dog"])[0]
    ('flip', 'crop')
    >>> choose(AugmentSettings(), classes=["0", "1", "2"])[0]
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
    """The operations of a run with their sizes fixed."""

    operations: tuple[str, ...]
    padding: int
    hole: int
    erase_probability: float
    jitter: float

    def moves_of(self, images: Tensor, generator: Chance) -> Moves | None:
        """Returns how images (B, C, H, W) are flipped and cropped; None for not at all."""
        flips = "flip" in self.operations
        padding = self.padding if "crop" in self.operations else 0
        if not flips and not padding:
            return None
        return draw_moves(images, generator, flips=flips, padding=padding)

    def on_values(self, images: Tensor, generator: Chance) -> Tensor:
        """Returns (B, C, H, W) float32 in 0..1, with other colours."""
        if "jitter" not in self.operations:
            return images
        return colour_jitter(images, generator, strength=self.jitter)

    def on_normalised(self, images: Tensor, generator: Chance) -> Tensor:
        """Returns (B, C, H, W) float32 with holes."""
        if "cutout" in self.operations:
            images = cutout(images, generator, size=self.hole)
        if "erase" in self.operations:
            images = random_erasing(images, generator, probability=self.erase_probability)
        return images


def make_augmenter(
    settings: AugmentSettings, *, classes: Sequence[str], image_size: int
) -> Augmenter:
    """Returns the augmenter of these settings for images of this size."""
    operations, _ = choose(settings, classes=classes)
    padding = settings.crop_padding
    return Augmenter(
        operations=operations,
        padding=max(1, image_size // 16) if padding is None else min(padding, image_size - 1),
        hole=settings.cutout_size or max(1, image_size // 4),
        erase_probability=settings.erase_probability,
        jitter=settings.jitter_strength,
    )


def _uniform(count: int, like: Tensor, generator: Chance) -> Tensor:
    source, whole, places = _drawn_from(generator, count)
    drawn = torch.rand(whole, generator=source, device=source.device)
    return drawn[places].to(like.device)


def _integers(high: int, count: int, like: Tensor, generator: Chance) -> Tensor:
    source, whole, places = _drawn_from(generator, count)
    drawn = torch.randint(high, (whole,), generator=source, device=source.device)
    return drawn[places].to(like.device)


def _drawn_from(chance: Chance, count: int) -> tuple[torch.Generator, int, Tensor | slice]:
    """Returns the generator, how many images it draws for, and which of them are wanted."""
    if isinstance(chance, PartOfChance):
        return chance.generator, chance.whole, chance.places
    return chance, count, slice(None)


def flip_and_crop(images: Tensor, generator: Chance, *, flips: bool, padding: int) -> Tensor:
    """Returns images, half of them mirrored, moved by up to `padding` pixels each way.

    Args and source of chance are those of `draw_moves`.
    """
    return moved(images, draw_moves(images, generator, flips=flips, padding=padding))


def draw_moves(images: Tensor, generator: Chance, *, flips: bool, padding: int) -> Moves:
    """Draws for each image whether it is mirrored, and by how many pixels it moves.

    What moves in at an edge is the reflection of the image there.

    Args:
        images: (B, C, H, W) of any type.
        generator: the source of chance.
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
    return Moves(rows, _reflected(columns + right[:, None], width))


def moved(images: Tensor, moves: Moves) -> Tensor:
    """Returns images (B, C, H, W) with the pixels that `moves` names, by one gather."""
    count, channels, height, width = images.shape
    rows, columns = moves
    start = torch.arange(count, device=images.device) * (height * width)
    places = (start[:, None] + rows * width)[:, :, None] + columns[:, None, :]
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)
    moved = pixels.index_select(0, places.reshape(-1))
    return moved.view(count, height, width, channels).permute(0, 3, 1, 2)


def _reflected(places: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - places.abs()).abs()


def colour_jitter(images: Tensor, generator: Chance, *, strength: float) -> Tensor:
    """Returns images with other brightness, contrast and (in colour) saturation.

    Each is scaled by a factor of its own from 1 ± strength; the result is kept in 0..1.

    Args:
        images: (B, C, H, W) float32 in 0..1, or uint8.
        generator: the source of chance.
        strength: in [0, 1].
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
    """Returns the mask (B, 1, H, W) of a box in each image; what lies outside is cut off."""
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    in_rows = (rows >= top[:, None]) & (rows < (top + height)[:, None])
    in_columns = (columns >= left[:, None]) & (columns < (left + width)[:, None])
    return (in_rows[:, :, None] & in_columns[:, None, :])[:, None]


def cutout(images: Tensor, generator: Chance, *, size: int) -> Tensor:
    """Returns images with a square hole of zeros around a random pixel, cut off at edges.

    DeVries, Taylor 2017.

    Args:
        images: (B, C, H, W), normalised, so that 0 is the mean.
        generator: the source of chance.
        size: pixels a side of the hole.
    """
    count, _, height, width = images.shape
    top = _integers(height, count, images, generator) - size // 2
    left = _integers(width, count, images, generator) - size // 2
    side = torch.full_like(top, size)
    return images.masked_fill(_box(images, top, left, side, side), 0.0)


_ERASED_SHARE = (0.02, 0.4)  # Zhong et al.: s_l, s_h
_ERASED_ASPECT = 0.3  # r_1


def random_erasing(images: Tensor, generator: Chance, *, probability: float) -> Tensor:
    """Returns images, some with a box of noise of random area and aspect.

    Zhong, Zheng, Kang, Li, Yang, AAAI 2020: 2 to 40 % of the area, aspect 0.3 to 1/0.3. A box
    that would not fit is made to.

    Args:
        images: (B, C, H, W), normalised, where the noise is N(0, 1); or uint8, where it is even.
        generator: the source of chance.
        probability: of an image to lose a part.
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
    source, whole, places = _drawn_from(generator, count)
    shape = (whole, *images.shape[1:])
    noise = torch.empty(shape, dtype=images.dtype, device=source.device)
    if images.dtype == torch.uint8:
        noise.random_(0, 256, generator=source)
    else:
        noise.normal_(generator=source)
    return torch.where(mask, noise[places].to(images.device), images)
