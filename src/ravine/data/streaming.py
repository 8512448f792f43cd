"""Images that worker processes decode on access, with prefetching of the next batches.

`StreamedImages` behaves like an array of all images. The order of training is a pure function of
the seed, so `Prefetcher` can request the next batches early; a batch that was not prefetched is
decoded on access, so that the result never depends on prefetching.

Shape letters: N images, B batch, S height and width, C channels.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ravine.core.cores import usable_cores
from ravine.core.errors import DataError
from ravine.data.collection import FileEntry
from ravine.data.dataset import ImageArray
from ravine.data.decode import Unreadable
from ravine.data.image_file import ImageFormat
from ravine.data.streaming_worker import decode_again
from ravine.data.worker_pool import Request, WorkerPool

_MEMORY = 1 << 28  # bytes of prefetched images
_FEWEST_SLOTS = 16
_PREFETCHED_BATCHES = 4
_PREFETCHED_IMAGES = 32  # for each worker, where batches are small


class StreamedImages:
    """Images (N, S, S, C) uint8, decoded on access.

    Args:
        files: of the N images.
        image_format: size and channels of the decoded images.
        unreadable: indices of files that were no images when they were first read; these are black.
        workers: processes that decode, 0 for none; None for as many as cores.
    """

    def __init__(
        self,
        files: Sequence[FileEntry],
        image_format: ImageFormat,
        *,
        unreadable: Iterable[int] = (),
        workers: int | None = None,
    ) -> None:
        size = image_format.image_size
        self.shape = (len(files), size, size, image_format.channels)
        self.dtype = np.dtype(np.uint8)
        self._files = files
        self._format = image_format
        self._unreadable = frozenset(unreadable)
        self._workers = usable_cores() if workers is None else workers
        self._slots = max(_FEWEST_SLOTS, _MEMORY // image_format.bytes_per_image)
        self._pool: WorkerPool | None = None
        self._prefetched: dict[bytes, Request] = {}

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, which: Any) -> np.ndarray:
        """Returns one image (S, S, C) uint8, or for indices (B,) the images (B, S, S, C) uint8.

        Raises:
            DataError: an image cannot be read any more, or a process that decodes died.
        """
        index = _index(which, len(self))
        if index.ndim == 0:
            return self[index[None]][0]
        decode = self._decode_in_pool if self._workers else self._decode_here
        most = self._slots // 2
        if len(index) <= most:
            return decode(index)
        return np.concatenate([decode(index[k : k + most]) for k in range(0, len(index), most)])

    def subset(self, index: np.ndarray) -> "StreamedImages":
        """Returns the images of indices (M,) as (M, S, S, C) uint8, decoded on access."""
        return StreamedImages(
            [self._files[int(i)] for i in index],
            self._format,
            unreadable=[k for k, i in enumerate(index) if int(i) in self._unreadable],
            workers=self._workers,
        )

    def prefetch_depth(self, batch: int) -> int:
        """Returns how many batches of this size are worth prefetching beyond the next."""
        wanted = max(_PREFETCHED_BATCHES, -(-_PREFETCHED_IMAGES * self._workers // batch))
        return min(wanted, self._slots // 2 // batch - 1) if self._workers else -1

    def prefetch(self, index: np.ndarray) -> bool:
        """Begins to decode the images of indices (B,); returns whether there were slots for them.

        The oldest prefetched images that nobody has taken make room.

        Raises:
            DataError: a process that decodes died.
        """
        if not self._workers or len(index) > self._slots // 2:
            return False
        key = _key(index)
        if key not in self._prefetched:
            pool = self._started_pool()
            while pool.free_slots < len(index) and self._prefetched:
                pool.release(self._prefetched.pop(next(iter(self._prefetched))))
            if pool.free_slots < len(index):
                return False
            self._prefetched[key] = pool.submit(self._entries(index))
        return True

    def _decode_in_pool(self, index: np.ndarray) -> np.ndarray:
        pool = self._started_pool()
        request = self._prefetched.pop(_key(index), None)
        if request is None:
            while not self.prefetch(index):
                pool.wait_for_slots(len(index))
            request = self._prefetched.pop(_key(index))
        try:
            pool.wait(request)
            if request.failed:
                slot, reason = next(iter(request.failed.items()))
                raise _lost(self._files[int(index[request.slots.index(slot)])], reason)
            return pool.pixels[request.slots]
        finally:
            pool.release(request)

    def _decode_here(self, index: np.ndarray) -> np.ndarray:
        images = np.zeros((len(index), *self.shape[1:]), np.uint8)
        for row, entry in enumerate(self._entries(index)):
            if entry is not None:
                try:
                    images[row] = decode_again(entry, self._format)
                except Unreadable as reason:
                    raise _lost(entry, str(reason)) from None
        return images

    def _entries(self, index: np.ndarray) -> list[FileEntry | None]:
        return [None if int(i) in self._unreadable else self._files[int(i)] for i in index]

    def _started_pool(self) -> WorkerPool:
        if self._pool is None:
            self._pool = WorkerPool(self._format, slots=self._slots, workers=self._workers)
        return self._pool


def _index(which: Any, count: int) -> np.ndarray:
    """Returns the indices that numpy would take from an array of `count`, none negative."""
    if isinstance(which, slice):
        return np.arange(*which.indices(count))
    index = np.asarray(which)
    if index.dtype == np.bool_:
        index = np.flatnonzero(index)
    if index.size and not -count <= index.min() <= index.max() < count:
        raise IndexError(f"there are {count} images")
    return index % max(1, count)


def _key(index: np.ndarray) -> bytes:
    return np.ascontiguousarray(index, np.int64).tobytes()


def _lost(entry: FileEntry, reason: str) -> DataError:
    where = "" if entry.offset is None else f", the image at byte {entry.offset:,}"
    return DataError(
        f"{entry.path}{where}: {reason}, though it could be read before; put it back as it was, "
        "or begin a new run"
    )


class Prefetcher:
    """Returns the images of successive steps, and prefetches the next ones where they are streamed.

    Args:
        images: (N, S, S, C) uint8.
    """

    def __init__(self, images: ImageArray) -> None:
        self._images = images
        self._next = self._requested = 0

    def images_at(self, step: int, index_at: Callable[[int], np.ndarray]) -> np.ndarray:
        """Returns the images of a step, (B, S, S, C) uint8.

        Args:
            step: counted from 0.
            index_at: returns the indices (B,) of a step's images; none where there is no such step.
        """
        index = index_at(step)
        if isinstance(self._images, StreamedImages):
            self._prefetch(self._images, step, len(index), index_at)
        return self._images[index]

    def _prefetch(
        self,
        images: StreamedImages,
        step: int,
        batch: int,
        index_at: Callable[[int], np.ndarray],
    ) -> None:
        self._requested = max(self._requested, step) if step == self._next else step
        self._next = step + 1
        while self._requested <= step + images.prefetch_depth(batch):
            index = index_at(self._requested)
            if not len(index) or not images.prefetch(index):
                break
            self._requested += 1
