"""The split that a column of a table gives each row: followed, or refused by name.

`split` with train, TRAIN_SET, tr, or development and evaluation; 0, 1, 2 for train, validation,
test (as CelebA and WILDS have it); `is_valid`, `is_test` and `is_train` with true and false; `fold`
with numbers is refused.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from ravine.core.errors import DataError
from ravine.data.sources.split_words import (
    UNLABELLED,
    by_neighbours,
    is_development,
    split_of,
    split_word,
)
from ravine.data.sources.table_file import listed
from ravine.data.understanding import shortened

NONE = "none"
_NAMES = frozenset(
    {"split", "set", "subset", "partition", "usage", "phase", "split_name", "data_split"}
    | {"dataset_split", "train_test", "eval_partition", "train_val_test", "set_type", "data_set"}
)
_FOLDS = re.compile(
    r"(cv|k?folds?)(_?(id|idx|index|number|no|\d+))?|cv_fold|k_fold|stratified_fold"
)
_OF_WILDS = frozenset({"id", "ood"})  # id_val: from the domains of the training images
_YES = frozenset({"true", "1", "yes", "t", "y", "1.0"})
_NO = frozenset({"false", "0", "no", "f", "n", "0.0", ""})
_NUMBERS = {"0": "train", "1": "validation", "2": "test"}
_OF_YES = {  # what a yes says, and a no: None leaves it to Ravine
    "valid": ("validation", "train"),
    "validation": ("validation", "train"),
    "val": ("validation", "train"),
    "train": ("train", "test"),
    "training": ("train", "test"),
    "test": ("test", "train"),
    "testing": ("test", "train"),
    "holdout": ("test", "train"),
}
_SWITCH = re.compile(r"(?:is_|in_|is|in)?(?P<what>[a-z]+?)(?P<of>_(?:image|img|set|sample))?")


def split_columns(columns: Sequence[str], *, taken: set[str]) -> list[str]:
    """Returns the columns whose name says that they give a split or a fold."""
    return [name for name in columns if name not in taken and _is_split_name(name)]


def _is_split_name(name: str) -> bool:
    plain = _plain(name)
    return plain in _NAMES or bool(_FOLDS.fullmatch(plain)) or _switch(plain) is not None


def _plain(name: str) -> str:
    return re.sub(r"[\s.-]+", "_", name.strip().lower())


def _switch(plain: str) -> tuple[str, str] | None:
    found = _SWITCH.fullmatch(plain)
    if found is None or (found["of"] and found["what"].startswith("val")):
        return None  # is_valid_image says that an image is in order
    return _OF_YES.get(found["what"])


def read_splits(
    table: str, column: str, values: Sequence[str], lines: Sequence[int]
) -> list[str | None]:
    """Returns the split of each of N rows.

    Args:
        table: for messages.
        column: its name.
        values: of the N rows.
        lines: of the N rows, in the file.

    Raises:
        DataError: the values are no splits; the message names the column and some of them.

    >>> read_splits("t.csv", "split", ["0", "0", "1", "2"], [2, 3, 4, 5])
    ['train', 'train', 'validation', 'test']
    """
    distinct = sorted(set(values))
    by_value = _by_value(_plain(column), distinct)
    if by_value is None:
        raise _strange(table, column, distinct)
    for line, value in zip(lines, values, strict=True):
        if by_value.get(value) is None:
            raise DataError(
                f"{table}, line {line}: the column {shortened(column, 40)!r} says "
                f"{shortened(value, 40)!r}; wanted is train, validation or test; to pass over the "
                "column: --split-column none"
            )
    return [by_value[value] for value in values]


def _by_value(column: str, distinct: Sequence[str]) -> Mapping[str, str | None] | None:
    """Returns the split that each value says; None if all are of another kind."""
    lower = {value: value.lower() for value in distinct}
    switch = _switch(column)
    if switch is not None and set(lower.values()) <= _YES | _NO:
        return {value: switch[0] if low in _YES else switch[1] for value, low in lower.items()}
    numbers = {re.sub(r"\.0$", "", value) for value in distinct}
    if numbers == set(_NUMBERS) and not _FOLDS.fullmatch(column):
        return {value: _NUMBERS[re.sub(r"\.0$", "", value)] for value in distinct}
    words = {value: split for value in distinct if (split := _word(value)) is not None}
    return {**dict.fromkeys(distinct), **by_neighbours(words)} if words else None


def _word(value: str) -> str | None:
    split = "validation" if is_development(value) else split_of(value)
    if split is None and (found := split_word(value)) is not None and set(found[1]) <= _OF_WILDS:
        split = found[0]
    return None if split == UNLABELLED else split


def _strange(table: str, column: str, distinct: Sequence[str]) -> DataError:
    shown = f"the column {shortened(column, 40)!r} says {listed(distinct, 40)}"
    if _FOLDS.fullmatch(_plain(column)):
        return DataError(
            f"{table}: {shown}: folds, which are no splits; to pass over them: --split-column "
            f"none; to keep each on one side: --group-column {shortened(column, 30)}"
        )
    return DataError(
        f"{table}: {shown}, which are no splits; write train, validation and test, or pass over "
        "the column: --split-column none"
    )


def development_said(values: Iterable[str], splits: Iterable[str | None]) -> str:
    """Returns a note where rows for development are trained on, or "".

    >>> development_said(["dev", "eval"], ["train", "test"])
    ' (dev is trained on)'
    """
    trained = {v for v, s in zip(values, splits, strict=True) if s == "train" and is_development(v)}
    return f" ({shortened(min(trained), 20)} is trained on)" if trained else ""


def say_splits(values: Sequence[str]) -> bool:
    """Returns whether all values are words for splits.

    >>> say_splits(["TRAIN", "TEST", "TEST"]), say_splits(["train", "bus"])
    (True, False)
    """
    return all(_word(value) is not None for value in set(values))
