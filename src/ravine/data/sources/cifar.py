"""The CIFAR-10 and CIFAR-100 batches, in their python and their binary form."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.errors import DataError
from ravine.data.collection import Collection
from ravine.data.sources.pickled import read_pickled

_PIXELS = 3 * 32 * 32
_CIFAR_10 = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]


def has_cifar(folder: Path) -> bool:
    """Returns whether a folder holds CIFAR batches."""
    return bool(_batches(folder))


def _batches(folder: Path) -> list[tuple[str, Path]]:
    found = [("train", path) for path in sorted(folder.glob("data_batch_*"))]
    names = ("test_batch", "test_batch.bin", "train.bin", "test.bin")
    found += [("test" if "test" in n else "train", folder / n) for n in names]
    if (folder / "train").is_file() and (folder / "meta").is_file():
        found += [("train", folder / "train"), ("test", folder / "test")]
    found = [(split, path) for split, path in found if path.is_file()]
    # A folder with both formats would give every image twice.
    return [pair for pair in found if pair[1].suffix != ".bin"] or found


def read_cifar(folder: Path) -> Collection:
    """Returns the images of the batches in a folder, with CIFAR-100's fine labels.

    Raises:
        DataError: a batch is torn, or holds anything but data.
    """
    pixels: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    given: list[str] = []
    digest = hashlib.sha256()
    for split, path in _batches(folder):
        images, found = (_read_binary if path.suffix == ".bin" else _read_python)(path)
        pixels.append(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(found.astype(np.int64))
        given += [split] * len(found)
        digest.update(hashlib.sha256(images.tobytes()).digest())
    joined = np.concatenate(labels)
    counts = {"train": 0, "test": 0}
    names = []
    for split in given:
        names.append(f"{split}[{counts[split]}]")
        counts[split] += 1
    return Collection(
        names=names,
        labels=joined,
        classes=_classes(folder, int(joined.max()) + 1),
        given_splits=given,
        pixels=np.concatenate(pixels),
        content_key=digest.hexdigest(),
    )


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (N, 3072) uint8 and labels (N,) uint8."""
    try:
        content = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    before = 2 if path.name in ("train.bin", "test.bin") else 1
    row = before + _PIXELS
    if len(content) == 0 or len(content) % row:
        raise DataError(f"{path} is torn: {len(content)} bytes are no whole rows of {row}")
    rows = content.reshape(-1, row)
    most = 100 if before == 2 else 10
    if rows[:, before - 1].max() >= most:
        raise DataError(f"{path} is torn: it has a label above {most - 1}")
    return rows[:, before:], rows[:, before - 1]


def _read_python(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (N, 3072) uint8 and labels (N,) integer."""
    batch: Any = read_pickled(path)
    labels = batch.get("fine_labels", batch.get("labels")) if isinstance(batch, dict) else None
    if labels is None or "data" not in batch:
        raise DataError(f"{path} holds no data and labels: it is no batch of CIFAR")
    data = batch["data"]
    if getattr(data, "shape", None) != (len(labels), _PIXELS) or data.dtype != np.uint8:
        raise DataError(f"{path}: its data is not {len(labels)} rows of {_PIXELS} bytes")
    found = np.asarray(labels)
    if found.dtype.kind not in "iu" or not len(found) or not 0 <= found.min() <= 99:
        raise DataError(f"{path}: its labels are not whole numbers from 0")
    return data, found


def _classes(folder: Path, count: int) -> tuple[str, ...]:
    for name in ("fine_label_names.txt", "batches.meta.txt"):
        if (folder / name).is_file():
            lines = (folder / name).read_text(encoding="utf-8").split()
            if len(lines) >= count:
                return tuple(lines)
    for name in ("batches.meta", "meta"):
        if (folder / name).is_file():
            meta = read_pickled(folder / name)
            found = meta.get("fine_label_names", meta.get("label_names", []))
            if len(found) >= count:
                return _as_text(found)
    return tuple(_CIFAR_10) if count == 10 else tuple(str(number) for number in range(count))


def _as_text(names: Sequence[Any]) -> tuple[str, ...]:
    return tuple(n.decode("latin1") if isinstance(n, bytes) else str(n) for n in names)
