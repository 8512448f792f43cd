"""Decodes a collection once into memory-mapped files.

    images.npy    (N, S, S, C) uint8; not there where images are decoded while training
    digests.npy   (N, 16) uint8, of the pixels before they are resized; zero where unreadable
    sums.npy      (N, 2, C) float64, sum and sum of squares of each image's bytes
    sizes.npy     (N, 2) int32, height and width of what the file holds
    modes.npy     (N,) uint8, the place in about.json's list of modes
    about.json    modes, reasons of unreadable files, seconds

Many files are shared out to processes of their own (`decoding_worker`), which load no torch.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.collection import Collection, FileEntry
from ravine.data.decode import Decoded, Unreadable, decode, fit_square
from ravine.data.processes import cores, start_worker

_DIGEST = 16
_CHECKED = 64  # images compared with their sums when a store is opened
_LARGEST_FILE = 1 << 29  # bytes of an image
_FEW = 1000  # files up to which starting processes takes longer than decoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What images are decoded to."""

    image_size: int
    channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """Decoded images with what was learnt on the way; see the head of this file."""

    images: np.ndarray | None
    digests: np.ndarray
    sums: np.ndarray
    sizes: np.ndarray
    modes: np.ndarray
    mode_names: Sequence[str]
    unreadable: dict[int, str]
    seconds: float


class Shelf:
    """The arrays of a store that is being filled, with the images or with their facts only."""

    def __init__(
        self, folder: Path, count: int, form: Form, *, new: bool, images: bool = True
    ) -> None:
        self.folder, self.form, self.count = folder, form, count
        size, channels = form.image_size, form.channels
        shape = (count, size, size, channels)
        self.images = self._array("images", shape, np.uint8, new) if images else None
        self.digests = self._array("digests", (count, _DIGEST), np.uint8, new)
        self.sums = self._array("sums", (count, 2, channels), np.float64, new)
        self.sizes = self._array("sizes", (count, 2), np.int32, new)
        self.modes = self._array("modes", (count,), np.uint8, new)

    def _array(self, name: str, shape: tuple[int, ...], dtype: Any, new: bool) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        if not new:
            return np.load(path, mmap_mode="r+")
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        _reserve(path)
        return array

    def put(self, place: int, pixels: np.ndarray, mode: int, size: tuple[int, int]) -> None:
        """Stores one image, (H, W, C) uint8 before it is resized; `size` is the file's."""
        fitted = fit_square(pixels, self.form.image_size)
        if self.images is not None:
            self.images[place] = fitted
        head = f"{pixels.shape}".encode()
        content = np.ascontiguousarray(pixels).tobytes()
        digest = hashlib.blake2b(head + content, digest_size=_DIGEST).digest()
        self.digests[place] = np.frombuffer(digest, dtype=np.uint8)
        self.sums[place] = _sums(fitted)
        self.sizes[place] = size
        self.modes[place] = mode


def _sums(image: np.ndarray) -> np.ndarray:
    """Returns sum and sum of squares of each channel, (2, C)."""
    # Whole numbers below 2^53, so that every way of summing gives the same bits.
    flat = image.reshape(-1, image.shape[2]).astype(np.int64)
    return np.stack([flat.sum(0), (flat * flat).sum(0)])


