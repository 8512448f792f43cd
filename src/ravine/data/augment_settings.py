"""Settings of augmentation, and the operations that a data set allows; loads no torch."""

import re
from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from ravine.core.settings import Settings
from ravine.core.validation import check_choice
from ravine.data.channel_counts import PLAIN

OPERATIONS = ("flip", "crop", "cutout", "erase", "jitter")
_PASSES_FOR_CUTMIX = 30.0  # measured, docs/methods/cutmix.md; with fewer it slows learning down
_STEPS_FOR_CUTMIX = 400.0
_OF_COLOURS = frozenset({"jitter"})  # brightness, contrast and saturation of light that is seen

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
    """α of cutmix's Beta distribution; 0 is off. With mixup, each batch takes one by turns. By
    default 1 in a run of many passes over the images whose augmentation is auto."""

    @model_validator(mode="after")
    def _known_operations(self) -> Self:
        for name in self.named_operations():
            check_choice("augment", name, OPERATIONS)
        return self

    @property
    def is_left_to_ravine(self) -> bool:
        """Whether the operations are those that the data allows."""
        return self.augment.strip().lower() == "auto"

    def named_operations(self) -> tuple[str, ...]:
        """Returns the operations that are named; none for auto."""
        named = [part.strip().lower() for part in self.augment.split(",") if part.strip()]
        return () if named in (["auto"], ["none"]) else tuple(named)


def choose_operations(
    settings: AugmentSettings, *, classes: Sequence[str], channels: int = 3
) -> tuple[tuple[str, ...], str]:
    """Returns the operations, and the reason in a sentence.

    Args:
        settings: which are asked for.
        classes: names; digits and sides are not mirrored.
        channels: of the images; bands, other than grey and colour, have no colours to change.

    >>> choose_operations(AugmentSettings(), classes=["cat", "dog"])[0]
    ('flip', 'crop')
    >>> choose_operations(AugmentSettings(), classes=["0", "1", "2"])[0]
    ('crop',)
    """
    if not settings.is_left_to_ravine:
        named = settings.named_operations()
        kept = named if channels in PLAIN else tuple(n for n in named if n not in _OF_COLOURS)
        said = f"augmentation: {', '.join(kept) or 'none'}, as asked"
        if kept != named:
            said += f"; no jitter, since {channels} bands are no colours"
        return kept, said
    why_not = _forbids_flip(classes)
    if why_not:
        return without_flip(("flip", "crop"), why_not)
    return ("flip", "crop"), "augmentation: flip, crop (--augment none switches it off)"


def choose_cutmix(epochs: float, *, steps: float) -> tuple[float, str]:
    """Returns α of cutmix for a run of so many passes over its images, and the reason where on.

    Args:
        epochs: passes over the images.
        steps: of all of them.

    >>> choose_cutmix(3, steps=1000)
    (0.0, '')
    """
    if epochs < _PASSES_FOR_CUTMIX or steps < _STEPS_FOR_CUTMIX:
        return 0.0, ""
    return 1.0, (
        f"cutmix 1, since each image is shown about {epochs:.0f} times (--cutmix 0 switches it off)"
    )


def without_flip(operations: Sequence[str], why: str) -> tuple[tuple[str, ...], str]:
    """Returns operations without flip, and the reason in a sentence.

    >>> without_flip(("flip", "crop"), "the class 'b' has a side")[0]
    ('crop',)
    """
    kept = tuple(name for name in operations if name != "flip")
    said = f"augmentation: {', '.join(kept)}; no flip, since {why}"
    return kept, f"{said} (--augment {','.join(operations)} adds it)"


def _forbids_flip(classes: Sequence[str]) -> str | None:
    names = [name.strip().lower() for name in classes]
    if all(len(name) == 1 or name.isdecimal() or name in _DIGITS for name in names):
        return "the classes look like digits or letters"
    sided = [name for name in classes if _SIDED.search(name.replace("_", " "))]
    return f"the class {sided[0]!r} has a side" if sided else None
