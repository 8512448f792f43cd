"""MNIST and its family in IDX files, as their makers, torchvision and Kaggle lay them out.

    train-images-idx3-ubyte(.gz)   train-labels-idx1-ubyte(.gz)   t10k-…   MNIST, Fashion, KMNIST
    train-images.idx3-ubyte, or a folder train-images-idx3-ubyte/ of the same name   Kaggle
    MNIST/raw/…                                                                torchvision
    emnist-letters-train-images-idx3-ubyte.gz   emnist-letters-mapping.txt     EMNIST
    qmnist-train-images-idx3-ubyte.gz   qmnist-train-labels-idx2-int.gz        QMNIST

EMNIST's images are stored with rows and columns exchanged (Cohen et al., "EMNIST: an extension of
MNIST to handwritten letters", 2017) and are turned upright. QMNIST's labels are (N, 8) int32,
the class in column 0 (Yadav and Bottou, "Cold case: the lost MNIST digits", 2019).

Shape letters: N images.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection
from ravine.data.pixel_array import BlockArray, PixelArray, files_key, joined
from ravine.data.settings import DataSettings
from ravine.data.sources.idx import IdxHeader, idx_images, read_idx, read_idx_header
from ravine.data.sources.mnist_classes import class_names
from ravine.data.sources.name_words import ORDER, split_in, words
from ravine.data.understanding import Understood

_IMAGES = re.compile(r"idx3-(ubyte|u?int8)$")
_LABELS = re.compile(r"idx[12]-(ubyte|u?int\d*|byte|short)$")
_MOST_ENTRIES = 200  # names of a folder that is only searched for IDX files below
_MOST_FOLDERS = 50
_DEPTH = 3
_KIND = frozenset({"images", "image", "imgs", "labels", "label", "idx", "ubyte", "int", "byte"})


@dataclass(frozen=True, slots=True)
class IdxPair:
    """Images and their labels, one split of a set.

    Attributes:
        split: train, validation or test.
        images: an IDX file.
        labels: an IDX file.
        name: of the set: "emnist letters"; "" for MNIST's own names.
    """

    split: str
    images: Path
    labels: Path
    name: str


def is_idx(path: Path) -> bool:
    """Returns whether a path is an IDX file of images, or a folder with such files."""
    if path.is_file():
        return bool(_IMAGES.search(_plain(path.name)))
    return path.is_dir() and bool(_homes(path))


def read_mnist(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of a folder of IDX files, or of one such file with its labels.

    Raises:
        DataError: a file is torn, has no labels, or the folder holds several sets.
    """
    if path.is_dir():
        return read_idx_pairs(idx_pairs(path))
    home = path.parent.parent if _plain(path.parent.name) == _plain(path.name) else path.parent
    # Of a file that is there packed and unpacked the pair has one, whichever was named.
    wanted = _plain(path.name)
    return read_idx_pairs([pair for pair in _pairs(home) if _plain(pair.images.name) == wanted])


def idx_pairs(root: Path) -> list[IdxPair]:
    """Returns the pairs of IDX files of the one set in a folder or below, training first.

    Raises:
        DataError: images have no labels, or there are several sets or several folders.
    """
    homes = _homes(root)
    if not homes:
        return []
    if len(homes) > 1:
        first, second = (home.relative_to(root) for home in homes[:2])
        raise DataError(
            f"{root} has IDX files in {first}/ and in {second}/, two sets; name the one to train on"
        )
    pairs = _pairs(homes[0])
    if not pairs:
        shown = ", ".join(file.name for file in islice(_files(homes[0]), 3))
        raise DataError(f"{homes[0]} holds labels without their images: {shown}; load those too")
    names = sorted({pair.name for pair in pairs})
    if len(names) > 1:
        several = ", ".join(repr(name or "no name") for name in names[:6])
        raise DataError(
            f"{homes[0]} holds {len(names)} sets: {several}; move the files of one of them into a "
            "folder of its own"
        )
    _refuse_twice(pairs)
    return pairs


def unlabelled_idx_files(path: Path) -> list[Path]:
    """Returns the IDX files of images at a path, whether or not they have labels."""
    if path.is_file():
        return [path]
    files = [file for home in _homes(path) for file in _files(home)]
    return [file for file in files if _IMAGES.search(_plain(file.name))]


def idx_image_pixels(path: Path) -> PixelArray:
    """Returns the images of an IDX file, upright.

    Raises:
        DataError: it is torn, or holds no images.
    """
    return _pixels(_read_header(path), _is_transposed(_stem(path)))


def read_idx_pairs(pairs: Sequence[IdxPair]) -> Collection:
    """Returns the images of pairs of IDX files.

    Raises:
        DataError: a file is torn, or images and labels differ in number or size.
    """
    headers = [_read_header(pair.images) for pair in pairs]
    for header in headers:
        if header.shape[1:] != headers[0].shape[1:]:
            raise DataError(
                f"{header.path}: images of {_size(header)}, but {headers[0].path.name} has "
                f"{_size(headers[0])}; they are of two sets"
            )
    parts = [_labels(pair, header) for pair, header in zip(pairs, headers, strict=True)]
    home, name = pairs[0].images.parent, pairs[0].name
    names = class_names(home, name.split(), parts)
    transposed = _is_transposed(name)
    paths = [path for pair in pairs for path in (pair.images, pair.labels)]
    single = len(pairs) == 1 and pairs[0].split == "train"
    counts = [(pair.split, header.shape[0]) for pair, header in zip(pairs, headers, strict=True)]
    turned = ", stored transposed and turned upright" if transposed else ""
    return Collection(
        names=[f"{split}[{index}]" for split, count in counts for index in range(count)],
        labels=names.labels,
        classes=names.classes,
        given_splits=[split for split, count in counts for _ in range(count)],
        pixels=joined([_pixels(header, transposed) for header in headers]),
        content_key=files_key(paths, f"transposed {transposed}"),
        understood=Understood(
            "idx",
            f"{names.source}, {len(names.classes)}{turned}",
            "" if single else "splits: the names of the files",
        ),
    )


