"""STL-10 in its binary form.

    train_X.bin train_y.bin test_X.bin test_y.bin class_names.txt fold_indices.txt unlabeled_X.bin

An image is 3 × 96 × 96 bytes, each channel column by column; labels are 1 to 10 (Coates et al.,
"An analysis of single-layer networks in unsupervised feature learning", 2011). The unlabelled
images are left out, and the ten given folds of training images are not followed.

Shape letters: N images, M images of a block, H height, W width.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.core.regular_file import read_regular_text, text_fault
from ravine.data.collection import Collection
from ravine.data.pixel_array import BlockArray, PixelArray, files_key, joined, rows_of_block
from ravine.data.settings import DataSettings
from ravine.data.understanding import Understood

_SIDE = 96
_PIXELS = 3 * _SIDE * _SIDE
_CLASSES = (
    "airplane",
    "bird",
    "car",
    "cat",
    "deer",
    "dog",
    "horse",
    "monkey",
    "ship",
    "truck",
)
_SPLITS = ("train", "test")


def is_stl10(path: Path) -> bool:
    """Returns whether a folder, or stl10_binary/ in it, holds STL-10's files."""
    return path.is_dir() and _home(path) is not None


def _home(path: Path) -> Path | None:
    for folder in (path, path / "stl10_binary"):
        if any((folder / f"{split}_X.bin").is_file() for split in _SPLITS):
            return folder
    return None


def read_stl10(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the labelled images of STL-10.

    Raises:
        DataError: a file is missing or torn.
    """
    home = _home(path)
    if home is None:
        raise DataError(f"{path} has no train_X.bin of STL-10")
    splits = [split for split in _SPLITS if (home / f"{split}_X.bin").is_file()]
    labels = [_labels(home, split) for split in splits]
    classes = _classes(home)
    counts = [(split, len(found)) for split, found in zip(splits, labels, strict=True)]
    left_out = []
    if (home / "unlabeled_X.bin").is_file():
        count = (home / "unlabeled_X.bin").stat().st_size // _PIXELS
        left_out.append(f"{count:,} unlabelled images")
    if (home / "fold_indices.txt").is_file():
        left_out.append("the folds of fold_indices.txt")
    files = [home / f"{split}_{kind}.bin" for split in splits for kind in "Xy"]
    return Collection(
        names=[f"{split}[{index}]" for split, count in counts for index in range(count)],
        labels=np.concatenate(labels),
        classes=classes,
        given_splits=[split for split, count in counts for _ in range(count)],
        pixels=joined([_pixels(home / f"{split}_X.bin", count) for split, count in counts]),
        content_key=files_key(files),
        understood=Understood(
            "stl10", f"STL-10's, {len(classes)}", "splits: the files' names", tuple(left_out)
        ),
    )


def _labels(home: Path, split: str) -> np.ndarray:
    """Returns labels (N,) int64 in 0..9, compared with the length of the file of images."""
    images, path = home / f"{split}_X.bin", home / f"{split}_y.bin"
    if not path.is_file():
        raise DataError(f"{images} has no labels: {path.name} is not in the same folder")
    try:
        size, found = images.stat().st_size, path.stat().st_size
        if size != found * _PIXELS or not found:
            raise DataError(
                f"{images} is torn: {size:,} bytes are not the {found:,} images of "
                f"{_PIXELS} bytes that {path.name} labels"
            )
        labels = np.fromfile(path, np.uint8).astype(np.int64) - 1
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if labels.min() < 0 or labels.max() >= len(_CLASSES):
        raise DataError(f"{path} is torn: its labels are not 1 to {len(_CLASSES)}")
    return labels


def _classes(home: Path) -> tuple[str, ...]:
    path = home / "class_names.txt"
    if not path.is_file():
        return _CLASSES
    try:
        names = tuple(read_regular_text(path).split())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {text_fault(error)}") from None
    if len(set(names)) != len(_CLASSES):
        raise DataError(f"{path} names {len(set(names))} classes; STL-10 has {len(_CLASSES)}")
    return names


def _pixels(path: Path, count: int) -> PixelArray:
    step = rows_of_block(_PIXELS)

    def blocks() -> Iterator[np.ndarray]:
        try:
            with path.open("rb") as file:
                for start in range(0, count, step):
                    rows = min(step, count - start)
                    content = np.frombuffer(file.read(rows * _PIXELS), np.uint8)
                    # Stored (M, C, W, H): each channel column by column.
                    stored = content.reshape(rows, 3, _SIDE, _SIDE)
                    yield np.ascontiguousarray(stored.transpose(0, 3, 2, 1))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is torn: {error}") from None

    return BlockArray((count, _SIDE, _SIDE, 3), blocks)
