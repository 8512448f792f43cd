"""Labels in an array: numbers, text, or one-hot rows.

Shape letters: N images, K classes.
"""

from collections.abc import Sequence

import numpy as np

from ravine.core.errors import DataError
from ravine.data.sources.stored_array import StoredArray, described, read_array

_LONGEST = 1024  # bytes of a label as text


def label_values(array: StoredArray, count: int) -> np.ndarray:
    """Returns the labels of `count` images: (N,) of whole numbers or text, or (N, K) of 0 and 1.

    Raises:
        DataError: the array does not label them.
    """
    shape, dtype = array.shape, array.dtype
    columns = tuple(side for side in shape[1:] if side != 1)  # PCam has (N, 1, 1, 1)
    if not shape or shape[0] != count or len(columns) > 1 or 0 in columns:
        raise _no_labels(array, count)
    if columns:
        return _rows_of_labels(array)
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


def _rows_of_labels(array: StoredArray) -> np.ndarray:
    """Returns rows of 0 and 1, (N, K) uint8."""
    if array.dtype.kind not in "iufb":
        raise _no_labels(array, array.shape[0])
    found = []
    for block in array.blocks():
        rows = block.reshape(len(block), -1)
        odd = rows[(rows != 0) & (rows != 1)]
        if odd.size:
            raise DataError(
                f"{array.path}: {array.name} {array.shape} holds {odd[0]:g}; rows of labels are of "
                "0 and 1, so keep one column of class numbers, or make the shares 0 or 1"
            )
        found.append(rows.astype(np.uint8))
    return np.concatenate(found)


def one_form(values: Sequence[np.ndarray], *, asked: str, source: str) -> list[np.ndarray]:
    """Returns the labels of all splits in one form: classes (N,), where each row has one 1.

    Args:
        values: of each split, (N,) or (N, K).
        asked: `labels_per_image`.
        source: the file, for errors.

    Raises:
        DataError: one label an image is asked for, and a row has several or none; or the splits
            have different numbers of columns.
    """
    rows = [one for one in values if one.ndim == 2]
    if not rows:
        return list(values)
    if len(rows) < len(values) or len({one.shape[1] for one in rows}) > 1:
        raise DataError(f"{source}: the labels of its splits have different forms; make them equal")
    one_each = all((one.sum(1) == 1).all() for one in rows)
    if asked == "one" and not one_each:
        raise DataError(
            f"{source}: an image has several labels or none; leave out --labels-per-image one, or "
            "keep one column"
        )
    if one_each and asked != "several":
        return [one.argmax(1).astype(np.int64) for one in rows]
    return rows


def labelled_classes(
    array: StoredArray, values: np.ndarray, names: np.ndarray | None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the K classes, and the labels: (N,) int64, or (N, K) uint8.

    Args:
        array: of the labels, for messages.
        values: (N,) whole numbers or text, or (N, K) of 0 and 1.
        names: (K,) for labels that are numbers from 0, or None.

    Raises:
        DataError: there are fewer names than labels.
    """
    if values.ndim == 2:
        return _column_names(array, values.shape[1], names), values
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


def _column_names(array: StoredArray, columns: int, names: np.ndarray | None) -> tuple[str, ...]:
    """Returns the names of K columns of labels: by `names`, else their numbers from 0."""
    if names is None:
        return tuple(str(index) for index in range(columns))
    found = tuple(_text(name) for name in names.reshape(-1))
    if len(found) != columns:
        raise DataError(
            f"{array.path}: `classes` has {len(found)} names, and the labels {columns} columns"
        )
    return found


def _text(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
