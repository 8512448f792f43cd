"""A .npz file with arrays of images and labels."""

import hashlib
import zipfile
import zlib
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import Collection

# (split, images, labels): the names in common use; None leaves the split to Ravine.
_NAMES: tuple[tuple[str | None, str, str], ...] = (
    ("train", "x_train", "y_train"),
    ("validation", "x_val", "y_val"),
    ("test", "x_test", "y_test"),
    ("train", "train_images", "train_labels"),
    ("validation", "val_images", "val_labels"),
    ("test", "test_images", "test_labels"),
    (None, "images", "labels"),
    (None, "x", "y"),
    (None, "X", "y"),
)


def read_npz(path: Path) -> Collection:
    """Returns the images of a .npz: x_train and y_train and the like, or images and labels.

    Images are (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels, bytes in 0..255 or
    floats in 0..1; labels are whole numbers or text; `classes` may name the classes.

    Raises:
        DataError: an array is missing, holds objects, or has another shape.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise DataError(f"no file {path}") from None
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as .npz without pickled objects: {error}") from None
    parts = [(s, x, y) for s, x, y in _NAMES if x in arrays and y in arrays]
    if not parts:
        raise DataError(
            f"{path} has the arrays {', '.join(arrays) or 'none'}; "
            "wanted are x_train and y_train (x_test, y_test), or images and labels"
        )
    pixels = [_as_bytes(path, x, arrays[x]) for _, x, _ in parts]
    values = np.concatenate(
        [_flat(path, y, arrays[y], len(p)) for (_, _, y), p in zip(parts, pixels, strict=True)]
    )
    classes, labels = _classes(path, values, arrays.get("classes"))
    counts = [(split, len(p)) for (split, _, _), p in zip(parts, pixels, strict=True)]
    given = [split for split, count in counts for _ in range(count)]
    joined = np.concatenate(pixels)
    return Collection(
        names=[f"{split or 'images'}[{i}]" for split, count in counts for i in range(count)],
        labels=labels.astype(np.int64),
        classes=classes,
        given_splits=given if any(given) else (),
        pixels=joined,
        content_key=hashlib.sha256(joined.tobytes()).hexdigest(),
    )


def _classes(
    path: Path, values: np.ndarray, names: np.ndarray | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the classes, and the labels (N,) as indices of them."""
    if names is None or values.dtype.kind not in "iu":
        found, labels = np.unique(values, return_inverse=True)
        return tuple(str(value) for value in found), labels
    classes = tuple(str(name) for name in names)
    if len(classes) <= values.max() or values.min() < 0:
        raise DataError(f"{path}: `classes` has {len(classes)} names, labels reach {values.max()}")
    return classes, values


def _as_bytes(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Returns an array of images as (N, H, W, C) uint8."""
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim == 4 and array.shape[3] not in (1, 3) and array.shape[1] in (1, 3):
        array = array.transpose(0, 2, 3, 1)
    if array.ndim != 4 or array.shape[3] not in (1, 3) or not len(array):
        raise DataError(f"{path}: {name} has the shape {array.shape}; wanted is (N, H, W, C)")
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise DataError(f"{path}: {name} holds {array.dtype}; wanted are bytes, or floats in 0..1")
    low, high = float(array.min()), float(array.max())
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return (array * 255).round().astype(np.uint8)
    if low >= 0 and high <= 255:
        return array.astype(np.uint8)
    raise DataError(f"{path}: {name} reaches from {low:g} to {high:g}; wanted is 0..255 or 0..1")


def _flat(path: Path, name: str, array: np.ndarray, count: int) -> np.ndarray:
    """Returns an array of labels as (N,)."""
    flat = array.reshape(-1)
    if len(flat) != count or flat.dtype.kind not in "iuUb":
        raise DataError(f"{path}: {name} {array.shape} does not label {count} images")
    return flat
