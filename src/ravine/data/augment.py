"""The augmentation of a run: whole batches, on the device.

The operations are the pure functions of `augment_operations`. The order: flip and crop on
bytes, colour jitter on values in 0..1, normalisation, then holes (which are 0, the mean).

Shape letters: B batch, C channels, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ravine.data.augment_operations import (
    Generator,
    SourcePixels,
    colour_jitter,
    cutout,
    draw_source_pixels,
    random_erasing,
)
from ravine.data.augment_settings import AugmentSettings, choose_operations


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
    settings: AugmentSettings, *, classes: Sequence[str], image_size: int, channels: int = 3
) -> Augmenter:
    """Returns the augmenter of these settings for images of this size and number of channels."""
    operations, _ = choose_operations(settings, classes=classes, channels=channels)
    padding = settings.crop_padding
    return Augmenter(
        operations=operations,
        padding=max(1, image_size // 16) if padding is None else min(padding, image_size - 1),
        hole=settings.cutout_size or max(1, image_size // 4),
        erase_probability=settings.erase_probability,
        jitter=settings.jitter_strength,
    )
