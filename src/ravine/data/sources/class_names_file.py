"""Names of classes in a file next to a table whose labels are their numbers.

`classes.csv` with an id and a name, `classes.txt` with a name a line, or a JSON from number to name
(`label_num_to_disease_map.json`). It is taken only where it names every number of the table.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ravine.core.errors import DataError
from ravine.core.regular_file import read_regular_text
from ravine.data.sources.table_file import is_image_name, read_table_file

_ENDINGS = frozenset({".csv", ".tsv", ".txt", ".json"})
_WORDS = ("class", "label", "categor", "species", "breed", "names")
_LARGEST = 1 << 22  # bytes


@dataclass(frozen=True, slots=True)
class NamedClasses:
    """Labels with the names of their classes.

    Attributes:
        labels: of N images.
        order: the classes in the order of their numbers; () for the usual order.
        said: ", named by classes.csv", or "".
    """

    labels: Sequence[str]
    order: Sequence[str] = field(default=())
    said: str = ""


def named_classes(table: Path, labels: Sequence[str]) -> NamedClasses:
    """Returns the labels with the names that a file in the folder of the table gives them.

    Args:
        table: whose labels they are.
        labels: of N images; anything but whole numbers is left as it is.

    Raises:
        DataError: two files name the classes differently.
    """
    distinct = {label for label in labels if label}
    if not distinct or not all(re.fullmatch(r"\d{1,9}", label) for label in distinct):
        return NamedClasses(labels)
    numbers = {int(label) for label in distinct}
    found: dict[Path, Mapping[int, str]] = {}
    for path in sorted(table.parent.iterdir()):
        if path != table and _may_name_classes(path) and path.is_file():
            names = _names(path, numbers)
            one_each = len(set(names.values())) == len(names)
            if names and numbers <= names.keys() and one_each and not _are_files(names):
                found[path] = names
    if not found:
        return NamedClasses(labels)
    path, names = next(iter(found.items()))
    for other, others in found.items():
        if any(names[number] != others[number] for number in numbers):
            raise DataError(
                f"{table.parent}: {path.name} and {other.name} name the classes of {table.name} "
                "differently; move one of them away"
            )
    order = [names[number] for number in sorted(numbers)]
    return NamedClasses(
        [names[int(label)] if label else "" for label in labels], order, f", named by {path.name}"
    )


def named_columns(table: Path, columns: Sequence[str]) -> Sequence[str]:
    """Returns the names of K columns that are only counted, from a file of attributes next to it.

    list_attr_img.txt of DeepFashion has a column for each line of list_attr_cloth.txt.
    """
    if list(columns) != [str(number + 1) for number in range(len(columns))]:
        return columns
    for path in sorted(table.parent.glob("*.txt")):
        if path != table and "attr" in path.stem.lower() and path.stat().st_size <= _LARGEST:
            names = _names(path, {1})
            if len(names) == len(columns) == len({*names.values()}) and not _are_files(names):
                return [names[number] for number in sorted(names)]
    return columns


def _are_files(names: Mapping[int, str]) -> bool:
    """Returns whether names are those of images: the file labels them, and names no classes."""
    return any(map(is_image_name, names.values()))


def _may_name_classes(path: Path) -> bool:
    words = re.split(r"[\W_]+", path.stem.lower())
    return path.suffix.lower() in _ENDINGS and any(word.startswith(_WORDS) for word in words)


def _names(path: Path, numbers: set[int]) -> Mapping[int, str]:
    """Returns the name of each number in a file; {} if it is no such file."""
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        if path.suffix.lower() == ".json":
            return _from_json(json.loads(read_regular_text(path)))
        if path.suffix.lower() == ".txt":
            lines = read_regular_text(path).splitlines()
            return names_in_lines([line.strip() for line in lines if line.strip()], numbers)
        return _from_table(path)
    except (OSError, ValueError, RecursionError, DataError):
        return {}


def _from_json(content: object) -> Mapping[int, str]:
    if isinstance(content, list) and all(isinstance(name, str) for name in content):
        return dict(enumerate(content))
    if not isinstance(content, dict):
        return {}
    if all(isinstance(name, str) and str(number).isdecimal() for number, name in content.items()):
        return {int(number): name for number, name in content.items()}
    numbers = list(content.values())
    if all(type(number) is int for number in numbers) and len({*numbers}) == len(numbers):
        return {number: str(name) for name, number in content.items()}
    return {}


def names_in_lines(lines: Sequence[str], numbers: set[int]) -> Mapping[int, str]:
    """Returns the name of each number: the one before it, or that of the line.

    Lines are counted from 0 where a label is 0, else from 1. Above them may stand their number and
    a line of headings, and behind each name another number, as DeepFashion has them.

    >>> names_in_lines(["cat", "dog"], {0, 1}), names_in_lines(["1. cat", "2. dog"], {1, 2})
    ({0: 'cat', 1: 'dog'}, {1: 'cat', 2: 'dog'})
    >>> names_in_lines(["2", "category_name  category_type", "Tee  1", "Blouse  1"], {1, 2})
    {1: 'Tee', 2: 'Blouse'}
    """
    if len(lines) > 1 and lines[0].isdecimal() and len(lines) - int(lines[0]) in (1, 2):
        lines = lines[-int(lines[0]) :]
        behind = [re.fullmatch(r"(.+?)[ \t]+\d+", line) for line in lines]
        lines = [name[1] for name in behind if name] if all(behind) else lines
    pairs = [re.fullmatch(r"(\d+)[\s.,:;)]+(.+)", line) for line in lines]
    counted = [int(pair[1]) for pair in pairs if pair]
    # "001.Albatross" is a name; "1. cat" where the labels are such numbers has one.
    spaced = all(pair and not re.match(r"\d+\.\S", pair[0]) for pair in pairs)
    if lines and spaced and len(set(counted)) == len(lines):
        return {int(pair[1]): pair[2].strip() for pair in pairs if pair}
    first = 0 if 0 in numbers else 1
    return {first + index: line for index, line in enumerate(lines)}


def _from_table(path: Path) -> Mapping[int, str]:
    table = read_table_file(path)
    rows = [fields for _, fields in table.rows()]
    columns = list(zip(*rows, strict=True))
    of_numbers = [i for i, column in enumerate(columns) if all(v.isdecimal() for v in column)]
    of_names = [i for i in range(len(columns)) if i not in of_numbers]
    if len(of_numbers) != 1 or not of_names or len({*columns[of_numbers[0]]}) < len(rows):
        return {}
    return {int(row[of_numbers[0]]): row[of_names[0]] for row in rows}
