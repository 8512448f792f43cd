"""Folders that look like classes and are none: patients, pictures as several files, and runs.

A network that learns to tell patients or pictures apart is of no use to anyone, and looks well on
its own validation images. Who means it says so: --class-level.
"""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.data.sources.class_tree import ClassTree, folder_of
from ravine.data.sources.listing import folders_in
from ravine.data.understanding import shortened

_OF_PEOPLE = re.compile(
    r"(?i)(patient|patientid|subject|study|exam|case|visit|slide|scan|specimen)[ _-]?\d+(?![^\W_])"
)
_MOST_FILES = 20  # of one picture
_FEWEST = 3  # pictures, from which their files show that they are no classes


def refuse_no_classes(where: str, names: Sequence[str], tree: ClassTree) -> None:
    """Raises `DataError` if the classes of a tree are patients, or pictures of several files.

    Args:
        where: the tree, for messages.
        names: paths of the images.
        tree: their classes.
    """
    classes = sorted({label for label in tree.labels.values() if label})
    if len(classes) < 2:
        return
    level = _level(tree, classes[0])
    said = f"{where}: {shortened(classes[0], 24)}/ would be a class and looks like"
    instead = f"if it is a class: --class-level {level}; else name a table: --labels FILE.csv"
    if all(_OF_PEOPLE.match(name) for name in classes):
        raise DataError(f"{said} a patient or a study; {instead}")
    if part := _part_of_pictures(names, tree, len(classes)):
        raise DataError(f"{said} one picture in parts, as {shortened(part, 24)}; {instead}")


def refuse_runs(path: Path) -> None:
    """Raises `DataError` if a folder is a run folder, or holds one: its pictures are no data."""
    if _is_run(path):
        raise DataError(
            f"{path} is a run and no data; its data again: ravine train --recipe "
            f"{path / 'recipe.toml'}"
        )
    folders = folders_in(path) if path.is_dir() else ()
    if run := next((name for name in folders if _is_run(path / name)), ""):
        raise DataError(f"{path} holds a run, {shortened(run, 24)}/; move it away, or name data")


def _is_run(path: Path) -> bool:
    return all((path / name).is_file() for name in ("recipe.toml", "environment.json"))


def _level(tree: ClassTree, label: str) -> str:
    path = next(path for path, one in tree.labels.items() if one == label)
    return str(path.index(label) + 1) if label in path else "leaf"


def _part_of_pictures(names: Sequence[str], tree: ClassTree, classes: int) -> str:
    """Returns what follows the folder's name in a file: `_B02.tif`; "" where they are no parts.

    The folders hold the same parts, each after the folder's own name, and more than numbers.
    """
    if classes < _FEWEST or len(names) > _MOST_FILES * classes:
        return ""
    parts: dict[str, set[str]] = {}
    for name in names:
        label = tree.labels[folder_of(name)]
        stem = PurePosixPath(name).stem
        if not label or not stem.startswith(label):
            return ""
        parts.setdefault(label, set()).add(stem.removeprefix(label))
    first = next(iter(parts.values()))
    same = all(found == first for found in parts.values())
    lettered = all(any(letter.isalpha() for letter in part) for part in first)
    return min(first) if same and lettered and len(first) > 1 else ""
