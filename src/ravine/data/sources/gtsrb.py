"""GTSRB, the German traffic signs, as its makers and Kaggle lay it out.

    GTSRB/Final_Training/Images/00000/00000_00000.ppm    GT-00000.csv (Filename;…;ClassId)
    GTSRB/Final_Test/Images/00000.ppm                    GT-final_test.csv, where it is there
    Train/0/00000_00000_00000.png  Test/00000.png        Train.csv, Test.csv (…,ClassId,Path)
    Training/00000/01153_00000.ppm  Testing/00000/…      the Belgian signs: both have class folders

Some thirty pictures in a row show one sign as a car comes near: they are one group, so that
validation holds other signs (Stallkamp et al., "Man vs. computer", 2012).
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.core.regular_file import open_regular_text
from ravine.data.collection import Collection
from ravine.data.settings import DataSettings
from ravine.data.sources.listed_images import ListedImage, ListMeaning, collect_listed, read_text
from ravine.data.sources.listing import folders_in, image_files

_TRAIN = ("Final_Training/Images", "Training/Images", "Training", "Train")
_TEST = ("Final_Test/Images", "Test")
_SORTED_TEST = "Testing"
_LISTS = ("GT-final_test.csv", "Test.csv")


@dataclass(frozen=True, slots=True)
class _Home:
    """Where the parts of GTSRB lie.

    Attributes:
        root: the folder above all of them.
        train: folder of the class folders, below `root`.
        test: folder of the test images, below `root`, or None.
        labels: table of the test images, or None.
    """

    root: Path
    train: str
    test: str | None
    labels: Path | None


def is_gtsrb(path: Path) -> bool:
    """Returns whether a folder, or GTSRB/ in it, has the folders of GTSRB."""
    return path.is_dir() and _home(path) is not None


def _home(path: Path) -> _Home | None:
    for root in (path, path / "GTSRB"):
        train = next((name for name in _TRAIN if _has_signs(root / name)), None)
        if train is None:
            continue
        test = next((name for name in _TEST if (root / name).is_dir()), None)
        folders = [root, path] + ([root / test] if test else [])
        tables = [folder / name for folder in folders for name in _LISTS]
        labels = next((table for table in tables if table.is_file() and _is_table(table)), None)
        return _Home(root, train, test, labels)
    return None


def _has_signs(folder: Path) -> bool:
    """Returns whether the class folders are numbers, with GTSRB's table in or above them."""
    if not folder.is_dir():
        return False
    classes = folders_in(folder)
    numbered = len(classes) > 1 and all(name.isdecimal() for name in classes)
    tables = [folder / classes[0] / f"GT-{classes[0]}.csv"] if classes else []
    tables += [folder.parent / "Train.csv"]
    return numbered and any(table.is_file() and _is_table(table) for table in tables)


def _is_table(path: Path) -> bool:
    try:
        with open_regular_text(path) as file:
            return "ClassId" in file.readline(1000)
    except (OSError, UnicodeDecodeError):
        return False


def read_gtsrb(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of GTSRB; the classes are the numbers of the folders.

    Raises:
        DataError: the table of the test images is torn, or names a class that there is not.
    """
    home = _home(path)
    if home is None:
        raise DataError(f"{path} has no Final_Training/Images of GTSRB")
    train = home.root / home.train
    classes = {int(name): name for name in folders_in(train) if name.isdecimal()}
    images = list(_sorted(home.root, home.train, "train"))
    left_out: tuple[str, ...] = ()
    by = home.labels.name if home.labels else ""
    if home.test is not None and home.labels is not None:
        images += _test(home, home.test, home.labels, classes)
    elif home.test is not None:
        count = sum(1 for _ in image_files(home.root / home.test))
        left_out = (f"{count:,} test images without a label",)
    elif (home.root / _SORTED_TEST).is_dir():
        images += _sorted(home.root, _SORTED_TEST, "test")
        by = f"{_SORTED_TEST}/"
    meaning = ListMeaning(
        layout="gtsrb",
        classes=f"folders of {home.train}/",
        splits=f"test: {by}; groups: tracks" if by else "groups: tracks",
        left_out=left_out,
    )
    return collect_listed(home.root, images, meaning, count_rest=False)


def _sorted(root: Path, folder: str, split: str) -> Iterator[ListedImage]:
    for number, (name, _) in enumerate(image_files(root / folder), start=1):
        label, slash, _ = name.partition("/")
        if slash and label.isdecimal():
            # 00007_00029.ppm is the last picture of track 7; Kaggle puts the class before it.
            track = PurePosixPath(name).stem.rpartition("_")[0]
            yield ListedImage(
                path=f"{folder}/{name}",
                label=label,
                split=split,
                source=root / folder,
                line=number,
                group=f"{split}/{label}/{track}" if track else "",
            )


def _test(home: _Home, test: str, table: Path, classes: Mapping[int, str]) -> Iterator[ListedImage]:
    text = read_text(table)
    separator = ";" if text.partition("\n")[0].count(";") else ","
    rows = csv.DictReader(text.splitlines(), delimiter=separator)
    try:
        for line, row in enumerate(rows, start=2):
            name = PurePosixPath(row.get("Path") or row.get("Filename") or "").name
            label = (row.get("ClassId") or "").strip()
            if not name or not label.isdecimal() or int(label) not in classes:
                raise DataError(
                    f"{table}, line {line}: wanted are a Filename and a ClassId that is a folder "
                    f"of {home.train}/; it has {label[:20]!r}"
                )
            yield ListedImage(
                path=f"{test}/{name}",
                label=classes[int(label)],
                split="test",
                source=table,
                line=line,
            )
    except csv.Error as error:
        raise DataError(f"{table}, line {rows.line_num}: {error}") from None