def _reserve(path: Path) -> None:
    """Takes the space now: a write into a mapped file on a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def content_of(entry: FileEntry) -> bytes:
    """Returns the bytes of an image: a file's, or those of its place in a tar.

    Raises:
        Unreadable: with the reason.
    """
    try:
        with open(entry.path, "rb") as file:
            length = os.fstat(file.fileno()).st_size if entry.offset is None else entry.length
            if length > _LARGEST_FILE:
                raise Unreadable(f"{length:,} bytes are too many for an image")
            file.seek(entry.offset or 0)
            content = file.read(length)
    except OSError as error:
        raise Unreadable(error.strerror or str(error)) from None
    if len(content) < length:
        raise Unreadable("the file ends before the image does")
    return content


def decode_file(entry: FileEntry, form: Form) -> Decoded:
    """Returns the image of one file, or of one place in a tar.

    Raises:
        Unreadable: with the reason.
    """
    return decode(content_of(entry), form.channels, draft=form.image_size)


def decode_into(
    shelf: Shelf, files: Sequence[FileEntry], start: int, stop: int, tell: Progress | None
) -> tuple[dict[int, str], list[str]]:
    """Decodes files `start` to `stop` and returns the unreadable ones and the modes found."""
    unreadable: dict[int, str] = {}
    modes: list[str] = []
    for place in range(start, stop):
        try:
            found = decode_file(files[place], shelf.form)
        except Unreadable as reason:
            unreadable[place] = str(reason)
        else:
            if found.mode not in modes:
                modes.append(found.mode)
            shelf.put(place, found.pixels, modes.index(found.mode), found.size)
        if tell and (place % 200 == 199 or place == stop - 1):
            tell("decoding", place + 1 - start, stop - start)
    return unreadable, modes


def fill_store(
    folder: Path, collection: Collection, form: Form, progress: Progress, *, images: bool = True
) -> None:
    """Decodes a collection into `folder`; without `images` only what is learnt of them is kept.

    Raises:
        DataError: the disk is full, or a worker died.
    """
    started = time.monotonic()
    count = len(collection.names)
    try:
        shelf = Shelf(folder, count, form, new=True, images=images)
        if collection.pixels is not None:
            unreadable, modes = _copy_pixels(shelf, collection.pixels, progress)
        else:
            unreadable, modes = _decode_files(shelf, collection.files, progress)
        about = {
            "modes": modes,
            "unreadable": {str(k): v for k, v in sorted(unreadable.items())},
            "seconds": time.monotonic() - started,
        }
        (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"cannot write decoded images to {folder}: {error.strerror or error}; free some space, "
            "set RAVINE_CACHE to another folder, or use --no-cache"
        ) from None


def _copy_pixels(
    shelf: Shelf, pixels: np.ndarray, progress: Progress
) -> tuple[dict[int, str], list[str]]:
    channels = shelf.form.channels
    mode = "L" if pixels.shape[3] == 1 else "RGB"
    for place, image in enumerate(pixels):
        shelf.put(place, _with_channels(image, channels), 0, image.shape[:2])
        if place % 1000 == 999 or place == len(pixels) - 1:
            progress("reading", place + 1, len(pixels))
    return {}, [mode]


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    # The weights of ITU-R 601 that Pillow uses for RGB to L.
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return grey.round().astype(np.uint8)[..., None]


def _decode_files(
    shelf: Shelf, files: Sequence[FileEntry], progress: Progress
) -> tuple[dict[int, str], list[str]]:
    workers = cores()
    if len(files) <= _FEW or workers == 1:
        return decode_into(shelf, files, 0, len(files), progress)
    job = {
        "files": [entry.to_json() for entry in files],
        "size": shelf.form.image_size,
        "channels": shelf.form.channels,
        "images": shelf.images is not None,
    }
    (shelf.folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    bounds = np.linspace(0, len(files), workers + 1).astype(int).tolist()
    done = _run_workers(shelf.folder, bounds, len(files), progress)
    (shelf.folder / "job.json").unlink()
    unreadable: dict[int, str] = {}
    modes: list[str] = []
    for part, start, stop in zip(done, bounds[:-1], bounds[1:], strict=True):
        unreadable |= {int(place): reason for place, reason in part["unreadable"].items()}
        for mode in part["modes"]:
            if mode not in modes:
                modes.append(mode)
        renumbered = np.array([modes.index(mode) for mode in part["modes"]] or [0], np.uint8)
        shelf.modes[start:stop] = renumbered[shelf.modes[start:stop]]
    return unreadable, modes


def _run_workers(
    folder: Path, bounds: Sequence[int], count: int, progress: Progress
) -> list[dict[str, Any]]:
    processes = [
        start_worker("ravine.data.decoding_worker", [str(folder), str(start), str(stop)], text=True)
        for start, stop in pairwise(bounds)
    ]
    results: list[dict[str, Any] | None] = [None] * len(processes)
    counts = [0] * len(processes)
    lock = threading.Lock()

    def listen(number: int) -> None:
        stream = processes[number].stdout
        assert stream is not None
        for line in stream:
            row = json.loads(line)
            with lock:
                if "done" in row:
                    counts[number] = row["done"]
                    progress("decoding", sum(counts), count)
                else:
                    results[number] = row

    threads = [threading.Thread(target=listen, args=(n,)) for n in range(len(processes))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        for process in processes:
            process.terminate()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    finished = [row for row in results if row is not None]
    if len(finished) != len(processes):
        raise DataError(
            "a process that decodes images died; is the memory or the disk full? "
            "Smaller images: --image-size 64"
        )
    return finished


def open_store(folder: Path, *, images: bool = True) -> Store:
    """Returns a filled store, memory-mapped; without `images` what was learnt of them.

    Raises:
        OSError, EOFError, ValueError, KeyError, TypeError, AttributeError: it is torn.
    """
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    arrays = {
        name: np.load(folder / f"{name}.npy") for name in ("digests", "sums", "sizes", "modes")
    }
    pixels = np.load(folder / "images.npy", mmap_mode="c") if images else None
    _refuse_torn(arrays, pixels, about["modes"])
    return Store(
        images=pixels,
        **arrays,
        mode_names=about["modes"],
        unreadable={int(place): str(reason) for place, reason in about["unreadable"].items()},
        seconds=float(about["seconds"]),
    )


def _refuse_torn(
    arrays: Mapping[str, np.ndarray], images: np.ndarray | None, modes: Sequence[str]
) -> None:
    if len({len(array) for array in arrays.values()}) != 1:
        raise ValueError("the parts of the store do not fit together")
    if arrays["modes"].max() >= max(1, len(modes)):
        raise ValueError("the store has a mode without name")
    if images is None:
        return
    sums = arrays["sums"]
    if len(images) != len(sums) or images.ndim != 4:
        raise ValueError("the images of the store do not fit the rest")
    for place in np.linspace(0, len(images) - 1, _CHECKED).astype(int):
        if not np.array_equal(_sums(images[place]), sums[place]):
            raise ValueError("an image differs from its sums")
