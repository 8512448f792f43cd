"""Columns whose values are no classes: amounts, and texts that are others for each image."""

import math
from collections.abc import Sequence

from ravine.core.errors import DataError
from ravine.data.sources.table_columns import is_usual_label
from ravine.data.sources.table_file import Table
from ravine.data.understanding import shortened

_FEW = 3  # different labels that may be classes, whatever they are


def refuse_amounts(table: Table, column: str, labels: Sequence[str]) -> None:
    """Raises `DataError` if labels are amounts, as of a regression: fractions, mostly different."""
    distinct = {label for label in labels if label}
    if len(distinct) <= max(_FEW, len(labels) // 2) or not all(map(_is_number, distinct)):
        return
    fraction = next((one for one in sorted(distinct) if not float(one).is_integer()), None)
    if fraction is not None:
        raise DataError(
            f"{table.name}: the column {shortened(column, 40)!r} holds amounts such as {fraction}, "
            f"{len(distinct):,} of them, and no classes; name another: --label-column, or sort "
            "them into classes"
        )


def refuse_texts(table: Table, column: str, labels: Sequence[str]) -> None:
    """Raises `DataError` if every row says something else, in a column that is not called so."""
    many = len(labels) > _FEW and len(set(labels)) == len(labels)
    if many and not is_usual_label(column):
        raise DataError(
            f"{table.name}: the column {shortened(column, 40)!r} says something else for each of "
            f"{len(labels):,} images, as {shortened(labels[0], 40)!r}: no classes; name another: "
            "--label-column"
        )


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
