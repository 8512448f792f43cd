"""A data set as the other packages use it: decoded, labelled, split, audited.

Shape letters: N images, B batch, S height and width, C channels, K classes.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Protocol, Self, final, runtime_checkable

import numpy as np

from ravine.core.errors import DataError
from ravine.data.channel_counts import MOST_BANDS
from ravine.data.decode import INTERPOLATION
from ravine.data.label_sets import has_several


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """Resizing and normalisation of an image before the network.

    Attributes:
        image_size: pixels a side.
        channels: 1 for grey, 3 for colour, up to 16 for the bands of arrays.
        mean: per channel, of values in 0..1.
        std: per channel, of values in 0..1, above 0.
        fit: how a picture becomes square: crop, pad or squash.
        large: whether pictures of more than 90 megapixels are read.
        grey_range: values of deep grey that become 0 and 255; None for the general rule.
        bands: of TIFFs of many bands, from 1; () to read pictures as they are.
        interpolation: lanczos, bicubic or bilinear.
        crop_share: share of the shorter side that crop keeps, in (0, 1].
    """

    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: str = "crop"
    large: bool = False
    grey_range: tuple[float, float] | None = None
    bands: tuple[int, ...] = ()
    interpolation: str = INTERPOLATION
    crop_share: float = 1.0

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; those that have a default only where they are not as ever."""
        return {
            one.name: value
            for one in fields(self)
            if (value := getattr(self, one.name)) != one.default
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Returns the preprocessing that `to_json` gave.

        Raises:
            DataError: a value is missing or out of range, as in a damaged or foreign file.
        """
        try:
            made = cls(
                image_size=int(values["image_size"]),
                channels=int(values["channels"]),
                mean=tuple(float(v) for v in values["mean"]),
                std=tuple(float(v) for v in values["std"]),
                fit=str(values.get("fit", "crop")),
                large=values.get("large", False) is True,
                grey_range=_range(values.get("grey_range")),
                bands=tuple(int(band) for band in values.get("bands", ())),
                interpolation=str(values.get("interpolation", INTERPOLATION)),
                crop_share=float(values.get("crop_share", 1.0)),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the preprocessing in the model file cannot be read: {error}"
            ) from None
        fits = len(made.mean) == len(made.std) == made.channels and 1 <= made.channels <= MOST_BANDS
        finite = all(map(math.isfinite, made.mean)) and all(0 < s < math.inf for s in made.std)
        fits = fits and made.fit in ("crop", "pad", "squash") and 0 < made.crop_share <= 1
        fits = fits and made.interpolation in ("lanczos", "bicubic", "bilinear")
        fits = fits and len(made.bands) in (0, made.channels) and min(made.bands, default=1) > 0
        if not (fits and finite and 8 <= made.image_size <= 2048):
            raise DataError("the preprocessing in the model file makes no sense")
        return made


def _range(values: Any) -> tuple[float, float] | None:
    if values is None:
        return None
    low, high = (float(value) for value in values)
    if not -math.inf < low <= high < math.inf:
        raise ValueError(f"a range of grey from {low} to {high}")
    return low, high


@runtime_checkable
class ImageArray(Protocol):
    """Images (N, S, S, C) uint8: an array, or a sequence that decodes them on access."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, S, S, C)."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, which: Any, /) -> np.ndarray:
        """Returns one image (S, S, C), or for indices (B,) the images (B, S, S, C), uint8."""
        ...


@final
class ImageView:
    """Some of an array's images, read where they lie: the array may be larger than memory.

    Args:
        images: (N, S, S, C) uint8.
        index: (M,) int64, of the images to show.
    """

    def __init__(self, images: ImageArray, index: np.ndarray) -> None:
        self._images, self._index = images, index

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, S, S, C)."""
        return (len(self._index), *self._images.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return self._images.dtype

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, which: Any, /) -> np.ndarray:
        """Returns one image (S, S, C), or for indices (B,) the images (B, S, S, C), uint8."""
        return self._images[self._index[which]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images with labels, classes and splits.

    Attributes:
        images: (N, S, S, C) uint8, memory-mapped or decoded on access.
        labels: (N,) int64 in 0..K-1; or (N, K) uint8 of 0 and 1, where images have several.
        classes: K names.
        splits: sorted int64 indices by name: train, and validation and test where they exist.
        names: of the images, as the user knows them.
        preprocessing: size, channels and normalisation of the network's input.
        audit: plain values, as in audit.json.
        fingerprint: of content, labels, splits and preprocessing.
        digests: (N, 16) uint8 of the images' pixels before they are resized.
        label_separator: what stands between the labels in a cell of the table; "" for none.
    """

    images: ImageArray
    labels: np.ndarray
    classes: tuple[str, ...]
    splits: Mapping[str, np.ndarray]
    names: Sequence[str]
    preprocessing: Preprocessing
    audit: dict[str, Any]
    fingerprint: str
    digests: np.ndarray = field(default_factory=lambda: np.zeros((0, 16), np.uint8))
    label_separator: str = ""

    @property
    def several(self) -> bool:
        """Whether an image has several labels, and not one class."""
        return has_several(self.labels)

    @property
    def content_fingerprint(self) -> str:
        """A fingerprint of the images and labels, the same for all splits of them."""
        digest = hashlib.sha256(np.ascontiguousarray(self.digests).tobytes())
        digest.update(self.labels.tobytes())
        digest.update(json.dumps(self.classes).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlabelled:
    """Images to predict.

    Attributes:
        images: (N, S, S, C) uint8, memory-mapped or decoded on access.
        names: of the N images.
        unreadable: name and reason of each file that is no readable image.
        by_row: whether a name says only the image's row in an array or table.
        notes: how the images were found, in sentences.
    """

    images: ImageArray
    names: Sequence[str]
    unreadable: Sequence[tuple[str, str]]
    by_row: bool = False
    notes: tuple[str, ...] = ()