def _pixels(header: IdxHeader, transposed: bool) -> PixelArray:
    count, height, width = header.shape
    if transposed:
        height, width = width, height

    def blocks() -> Iterator[np.ndarray]:
        for block in idx_images(header):
            yield (block.transpose(0, 2, 1) if transposed else block)[..., None]

    return BlockArray((count, height, width, 1), blocks)


def _is_transposed(name: str) -> bool:
    return "emnist" in name.split()


def _read_header(path: Path) -> IdxHeader:
    header = read_idx_header(path)
    if len(header.shape) != 3 or header.dtype != np.uint8:
        raise DataError(
            f"{path} holds {header.dtype.name} of the shape {header.shape}; images are "
            "bytes (N, H, W)"
        )
    if not header.length:
        raise DataError(f"{path} holds no images")
    return header


def _labels(pair: IdxPair, images: IdxHeader) -> np.ndarray:
    """Returns the labels of a pair, (N,) int64."""
    header = read_idx_header(pair.labels)
    columns = header.shape[1:]
    if header.shape[0] != images.shape[0] or columns not in ((), (1,), (8,)):
        raise DataError(
            f"{pair.images} {images.shape} and {pair.labels.name} {header.shape} do not fit; "
            "one of them is of another set, load both again"
        )
    values = read_idx(pair.labels).reshape(header.shape[0], -1)[:, 0]
    found = np.asarray(values.astype(np.int64))
    if not np.array_equal(found, values) or found.min() < 0:
        raise DataError(f"{pair.labels}: its labels are not whole numbers from 0")
    return found


def _pairs(home: Path) -> list[IdxPair]:
    files = list(_files(home))
    labels = {_stem(path): path for path in files if _LABELS.search(_plain(path.name))}
    pairs = []
    for images in (path for path in files if _IMAGES.search(_plain(path.name))):
        found = labels.get(_stem(images))
        if found is None:
            wanted = images.name.replace("images", "labels").replace("idx3", "idx1")
            raise DataError(f"{images} has no labels: {wanted} is not in the same folder")
        rest = [word for word in _stem(images).split() if split_in(word) is None]
        split = split_in(_stem(images)) or "train"
        pairs.append(IdxPair(split, images, found, " ".join(rest)))
    return sorted(pairs, key=lambda pair: ORDER.index(pair.split))


def _refuse_twice(pairs: Sequence[IdxPair]) -> None:
    for one, other in pairwise(pairs):
        if one.split == other.split:
            raise DataError(
                f"{one.images} and {other.images.name} are both images for {one.split}; "
                "move one of them away"
            )


def _files(home: Path) -> Iterator[Path]:
    """Yields the IDX files of a folder, and of its folders that bear the name of their file.

    Of a file that is there packed and unpacked, or alone and in its folder, the first is taken.
    """
    seen: set[str] = set()
    found = [path for path in home.iterdir() if _is_idx_name(path.name) and path.is_file()]
    for folder in home.iterdir():
        if _is_idx_name(folder.name) and folder.is_dir():
            found += [p for p in folder.iterdir() if _plain(p.name) == _plain(folder.name)]
    for path in sorted(found, key=lambda path: (len(path.parts), _packed(path), path)):
        if path.is_file() and _plain(path.name) not in seen:
            seen.add(_plain(path.name))
            yield path


def _packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _is_idx_name(name: str) -> bool:
    plain = _plain(name)
    return bool(_IMAGES.search(plain) or _LABELS.search(plain))


def _plain(name: str) -> str:
    """Returns a file's name in one spelling: lower case, `-` for `.` and `_`, without .gz."""
    return re.sub(r"[._]", "-", name.lower().removesuffix(".gz"))


def _stem(path: Path) -> str:
    """Returns the words that images and labels of one split share: "emnist letters train"."""
    found = [word for word in words(_plain(path.name)) if word not in _KIND]
    return " ".join(found[:-1] if found and found[-1] in ("1", "2", "3") else found)


def _homes(root: Path) -> list[Path]:
    """Returns the folders with IDX files: the root if it has any, or else those below."""
    if any(True for _ in _files(root)):
        return [root]
    found: list[Path] = []
    level = [root]
    for _ in range(_DEPTH):
        level = [folder for parent in level for folder in _few_folders(parent)]
        found = [folder for folder in level if any(True for _ in _files(folder))]
        if found:
            break
    return sorted(found)


def _few_folders(parent: Path) -> list[Path]:
    """Returns the folders in a folder; none where it is so full that it is one of images."""
    found: list[Path] = []
    try:
        with os.scandir(parent) as entries:
            for number, entry in enumerate(entries):
                if number == _MOST_ENTRIES:
                    return []
                if entry.is_dir() and not entry.name.startswith("."):
                    found.append(Path(entry.path))
    except OSError:
        return []
    return found if len(found) <= _MOST_FOLDERS else []


def _size(header: IdxHeader) -> str:
    return "×".join(str(side) for side in header.shape[1:])
