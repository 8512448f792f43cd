"""Labels in an array: numbers, text, or one-hot rows.

Shape letters: N images, K classes.
"""

import numpy as np

from ravine.core.errors import DataError
from ravine.data.sources.stored_array import StoredArray, described, read_array

_LONGEST = 1024  # bytes of a label as text


def label_values(array: StoredArray, count: int) -> np.ndarray:
    """Returns the labels of `count` images, (N,) of whole numbers or text.

    Raises:
        DataError: the array does not label them with one class each.
    """
    shape, dtype = array.shape, array.dtype
    columns = tuple(side for side in shape[1:] if side != 1)  # PCam has (N, 1, 1, 1)
    if not shape or shape[0] != count or len(columns) > 1 or 0 in columns:
        raise _no_labels(array, count)
    if columns:
        return _one_hot(array)
    if dtype.kind not in "iufbUS" or dtype.itemsize > _LONGEST:
        raise _no_labels(array, count)
    values = read_array(array).reshape(-1)
    if dtype.kind == "S":
        return _decoded(array, values)
    if dtype.kind == "f":
        return _whole(array, values)
    return values


def _no_labels(array: StoredArray, count: int) -> DataError:
    return DataError(
        f"{array.path}: {described(array)} does not label {count} images; "
        "wanted is one number or text for each"
    )


def _decoded(array: StoredArray, values: np.ndarray) -> np.ndarray:
    try:
        return np.char.decode(values, "utf-8")
    except UnicodeDecodeError:
        raise DataError(f"{array.path}: {array.name} holds text that is no UTF-8") from None


def _whole(array: StoredArray, values: np.ndarray) -> np.ndarray:
    """Returns floats as whole numbers."""
    if not (np.isfinite(values).all() and (np.abs(values) < 2**31).all()):
        raise DataError(f"{array.path}: {array.name} holds values that are no labels")
    whole = values.astype(np.int64)
    if not np.array_equal(whole, values):
        odd = values[whole != values][0]
        raise DataError(
            f"{array.path}: {array.name} holds {odd:g}, which is no class; labels are whole "
            "numbers or text"
        )
    return whole


def _one_hot(array: StoredArray) -> np.ndarray:
    """Returns the column of the one 1 in each row, (N,) int64."""
    if array.dtype.kind not in "iufb":
        raise _no_labels(array, array.shape[0])
    found = []
    for block in array.blocks():
        ones = block.reshape(len(block), -1) == 1
        if not ((ones | (block.reshape(ones.shape) == 0)).all() and (ones.sum(1) == 1).all()):
            raise DataError(
                f"{array.path}: {array.name} {array.shape} gives an image several labels or "
                "none; Ravine trains one class per image, so keep one column"
            )
        found.append(ones.argmax(1))
    return np.concatenate(found).astype(np.int64)


def labelled_classes(
    array: StoredArray, values: np.ndarray, names: np.ndarray | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the K classes, and the labels (N,) int64 as indices of them.

    Args:
        array: of the labels, for messages.
        values: (N,) whole numbers or text.
        names: (K,) for labels that are numbers from 0, or None.

    Raises:
        DataError: there are fewer names than labels.
    """
    if names is None or values.dtype.kind not in "iu":
        found, labels = np.unique(values, return_inverse=True)
        return tuple(str(value) for value in found), labels.astype(np.int64)
    if names.ndim != 1:
        raise DataError(f"{array.path}: the names of the classes have the shape {names.shape}")
    classes = tuple(_text(name) for name in names)
    if len(classes) <= values.max() or values.min() < 0:
        raise DataError(
            f"{array.path}: `classes` has {len(classes)} names, labels reach {values.max()}"
        )
    return classes, values.astype(np.int64)


def _text(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
