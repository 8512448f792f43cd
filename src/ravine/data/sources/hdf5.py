"""HDF5 files with images and labels, in one file or in several, as PCam's.

    camelyonpatch_level_2_split_train_x.h5 (dataset x)   …_train_y.h5 (y)   …_valid_…   …_test_…
    images.h5 with x_train, y_train, x_test, y_test, or images and labels

PCam: Veeling et al., "Rotation equivariant CNNs for digital pathology", 2018; its masks are left
out. Links out of a file are not followed.

Shape letters: N images, M images of a block.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.pixel_array import rows_of_block
from ravine.data.settings import DataSettings
from ravine.data.sources.array_pairs import (
    IMAGE_WORDS,
    LABEL_WORDS,
    PairedArrays,
    array_pairs,
    read_array_pairs,
)
from ravine.data.sources.flat_folder import flat_names
from ravine.data.sources.format_library import format_library
from ravine.data.sources.name_words import SPLIT_WORDS, split_in, words
from ravine.data.sources.stored_array import DEFLATE, short_reason

_ENDINGS = (".h5", ".hdf5", ".h5.gz", ".hdf5.gz")
_LARGEST_CHUNK = 1 << 28  # bytes that HDF5 unpacks at a time


@dataclass(frozen=True, slots=True)
class H5Array:
    """A dataset of an HDF5 file.

    Attributes:
        path: of the file.
        name: for messages, and the split that it says.
        key: in the file.
        shape: of the dataset.
        dtype: of its values.
    """

    path: Path
    name: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields the rows of the dataset, blocks (M, …).

        Raises:
            DataError: the file is torn.
        """
        h5py = format_library("h5py", "hdf5", self.path)
        step = rows_of_block(math.prod(self.shape[1:]) * self.dtype.itemsize)
        try:
            with h5py.File(self.path, "r") as file:
                dataset = file[self.key]
                if dataset.shape != self.shape:
                    raise ValueError("it has been changed while it was read")
                for start in range(0, self.shape[0], step):
                    yield np.asarray(dataset[start : start + step])
        # Damaged files raise OSError, RuntimeError, KeyError, ValueError, TypeError and others.
        except Exception as error:
            raise _unreadable(self.path, error) from None


def is_hdf5(path: Path) -> bool:
    """Returns whether a path is an HDF5 file, or a folder with such files and no folders."""
    if path.is_file():
        return path.name.lower().endswith(_ENDINGS)
    return any(name.lower().endswith(_ENDINGS) for name in flat_names(path))


def read_hdf5(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of an HDF5 file, or of a folder's files.

    Raises:
        DataError: a file is torn, or the datasets cannot be images and labels.
    """
    files = [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.lower().endswith(_ENDINGS))
    arrays: dict[str, H5Array] = {}
    for array in (array for file in files for array in hdf5_arrays(file)):
        if array.name in arrays:
            other = arrays[array.name].path.name
            raise DataError(f"{array.path} and {other} both hold {array.name}; name one of them")
        arrays[array.name] = array
    found = array_pairs(path, list(arrays), arrays.__getitem__)
    masks = tuple(name for name in arrays if not set(words(name)) & (IMAGE_WORDS | LABEL_WORDS))
    pairs = PairedArrays(found.pairs, (*found.left_out, *masks))
    return read_array_pairs(
        "hdf5",
        pairs,
        labels_per_image=settings.labels_per_image,
        channels=settings.channel_count,
    )


def hdf5_arrays(path: Path) -> Sequence[H5Array]:
    """Returns the datasets of a file; the split that only the file's name says is in theirs.

    Raises:
        DataError: it is packed or torn, or its datasets lie in other files.
    """
    if path.suffix.lower() == ".gz":
        raise DataError(f"{path} is packed; unpack it first: gunzip {path.name}")
    h5py = format_library("h5py", "hdf5", path)
    try:
        with h5py.File(path, "r") as file:
            return [
                _array(path, key, file[key])
                for key in file
                if isinstance(file.get(key, getlink=True), h5py.HardLink)
                and isinstance(file[key], h5py.Dataset)
            ]
    except DataError:
        raise
    except Exception as error:
        raise _unreadable(path, error) from None


def _array(path: Path, key: str, dataset: Any) -> H5Array:
    shape, dtype = dataset.shape, dataset.dtype
    if dataset.is_virtual or dataset.external:
        raise DataError(f"{path}: {key} lies in other files, which are not followed")
    possible = dataset.id.get_storage_size() * (DEFLATE if dataset.chunks else 1)
    chunk = math.prod(dataset.chunks or (1,)) * dtype.itemsize
    if shape and (math.prod(shape) * dtype.itemsize > possible or chunk > _LARGEST_CHUNK):
        raise DataError(f"{path} is torn: {key} {shape} is larger than the file can hold")
    split = split_in(path.stem)
    own = any(word in SPLIT_WORDS for word in words(key))
    name = key if own or split is None else f"{split}_{key}"
    return H5Array(path, name, key, tuple(shape or ()), dtype)


def _unreadable(path: Path, error: BaseException) -> DataError:
    return DataError(f"{path} cannot be read as HDF5: {short_reason(error)}; load it again")
