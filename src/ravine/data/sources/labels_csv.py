"""A table with file names and labels, and the folder of these images.

Rows are read once, one after another. An image is trained on once: rows that say the same again are
counted, rows that contradict each other are refused.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.data.collection import Collection, FileEntry
from ravine.data.settings import DataSettings
from ravine.data.sources.class_names_file import (
    NamedClasses,
    named_classes,
    named_columns,
)
from ravine.data.sources.class_tree import folder_of, read_split_tree
from ravine.data.sources.folders import collected, collected_sets
from ravine.data.sources.image_index import ImageIndex
from ravine.data.sources.label_values import refuse_amounts, refuse_texts
from ravine.data.sources.listing import same_folders
from ravine.data.sources.partition_lists import Partition, partition_near
from ravine.data.sources.several_labels import (
    JOINT,
    choose_separation,
    has_one_each,
    one_hot_labels,
    separated,
)
from ravine.data.sources.split_words import UNLABELLED
from ravine.data.sources.table_columns import (
    IMAGE_COLUMNS,
    Columns,
    choose_columns,
    find_column,
    is_without_header,
)
from ravine.data.sources.table_file import (
    Table,
    begins_as_table,
    read_table_file,
    shown_path,
)
from ravine.data.sources.table_splits import NONE, development_said, read_splits
from ravine.data.understanding import Understood, shortened

__all__ = ["IMAGE_COLUMNS", "ImageIndex", "find_column", "is_table", "read_rows", "read_table"]

_NO_LABEL = frozenset({"nan", "<na>"})  # as pandas writes what is not there
_CONFIDENCE = "confidence"
_ABSENT = frozenset({"0", "0.0"})  # Open Images: a person saw that the label is not there
_ENDINGS = (".csv", ".tsv", ".tab")


def is_table(path: Path) -> bool:
    """Returns whether a path is a file with a table's ending, or a text with columns of images."""
    ending = path.suffix.lower()
    return path.is_file() and (ending in _ENDINGS or (ending == ".txt" and begins_as_table(path)))


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Returns the columns and rows of a CSV; it may have a byte-order mark, and `;` or tabs.

    Raises:
        DataError: the file is missing, empty, or no text.
    """
    table = read_table_file(path)
    columns = list(table.columns)
    return columns, [dict(zip(columns, fields, strict=True)) for _, fields in table.rows()]


@dataclass(slots=True)
class _Rows:
    """What N rows say: the image, the label, the split, the group; and their lines in the file.

    `written` is the image as the table has it, `names` its path below the folder; `absent` counts
    the rows that say that a label is not there.
    """

    names: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    absent: int = 0

    def add(self, name: str, written: str, said: tuple[str, str, str], line: int) -> None:
        label, split, group = said
        self.names.append(name)
        self.written.append(written)
        self.labels.append(label)
        self.splits.append(split)
        self.groups.append(group)
        self.lines.append(line)


def read_table(path: Path, folder: Path, settings: DataSettings) -> Collection:
    """Returns the images that the table `path` names, from `folder`.

    Raises:
        DataError: a column is missing, an image has no label or two of them, a label has no image,
            or the columns can be read in two ways.
    """
    table = read_table_file(path)
    if not folder.is_dir():
        raise DataError(f"no folder {folder} with the images of {shown_path(path)}")
    index = ImageIndex(folder)
    if is_without_header(table, index.find):
        numbers = tuple(str(number + 1) for number in range(len(table.columns)))
        table = replace(table, columns=numbers, has_header=False)
    columns = choose_columns(table, settings, index.find)
    unites = settings.labels_per_image == "several"
    rows, repeated = _without_repeats(table, columns, _read(table, columns, index), unites=unites)
    apart = None
    if not columns.split and settings.split_column is None:
        apart = partition_near(path, folder, index.find)
    splits, by = _splits(table, columns, rows, settings, apart)
    separator = _separator(table, columns, rows, settings)
    if separator is None or (columns.label and settings.labels_per_image != "several"):
        _refuse_missing_labels(table, rows, splits, several=separator is not None)
    found, said, of_label = _labelled(table, columns, index, rows, splits, separator)
    used = set(rows.names)
    without_row = [n for n in index.entries if n not in used and n not in index.copies]
    groups = [g for g, has in zip(rows.groups, of_label, strict=True) if has]
    return replace(
        found,
        groups=groups if columns.group else (),
        unlabelled=[*found.unlabelled, *without_row],
        understood=Understood(
            "table",
            f"{_said(table, columns)}, {len(found.classes):,}{said}",
            _splits_said(by, found.given_splits),
            tuple(_left_out(index, rows, repeated, len(without_row), separator)),
        ),
    )


def _read(table: Table, columns: Columns, index: ImageIndex) -> _Rows:
    """Returns the rows of the table, the image of each found in the folder."""
    # Without the column that has no name, as pandas writes the row's number: "" stands for none.
    at = {name: number for number, name in enumerate(table.columns) if name}
    image, label = at[columns.image], at.get(columns.label)
    split, group = at.get(columns.split), at.get(columns.group)
    classes = [at[name] for name in columns.one_hot]
    names = named_columns(table.path, columns.one_hot)
    sure = None if label is None else next((at[n] for n in at if n.lower() == _CONFIDENCE), None)
    found, missing = _Rows(), _Missing()
    for line, fields in table.rows():
        if sure is not None and sure != label and fields[sure] in _ABSENT:
            found.absent += 1
            continue
        name = index.find(fields[image]) if fields[image] else None
        if name is None:
            missing.add(line, fields[image])
            continue
        said = (
            JOINT.join(
                one_hot_labels(
                    table.name,
                    names,
                    [fields[i] for i in classes],
                    line,
                    blank_is_no=columns.blank_is_no,
                )
            )
            if label is None
            else ""
            if fields[label].lower() in _NO_LABEL
            else fields[label]
        )
        of_split = "" if split is None else fields[split]
        of_group = "" if group is None else fields[group]
        found.add(name, fields[image], (said, of_split, of_group), line)
    missing.refuse(table, index.folder)
    return found


@dataclass(slots=True)
class _Missing:
    """The rows whose image is not there: the first of them, and how many."""

    count: int = 0
    line: int = 0
    name: str = ""

    def add(self, line: int, name: str) -> None:
        if not self.count:
            self.line, self.name = line, name
        self.count += 1

    def refuse(self, table: Table, folder: Path) -> None:
        if self.count:
            many = (
                f"{self.count} labels have no image" if self.count > 1 else "a label has no image"
            )
            raise DataError(
                f"{table.name}: {many} in {shown_path(folder)}, the first "
                f"{shortened(self.name, 40)!r} in line {self.line}; add the images, remove the "
                "lines, or name the folder with --images"
            )


def _without_repeats(
    table: Table, columns: Columns, rows: _Rows, *, unites: bool
) -> tuple[_Rows, int]:
    """Returns the rows without those that repeat others, and their number.

    Args:
        table: for messages.
        columns: of it.
        rows: all of them.
        unites: whether the labels of several rows of one image are all its labels.

    Raises:
        DataError: two rows of one image differ in label, split or group, or name two images.
    """
    first: dict[str, int] = {}
    index_of: dict[str, int] = {}
    kept = _Rows(absent=rows.absent)
    all_said = zip(rows.labels, rows.splits, rows.groups, strict=True)
    for number, (name, said) in enumerate(zip(rows.names, all_said, strict=True)):
        label, split, group = said
        line = rows.lines[number]
        if name not in first:
            first[name], index_of[name] = number, len(kept.names)
            kept.add(name, rows.written[number], said, line)
            continue
        before = first[name]
        _refuse_two_folders(table, rows, before, number)
        at = index_of[name]
        if unites:
            kept.labels[at] = f"{kept.labels[at]}{JOINT}{label}"
            label = rows.labels[before]
        for what, one, other in (
            (columns.label or "the label", rows.labels[before], label),
            (columns.split, rows.splits[before], split),
            (columns.group, rows.groups[before], group),
        ):
            if one != other:
                raise DataError(
                    f"{table.name}: {shortened(name, 40)!r} is in line {rows.lines[before]} and "
                    f"again in line {line}, with {shortened(what, 20)} {shortened(one, 20)!r} and "
                    f"{shortened(other, 20)!r}; remove one of them{_or_unite(what, columns)}"
                )
    return kept, len(rows.names) - len(kept.names)


def _refuse_two_folders(table: Table, rows: _Rows, one: int, other: int) -> None:
    """Raises `DataError` if two rows found one image, and name two by their folders."""
    first, second = rows.written[one], rows.written[other]
    if first == second:
        return
    paths = [PurePosixPath(name.replace("\\", "/").casefold()) for name in (first, second)]
    if not same_folders(*paths):
        raise DataError(
            f"{table.name}: {shortened(first, 40)!r} in line {rows.lines[one]} and "
            f"{shortened(second, 40)!r} in line {rows.lines[other]} are two images, of which the "
            "folder of the images has one; name the folder above both: --images FOLDER"
        )


def _splits(
    table: Table,
    columns: Columns,
    rows: _Rows,
    settings: DataSettings,
    apart: Partition | None,
) -> tuple[list[str | None], str]:
    """Returns the split of each row, and where it comes from, in words.

    Without a column it is that of a file beside the table, else the folder of the image: an image
    in test/ is not trained on.
    """
    if apart is not None:
        return apart.of(rows.names), apart.path.name
    by_folder: list[str | None] = [None] * len(rows.names)
    if settings.split_column != NONE:
        by_folder = _splits_of_folders(rows.names)
    if not columns.split:
        return by_folder, "the folders of the images" if any(by_folder) else ""
    by_column = read_splits(table.name, columns.split, rows.splits, rows.lines)
    for row, (said, lies) in enumerate(zip(by_column, by_folder, strict=True)):
        if said == "train" and lies == "test":
            raise DataError(
                f"{table.name}, line {rows.lines[row]}: {shortened(rows.names[row], 40)!r} is for "
                f"training by the column {columns.split[:30]!r}, and lies in a folder for test; "
                "mend the column, or take another: --split-column"
            )
    return by_column, f"column {columns.split}{development_said(rows.splits, by_column)}"


def _splits_of_folders(names: Sequence[str]) -> list[str | None]:
    """Returns the split that the folders of each image name, or None."""
    folders = dict.fromkeys(folder_of(name) for name in names)
    try:
        tree = read_split_tree(folders, "the folder of the images", None)
    except DataError:  # a folder of a split's name next to others
        raise DataError(
            f"the images are in folders of which some have the names of splits ("
            f"{shortened(', '.join(sorted({'/'.join(f) for f in folders if f})), 60)}); write the "
            "split into a column `split`, or pass over the folders: --split-column none"
        ) from None
    return [
        "test" if tree.labels[folder_of(name)] == UNLABELLED else tree.splits[folder_of(name)]
        for name in names
    ]


def _refuse_missing_labels(
    table: Table, rows: _Rows, splits: Sequence[str | None], *, several: bool
) -> None:
    none = "; or if it has none: --labels-per-image several" if several else ""
    for name, label, split, line in zip(rows.written, rows.labels, splits, rows.lines, strict=True):
        if not label and split != "test":
            raise DataError(
                f"{table.name}, line {line}: {shortened(name, 60)!r} has no label; fill it in or "
                f"remove the line{none}"
            )


def _separator(table: Table, columns: Columns, rows: _Rows, settings: DataSettings) -> str | None:
    """Returns what separates the labels of a cell; None where each image has one label."""
    asked = settings.labels_per_image
    if columns.label:
        found = choose_separation(table.name, columns.label, rows.labels, rows.lines, settings)
        return None if found is None else found.separator
    one_each = has_one_each(table.name, columns.one_hot, rows.labels, rows.lines, asked)
    return None if one_each else ""


def _labelled(
    table: Table,
    columns: Columns,
    index: ImageIndex,
    rows: _Rows,
    splits: Sequence[str | None],
    separator: str | None,
) -> tuple[Collection, str, list[bool]]:
    """Returns the labelled images, what names the classes, and which rows have a label."""
    images: list[tuple[str, FileEntry]] = [(name, index.entries[name]) for name in rows.names]
    if separator is not None:
        sets = [separated(cell, separator) for cell in rows.labels]
        order = named_columns(table.path, columns.one_hot)
        found = collected_sets(images, sets, splits, order=order)
        return replace(found, label_separator=separator), "", [True] * len(sets)
    if columns.label:
        refuse_amounts(table, columns.label, rows.labels)
        refuse_texts(table, columns.label, rows.labels)
    named = named_classes(table.path, rows.labels) if columns.label else NamedClasses(rows.labels)
    found = collected(images, named.labels, splits, order=named.order)
    return found, named.said, [bool(label) for label in named.labels]


def _or_unite(what: str, columns: Columns) -> str:
    if what != (columns.label or "the label"):
        return ""
    return ", or where an image may have several labels: --labels-per-image several"


def _said(table: Table, columns: Columns) -> str:
    if not columns.label:
        return "one-hot columns"
    without = "" if table.has_header else " of a table without a header"
    return f"column {shortened(columns.label, 40)}{without}"


def _splits_said(by: str, given: Sequence[str | None]) -> str:
    held_out = sorted({split for split in given if split} - {"train"}, key="validationtest".find)
    if not by or not any(given):
        return ""
    return f"{' and '.join(held_out) or 'train'}: {by}"


def _left_out(
    index: ImageIndex, rows: _Rows, repeated: int, without_row: int, separator: str | None
) -> Iterator[str]:
    if rows.absent:
        yield f"{rows.absent:,} rows of confidence 0"
    if repeated:
        yield f"{repeated:,} repeated rows"
    if index.copies:
        yield f"{len(index.copies):,} files with the bytes of another"
    blank = sum(not label for label in rows.labels)
    if blank and separator is None:
        yield f"{blank:,} test rows without a label"
    if without_row:
        yield f"{without_row:,} images without a row"
