"""One IDX file, the format of MNIST and its family, with or without gzip.

A head of four bytes (0, 0, type, number of dimensions), the dimensions as big-endian uint32, then
the values (http://yann.lecun.com/exdb/mnist). The head is compared with the length of the file
before anything is read or unpacked, and images are read a block at a time.

Shape letters: N images or labels, M images of a block, H height, W width.
"""

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from ravine.core.errors import DataError
from ravine.data.pixel_array import rows_of_block

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_VALUES = 2**33
_MOST_DIMENSIONS = 4
_DEFLATE = 1032  # times that deflate can shrink at most (zlib's manual)
_GZIP = b"\x1f\x8b"
_TORN = (OSError, EOFError, MemoryError, zlib.error)


@dataclass(frozen=True, slots=True)
class IdxHeader:
    """What an IDX file says that it holds.

    Attributes:
        path: of the file.
        packed: whether it is compressed with gzip, whatever its name.
        dtype: of the values.
        shape: of the array.
    """

    path: Path
    packed: bool
    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def start(self) -> int:
        """Bytes before the first value."""
        return 4 + 4 * len(self.shape)

    @property
    def length(self) -> int:
        """Bytes of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_idx_header(path: Path) -> IdxHeader:
    """Returns the head of an IDX file, compared with the length of the file.

    Raises:
        DataError: the file is missing, torn, or no IDX file.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        with _open(path, packed) as file:
            head = file.read(4 + 4 * _MOST_DIMENSIONS)
        size = path.stat().st_size
    except _TORN as error:
        raise _unreadable(path, error) from None
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise DataError(f"{path} is no IDX file; it may be torn or something else, load it again")
    dimensions = head[3]
    if not 1 <= dimensions <= _MOST_DIMENSIONS:
        raise DataError(f"{path} is no IDX file: it says that it has {dimensions} dimensions")
    if len(head) < 4 + 4 * dimensions:
        raise DataError(f"{path} is torn: its head is cut off")
    shape = struct.unpack(f">{dimensions}I", head[4 : 4 + 4 * dimensions])
    found = IdxHeader(path, packed, np.dtype(_TYPES[head[2]]), shape)
    _refuse_other_length(found, size)
    if packed and not _length_fits_trailer(found):
        # Torn, or of several parts, which is rare: the whole file tells, at the cost of unpacking.
        for _ in _values(found, 1 << 20):
            pass
    return found


def _length_fits_trailer(header: IdxHeader) -> bool:
    """Returns whether the last bytes of a gzip, its length modulo 2^32, are as the head says."""
    with header.path.open("rb") as file:
        file.seek(-4, 2)
        (length,) = struct.unpack("<I", file.read(4))
    return length == (header.start + header.length) % 2**32


def _refuse_other_length(header: IdxHeader, size: int) -> None:
    values = (size - header.start) // header.dtype.itemsize
    possible = size * _DEFLATE if header.packed else size - header.start
    lies = header.length > possible if header.packed else header.length != possible
    if lies or math.prod(header.shape) > _MOST_VALUES:
        held = f"{size:,} packed bytes" if header.packed else f"{values} values"
        raise DataError(f"{header.path} is torn: {held} for the shape {header.shape}")


def _unreadable(path: Path, error: BaseException) -> DataError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DataError(f"{path} cannot be read: {why}; load it again")


def _open(path: Path, packed: bool) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if packed else path.open("rb")


def read_idx(path: Path) -> np.ndarray:
    """Returns the array in an IDX file, such as (N, H, W) of images or (N,) of labels.

    Raises:
        DataError: it is missing, torn, or holds something else.
    """
    header = read_idx_header(path)
    blocks = list(_values(header, header.length))
    content = b"".join(blocks)
    array = np.frombuffer(content, dtype=header.dtype).reshape(header.shape)
    return array.astype(header.dtype.newbyteorder("="), copy=False)


def idx_images(header: IdxHeader) -> Iterator[np.ndarray]:
    """Yields the images of an IDX file of unsigned bytes as blocks (M, H, W) uint8.

    Raises:
        DataError: it is torn.
    """
    row = math.prod(header.shape[1:])
    for content in _values(header, rows_of_block(row) * row):
        yield np.frombuffer(content, np.uint8).reshape(-1, *header.shape[1:])


def _values(header: IdxHeader, step: int) -> Iterator[bytes]:
    """Yields the bytes of the values, `step` at a time; refuses a file of another length."""
    path, left = header.path, header.length
    try:
        with _open(path, header.packed) as file:
            file.read(header.start)
            while left:
                content = file.read(min(step, left))
                left -= len(content)
                if len(content) < step and left:
                    raise DataError(
                        f"{path} is torn: {header.length - left} of {header.length} bytes are there"
                    )
                yield content
            if file.read(1):
                raise DataError(f"{path} is torn: more values than the shape {header.shape}")
    except _TORN as error:
        raise _unreadable(path, error) from None
