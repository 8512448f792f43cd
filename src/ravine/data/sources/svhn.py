"""SVHN's cropped digits and their like: MATLAB files with images X and labels y.

    train_32x32.mat   test_32x32.mat   extra_32x32.mat

X is (H, W, C, N) uint8 and y (N, 1) (Netzer et al., "Reading digits in natural images with
unsupervised feature learning", 2011). There the digit 0 has the label 10; it is called 0 here.
Extra images are left out of a folder, as they are a set of their own: name the file to train on it.

Shape letters: N images, M images of a block, H height, W width, C channels.
"""

import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.pixel_array import rows_of_block
from ravine.data.settings import DataSettings
from ravine.data.sources.array_pairs import ArrayPair, PairedArrays, read_array_pairs
from ravine.data.sources.flat_folder import flat_names
from ravine.data.sources.format_library import format_library
from ravine.data.sources.name_words import ORDER, split_in, words
from ravine.data.sources.stored_array import DEFLATE, short_reason
from ravine.data.understanding import Understood

_IMAGES, _LABELS = ("X", "x", "images", "data"), ("y", "Y", "labels", "label")
_TYPES = {"logical": "bool", "single": "float32", "double": "float64"}


@dataclass(frozen=True, slots=True)
class MatArray:
    """A variable of a MATLAB file, with its last axis first.

    Attributes:
        path: of the file.
        name: of the variable.
        shape: with the images first.
        dtype: of its values.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields blocks (M, …); MATLAB's files are read a variable at a time.

        Raises:
            DataError: the file is torn.
        """
        values = np.asarray(mat_variable(self.path, self.name))
        values = np.moveaxis(values, -1, 0) if values.ndim == 4 else values
        if values.shape != self.shape:
            raise DataError(f"{self.path} is torn: {self.name} has the shape {values.shape}")
        step = rows_of_block(math.prod(self.shape[1:]) * self.dtype.itemsize)
        for start in range(0, len(values), step):
            yield np.ascontiguousarray(values[start : start + step])


def is_svhn(path: Path) -> bool:
    """Returns whether a path is a .mat file, or a folder with .mat files and no folders."""
    if path.is_file():
        return path.suffix.lower() == ".mat"
    return any(name.lower().endswith(".mat") for name in flat_names(path))


def read_svhn(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of a MATLAB file, or of a folder's files for training and for testing.

    Raises:
        DataError: a file is torn, or has no X and y.
    """
    channels = settings.channel_count
    if path.is_file():
        pairs = [_pair(path, None)]
        return _digits(read_array_pairs("svhn", PairedArrays(tuple(pairs)), channels=channels))
    files = sorted(p for p in path.iterdir() if p.suffix.lower() == ".mat" and p.is_file())
    extra = [file for file in files if "extra" in words(file.stem)]
    splits = {file: split_in(file.stem) for file in files if file not in extra}
    named = [split for split in splits.values() if split]
    if len(named) < len(splits) or len(set(named)) < len(named):
        raise DataError(
            f"{path}: the names of the .mat files do not say which is for training; wanted are "
            "train and test in them, each once, or name one file"
        )
    pairs = [_pair(file, split) for file, split in splits.items()]
    pairs.sort(key=lambda pair: ORDER.index(pair.split or "train"))
    if not pairs:
        pairs, extra = [_pair(extra[0], None)], []
    found = _digits(read_array_pairs("svhn", PairedArrays(tuple(pairs)), channels=channels))
    assert found.understood is not None
    left_out = tuple(f"{file.name} (name it to train on it)" for file in extra)
    return replace(found, understood=replace(found.understood, left_out=left_out))


def _digits(found: Collection) -> Collection:
    """Returns the collection with the label 10 called 0, where the labels are SVHN's 1 to 10."""
    numbers = set(found.classes)
    assert found.understood is not None
    if "10" not in numbers or not numbers <= {str(n) for n in range(1, 11)}:
        return found
    digits = [int(name) % 10 for name in found.classes]
    order = sorted(digits)
    labels = np.array([order.index(digit) for digit in digits], np.int64)[found.labels]
    names = tuple(str(digit) for digit in order)
    understood = Understood(
        "svhn", f"the array y, {len(names)}, where 10 is the digit 0", found.understood.splits
    )
    return replace(found, classes=names, labels=labels, understood=understood)


def _pair(path: Path, split: str | None) -> ArrayPair:
    variables = _variables(path)
    labels = next((name for name in _LABELS if name in variables), None)
    pixels = _image_array(path, variables)
    if pixels is None or labels is None:
        shown = ", ".join(list(variables)[:6]) or "none"
        raise DataError(f"{path} has the variables {shown}; wanted are X (H, W, C, N) and y (N, 1)")
    shape, dtype = variables[labels]
    flat = MatArray(path, labels, shape, dtype)
    return ArrayPair(split, pixels, flat)


def mat_images(path: Path) -> list[MatArray]:
    """Returns the array of images of a MATLAB file; none where it has none.

    Raises:
        DataError: the file is torn.
    """
    found = _image_array(path, _variables(path))
    return [] if found is None else [found]


def _image_array(
    path: Path, variables: Mapping[str, tuple[tuple[int, ...], np.dtype]]
) -> MatArray | None:
    name = next((name for name in _IMAGES if name in variables), None)
    if name is None:
        return None
    shape, dtype = variables[name]
    if len(shape) != 4:
        raise DataError(f"{path}: {name} has the shape {shape}; wanted is (H, W, C, N)")
    return MatArray(path, name, (shape[3], *shape[:3]), dtype)


def _variables(path: Path) -> Mapping[str, tuple[tuple[int, ...], np.dtype]]:
    """Returns shape and type of each variable, without reading its values."""
    scipy_io = format_library("scipy.io", "mat", path)
    found = {}
    for name, shape, kind in _called(path, scipy_io.whosmat, str(path)):
        try:
            dtype = np.dtype(_TYPES.get(kind, kind))
        except TypeError:
            continue  # text, cells and structures
        length = math.prod(shape) * dtype.itemsize
        # Whole numbers of 8 bytes may lie in the file as bytes.
        if length > 8 * DEFLATE * path.stat().st_size:
            raise DataError(f"{path} is torn: {name} {shape} is larger than the file can hold")
        found[name] = (tuple(int(side) for side in shape), dtype)
    return found


def mat_variable(path: Path, name: str) -> Any:
    """Returns one variable of a MATLAB file.

    Raises:
        DataError: the file is torn, or has no such variable.
    """
    scipy_io = format_library("scipy.io", "mat", path)
    found = _called(path, scipy_io.loadmat, str(path), variable_names=[name])
    if name not in found:
        raise DataError(f"{path} has no variable {name}; load it again")
    return found[name]


def _called(path: Path, read: Any, *arguments: Any, **options: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(*arguments, **options)
    except NotImplementedError:
        raise DataError(
            f"{path} is a MATLAB file of version 7.3; save it with -v7, or as .npz or HDF5"
        ) from None
    # On damaged files scipy's reader raises many types: struct.error, ValueError, TypeError, …
    except Exception as error:
        reason = short_reason(error)
        raise DataError(f"{path} cannot be read as a MATLAB file: {reason}") from None
