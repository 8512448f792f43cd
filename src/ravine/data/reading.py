"""How other data is read for a network: with the columns that its training data had."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ravine.data.location import expand_path
from ravine.data.settings import DataSettings

_TABLES = frozenset({".csv", ".tsv", ".txt"})
_COLUMNS = ("image_column", "label_column")


def settings_like(
    trained: Mapping[str, Any],
    *,
    data: str,
    labels: str | None = None,
    given: Mapping[str, str | None],
) -> DataSettings:
    """Returns the settings to read `data` by: columns that are given, else those of the training.

    A column of the training that the table does not have is left to be found by its name.

    Args:
        trained: settings of the training, from its recipe; empty where there is none.
        data: path of the source.
        labels: path of a table with the labels, or None.
        given: columns that the user named for this data; None for those that he did not.

    Raises:
        SettingError: a value does not fit.
    """
    values: dict[str, Any] = {"data": data, "labels": labels}
    columns = _header(expand_path(labels or data))
    for name in _COLUMNS:
        before = trained.get(name)
        if given.get(name) is not None:
            values[name] = given[name]
        elif before is not None and before in columns:
            values[name] = before
    if columns and trained.get("label_separator") is not None:
        values["label_separator"] = trained["label_separator"]
    return DataSettings.of(values)


def column_like(trained: Mapping[str, Any], path: Path, given: str | None) -> str | None:
    """Returns the column with the file names of a table to predict; None to find it by its name."""
    before = trained.get("image_column")
    return given or (before if before in _header(path) else None)


def _header(path: Path) -> frozenset[str]:
    """Returns the names in the first line of a table; none where it is no table."""
    if path.suffix.lower() not in _TABLES or not path.is_file():
        return frozenset()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = next((line for line in file if line.strip()), "")
        separator = max(",;\t", key=line.count)
        return frozenset(name.strip() for name in next(csv.reader([line], delimiter=separator), ()))
    except (OSError, UnicodeDecodeError, csv.Error):
        return frozenset()  # the reader of the table says what is wrong with it
