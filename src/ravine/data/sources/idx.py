"""IDX files, the format of MNIST and its family, with or without gzip."""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import Collection

_FASHION = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# Fashion-MNIST is recognised by its labels, since its files are named like those of MNIST.
_FASHION_LABELS = frozenset(
    {
        "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
        "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
    }
)
_ORDER = ("train", "validation", "test")
_MOST_VALUES = 2**33


def read_idx(path: Path) -> np.ndarray:
    """Returns the array in an IDX file, uint8: (N, H, W) of images, or (N,) of labels.

    Raises:
        DataError: it is missing, torn, or holds something else.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, MemoryError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != 0x08:
        raise DataError(f"{path} is no IDX file of unsigned bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise DataError(f"{path} is torn: its head is cut off")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if math.prod(shape) > _MOST_VALUES or len(content) - start != math.prod(shape):
        raise DataError(f"{path} is torn: {len(content) - start} values for the shape {shape}")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def has_idx(path: Path) -> bool:
    """Returns whether a path is an IDX file of images, or a folder of them."""
    if path.is_file():
        return "idx3-ubyte" in path.name
    return path.is_dir() and any(True for _ in path.glob("*idx3-ubyte*"))


def idx_pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    """Returns (split, images, labels) of each pair of IDX files in a folder, training first.

    Raises:
        DataError: a file of images has no file of labels.
    """
    pairs = []
    for images in sorted(folder.glob("*idx3-ubyte*")):
        labels = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
        other = labels.with_suffix("") if labels.suffix == ".gz" else Path(f"{labels}.gz")
        found = next((path for path in (labels, other) if path.is_file()), None)
        if images.suffix == ".gz" and images.with_suffix("").is_file():
            continue
        if found is None:
            raise DataError(f"{images} has no labels: {labels.name} is not in the same folder")
        split = "test" if images.name.startswith(("t10k", "test")) else "train"
        split = "validation" if images.name.startswith("val") else split
        pairs.append((split, images, found))
    return sorted(pairs, key=lambda pair: _ORDER.index(pair[0]))


def read_idx_pairs(pairs: list[tuple[str, Path, Path]]) -> Collection:
    """Returns the images of pairs of IDX files.

    Class names come from classes.txt in the same folder, a line each; else they are the numbers.

    Raises:
        DataError: a file is torn, or images and labels differ in number or size.
    """
    pixels: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    names: list[str] = []
    given: list[str | None] = []
    digest = hashlib.sha256()
    for split, images_path, labels_path in pairs:
        images, found = read_idx(images_path), read_idx(labels_path)
        if images.ndim != 3 or found.ndim != 1 or len(images) != len(found):
            raise DataError(
                f"{images_path} {images.shape} and {labels_path.name} {found.shape} do not fit; "
                "one of them is of another set, load both again"
            )
        if not images.size:
            raise DataError(f"{images_path} holds no images")
        if pixels and images.shape[1:] != pixels[0].shape[1:3]:
            raise DataError(f"{images_path}: images of another size than {pairs[0][1].name}")
        pixels.append(images[..., None])
        labels.append(found.astype(np.int64))
        names += [f"{split}[{index}]" for index in range(len(images))]
        given += [split] * len(images)
        digest.update(hashlib.sha256(images.tobytes()).digest())
    classes, joined = _classes(pairs[0][1].parent, labels)
    return Collection(
        names=names,
        labels=joined,
        classes=classes,
        given_splits=given,
        pixels=np.concatenate(pixels),
        content_key=digest.hexdigest(),
    )


def _classes(folder: Path, parts: list[np.ndarray]) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the names of the classes, and the labels as indices of them, (N,) int64."""
    labels = np.concatenate(parts)
    file = folder / "classes.txt"
    if file.is_file():
        lines = file.read_text(encoding="utf-8").splitlines()
        names = tuple(line.strip() for line in lines if line.strip())
        if len(names) <= labels.max():
            raise DataError(f"{file} names {len(names)} classes; the labels reach {labels.max()}")
        return names, labels
    digests = {hashlib.sha256(part.astype(np.uint8).tobytes()).hexdigest() for part in parts}
    if digests & _FASHION_LABELS:
        return _FASHION, labels
    # Only the numbers that occur: the letters of EMNIST begin at 1.
    found, indices = np.unique(labels, return_inverse=True)
    return tuple(str(number) for number in found), indices.astype(np.int64)
