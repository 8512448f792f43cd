"""Which columns of a table hold the image, the label, the split and the group.

A column is taken because the user names it, because it has a usual name, because its values are
names of images that there are, or because no other is left; else it is asked for.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ravine.core.errors import DataError
from ravine.data.settings import DataSettings
from ravine.data.sources.several_labels import FLAGS
from ravine.data.sources.table_file import Table, is_image_name, listed, shown_path
from ravine.data.sources.table_splits import NONE, say_splits, split_columns

_USUAL = {
    "image": "image file filename file_name filepath file_path image_path path image_name image_id "
    "image_file img img_path name id uuid id_code img_name img_id imagename imageid photo photo_id "
    "picture fname",
    "label": "label class target category class_name label_name species breed y class_id classid "
    "class_label label_id labels diagnosis dx choice",
}
IMAGE_COLUMNS = _USUAL["image"].split()
LABEL_COLUMNS = _USUAL["label"].split()
_LAST_WORDS = frozenset({"label", "labels", "class", "classname", "category", "diagnosis"})
_SAMPLE = 200  # rows

Finder = Callable[[str], str | None]
"""Returns the image of a name, or None."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table that are used, by name.

    Attributes:
        image: names of files.
        label: labels; "" where they are one-hot.
        one_hot: the classes, each a column of 0 and 1; () where there is a label column.
        split: of the split, or "".
        group: of the group, or "".
        blank_is_no: whether an empty cell of `one_hot` says no.
    """

    image: str
    label: str
    one_hot: tuple[str, ...]
    split: str
    group: str
    blank_is_no: bool = False


def find_column(
    path: Path, columns: Sequence[str], given: str | None, known: Sequence[str], what: str
) -> str:
    """Returns the column that was given, or the first that has one of the known names.

    Raises:
        DataError: there is none; the message names the columns that there are.
    """
    if given is not None:
        if given in columns:
            return given
        raise DataError(f"{shown_path(path)} has no column {given!r}; it has: {listed(columns)}")
    found = _known(columns, known)
    if found:
        return found[0]
    raise _without_usual_name(path, columns, what)


def _without_usual_name(path: Path, columns: Sequence[str], what: str) -> DataError:
    return DataError(
        f"{shown_path(path)}: no column has a usual name for the {what}; name it with "
        f"--{what}-column, one of: {listed([name for name in columns if name])}"
    )


def _known(columns: Sequence[str], known: Sequence[str]) -> list[str]:
    """Returns the columns with a known name, in the order of `known`."""
    lower = {_plain(name): name for name in reversed(columns)}
    found = (lower.get(_plain(name)) for name in known)
    return list(dict.fromkeys(name for name in found if name is not None))


def _plain(name: str) -> str:
    """Returns a name without what people put between its words: `LabelName` is `label_name`."""
    return re.sub(r"[ _-]", "", name.lower().removeprefix("#"))


def has_usual_columns(columns: Sequence[str]) -> bool:
    """Returns whether a column has a usual name for the image, and another for the label."""
    image, label = _known(columns, IMAGE_COLUMNS), _known(columns, LABEL_COLUMNS)
    return bool(image and label)


def is_usual_label(column: str) -> bool:
    """Returns whether a column has a usual name for the label, or one that ends so."""
    return bool(_known([column], LABEL_COLUMNS)) or _ending_as_label([column]) is not None


def is_without_header(table: Table, find: Finder) -> bool:
    """Returns whether the first line of a table names an image that there is, and no column."""
    if not table.has_header or _known(table.columns, [*IMAGE_COLUMNS, *LABEL_COLUMNS]):
        return False
    return any(name and find(name) is not None for name in table.columns)


def choose_columns(table: Table, settings: DataSettings, find: Finder) -> Columns:
    """Returns the columns of a table.

    Args:
        table: of the labels.
        settings: may name columns.
        find: finds an image by its name.

    Raises:
        DataError: a column is not there, or none or several may be meant.
    """
    sample = _sample(table)
    group = settings.group_column or ""
    if group:
        find_column(table.path, table.columns, group, (), "group")
    image = _image_column(table, settings.image_column, sample, find)
    label = settings.label_column
    if label is None:
        taken = {image, group, settings.split_column}
        label = next((n for n in _known(table.columns, LABEL_COLUMNS) if n != image), None)
        label = label or _ending_as_label([n for n in table.columns if n not in taken])
    else:
        find_column(table.path, table.columns, label, (), "label")
    split = _split_column(table, settings, sample, taken={image, label or "", group})
    if label is not None:
        return Columns(image, label, (), split, group)
    rest = [
        name
        for name in table.columns
        if name not in (image, split, group) and not _is_index(name, sample[name])
    ]
    # Columns that only look like splits were refused, or the user passes over them.
    rest = [name for name in rest if name not in split_columns(table.columns, taken=set())]
    rest = [name for name in rest if any(sample[name]) or not _is_empty(table, name)]
    if len(rest) == 1:
        return Columns(image, rest[0], (), split, group)
    flags = [sample[name] for name in rest]
    if len(rest) > 1 and _are_one_hot(flags):
        return Columns(image, "", tuple(rest), split, group)
    if len(rest) > 1 and _are_marks(flags):
        return Columns(image, "", tuple(rest), split, group, blank_is_no=True)
    raise _without_usual_name(table.path, table.columns, "label")


def _ending_as_label(columns: Sequence[str]) -> str | None:
    """Returns the one column whose last word is a usual name, as that of `Finding Labels`."""
    last = {name: re.split(r"[^a-z]+", name.lower())[-1] for name in columns}
    found = [name for name in columns if last[name] in _LAST_WORDS]
    return found[0] if len(found) == 1 else None


def _sample(table: Table) -> dict[str, list[str]]:
    """Returns the first values of each column."""
    rows = [fields for _, fields in islice(table.rows(), _SAMPLE)]
    return {name: [row[index] for row in rows] for index, name in enumerate(table.columns)}


def _image_column(
    table: Table, given: str | None, sample: dict[str, list[str]], find: Finder
) -> str:
    if given is not None:
        return find_column(table.path, table.columns, given, (), "image")
    known = _known(table.columns, IMAGE_COLUMNS)
    for name in known:
        if _are_images(sample[name][:3], find):
            return name
    if len(table.columns) > 1:
        ending = [name for name in table.columns if all(map(is_image_name, sample[name]))]
        fitting = [name for name in table.columns if _are_images(sample[name][:3], find)]
        fitting = [name for name in fitting if name in ending] or fitting
        if len(fitting) > 1:  # numbers may be names of images, but a label comes more often
            distinct = {name: len(set(sample[name])) for name in fitting}
            fitting = [name for name in fitting if distinct[name] == max(distinct.values())]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting and not known and len(ending) == 1:
            return ending[0]
    if known:
        return known[0]
    return find_column(table.path, table.columns, None, IMAGE_COLUMNS, "image")


def _are_images(values: Iterable[str], find: Finder) -> bool:
    values = list(values)
    try:
        return all(value and find(value) is not None for value in values)
    except DataError:  # several fit: they are names of images
        return True


def _split_column(
    table: Table, settings: DataSettings, sample: dict[str, list[str]], *, taken: set[str]
) -> str:
    if settings.split_column == NONE:
        return ""
    if settings.split_column is not None:
        return find_column(table.path, table.columns, settings.split_column, (), "split")
    found = split_columns(table.columns, taken=taken)
    found += [
        name
        for name in table.columns
        if name not in taken and name not in found and say_splits(sample[name])
    ]
    if len(found) > 1:
        raise DataError(
            f"{table.name}: the columns {listed(found, 60)} may all give the split; say which: "
            f"--split-column {found[0][:30]}, or none"
        )
    return found[0] if found else ""


def _is_empty(table: Table, column: str) -> bool:
    at = table.index(column)
    return not any(fields[at] for _, fields in table.rows())


def _is_index(name: str, values: Sequence[str]) -> bool:
    """Returns whether a column is the row's number, as pandas writes it."""
    unnamed = not name or name.lower().startswith("unnamed: ") or name.lower() == "index"
    return unnamed and all(value.isdecimal() or not value for value in values)


def _are_one_hot(columns: Sequence[Sequence[str]]) -> bool:
    """Returns whether columns are of 0 and 1; one share between them is named by its line later."""
    if not any(2 * sum(map(_is_flag, values)) > len(values) for values in columns):
        return False
    return all(_is_binary(values) or all(map(_is_share, values)) for values in columns)


def _are_marks(columns: Sequence[Sequence[str]]) -> bool:
    """Returns whether columns hold a mark, such as x or 1, where a label applies, or nothing."""
    return len({value.lower() for values in columns for value in values} - {""}) == 1 and all(
        any(values) and all(map(_is_flag, filter(None, values))) for values in columns
    )


def _is_share(value: str) -> bool:
    if not value:  # among 0 and 1 it is a mistake, which is named by its line
        return True
    try:
        return 0 <= float(value) <= 1
    except ValueError:
        return value.lower() in FLAGS


def _is_flag(value: str) -> bool:
    return value.lower() in FLAGS


def _is_binary(values: Sequence[str]) -> bool:
    return all(map(_is_flag, values))
