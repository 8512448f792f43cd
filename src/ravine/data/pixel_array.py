"""Images of a source that keeps them as arrays: read in order, a block at a time.

Nothing here holds all images: a block goes from the file to the decoded cache and is dropped.

Shape letters: N images, M images of a block, H height, W width, C channels.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol, final, runtime_checkable

import numpy as np

BLOCK_BYTES = 1 << 23
"""Bytes of pixels that a reader has in memory at a time."""

Blocks = Callable[[], Iterator[np.ndarray]]
"""Begins to read from the first image: yields blocks (M, H, W, C) uint8."""


@runtime_checkable
class PixelArray(Protocol):
    """N images of one size, in order; an array of them is one."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields images (H, W, C) uint8."""
        ...


@final
class BlockArray:
    """Images that are read a block at a time, anew for each iteration.

    Args:
        shape: (N, H, W, C).
        blocks: reads them.
    """

    def __init__(self, shape: tuple[int, int, int, int], blocks: Blocks) -> None:
        self.shape = shape
        self._blocks = blocks

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yields N images (H, W, C) uint8.

        Raises:
            DataError: the file is torn, or holds values that are no pixels.
        """
        for block in self._blocks():
            assert block.shape[1:] == self.shape[1:], (block.shape, self.shape)
            yield from block


def joined(parts: Sequence[PixelArray]) -> PixelArray:
    """Returns the images of all parts as one array; they have one size."""
    if len(parts) == 1:
        return parts[0]
    count = sum(len(part) for part in parts)

    def blocks() -> Iterator[np.ndarray]:
        for part in parts:
            for image in part:
                yield image[None]

    height, width, channels = parts[0].shape[1:]
    return BlockArray((count, height, width, channels), blocks)


def rows_of_block(bytes_per_row: int) -> int:
    """Returns how many images of `bytes_per_row` a block holds, at least 1."""
    return max(1, BLOCK_BYTES // max(1, bytes_per_row))


def files_key(paths: Sequence[Path], reading: str = "") -> str:
    """Returns what identifies the content of files: their paths, sizes and times of change.

    Args:
        paths: of the files; each exists.
        reading: what else decides which pixels are read from them.
    """
    digest = hashlib.sha256(reading.encode())
    for path in paths:
        facts = path.stat()
        name = os.fsencode(path)
        digest.update(b"\0%s\0%d\0%d" % (name, facts.st_size, facts.st_mtime_ns))
    return digest.hexdigest()
