"""The CIFAR-10 and CIFAR-100 batches, in their python and their binary form."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.core.regular_file import read_regular_text, text_fault
from ravine.data.collection import Collection
from ravine.data.settings import DataSettings
from ravine.data.sources.pickled import read_pickled
from ravine.data.understanding import Understood

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


def is_cifar(path: Path) -> bool:
    """Returns whether a folder holds CIFAR batches, or a folder cifar-… that does."""
    return path.is_dir() and bool(_homes(path))


def _homes(root: Path) -> list[Path]:
    """Returns the folders with batches: the root, or else its folders whose names say CIFAR."""
    if _batches(root):
        return [root]
    try:
        inner = sorted(p for p in root.iterdir() if p.name.lower().startswith("cifar"))
        return [home for folder in inner if folder.is_dir() for home in _homes(folder)]
    except OSError:
        return []


def _batches(folder: Path) -> list[tuple[str, Path]]:
    try:
        found = [("train", path) for path in sorted(folder.glob("data_batch_*"))]
        names = ("test_batch", "test_batch.bin", "train.bin", "test.bin")
        found += [("test" if "test" in n else "train", folder / n) for n in names]
        if (folder / "train").is_file() and (folder / "meta").is_file():
            found += [("train", folder / "train"), ("test", folder / "test")]
        found = [(split, path) for split, path in found if path.is_file()]
    except OSError:
        return []
    # A folder with both formats would give every image twice.
    return [pair for pair in found if pair[1].suffix != ".bin"] or found


def read_cifar(path: Path, settings: DataSettings, progress: Progress) -> Collection:
    """Returns the images of the batches in a folder, with CIFAR-100's fine labels.

    Raises:
        DataError: a batch is torn, or holds anything but data; or there are two sets.
    """
    homes = _homes(path)
    if not homes:
        raise DataError(f"{path} holds no batches of CIFAR")
    if len(homes) > 1:
        raise DataError(
            f"{path} holds {homes[0].relative_to(path)}/ and {homes[1].relative_to(path)}/, two "
            "sets; name the one to train on"
        )
    return _read_folder(homes[0])


def _read_folder(folder: Path) -> Collection:
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
    classes = _classes(folder, int(joined.max()) + 1)
    return Collection(
        names=names,
        labels=joined,
        classes=classes,
        given_splits=given,
        pixels=np.concatenate(pixels),
        content_key=digest.hexdigest(),
        understood=Understood("cifar", f"the batches' labels, {len(classes)}", "test: its batch"),
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
    try:
        found = np.asarray(labels)
    except (ValueError, TypeError, OverflowError):
        found = np.empty(0)
    if found.dtype.kind not in "iu" or not len(found) or not 0 <= found.min() <= 99:
        raise DataError(f"{path}: its labels are not whole numbers from 0")
    return data, found


def _classes(folder: Path, count: int) -> tuple[str, ...]:
    for name in ("fine_label_names.txt", "batches.meta.txt"):
        if (folder / name).is_file():
            try:
                lines = read_regular_text(folder / name).split()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(
                    f"{folder / name} cannot be read as UTF-8 text: {text_fault(error)}"
                ) from None
            if len(lines) >= count:
                return tuple(lines)
    for name in ("batches.meta", "meta"):
        if (folder / name).is_file():
            meta = read_pickled(folder / name)
            if not isinstance(meta, dict):
                raise DataError(f"{folder / name} holds no names of classes")
            found = meta.get("fine_label_names", meta.get("label_names", []))
            if isinstance(found, list) and len(found) >= count:
                return _as_text(found)
    return tuple(_CIFAR_10) if count == 10 else tuple(str(number) for number in range(count))


def _as_text(names: Sequence[Any]) -> tuple[str, ...]:
    return tuple(n.decode("latin1") if isinstance(n, bytes) else str(n) for n in names)
