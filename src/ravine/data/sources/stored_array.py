"""An array in a file whose values are not read yet, whatever the format of the file.

Shape letters: N rows, M rows of a block.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from ravine.core.errors import DataError

DEFLATE = 1032
"""Times that deflate can shrink at most (zlib's manual): what claims to be longer is torn."""


class StoredArray(Protocol):
    """What a file says that an array holds, and its values a block at a time."""

    @property
    def path(self) -> Path:
        """Of the file."""
        ...

    @property
    def name(self) -> str:
        """In the file."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Of its values."""
        ...

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields the rows, blocks (M, …).

        Raises:
            DataError: the file is torn.
        """
        ...


def described(array: StoredArray) -> str:
    """Returns an array's name, shape and type, for messages."""
    return f"{array.name} {array.shape} {array.dtype}"


def read_array(array: StoredArray) -> np.ndarray:
    """Returns a whole array, (N,) or (N, …); meant for labels and names, which are small.

    Raises:
        DataError: the file is torn, or the array is a single value.
    """
    if not array.shape:
        raise DataError(f"{array.path}: {array.name} is one value, wanted is a list")
    return np.concatenate([*array.blocks(), np.empty((0, *array.shape[1:]), array.dtype)])


def short_reason(error: BaseException) -> str:
    """Returns what an error of a format's library says, in one short line."""
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    line = " ".join(why.split())
    return (line if len(line) <= 80 else f"{line[:79]}…") or type(error).__name__
