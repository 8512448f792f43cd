"""What a source finds: images not yet decoded, with labels and what is known of their split."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """An image: its file, what tells whether that has changed, and its place in a shard.

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
        labels: (N,) int64 in 0..K-1.
        classes: K names.
        given: the split that the source puts each image into, or None; () if it gives none.
        groups: what keeps images together in the split; () if there are none.
        files: the N files, or ().
        pixels: (N, H, W, C) uint8, or None.
        key: tells apart contents where there are pixels; files are told apart by their entries.
        unlabelled: files beside the labelled ones that have no label.
    """

    names: Sequence[str]
    labels: np.ndarray
    classes: tuple[str, ...]
    given: Sequence[str | None] = ()
    groups: Sequence[str] = ()
    files: Sequence[FileEntry] = ()
    pixels: np.ndarray | None = None
    key: str = ""
    unlabelled: Sequence[str] = ()


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
    """Returns class names in order: as numbers if all are numbers, else by letters.

    >>> class_order({"10", "9"}), class_order({"b", "a"})
    (('9', '10'), ('a', 'b'))
    """
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def root_of(data: str) -> Path:
    """Returns the path that the user named."""
    return Path(data).expanduser()
