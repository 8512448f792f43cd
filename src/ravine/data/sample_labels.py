"""Labels of a sample submission: how it writes the network's classes.

Labels that are none of the classes are refused, not guessed.

A judge compares texts. Where a sample says `zebra`, or counts its classes from 1, class names or
numbers from 0 would be wrong in every row and accepted in silence.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from ravine.core.errors import DataError
from ravine.data.matching import plain_spelling, unique_spellings
from ravine.data.sample_submission import SampleSubmission

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


def sample_labels(sample: SampleSubmission, classes: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Returns the label of each of K classes as a sample writes it, and in a clause its kind.

    Raises:
        DataError: the sample's labels are none of the network's.
    """
    count = len(classes)
    numbers = {str(index) for index in range(count)}
    counts = sample.values <= numbers and not any(name.isdecimal() for name in classes)
    if counts and "0" in sample.values:
        kind = f"class numbers, 0 for {classes[0]!r} to {count - 1} for {classes[-1]!r}"
        return tuple(str(index) for index in range(count)), kind
    if shorter := _without_zeros(sample, classes):
        return tuple(shorter), "class names as numbers, without zeros in front"
    unique = unique_spellings(classes)
    spelled = {unique[k]: v for v in sorted(sample.values) if (k := plain_spelling(v)) in unique}
    known = {
        value for value in sample.values if value in classes or plain_spelling(value) in unique
    }
    refuse_foreign_labels(sample.path, sample.values, classes, known)
    labels = tuple(
        name if name in sample.values else spelled.get(index, name)
        for index, name in enumerate(classes)
    )
    return labels, "class names"


def _without_zeros(sample: SampleSubmission, classes: Sequence[str]) -> list[str]:
    """Returns classes such as 00016 as 16, where the sample writes numbers so; else none."""
    if not all(name.isdecimal() for name in classes):
        return []
    shorter = [str(int(name)) for name in classes]
    written = sample.values <= set(shorter) and not sample.values <= set(classes)
    return shorter if written and len(set(shorter)) == len(classes) else []
