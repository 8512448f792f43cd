"""A file that gives the split of each image, beside a table or list that gives the labels.

CelebA's and DeepFashion's list_eval_partition.txt, or .csv: a name and 0, 1, 2 or a word for train,
validation and test, with a count and names of columns above or without them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ravine.core.errors import DataError
from ravine.data.sources.listing import folders_in
from ravine.data.sources.name_words import words
from ravine.data.sources.table_file import Table, read_table_file
from ravine.data.sources.table_splits import read_splits
from ravine.data.understanding import shortened

_WORDS = frozenset({"partition", "partitions", "split", "splits"})
PARTITION_ENDINGS = (".txt", ".csv", ".tsv")
_MOST = 20  # folders beside the table


@dataclass(frozen=True, slots=True)
class Partition:
    """Splits of images.

    Attributes:
        path: of the file.
        splits: train, validation or test of each image, by its path below the folder of images.
    """

    path: Path
    splits: Mapping[str, str]

    def of(self, names: Sequence[str]) -> list[str | None]:
        """Returns the split of N images.

        Raises:
            DataError: it has none for one of them.
        """
        without = next((name for name in names if name not in self.splits), None)
        if without is not None:
            raise DataError(
                f"{self.path} gives no split for {shortened(without, 40)!r}; add it, or pass over "
                "the file: --split-column none"
            )
        return [self.splits[name] for name in names]


def says_partition(path: Path) -> bool:
    """Returns whether a file's name says that it gives splits.

    >>> says_partition(Path("list_eval_partition.txt")), says_partition(Path("list_attr.txt"))
    (True, False)
    """
    return path.suffix.lower() in PARTITION_ENDINGS and bool(_WORDS & set(words(path.stem)))


def partition_near(
    labels: Path, images: Path, find: Callable[[str], str | None]
) -> Partition | None:
    """Returns the splits in a file near the table or list of labels; None without one.

    Args:
        labels: the table or list.
        images: folder of the images.
        find: finds an image by its name, and returns its path below `images`.

    Raises:
        DataError: two files give splits, or one says something else.
    """
    read = [
        found
        for file in _candidates(labels, images)
        if file != labels and (found := _read(file, find)) is not None
    ]
    if len(read) > 1:
        raise DataError(
            f"{read[0].path} and {read[1].path.name} both give splits; move one away, or pass over "
            "them: --split-column none"
        )
    return read[0] if read else None


def partition_in(
    root: Path, files: Iterable[Path], find: Callable[[str], str | None]
) -> Partition | None:
    """Returns the splits in one of the files below a folder of class folders; None without one.

    Raises:
        DataError: two files give splits, or one says something else.
    """
    read = [found for file in files if says_partition(file) and (found := _read(file, find))]
    if len(read) > 1:
        raise DataError(f"{root}: {read[0].path.name} and {read[1].path.name} both give splits")
    return read[0] if read else None


def _candidates(labels: Path, images: Path) -> list[Path]:
    """Returns the files with such a name beside the labels, above the images, and next to both."""
    above = [home for home in labels.parent.parents[:2] if home in (images, *images.parents)]
    homes = list(dict.fromkeys([labels.parent, images, *above]))
    beside = [home / name for home in homes for name in folders_in(home)[:_MOST]]
    found: dict[Path, None] = {}
    for folder in (*homes, *beside):
        found |= dict.fromkeys(_files(folder))
    return list(found)


def _files(folder: Path) -> Iterable[Path]:
    try:
        return sorted(p for p in folder.iterdir() if says_partition(p) and p.is_file())
    except OSError:
        return ()


def _read(file: Path, find: Callable[[str], str | None]) -> Partition | None:
    """Returns the splits in a file; None if it does not name these images, or holds no splits."""
    try:
        table = read_table_file(file)
        rows = list(table.rows())
    except DataError:
        return None
    if len(table.columns) != 2 or not rows or find(rows[0][1][0]) is None:
        return None
    return Partition(file, _splits(table, rows, find))


def _splits(
    table: Table, rows: Sequence[tuple[int, list[str]]], find: Callable[[str], str | None]
) -> Mapping[str, str]:
    values = read_splits(
        table.name, "split", [fields[1] for _, fields in rows], [line for line, _ in rows]
    )
    names = [find(fields[0]) for _, fields in rows]
    return {n: split for n, split in zip(names, values, strict=True) if n and split}
