"""Labels of a sample submission that are none of the network's classes: refused, not guessed.

A judge compares texts. Where a sample says `zebra`, or counts its classes from 1, class names or
numbers from 0 would be wrong in every row and accepted in silence.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from ravine.core.errors import DataError

# What stands in samples where no label is meant.
_PLACEHOLDERS = frozenset(
    {
        "",
        "0",
        "-1",
        "?",
        "-",
        "unknown",
        "none",
        "null",
        "nan",
        "na",
        "n/a",
        "label",
        "class",
        "target",
    }
)
_SHOWN = 5


def refuse_foreign_labels(
    path: Path, values: Collection[str], classes: Sequence[str], known: Collection[str]
) -> None:
    """Raises `DataError` unless the labels of a sample can be those of the network.

    Args:
        path: of the sample.
        values: its labels.
        classes: K names.
        known: those of `values` that are class names in some spelling.

    Placeholders such as an empty cell, -1 or x pass, and so does a sample with one class name.
    """
    named = {value for value in values if not _is_placeholder(value.strip().lower())}
    if known or not named:
        return
    numbers = {int(value) for value in named if value.isdecimal() and value.isascii()}
    shown = ", ".join(repr(value) for value in sorted(named)[:_SHOWN])
    if len(numbers) == len(named) and 0 not in numbers and max(numbers) <= len(classes):
        raise DataError(
            f"{path} holds the labels {shown} and no 0: classes may be counted from 0 or from 1 "
            f"there; write class names into it ({_names(classes)}), or numbers of which one is 0"
        )
    raise DataError(
        f"{path} holds the labels {shown}, and none is a class of the network "
        f"({_names(classes)}); write a class name, or nothing, into its rows"
    )


def _is_placeholder(value: str) -> bool:
    return value in _PLACEHOLDERS or (len(value) == 1 and not value.isdigit())


def _names(classes: Sequence[str]) -> str:
    more = ", …" if len(classes) > _SHOWN else ""
    return ", ".join(repr(name) for name in classes[:_SHOWN]) + more
