"""What a loader's data set keeps of its examples, and whether reading one changes it.

An augmentation that writes into what the data set holds, and not into a copy, leaves its holes,
shifts and scales there: each epoch adds to those of the one before.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from ravine.checks.context import CheckContext
from ravine.core.preserve_random import preserve_random
from ravine.findings.finding import Finding

_EXAMPLES, _TIMES, _SECONDS = 8, 3, 1.0  # that are read, how often, and within which time

Row = Tensor | np.ndarray


def data_set_of(batches: Any) -> tuple[Any, Sequence[int]] | None:
    """Returns a loader's data set without subsets around it, and the indices that it is read at.

    None where `batches` has no data set that is indexed by numbers.
    """
    rows: Any = getattr(batches, "dataset", None)
    if not hasattr(rows, "__getitem__") or not hasattr(rows, "__len__"):
        return None
    indices: Sequence[int] = range(len(rows))
    while isinstance(rows, Subset):
        indices = [rows.indices[n] for n in indices]
        rows = rows.dataset
    return rows, indices


def columns_of(rows: Any) -> list[Any]:
    """Returns the tensors, arrays and lists that a data set keeps, as long as itself."""
    try:
        held, count = vars(rows), len(rows)
    except TypeError:  # slots, or no length
        return []
    found = [one for value in held.values() for one in _flat(value)]
    return [one for one in found if len(one) == count]


def _flat(value: Any) -> list[Any]:
    if isinstance(value, tuple):
        return [one for item in value for one in _flat(item)]
    if isinstance(value, Mapping):
        return [one for item in value.values() for one in _flat(item)]
    is_row = isinstance(value, list) or (isinstance(value, Tensor | np.ndarray) and value.ndim > 0)
    return [value] if is_row else []


def rows_at(columns: Sequence[Any], index: int) -> list[Row]:
    """Returns what each column keeps of an example, where that is a tensor or an array."""
    found = [column[index] for column in columns]
    return [one for one in found if isinstance(one, Tensor | np.ndarray) and one.ndim > 0]


def check_stored(context: CheckContext) -> Iterator[Finding]:
    """Yields a data set whose own examples are others after they are read; they are put back."""
    found = data_set_of(context.source)
    columns = columns_of(found[0]) if found is not None else []
    if found is None or not columns or not len(found[1]):
        return
    rows, indices = found
    count = min(_EXAMPLES, len(indices))
    asked = [int(indices[n * len(indices) // count]) for n in range(count)]
    with preserve_random():
        changed = _changed(context.source, rows, columns, asked)
    if changed:
        yield Finding(
            severity="critical",
            code="batch-changed",
            seen=f"{changed} of {count} examples are others in the data set itself after they were "
            "read",
            cause="the augmentation writes into what the data set keeps (image[...] = 0, sub_, "
            "mul_, np.add(..., out=image)): each epoch adds to what the ones before have left",
            cure="copy before writing: image = self.images[index].clone()",
            evidence={"changed": float(changed), "examples": float(count)},
        )


def _changed(loader: Any, rows: Any, columns: Sequence[Any], asked: Sequence[int]) -> int:
    """Returns how many examples a reading changes, of those that were read before.

    The first reading may fill a cache.
    """
    collate, began = getattr(loader, "collate_fn", None), time.monotonic()
    try:
        _read(rows, asked, collate)
        if time.monotonic() - began > _SECONDS / _TIMES:
            return 0
        kept = [[(row, _copy(row)) for row in rows_at(columns, n)] for n in asked]
        for _ in range(_TIMES):
            _read(rows, asked, collate)
    except Exception:  # the user's data set, read otherwise than it was made for
        return 0
    differ = [any(not _same(row, old) for row, old in pairs) for pairs in kept]
    for row, old in (pair for pairs in kept for pair in pairs):
        if not _same(row, old):
            _put_back(row, old)
    return sum(differ)


def _read(rows: Any, asked: Sequence[int], collate: Any) -> None:
    items = [rows[n] for n in asked]
    if collate is not None:
        collate(items)


def _copy(row: Row) -> Row:
    return row.clone() if isinstance(row, Tensor) else row.copy()


def _put_back(row: Row, old: Row) -> None:
    if isinstance(row, Tensor) and isinstance(old, Tensor):
        row.copy_(old)
    elif isinstance(row, np.ndarray):
        row[...] = old


def _same(row: Row, old: Row) -> bool:
    """Returns whether a view of what is kept is what it was; not a number equals itself."""
    if isinstance(row, Tensor) and isinstance(old, Tensor):
        return torch.equal(row.nan_to_num(), old.nan_to_num())
    return bool(np.array_equal(np.asarray(row), np.asarray(old)))
