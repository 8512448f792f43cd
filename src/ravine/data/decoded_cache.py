"""Decoded images as memory-mapped files, with what decoding found out about each image.

    images.npy    (N, S, S, C) uint8; absent where images are decoded while training
    digests.npy   (N, 16) uint8, of the pixels before they are resized; zero where unreadable
    sums.npy      (N, 2, C) float64, sum and sum of squares of each image's bytes
    sizes.npy     (N, 2) int32, height and width of the image in the file
    modes.npy     (N,) uint8, index into about.json's list of Pillow modes
    about.json    modes, reasons of unreadable files, seconds

`cache_writer` fills such a folder; `cache_lookup` finds it again. Loads no torch.

Shape letters: N images, S height and width, C channels.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_CHECKED = 64  # images compared with their sums when a cache is opened


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedCache:
    """Decoded images and their statistics.

    Attributes:
        images: (N, S, S, C) uint8, memory-mapped; None where only the statistics are kept.
        digests: (N, 16) uint8, of the pixels before they are resized.
        sums: (N, 2, C) float64, sum and sum of squares of each image's bytes.
        sizes: (N, 2) int32, height and width of the image in the file.
        modes: (N,) uint8, indices into `mode_names`.
        mode_names: Pillow's names of the modes that occur.
        unreadable: the reason by image index.
        seconds: that decoding took.
    """

    images: np.ndarray | None
    digests: np.ndarray
    sums: np.ndarray
    sizes: np.ndarray
    modes: np.ndarray
    mode_names: Sequence[str]
    unreadable: dict[int, str]
    seconds: float

    @property
    def readable(self) -> np.ndarray:
        """(N,) bool: which images could be decoded."""
        mask = np.ones(len(self.digests), dtype=bool)
        mask[list(self.unreadable)] = False
        return mask


def channel_sums(image: np.ndarray) -> np.ndarray:
    """Returns sum and sum of squares of each channel of an image (H, W, C) uint8: (2, C) int64."""
    # Whole numbers below 2^53, so that every order of summation gives the same bits.
    flat = image.reshape(-1, image.shape[2]).astype(np.int64)
    return np.stack([flat.sum(0), (flat * flat).sum(0)])


def open_cache(folder: Path, *, images: bool = True) -> DecodedCache:
    """Returns a filled cache, memory-mapped; without `images` only the statistics.

    Raises:
        OSError, EOFError, ValueError, KeyError, TypeError, AttributeError: it is torn.
    """
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    arrays = {
        name: np.load(folder / f"{name}.npy") for name in ("digests", "sums", "sizes", "modes")
    }
    pixels = np.load(folder / "images.npy", mmap_mode="c") if images else None
    _refuse_torn(arrays, pixels, about["modes"])
    return DecodedCache(
        images=pixels,
        **arrays,
        mode_names=about["modes"],
        unreadable={int(index): str(reason) for index, reason in about["unreadable"].items()},
        seconds=float(about["seconds"]),
    )


def _refuse_torn(
    arrays: Mapping[str, np.ndarray], images: np.ndarray | None, modes: Sequence[str]
) -> None:
    if len({len(array) for array in arrays.values()}) != 1:
        raise ValueError("the arrays of the cache differ in length")
    if arrays["modes"].max() >= max(1, len(modes)):
        raise ValueError("the cache has a mode without name")
    if images is None:
        return
    sums = arrays["sums"]
    if len(images) != len(sums) or images.ndim != 4:
        raise ValueError("the images of the cache do not fit its statistics")
    for index in np.linspace(0, len(images) - 1, _CHECKED).astype(int):
        if not np.array_equal(channel_sums(images[index]), sums[index]):
            raise ValueError("an image differs from its sums")
