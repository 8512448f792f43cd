"""Decodes a collection once into the files of a `DecodedCache`.

Many files are divided among worker processes (`decoding_worker`), which load no torch.

Shape letters: N images, S height and width, C channels.
"""

import hashlib
import json
import mmap
import os
import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np

from ravine.core.cores import usable_cores
from ravine.core.errors import DataError
from ravine.core.progress import Progress
from ravine.data.bands import mode_of
from ravine.data.collection import Collection, FileEntry
from ravine.data.decode import Unreadable
from ravine.data.decoded_cache import channel_sums
from ravine.data.image_file import ImageFormat, decode_file
from ravine.data.pixel_array import PixelArray
from ravine.data.processes import start_worker

_DIGEST = 16
_FEW = 1000  # files up to which starting processes takes longer than decoding

Outcome = tuple[dict[int, str], list[str]]
"""Reasons of unreadable images by index, and the Pillow modes in order of appearance."""


class CacheWriter:
    """The arrays of a decoded cache that is being filled.

    Args:
        folder: of the cache.
        count: N images.
        image_format: size and channels of the decoded images.
        new: creates the arrays; else those in the folder are opened for writing.
        images: keeps the images, not only their statistics.
    """

    def __init__(
        self, folder: Path, count: int, image_format: ImageFormat, *, new: bool, images: bool = True
    ) -> None:
        self.folder, self.image_format, self.count = folder, image_format, count
        size, channels = image_format.image_size, image_format.channels
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

    def write(self, index: int, pixels: np.ndarray, mode: int, size: tuple[int, int]) -> None:
        """Writes one image with its statistics.

        Args:
            index: of the image, in 0..N-1.
            pixels: (H, W, C) uint8, before it is resized.
            mode: index of its Pillow mode.
            size: height and width of the image in the file.
        """
        fitted = self.image_format.square(pixels)
        if self.images is not None:
            self.images[index] = fitted
        head = f"{pixels.shape}".encode()
        content = np.ascontiguousarray(pixels).tobytes()
        digest = hashlib.blake2b(head + content, digest_size=_DIGEST).digest()
        self.digests[index] = np.frombuffer(digest, dtype=np.uint8)
        self.sums[index] = channel_sums(fitted)
        self.sizes[index] = size
        self.modes[index] = mode

    def release_memory(self) -> None:
        """Lets the system take back the pages of the images; their content is in the file."""
        if isinstance(self.images, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
            self.images.base.madvise(mmap.MADV_DONTNEED)  # type: ignore[union-attr]


def _reserve(path: Path) -> None:
    """Allocates the space now: a write into a mapped file on a full disk would kill the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def decode_into(
    writer: CacheWriter,
    files: Sequence[FileEntry],
    start: int,
    stop: int,
    progress: Progress | None,
) -> Outcome:
    """Decodes files `start` to `stop` (exclusive) and returns unreadable ones and modes."""
    unreadable: dict[int, str] = {}
    modes: list[str] = []
    for index in range(start, stop):
        try:
            found = decode_file(files[index], writer.image_format)
        except Unreadable as reason:
            unreadable[index] = str(reason)
        else:
            if found.mode not in modes:
                modes.append(found.mode)
            writer.write(index, found.pixels, modes.index(found.mode), found.size)
        if progress and (index % 200 == 199 or index == stop - 1):
            progress("decoding", index + 1 - start, stop - start)
    return unreadable, modes


def write_cache(
    folder: Path,
    collection: Collection,
    image_format: ImageFormat,
    progress: Progress,
    *,
    images: bool = True,
) -> None:
    """Decodes a collection into `folder`; without `images` only the statistics are kept.

    Raises:
        DataError: the disk is full, or a worker died.
    """
    started = time.monotonic()
    count = len(collection.names)
    try:
        writer = CacheWriter(folder, count, image_format, new=True, images=images)
        if collection.pixels is not None:
            unreadable, modes = _copy_pixels(writer, collection.pixels, progress)
        else:
            unreadable, modes = _decode_files(writer, collection.files, progress)
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


def _copy_pixels(writer: CacheWriter, pixels: PixelArray, progress: Progress) -> Outcome:
    channels = writer.image_format.channels
    mode = mode_of(pixels.shape[3])
    for index, image in enumerate(pixels):
        writer.write(index, _with_channels(image, channels), 0, image.shape[:2])
        if index % 1000 == 999 or index == len(pixels) - 1:
            progress("reading", index + 1, len(pixels))
            writer.release_memory()
    return {}, [mode]


def _with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Returns an image (H, W, 1, 3 or `channels`) uint8 as (H, W, `channels`) uint8."""
    if image.shape[2] == channels:
        return image
    if channels == 3:
        return np.repeat(image, 3, axis=2)
    # The weights of ITU-R 601 that Pillow uses for RGB to L.
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return grey.round().astype(np.uint8)[..., None]


def _decode_files(writer: CacheWriter, files: Sequence[FileEntry], progress: Progress) -> Outcome:
    workers = usable_cores()
    if len(files) <= _FEW or workers == 1:
        return decode_into(writer, files, 0, len(files), progress)
    job = {
        "files": [entry.to_json() for entry in files],
        "format": writer.image_format.to_json(),
        "images": writer.images is not None,
    }
    (writer.folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    bounds = np.linspace(0, len(files), workers + 1).astype(int).tolist()
    done = _run_workers(writer.folder, bounds, len(files), progress)
    (writer.folder / "job.json").unlink()
    unreadable: dict[int, str] = {}
    modes: list[str] = []
    for result, start, stop in zip(done, bounds[:-1], bounds[1:], strict=True):
        unreadable |= {int(index): reason for index, reason in result["unreadable"].items()}
        for mode in result["modes"]:
            if mode not in modes:
                modes.append(mode)
        renumbered = np.array([modes.index(mode) for mode in result["modes"]] or [0], np.uint8)
        writer.modes[start:stop] = renumbered[writer.modes[start:stop]]
    return unreadable, modes


def _run_workers(
    folder: Path, bounds: Sequence[int], count: int, progress: Progress
) -> list[dict[str, Any]]:
    """Returns the result of each worker, in the order of its files.

    Raises:
        DataError: a worker died.
    """
    processes = [
        start_worker("ravine.data.decoding_worker", [str(folder), str(start), str(stop)], text=True)
        for start, stop in pairwise(bounds)
    ]
    try:
        results = _results(processes, count, progress)
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


def _results(
    processes: Sequence[Popen[str]], count: int, progress: Progress
) -> list[dict[str, Any] | None]:
    """Reads the JSON lines of all workers until they end; None for one without a result."""
    results: list[dict[str, Any] | None] = [None] * len(processes)
    counts = [0] * len(processes)
    lock = threading.Lock()

    def read(worker: int) -> None:
        stream = processes[worker].stdout
        assert stream is not None
        for line in stream:
            row = json.loads(line)
            with lock:
                if "done" in row:
                    counts[worker] = row["done"]
                    progress("decoding", sum(counts), count)
                else:
                    results[worker] = row

    threads = [threading.Thread(target=read, args=(n,)) for n in range(len(processes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
