"""A CSV with file names and labels, and the folder of these images."""

import csv
import io
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.data.collection import SPLIT_NAMES, Collection, FileEntry, class_order, label_indices
from ravine.data.settings import DataSettings
from ravine.data.sources.listing import image_files, same_folders

IMAGE_COLUMNS = [
    "image",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image_path",
    "path",
    "image_name",
    "image_id",
    "image_file",
    "img",
    "img_path",
    "name",
    "id",
    "uuid",
]
_LABEL_COLUMNS = [
    "label",
    "class",
    "target",
    "category",
    "class_name",
    "label_name",
    "species",
    "breed",
    "y",
]
_SPLIT_COLUMNS = ["split", "set", "subset", "partition"]


_ENDINGS = (".csv", ".tsv")


def is_table(path: Path) -> bool:
    """Returns whether a path is a file with a table's ending."""
    return path.suffix.lower() in _ENDINGS and path.is_file()


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Returns the columns and rows of a CSV; it may have a byte-order mark, and `;` or tabs.

    Raises:
        DataError: the file is missing, empty, or no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from None
    header = text.lstrip().partition("\n")[0]
    separator = max(",;\t", key=header.count)
    # Not splitlines(): a quoted field may hold line ends, and names may hold U+2028 and the like.
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restval="")
    try:
        columns = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        rows = [{k: (v or "").strip() for k, v in row.items() if k in columns} for row in reader]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from None
    if not rows:
        raise DataError(f"{path} holds no rows below its header")
    return columns, rows


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
        raise DataError(f"{path} has no column {given!r}; it has: {', '.join(columns)}")
    lower = {name.lower(): name for name in reversed(columns)}
    for name in known:
        if name in lower:
            return lower[name]
    raise DataError(
        f"{path}: no column has a usual name for the {what}; name it with --{what}-column, "
        f"one of: {', '.join(columns)}"
    )


class ImageIndex:
    """Finds image files by the names that a CSV gives them.

    Args:
        folder: of the images.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.entries: dict[str, FileEntry] = dict(image_files(folder))
        self._by_name: dict[str, list[str]] = {}
        for path in self.entries:
            file = PurePosixPath(path)
            for key in {_normalised(file.name), _normalised(file.stem)}:
                self._by_name.setdefault(key, []).append(path)

    def find(self, name: str) -> str | None:
        """Returns the path of the image `name`, with or without its folders and its ending.

        Raises:
            DataError: more than one image fits.
        """
        name = name.replace("\\", "/").removeprefix("./")
        if name in self.entries:
            return name
        wanted = PurePosixPath(_normalised(name))
        candidates = self._by_name.get(wanted.name, ())
        fitting = [p for p in candidates if same_folders(wanted, PurePosixPath(_normalised(p)))]
        if len(fitting) > 1:
            raise DataError(
                f"{name!r} fits several images in {self.folder}: {fitting[0]}, {fitting[1]}; "
                "write the path below the folder into the CSV"
            )
        return fitting[0] if fitting else None


def _normalised(name: str) -> str:
    """Returns a name in one Unicode form: file systems write accents as one letter or two."""
    return unicodedata.normalize("NFC", name)


def read_table(table: Path, folder: Path, settings: DataSettings) -> Collection:
    """Returns the images that the CSV `table` names, from `folder`.

    Raises:
        DataError: a column is missing, an image has no label or is named twice, or a label has
            no image.
    """
    columns, rows = read_rows(table)
    image_column = find_column(table, columns, settings.image_column, IMAGE_COLUMNS, "image")
    label_column = find_column(table, columns, settings.label_column, _LABEL_COLUMNS, "label")
    group_column = settings.group_column
    if group_column is not None:
        find_column(table, columns, group_column, (), "group")
    if not folder.is_dir():
        raise DataError(f"no folder {folder} with the images of {table}")
    index = ImageIndex(folder)
    names = _images_of(rows, table, index, image_column)
    for line, row in enumerate(rows, start=2):
        if not row[label_column]:
            raise DataError(
                f"{table}, line {line}: {row[image_column]!r} has no label; "
                "fill it in or remove the line"
            )
    classes = class_order({row[label_column] for row in rows})
    used = set(names)
    return Collection(
        names=names,
        labels=label_indices([row[label_column] for row in rows], classes),
        classes=classes,
        given_splits=_given_splits(table, columns, rows, taken={label_column, image_column}),
        groups=[row[group_column] for row in rows] if group_column else (),
        files=[index.entries[name] for name in names],
        unlabelled=[name for name in index.entries if name not in used],
    )


def _images_of(
    rows: Sequence[Mapping[str, str]], table: Path, index: ImageIndex, column: str
) -> list[str]:
    names: list[str] = []
    missing: list[tuple[int, str]] = []
    line_of: dict[str, int] = {}
    for line, row in enumerate(rows, start=2):
        found = index.find(row[column]) if row[column] else None
        if found is None:
            missing.append((line, row[column]))
            continue
        if found in line_of:
            raise DataError(
                f"{table}: {found!r} is in line {line_of[found]} and again in line {line}; "
                "remove one of them"
            )
        line_of[found] = line
        names.append(found)
    if missing:
        line, name = missing[0]
        many = (
            f"{len(missing)} labels have no image" if len(missing) > 1 else "a label has no image"
        )
        raise DataError(
            f"{table}: {many} in {index.folder}, the first {name!r} in line {line}; "
            "add the images, remove the lines, or name the folder with --images"
        )
    return names


def _given_splits(
    table: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]], *, taken: set[str]
) -> list[str | None]:
    for name in columns:
        if name.lower() in _SPLIT_COLUMNS and name not in taken:
            values = [SPLIT_NAMES.get(row[name].lower()) for row in rows]
            if "train" not in values:
                continue
            if None in values:
                line = values.index(None)
                raise DataError(
                    f"{table}, line {line + 2}: the column {name!r} says {rows[line][name]!r}; "
                    "wanted is train, validation or test"
                )
            return values
    return []
