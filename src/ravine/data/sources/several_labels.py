"""Tables in which an image has more than one label: told apart from classes of several words.

Ravine trains one label an image. A combination is not made a class in silence.
"""

import re
from collections.abc import Sequence

from ravine.core.errors import DataError
from ravine.data.sources.table_file import listed
from ravine.data.understanding import shortened

_ALWAYS = re.compile(r"[|;]")
_MAYBE = re.compile(r"[,\s]+")
_YES = frozenset({"1", "1.0", "true"})
_NO = frozenset({"0", "0.0", "false", "-1", "-1.0"})


def combined_label(labels: Sequence[str]) -> int | None:
    """Returns the index of the first label that is several, or None.

    `a|b`, `a;b` and `[...]` are. With commas or blanks it depends on the others: the parts are
    labels of their own too ("scab rust" next to "scab" and "rust"), or there are fewer parts than
    labels, as combinations have; "golden retriever" next to "red fox" is one label.

    >>> combined_label(["scab", "rust", "scab rust"])
    2
    >>> combined_label(["red fox", "golden retriever"])
    """
    distinct = sorted(set(labels))
    several = {label for label in distinct if _ALWAYS.search(label) or label.startswith("[")}
    if not several:
        parts = {label: [p for p in _MAYBE.split(label) if p] for label in distinct}
        known = set(distinct)
        words = {part for label in distinct for part in parts[label]}
        longer = [label for label in distinct if len(parts[label]) > 1]
        several = {label for label in longer if all(part in known for part in parts[label])}
        if not several and longer and len(words) < len(distinct):
            several = set(longer)
    return next((index for index, label in enumerate(labels) if label in several), None)


def refuse_combined(table: str, column: str, labels: Sequence[str], lines: Sequence[int]) -> None:
    """Raises `DataError` if a label column holds several labels for an image.

    Args:
        table: for messages.
        column: its name.
        labels: of N rows.
        lines: of the N rows, in the file.
    """
    index = combined_label(labels)
    if index is not None:
        raise DataError(
            f"{table}, line {lines[index]}: {shortened(labels[index], 40)!r} is several labels, "
            "and Ravine trains one an image; if each combination is a class: "
            f"--label-column {shortened(column, 30)}"
        )


def one_hot_label(table: str, columns: Sequence[str], values: Sequence[str], line: int) -> str:
    """Returns the column that is 1 in a row.

    Args:
        table: for messages.
        columns: K names.
        values: of the K columns in the row.
        line: of the row.

    Raises:
        DataError: none is, several are, or a value is neither 0 nor 1.
    """
    lower = [value.lower() for value in values]
    found = [name for name, value in zip(columns, lower, strict=True) if value in _YES]
    if len(found) == 1 and all(value in _YES or value in _NO for value in lower):
        return found[0]
    for name, value in zip(columns, lower, strict=True):
        if value not in _YES and value not in _NO:
            raise DataError(
                f"{table}, line {line}: the column {shortened(name, 40)!r} says "
                f"{shortened(value, 20)!r}; wanted is 0 or 1, or the column with the label: "
                "--label-column"
            )
    if not found:
        raise DataError(
            f"{table}, line {line}: none of the columns {listed(columns, 60)} is 1; remove the "
            "line, or name the column with the label: --label-column"
        )
    raise DataError(
        f"{table}, line {line}: {listed(found, 60)} are all 1: several labels, and Ravine trains "
        f"one an image; to train one of them against the rest: --label-column {found[0][:30]}"
    )
