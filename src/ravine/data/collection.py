"""What a source finds: images not yet decoded, with labels and what is known of their split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """An image file: its path, and what tells whether it has changed."""

    path: str
    size: int
    modified: int


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
