"""The arrays in a .npz, by their headers; values are read a block at a time, never pickled ones.

A .npz is a zip of .npy files (numpy.lib.format). A header is compared with the length of its
member before anything is unpacked.

Shape letters: M rows of a block.
"""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from ravine.core.errors import DataError
from ravine.data.pixel_array import rows_of_block
from ravine.data.sources.stored_array import short_reason

_TORN = (
    OSError,
    ValueError,
    EOFError,
    MemoryError,
    RuntimeError,  # an encrypted member
    NotImplementedError,  # an unknown way to compress
    KeyError,
    SyntaxError,
    TypeError,
    RecursionError,
    OverflowError,
    zipfile.BadZipFile,
    tokenize.TokenError,
    zlib.error,
)
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_MOST_MEMBERS = 10_000


@dataclass(frozen=True, slots=True)
class NpyArray:
    """What an array in a .npz says that it holds.

    Attributes:
        path: of the .npz.
        name: of the array.
        shape: of the array.
        dtype: of its values.
        by_columns: stored in Fortran's order.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    by_columns: bool

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields the rows of the array, blocks (M, …); one stored by columns is read whole.

        Raises:
            DataError: the file is torn, or has been changed.
        """
        count, row = self.shape[0], math.prod(self.shape[1:]) * self.dtype.itemsize
        by_columns = self.by_columns and len(self.shape) > 1
        step = max(1, count if by_columns else min(count, rows_of_block(row)))
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.name}.npy") as file:
                if _header(file) != (self.shape, self.by_columns, self.dtype):
                    raise ValueError("it has been changed while it was read")
                for start in range(0, count, step):
                    rows = min(step, count - start)
                    values = np.frombuffer(_exactly(file, rows * row), self.dtype)
                    shape = (rows, *self.shape[1:])
                    yield values.reshape(shape, order="F" if by_columns else "C")
                file.read(1)  # at the end the sum of the member is compared
        except _TORN as error:
            raise _unreadable(self.path, error) from None


def array_names(path: Path) -> list[str]:
    """Returns the names of the arrays in a .npz.

    Raises:
        DataError: it is missing, torn, or no .npz.
    """
    try:
        with path.open("rb") as file:
            if file.read(6) == npy.MAGIC_PREFIX:
                raise DataError(
                    f"{path} is one array, a .npy; a .npz holds images and labels: "
                    "numpy.savez(file, images=…, labels=…)"
                )
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except FileNotFoundError:
        raise DataError(f"no file {path}") from None
    except _TORN as error:
        raise _unreadable(path, error) from None
    if len(names) > _MOST_MEMBERS:
        raise DataError(f"{path} holds {len(names)} files: it is no .npz of images and labels")
    return [name.removesuffix(".npy") for name in names if name.endswith(".npy")]


def npy_array(path: Path, name: str) -> NpyArray:
    """Returns one array by its header.

    Raises:
        DataError: it is torn, encrypted, lies about its length, or holds objects.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as file:
            shape, by_columns, dtype = _header(file)
            length = archive.getinfo(f"{name}.npy").file_size - file.tell()
    except _TORN as error:
        raise _unreadable(path, error) from None
    if dtype.hasobject:
        raise DataError(
            f"{path} cannot be read as .npz without pickled objects: {name} holds Python objects; "
            "save it as numbers or text"
        )
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != length:
        raise DataError(f"{path} is torn: {name} {shape} of {dtype} has {length:,} bytes")
    return NpyArray(path, name, shape, dtype, by_columns)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of .npy")
    shape, by_columns, dtype = _HEADERS[version](file)
    return shape, by_columns, dtype


def _exactly(file: IO[bytes], length: int) -> bytearray:
    content = bytearray(length)
    view, done = memoryview(content), 0
    while done < length:
        part = file.read(min(length - done, 1 << 20))
        if not part:
            raise EOFError("the file ends too early")
        view[done : done + len(part)] = part
        done += len(part)
    return content


def _unreadable(path: Path, error: BaseException) -> DataError:
    reason = short_reason(error)
    return DataError(f"{path} cannot be read as .npz without pickled objects: {reason}")
