"""What a source holds: images not yet decoded, with labels and given splits.

Shape letters: N images, H height, W width, C channels, K classes.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any, Self

import numpy as np

from ravine.data.pixel_array import PixelArray
from ravine.data.understanding import Understood


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """An image: its file, the file's state, and its byte range in a shard.

    Attributes:
        path: of the file.
        size: of the file in bytes.
        modified: time of its last change, in nanoseconds.
        offset: where the image begins, if the file is a tar of images.
        length: of the image in the tar, in bytes.
    """

    path: str
    size: int
    modified: int
    offset: int | None = None
    length: int = 0

    def to_json(self) -> list[Any]:
        """Returns plain values, for the processes that decode."""
        return list(astuple(self))

    @classmethod
    def from_json(cls, values: Sequence[Any]) -> Self:
        """Returns the entry that `to_json` gave."""
        return cls(**dict(zip(cls.__slots__, values, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """N labelled images, as files or as an array.

    Attributes:
        names: of the images, as the user knows them.
        labels: (N,) int64 in 0..K-1; or (N, K) uint8 of 0 and 1, where images have several.
        classes: K names.
        given_splits: the split that the source gives each image, or None; () if it gives none.
        groups: of the N images, each kept on one side of the split; () if there are none.
        files: the N files, or ().
        pixels: (N, H, W, C) uint8, an array or one that is read in order, or None.
        content_key: identifies the content of `pixels`; files are identified by their entries.
        unlabelled: names of files without a label.
        understood: what the source was taken for, or None.
        label_separator: what stands between the labels in a cell, as `several_labels` has it.
    """

    names: Sequence[str]
    labels: np.ndarray
    classes: tuple[str, ...]
    given_splits: Sequence[str | None] = ()
    groups: Sequence[str] = ()
    files: Sequence[FileEntry] = ()
    pixels: PixelArray | None = None
    content_key: str = ""
    unlabelled: Sequence[str] = ()
    understood: Understood | None = None
    label_separator: str = ""


SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def class_order(names: set[str]) -> tuple[str, ...]:
    """Returns class names in order: numerical if all are numbers, else alphabetical.

    >>> class_order({"10", "9"}), class_order({"b", "a"})
    (('9', '10'), ('a', 'b'))
    """
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def label_indices(names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Returns the index among K `classes` of each of N class names, (N,) int64."""
    index_of = {name: index for index, name in enumerate(classes)}
    return np.array([index_of[name] for name in names], dtype=np.int64)
