"""Images to predict out of arrays: .npy, .npz, IDX, HDF5, MATLAB. No labels are needed.

Of a file or folder with the images of several splits those for the test are taken; where no name
says which, the message names them. An image's name is its row: `x_test[0]`.

Shape letters: N images.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.pixel_array import BlockArray, PixelArray, files_key, rows_of_block
from ravine.data.sources.array_images import image_layout
from ravine.data.sources.array_pairs import IMAGE_WORDS, LABEL_WORDS
from ravine.data.sources.flat_folder import flat_names
from ravine.data.sources.hdf5 import hdf5_arrays
from ravine.data.sources.mnist_family import idx_image_pixels, is_idx, unlabelled_idx_files
from ravine.data.sources.name_words import split_in, words
from ravine.data.sources.npz_file import array_names, npy_array
from ravine.data.sources.stored_array import StoredArray, short_reason
from ravine.data.sources.svhn import mat_images
from ravine.data.sources.table_file import listed
from ravine.data.sources.value_range import Scale, as_bytes, common_scale, range_of
from ravine.data.understanding import Understood

_LEAST_DIMENSIONS = 3  # of images (N, H, W)


@dataclass(frozen=True, slots=True)
class _Images:
    """An array of images that may be meant.

    Attributes:
        name: of the array, or of its file where that has one only.
        path: of the file.
        pixels: makes the images ready to be read.
    """

    name: str
    path: Path
    pixels: Callable[[], PixelArray]


@dataclass(frozen=True, slots=True)
class NpyFile:
    """The array in a .npy file, mapped: its values are read a block at a time.

    Attributes:
        path: of the file.
        name: of the file without its ending.
        shape: of the array.
        dtype: of its values.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields the rows, blocks (M, …)."""
        values = _mapped(self.path)
        step = rows_of_block(math.prod(self.shape[1:]) * self.dtype.itemsize)
        for start in range(0, self.shape[0], step):
            yield np.asarray(values[start : start + step])


def is_array_source(path: Path) -> bool:
    """Returns whether a path is a file of arrays, or a folder that holds such files only."""
    if path.is_file():
        return path.suffix.lower() in _READERS or is_idx(path)
    return path.is_dir() and (bool(_files(path)) or is_idx(path))


def read_unlabelled_arrays(path: Path, channels: int | None = None) -> Collection:
    """Returns the images of a file of arrays, or of the files in a folder.

    Args:
        path: of the file or folder.
        channels: that the network takes; None where it is not known.

    Raises:
        DataError: a file is torn, or none or several arrays may be meant.
    """
    found = list(_images_at(path, channels))
    if not found:
        raise DataError(f"{path} holds no array of images (N, H, W), (N, H, W, C) or (N, C, H, W)")
    chosen = _one(path, found)
    pixels = chosen.pixels()
    others = tuple(one.name for one in found if one is not chosen)
    return Collection(
        names=[f"{chosen.name}[{row}]" for row in range(len(pixels))],
        labels=np.zeros(len(pixels), np.int64),
        classes=("",),
        pixels=pixels,
        content_key=files_key([chosen.path], f"unlabelled {chosen.name}"),
        understood=Understood("arrays", f"none, the images of {chosen.name}", left_out=others),
    )


def _one(path: Path, found: Sequence[_Images]) -> _Images:
    """Returns the only array, or the only one for the test."""
    for chosen in (found, [one for one in found if split_in(one.name) == "test"]):
        if len(chosen) == 1:
            return chosen[0]
    names = listed([one.name for one in found])
    raise DataError(
        f"{path} has images in {names}; keep those to predict in a file alone, or with `test` in "
        "their name"
    )


def _images_at(path: Path, channels: int | None) -> Iterator[_Images]:
    if is_idx(path):
        for file in unlabelled_idx_files(path):
            yield _Images(file.name, file, lambda file=file: idx_image_pixels(file))  # type: ignore[misc]
        return
    for file in [path] if path.is_file() else _files(path):
        arrays = _READERS[file.suffix.lower()](file)
        named = [one for one in arrays if set(words(one.name)) & IMAGE_WORDS]
        others = [one for one in arrays if not set(words(one.name)) & LABEL_WORDS]
        for array in named or others:
            if len(array.shape) >= _LEAST_DIMENSIONS and not _holds_labels(file, len(arrays)):
                name = array.name if len(arrays) > 1 or path.is_file() else file.stem
                yield _Images(name, file, lambda array=array: _pixels(array, channels))  # type: ignore[misc]


def _holds_labels(file: Path, arrays: int) -> bool:
    return arrays == 1 and bool(set(words(file.stem)) & LABEL_WORDS)


def _files(folder: Path) -> list[Path]:
    """Returns the files of arrays in a folder that holds no folders."""
    return [folder / n for n in flat_names(folder) if Path(n).suffix.lower() in _READERS]


def _pixels(array: StoredArray, channels: int | None) -> PixelArray:
    layout = image_layout(array, channels)
    decided: list[Scale] = []

    def blocks() -> Iterator[np.ndarray]:
        if not decided:
            named = f"{array.path}: {array.name}"
            decided.append(common_scale([range_of(named, array.dtype, array.blocks)]))
        for block in array.blocks():
            yield layout.arranged(as_bytes(block, decided[0]))

    return BlockArray(layout.shape, blocks)


def _npz(path: Path) -> list[StoredArray]:
    return [npy_array(path, name) for name in array_names(path)]


def _npy(path: Path) -> list[StoredArray]:
    values = _mapped(path)
    return [NpyFile(path, path.stem, values.shape, values.dtype)]


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, mode="r")
    # A damaged header raises ValueError, EOFError, SyntaxError, TypeError and others.
    except Exception as error:
        raise DataError(f"{path} cannot be read as .npy: {short_reason(error)}") from None


_READERS: dict[str, Callable[[Path], Sequence[StoredArray]]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".h5": hdf5_arrays,
    ".hdf5": hdf5_arrays,
    ".mat": mat_images,
}
