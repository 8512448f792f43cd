"""Settings and order of augmentation: whole batches, on the device.

The operations are the pure functions of `augment_operations`. The order: flip and crop on
bytes, colour jitter on values in 0..1, normalisation, then holes (which are 0, the mean).

Shape letters: B batch, C channels, H height, W width.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import Field, model_validator
from torch import Tensor

from ravine.core.settings import Settings
from ravine.core.validation import check_choice
from ravine.data.augment_operations import (
    Generator,
    SourcePixels,
    colour_jitter,
    cutout,
    draw_source_pixels,
    random_erasing,
)

OPERATIONS = ("flip", "crop", "cutout", "erase", "jitter")

_DIGITS = frozenset(
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
)
_SIDED = re.compile(r"(?i)(^|[^a-z])(left|right|clockwise)([^a-z]|$)")


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
