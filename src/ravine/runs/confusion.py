"""The confusion matrix in evaluation.json: of many classes only what is not 0 is written.

Up to 100 classes it is a list of rows, as ever. Above, it is {"sparse": [...]} with a text for each
true class: "12:40 17:3" says that 40 images of it were taken for class 12, and 3 for class 17.

Shape letters: K classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ravine.core.errors import RunError

_DENSE = 100  # classes; the file grows with their square


def packed_confusion(table: np.ndarray) -> list[list[int]] | dict[str, list[str]]:
    """Returns a confusion matrix as evaluation.json holds it.

    Args:
        table: (K, K) int64, true classes in rows.

    >>> packed_confusion(np.array([[2, 1], [0, 3]]))
    [[2, 1], [0, 3]]
    """
    if len(table) <= _DENSE:
        rows: list[list[int]] = table.tolist()
        return rows
    return {
        "sparse": [
            " ".join(f"{column}:{row[column]}" for column in np.flatnonzero(row)) for row in table
        ]
    }


def dense_confusion(packed: Any) -> np.ndarray:
    """Returns the matrix (K, K) int64 that `packed_confusion` packed, or an older list of rows.

    Raises:
        RunError: it is neither.
    """
    try:
        if not isinstance(packed, Mapping):
            table = np.array(packed, dtype=np.int64)
        else:
            rows = packed["sparse"]
            table = np.zeros((len(rows), len(rows)), np.int64)
            for label, text in enumerate(rows):
                for pair in text.split():
                    column, _, count = pair.partition(":")
                    table[label, int(column)] = int(count)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError):
        raise RunError("evaluation.json: its confusion matrix cannot be read") from None
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise RunError("evaluation.json: its confusion matrix is not square")
    return table


def has_square_confusion(evaluation: dict[str, Any]) -> bool:
    """Returns whether the confusion of evaluation.json has a row and a column for each class.

    One that holds only what is not 0 is written out as a table.
    """
    if "mean_ap" in evaluation:
        return True  # of several labels, which are not confused with each other
    table, classes = evaluation.get("confusion"), len(evaluation["classes"])
    if isinstance(table, dict):
        try:
            table = evaluation["confusion"] = dense_confusion(table).tolist()
        except RunError:
            return False
    return (
        isinstance(table, list)
        and len(table) == classes
        and all(
            isinstance(row, list)
            and len(row) == classes
            and all(type(n) is int and 0 <= n < 2**53 for n in row)
            for row in table
        )
    )
